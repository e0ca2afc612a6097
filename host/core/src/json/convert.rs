//! From a value's text to a column's value. `docs/json.md` has the rules as a table.

use super::{time_text, tokens::Tokens, walk::Span};
use crate::{
    column::{Binary, Column, Presence, Values},
    description::{Kind, TimestampFormat},
};

/// Appends the value at a span to a column: one row, whatever is found there.
pub(super) fn append(column: &mut Column, kind: &Kind, tokens: &Tokens, span: Span) {
    let rows = column.values.len();
    let presence = if !span.is_found() {
        Presence::Missing
    } else {
        value(&mut column.values, kind, tokens, span)
    };
    if presence == Presence::Value {
        if !column.presence.is_empty() {
            column.presence.push(0);
        }
        return;
    }
    pad(&mut column.values);
    column.presence.resize(rows, 0);
    column.presence.push(presence as u8);
}

/// Fills the slot of a row without a value.
fn pad(values: &mut Values) {
    match values {
        Values::Boolean(values) => values.push(0),
        Values::Int64(values) | Values::Timestamp(values) => values.push(0),
        Values::Float64(values) => values.push(0.0),
        Values::Date(values) => values.push(0),
        Values::Enumeration(values) => values.push(0),
        Values::Utf8(values) | Values::Json(values) => values.close(),
    }
}

/// Appends the value if it is one of the kind, and nothing else.
fn value(values: &mut Values, kind: &Kind, tokens: &Tokens, span: Span) -> Presence {
    let text = &tokens.padded[span.start as usize..span.end as usize];
    if text[0] == b'n' {
        return Presence::Null;
    }
    match (values, kind) {
        (Values::Boolean(values), Kind::Boolean) => match text[0] {
            first @ (b't' | b'f') => push(values, u8::from(first == b't')),
            _ => Presence::OtherType,
        },
        (Values::Int64(values), Kind::Int64) => integer(values, text),
        (Values::Float64(values), Kind::Float64) => float(values, text),
        (Values::Timestamp(values), Kind::Timestamp(format)) => match format {
            TimestampFormat::Rfc3339 => string(text, tokens.escapes, |text| {
                push_or_malformed(values, time_text::parse_timestamp(text))
            }),
            TimestampFormat::UnixSeconds => scaled_timestamp(values, text, 6),
            TimestampFormat::UnixMilliseconds => scaled_timestamp(values, text, 3),
            TimestampFormat::UnixMicroseconds => integer(values, text),
        },
        (Values::Date(values), Kind::Date) => string(text, tokens.escapes, |text| {
            push_or_malformed(values, text.try_into().ok().and_then(time_text::parse_date))
        }),
        (Values::Utf8(values), Kind::Utf8) => utf8(values, text, tokens.escapes),
        (Values::Enumeration(values), Kind::Enumeration(dictionary)) => {
            string(text, tokens.escapes, |text| {
                match dictionary.iter().position(|entry| entry.as_bytes() == text) {
                    Some(code) => push(values, code as u32),
                    None => Presence::OutOfRange,
                }
            })
        }
        (Values::Json(values), Kind::Json) => {
            values.push(text);
            Presence::Value
        }
        // A column is made for its kind and never changes it.
        _ => Presence::OtherType,
    }
}

#[inline]
fn push<T>(values: &mut Vec<T>, value: T) -> Presence {
    values.push(value);
    Presence::Value
}

fn push_or_malformed<T>(values: &mut Vec<T>, value: Option<T>) -> Presence {
    value.map_or(Presence::Malformed, |value| push(values, value))
}

fn is_number(text: &[u8]) -> bool {
    matches!(text[0], b'-' | b'0'..=b'9')
}

/// A number that is mathematically whole, however it is written.
fn integer(values: &mut Vec<i64>, text: &[u8]) -> Presence {
    if !is_number(text) {
        return Presence::OtherType;
    }
    // Up to 18 digits can't overflow.
    if text.len() <= 18 {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut value = 0i64;
        let mut plain = true;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            plain &= digit <= 9;
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        if plain {
            return push(values, if negative { -value } else { value });
        }
    }
    match scaled(text, 0) {
        Some((value, true)) => push(values, value),
        Some((_, false)) => Presence::Malformed,
        None => Presence::OutOfRange,
    }
}

/// A number of a unit that is ten to the power of `places` microseconds; what is finer than a
/// microsecond is cut off, towards the past.
fn scaled_timestamp(values: &mut Vec<i64>, text: &[u8], places: i64) -> Presence {
    if !is_number(text) {
        return Presence::OtherType;
    }
    match scaled(text, places) {
        Some((value, _)) => push(values, value),
        None => Presence::OutOfRange,
    }
}

/// The greatest integer that is not above the number times ten to the power of `places`, and
/// whether it is that exactly; nothing where it is out of range. Exact: no float is involved.
fn scaled(text: &[u8], places: i64) -> Option<(i64, bool)> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mantissa_end = text.iter().position(|byte| byte | 0x20 == b'e').unwrap_or(text.len());
    let exponent = match text.get(mantissa_end + 1..) {
        None | Some([]) => 0,
        Some([b'-', digits @ ..]) => -decimal(digits),
        Some([b'+', digits @ ..]) => decimal(digits),
        Some(digits) => decimal(digits),
    };
    let mantissa = &text[..mantissa_end];
    let point = mantissa.iter().position(|byte| *byte == b'.');
    // How many digits are before the point once it is moved.
    let whole = (point.unwrap_or(mantissa.len()) as i64).saturating_add(exponent) + places;

    let mut magnitude = 0u64;
    let mut exact = true;
    let mut significant = false;
    let mut seen = 0i64;
    for byte in mantissa.iter().filter(|byte| **byte != b'.') {
        let digit = u64::from(byte - b'0');
        if seen < whole {
            magnitude = magnitude.checked_mul(10)?.checked_add(digit)?;
        } else {
            exact &= digit == 0;
        }
        significant |= digit != 0;
        seen += 1;
    }
    if significant {
        // Zeros between the last digit and the point: more than 19 overflow whatever there is.
        for _ in seen..whole.min(seen.saturating_add(20)) {
            magnitude = magnitude.checked_mul(10)?;
        }
    }
    let value = match negative {
        false => i64::try_from(magnitude).ok()?,
        true => 0i64.checked_sub_unsigned(magnitude)?.checked_sub(i64::from(!exact))?,
    };
    Some((value, exact))
}

/// Decimal digits as a number, saturated where nothing depends on it any more.
fn decimal(digits: &[u8]) -> i64 {
    digits.iter().fold(0i64, |value, byte| {
        value.saturating_mul(10).saturating_add(i64::from(byte - b'0')).min(1 << 40)
    })
}

fn float(values: &mut Vec<f64>, text: &[u8]) -> Presence {
    if !is_number(text) {
        return Presence::OtherType;
    }
    match fast_float2::parse::<f64, _>(text) {
        Ok(value) if value.is_finite() => push(values, value),
        _ => Presence::OutOfRange,
    }
}

fn utf8(values: &mut Binary, text: &[u8], escapes: bool) -> Presence {
    let [b'"', inner @ .., b'"'] = text else { return Presence::OtherType };
    if escapes && inner.contains(&b'\\') {
        let before = values.bytes.len();
        if !unescape(inner, &mut values.bytes) {
            values.bytes.truncate(before);
            return Presence::Malformed;
        }
        values.close();
    } else {
        values.push(inner);
    }
    Presence::Value
}

/// What a string's text is made into, unescaped. A string that is no text is malformed.
#[inline]
fn string(text: &[u8], escapes: bool, convert: impl FnOnce(&[u8]) -> Presence) -> Presence {
    let [b'"', inner @ .., b'"'] = text else { return Presence::OtherType };
    if !escapes || !inner.contains(&b'\\') {
        return convert(inner);
    }
    let mut unescaped = Vec::with_capacity(inner.len());
    if unescape(inner, &mut unescaped) { convert(&unescaped) } else { Presence::Malformed }
}

/// Appends what the inside of a string, which the grammar has passed, stands for. False where it
/// stands for no text: it has a surrogate that is not one of a pair.
pub(super) fn unescape(escaped: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(escape) = rest.get(at + 1) else { return false };
        rest = &rest[at + 2..];
        let plain = match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let Some(c) = unicode(&mut rest) else { return false };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    true
}

/// Takes the digits behind a `\u` off the text, and the low surrogate behind a high one.
fn unicode(rest: &mut &[u8]) -> Option<char> {
    let first = hex4(rest)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first);
    }
    *rest = rest.strip_prefix(b"\\u")?;
    let second = hex4(rest)?;
    // The first must be the high one: a low one gives no character below.
    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    let high = first.checked_sub(0xd800).filter(|high| *high < 0x400)?;
    char::from_u32(0x1_0000 + (high << 10) + low)
}

fn hex4(rest: &mut &[u8]) -> Option<u32> {
    let (digits, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
