//! How values are written. Pinned: the same value gives the same bytes in every version.

use super::{Change, time_text};
use crate::{
    column::{Column, Values},
    description::{Kind, TimestampFormat},
};

/// Appends the value that a checked reply's column has at a place. False, and nothing done, where
/// it has no text.
#[inline]
pub(super) fn write_cell(column: &Column, kind: &Kind, place: usize, out: &mut Vec<u8>) -> bool {
    match (&column.values, kind) {
        (Values::Int64(values), _) => write_int64(values[place], out),
        (Values::Float64(values), _) if values[place].is_finite() => {
            write_float64(values[place], out);
        }
        (Values::Utf8(texts), _) => write_string(texts.get(place), out),
        _ => match Change::of(column, kind, place) {
            Some(change) if change.conflict().is_none() => change.write(out),
            _ => return false,
        },
    }
    true
}

/// Appends a text that is mostly short. Copies of a fixed length need no call: the two halves of
/// a text may overlap.
#[inline]
pub(super) fn push_short(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        16..=32 => push_halves::<16>(text, out),
        8..16 => push_halves::<8>(text, out),
        4..8 => push_halves::<4>(text, out),
        2..4 => push_halves::<2>(text, out),
        _ => out.extend_from_slice(text),
    }
}

/// Appends a text of `N` to `2 * N` bytes.
#[inline]
fn push_halves<const N: usize>(text: &[u8], out: &mut Vec<u8>) {
    let (Some(head), Some(tail)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else {
        return out.extend_from_slice(text);
    };
    out.extend_from_slice(head);
    out.truncate(out.len() + text.len() - 2 * N);
    out.extend_from_slice(tail);
}

/// Appends a string with its quotes. `text` is UTF-8; quotes, backslashes and control characters
/// are escaped, with the short forms where there are any, and nothing else is.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    // Nearly all strings are plain: looked at as a whole, which vector instructions do.
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if !text.iter().fold(false, |special, byte| special | is_special(*byte)) {
        push_short(text, out);
        out.push(b'"');
        return;
    }
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        if !is_special(*byte) {
            continue;
        }
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        let short = match byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// Appends an integer.
pub(super) fn write_int64(value: i64, out: &mut Vec<u8>) {
    push_short(itoa::Buffer::new().format(value).as_bytes(), out);
}

/// Appends a float: the shortest decimal that reads back as the same float, always with a
/// fraction or an exponent (`3.0`, `1e+21`, `-0.0`). JSON has no text for what is not finite:
/// such a value is written as `null`, and refused before it comes here.
pub fn write_float64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        push_short(zmij::Buffer::new().format_finite(value).as_bytes(), out);
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a timestamp of microseconds since the epoch, in a format. In RFC 3339 the year must
/// be in 0 to 9999.
pub fn write_timestamp(micros: i64, format: TimestampFormat, out: &mut Vec<u8>) {
    match format {
        TimestampFormat::Rfc3339 => {
            out.push(b'"');
            time_text::push_timestamp(micros, out);
            out.push(b'"');
        }
        TimestampFormat::UnixSeconds => write_scaled(micros, 6, out),
        TimestampFormat::UnixMilliseconds => write_scaled(micros, 3, out),
        TimestampFormat::UnixMicroseconds => write_int64(micros, out),
    }
}

/// Appends a date of days since the epoch. The year must be in 0 to 9999.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    out.push(b'"');
    time_text::push_date(i64::from(days), out);
    out.push(b'"');
}

/// Appends `value` divided by ten to the power of `places`, without trailing zeros.
fn write_scaled(value: i64, places: u32, out: &mut Vec<u8>) {
    let unit = 10u64.pow(places);
    let (whole, mut fraction) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    if fraction != 0 {
        out.push(b'.');
        let mut place = unit / 10;
        while fraction != 0 {
            out.push(b'0' + (fraction / place) as u8);
            fraction %= place;
            place /= 10;
        }
    }
}
