//! From a value's text to a column's value. `docs/json.md` has the rules as a table.

use super::{
    digits::{self, Shape, WINDOW},
    time_text,
    tokens::Tokens,
    tree::{Keys, NONE},
    walk::Span,
};
use crate::{
    column::{Binary, Column, Presence, Values},
    description::{Kind, TimestampFormat},
};

/// A kind, made ready to convert to.
#[derive(Debug)]
pub(super) enum Conversion {
    Boolean,
    Int64,
    Float64,
    Timestamp(TimestampFormat),
    Date,
    Utf8,
    /// The dictionary's entries and their codes.
    Enumeration(Keys),
    Json,
}

impl Conversion {
    pub(super) fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Conversion::Boolean,
            Kind::Int64 => Conversion::Int64,
            Kind::Float64 => Conversion::Float64,
            Kind::Timestamp(format) => Conversion::Timestamp(*format),
            Kind::Date => Conversion::Date,
            Kind::Utf8 => Conversion::Utf8,
            Kind::Enumeration(dictionary) => {
                Conversion::Enumeration(Keys::new(dictionary.iter().cloned().zip(0..).collect()))
            }
            Kind::Json => Conversion::Json,
        }
    }

    /// Appends the value at a span to a column: one row, whatever is found there.
    #[inline]
    pub(super) fn append(&self, column: &mut Column, tokens: &Tokens, span: Span) {
        let presence = match span.is_found() {
            true => self.value(&mut column.values, &Found::new(tokens, span)),
            false => Presence::Missing,
        };
        if presence != Presence::Value {
            append_without_value(column, presence);
        } else if !column.presence.is_empty() {
            column.presence.push(0);
        }
    }

    /// Appends the value if it is one of the kind, and nothing else.
    #[inline]
    fn value(&self, values: &mut Values, found: &Found<'_>) -> Presence {
        if found.text[0] == b'n' {
            return Presence::Null;
        }
        match (self, values) {
            (Conversion::Boolean, Values::Boolean(values)) => match found.text[0] {
                first @ (b't' | b'f') => push(values, u8::from(first == b't')),
                _ => Presence::OtherType,
            },
            (Conversion::Int64, Values::Int64(values)) => integer(values, found),
            (Conversion::Float64, Values::Float64(values)) => float(values, found),
            (Conversion::Timestamp(format), Values::Timestamp(values)) => match format {
                TimestampFormat::Rfc3339 => found.string(|text| {
                    push_or(Presence::Malformed, values, time_text::parse_timestamp(text))
                }),
                TimestampFormat::UnixSeconds => scaled_timestamp(values, found, 6),
                TimestampFormat::UnixMilliseconds => scaled_timestamp(values, found, 3),
                TimestampFormat::UnixMicroseconds => integer(values, found),
            },
            (Conversion::Date, Values::Date(values)) => found.string(|text| {
                let date = text.try_into().ok().and_then(time_text::parse_date);
                push_or(Presence::Malformed, values, date)
            }),
            (Conversion::Utf8, Values::Utf8(values)) => utf8(values, found),
            (Conversion::Enumeration(entries), Values::Enumeration(codes)) => {
                enumeration(codes, entries, found)
            }
            (Conversion::Json, Values::Json(values)) => {
                values.push(found.text);
                Presence::Value
            }
            // A column is made for its kind and never changes it.
            _ => Presence::OtherType,
        }
    }
}

/// A value's text.
struct Found<'a> {
    text: &'a [u8],
    /// The text and what is behind it: at least the padding.
    on: &'a [u8],
    /// Whether any string of the record has an escape.
    escapes: bool,
}

impl<'a> Found<'a> {
    #[inline]
    fn new(tokens: &'a Tokens, span: Span) -> Self {
        let on = &tokens.padded[span.start as usize..];
        let text = &on[..(span.end - span.start) as usize];
        Found { text, on, escapes: tokens.escapes }
    }

    #[inline]
    fn is_number(&self) -> bool {
        matches!(self.text[0], b'-' | b'0'..=b'9')
    }

    /// The shape of a number that has no exponent and is short.
    #[inline]
    fn shape(&self) -> Option<Shape> {
        let shape = digits::shape(self.on.first_chunk()?);
        (shape.len == self.text.len() && shape.len < WINDOW).then_some(shape)
    }

    /// The number that `count` digits from `at` on stand for. At most eight.
    #[inline]
    fn decimal(&self, at: usize, count: usize) -> u64 {
        let word = self.on.get(at..).and_then(|on| on.first_chunk());
        word.map_or(0, |word| digits::decimal(*word, count))
    }

    /// The inside of a string that has no escape.
    #[inline]
    fn plain_string(&self) -> Option<&'a [u8]> {
        match self.text {
            [b'"', inside @ .., b'"'] if !self.escapes || !inside.contains(&b'\\') => Some(inside),
            _ => None,
        }
    }

    /// What a string is made into, unescaped. A string that is no text is malformed.
    #[inline]
    fn string(&self, convert: impl FnOnce(&[u8]) -> Presence) -> Presence {
        if let Some(inside) = self.plain_string() {
            return convert(inside);
        }
        let [b'"', inside @ .., b'"'] = self.text else { return Presence::OtherType };
        let mut unescaped = Vec::with_capacity(inside.len());
        if unescape(inside, &mut unescaped) { convert(&unescaped) } else { Presence::Malformed }
    }
}

/// Appends a row that has no value.
#[cold]
fn append_without_value(column: &mut Column, presence: Presence) {
    column.presence.resize(column.values.len(), 0);
    column.presence.push(presence as u8);
    pad(&mut column.values);
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

#[inline]
fn push<T>(values: &mut Vec<T>, value: T) -> Presence {
    values.push(value);
    Presence::Value
}

#[inline]
fn push_or<T>(presence: Presence, values: &mut Vec<T>, value: Option<T>) -> Presence {
    value.map_or(presence, |value| push(values, value))
}

/// A number that is mathematically whole, however it is written.
#[inline]
fn integer(values: &mut Vec<i64>, found: &Found<'_>) -> Presence {
    if !found.is_number() {
        return Presence::OtherType;
    }
    if let Some(Shape { sign, whole, len, .. }) = found.shape()
        && len == sign + whole
    {
        let high = whole.saturating_sub(8);
        let low = found.decimal(sign + high, whole - high);
        let value = (found.decimal(sign, high) * 100_000_000 + low) as i64;
        return push(values, if sign == 1 { -value } else { value });
    }
    match scaled(found.text, 0) {
        Some((value, true)) => push(values, value),
        Some((_, false)) => Presence::Malformed,
        None => Presence::OutOfRange,
    }
}

/// A number of a unit that is ten to the power of `places` microseconds; what is finer than a
/// microsecond is cut off, towards the past.
fn scaled_timestamp(values: &mut Vec<i64>, found: &Found<'_>, places: i64) -> Presence {
    if !found.is_number() {
        return Presence::OtherType;
    }
    match scaled(found.text, places) {
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

/// The float nearest to a number.
#[inline]
fn float(values: &mut Vec<f64>, found: &Found<'_>) -> Presence {
    const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

    if !found.is_number() {
        return Presence::OtherType;
    }
    if let Some(Shape { sign, whole, fraction, .. }) = found.shape()
        && whole <= 8
        && fraction <= 8
        && whole + fraction <= 15
    {
        // Both are below 2^53 and so are floats as they are; the one rounding is the division's.
        let digits =
            found.decimal(sign, whole) * TENS[fraction] + found.decimal(sign + whole + 1, fraction);
        let value = digits as f64 / TENS[fraction] as f64;
        return push(values, if sign == 1 { -value } else { value });
    }
    match fast_float2::parse::<f64, _>(found.text) {
        Ok(value) if value.is_finite() => push(values, value),
        _ => Presence::OutOfRange,
    }
}

#[inline]
fn utf8(values: &mut Binary, found: &Found<'_>) -> Presence {
    if let Some(inside) = found.plain_string() {
        values.push(inside);
        return Presence::Value;
    }
    let [b'"', inside @ .., b'"'] = found.text else { return Presence::OtherType };
    let before = values.bytes.len();
    if !unescape(inside, &mut values.bytes) {
        values.bytes.truncate(before);
        return Presence::Malformed;
    }
    values.close();
    Presence::Value
}

#[inline]
fn enumeration(codes: &mut Vec<u32>, entries: &Keys, found: &Found<'_>) -> Presence {
    let code = match found.plain_string() {
        Some(inside) => entries.find(found.on, 1, inside.len()),
        None => {
            let [b'"', inside @ .., b'"'] = found.text else { return Presence::OtherType };
            let mut unescaped = Vec::with_capacity(inside.len() + 8);
            if !unescape(inside, &mut unescaped) {
                return Presence::Malformed;
            }
            let len = unescaped.len();
            unescaped.resize(len + 8, 0);
            entries.find(&unescaped, 0, len)
        }
    };
    push_or(Presence::OutOfRange, codes, (code != NONE).then_some(code))
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
