//! Values of the types that JSON has no notation for: floats, decimals, dates, times, bytes.
//!
//! All formats with a schema of their own write them here, so that a value is the same text
//! wherever it comes from. `docs/parquet.md` and `docs/avro.md` have the tables.

use base64::{Engine, prelude::BASE64_STANDARD};
use num_bigint::BigInt;

use super::{
    time_text::{date_has_text, timestamp_has_text},
    write::{
        write_date as push_date, write_float64 as push_float64, write_string, write_timestamp,
    },
};
use crate::description::TimestampFormat;

/// No decimal has more digits in any format that values come from.
pub const DECIMAL_DIGITS_MAX: u32 = 76;

/// As many bytes hold so many digits.
const DECIMAL_BYTES_MAX: usize = 32;

const DAY_NANOS: i64 = 86_400_000_000_000;

/// How values become JSON, where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFormat {
    /// Whether a null is left out of its object, rather than written.
    pub omit_nulls: bool,
    /// Whether a float that is not finite is a null, rather than a defect of its row.
    pub not_finite_as_null: bool,
    /// Whether a timestamp without a zone is taken for one in UTC.
    pub local_as_utc: bool,
}

/// A value that is no JSON. What was written in its place is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// A float that is not a number, or infinite.
    NotFinite,
    /// What is declared a text, and is not UTF-8.
    InvalidUtf8,
    /// What is declared JSON, and is none.
    InvalidJson,
    /// A time or a decimal that there is no text for.
    OutOfRange,
}

impl Unwritable {
    /// What is wrong with a value of a name, and what to do about it.
    pub fn message(self, name: &str) -> String {
        match self {
            Unwritable::NotFinite => format!(
                "`{name}` is not a finite number, which JSON has no text for: `not_finite: \
                 as_null` takes such a value for none"
            ),
            Unwritable::InvalidUtf8 => format!("`{name}` is declared a text, and is not UTF-8"),
            Unwritable::InvalidJson => format!("`{name}` is declared JSON, and is none"),
            Unwritable::OutOfRange => format!(
                "`{name}` has no text: a year is from 0 to 9999, a time of day within a day, and \
                 a decimal has at most {DECIMAL_DIGITS_MAX} digits"
            ),
        }
    }
}

/// Whether what was written is the value.
pub type Written = Result<(), Unwritable>;

/// A part of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A thousandth.
    Millis,
    /// A millionth.
    Micros,
    /// A billionth.
    Nanos,
}

impl Unit {
    fn nanos(self) -> i64 {
        match self {
            Unit::Millis => 1_000_000,
            Unit::Micros => 1_000,
            Unit::Nanos => 1,
        }
    }
}

/// Appends a whole number.
pub fn write_integer(value: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a float of 32 bits: the shortest decimal that reads back as the same.
pub fn write_float32(value: f32, out: &mut Vec<u8>) -> Written {
    if !value.is_finite() {
        return push_not_finite(f64::from(value), out);
    }
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    Ok(())
}

/// Appends a float of 64 bits.
pub fn write_float64(value: f64, out: &mut Vec<u8>) -> Written {
    if !value.is_finite() {
        return push_not_finite(value, out);
    }
    push_float64(value, out);
    Ok(())
}

fn push_not_finite(value: f64, out: &mut Vec<u8>) -> Written {
    let text: &[u8] = match value {
        value if value.is_nan() => b"\"NaN\"",
        f64::INFINITY => b"\"Infinity\"",
        _ => b"\"-Infinity\"",
    };
    out.extend_from_slice(text);
    Err(Unwritable::NotFinite)
}

/// Appends what should be a text in UTF-8; in base64 where it is not.
pub fn write_utf8(value: &[u8], out: &mut Vec<u8>) -> Written {
    if simdutf8::basic::from_utf8(value).is_err() {
        write_base64(value, out);
        return Err(Unwritable::InvalidUtf8);
    }
    write_string(value, out);
    Ok(())
}

/// Appends bytes, as a text in base64.
pub fn write_base64(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BASE64_STANDARD.encode(value).as_bytes());
    out.push(b'"');
}

/// Appends a decimal with all its digits, of which there are at least one before the point. It has
/// `scale` digits behind it, and is stored without the point: in two's complement, the highest byte
/// first.
pub fn write_decimal(unscaled: &[u8], scale: u32, out: &mut Vec<u8>) -> Written {
    if unscaled.len() > DECIMAL_BYTES_MAX || scale > DECIMAL_DIGITS_MAX {
        write_base64(unscaled, out);
        return Err(Unwritable::OutOfRange);
    }
    write_digits(&BigInt::from_signed_bytes_be(unscaled).to_string(), scale, out);
    Ok(())
}

/// Appends a decimal whose digits are known. `scale` is at most [`DECIMAL_DIGITS_MAX`].
pub(crate) fn write_digits(unscaled: &str, scale: u32, out: &mut Vec<u8>) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    out.extend_from_slice(sign.as_bytes());
    let scale = scale as usize;
    if scale == 0 {
        return out.extend_from_slice(digits.as_bytes());
    }
    let zeros = (scale + 1).saturating_sub(digits.len());
    let digits = format!("{}{digits}", "0".repeat(zeros));
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    out.push(b'.');
    out.extend_from_slice(fraction.as_bytes());
}

/// Appends a date of days since the epoch.
pub fn write_date(days: i32, out: &mut Vec<u8>) -> Written {
    if !date_has_text(days) {
        write_integer(i128::from(days), out);
        return Err(Unwritable::OutOfRange);
    }
    push_date(days, out);
    Ok(())
}

/// Appends a time of day, of which there are so many parts of a second.
pub fn write_time(value: i64, unit: Unit, out: &mut Vec<u8>) -> Written {
    if !(0..DAY_NANOS / unit.nanos()).contains(&value) {
        write_integer(i128::from(value), out);
        return Err(Unwritable::OutOfRange);
    }
    let nanos = value * unit.nanos();
    let seconds = nanos / 1_000_000_000;
    let [hour, minute, second] = [seconds / 3600, seconds / 60 % 60, seconds % 60];
    out.extend_from_slice(format!("\"{hour:02}:{minute:02}:{second:02}").as_bytes());
    push_fraction(nanos % 1_000_000_000, out);
    out.push(b'"');
    Ok(())
}

/// Appends a timestamp of so many parts of a second since the epoch, by RFC 3339; without a zone
/// where it has none.
pub fn write_instant(value: i64, unit: Unit, utc: bool, out: &mut Vec<u8>) -> Written {
    let seconds = value.div_euclid(1_000_000_000 / unit.nanos());
    let fraction = value.rem_euclid(1_000_000_000 / unit.nanos()) * unit.nanos();
    write_seconds(seconds, fraction, utc, out)
}

/// The same, of seconds and nanoseconds.
pub(crate) fn write_seconds(seconds: i64, nanos: i64, utc: bool, out: &mut Vec<u8>) -> Written {
    let micros = seconds.checked_mul(1_000_000).filter(|micros| timestamp_has_text(*micros));
    let Some(micros) = micros else {
        write_integer(i128::from(seconds), out);
        return Err(Unwritable::OutOfRange);
    };
    write_timestamp(micros, TimestampFormat::Rfc3339, out);
    // The fraction goes before the zone and the quote.
    out.truncate(out.len() - 2);
    push_fraction(nanos, out);
    out.extend_from_slice(if utc { b"Z\"" } else { b"\"" });
    Ok(())
}

/// As many digits as are not zero, in groups of three, as the pipeline itself writes them.
fn push_fraction(nanos: i64, out: &mut Vec<u8>) {
    if nanos != 0 {
        let text = format!(".{nanos:09}");
        let groups = [nanos % 1_000_000 == 0, nanos % 1_000 == 0];
        let length = match groups {
            [true, _] => 4,
            [_, true] => 7,
            _ => 10,
        };
        out.extend_from_slice(&text.as_bytes()[..length]);
    }
}

/// Appends a UUID, of which there are 16 bytes.
pub fn write_uuid(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (at, byte) in value.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    out.push(b'"');
}

/// Appends months, days and milliseconds.
pub fn write_interval([months, days, millis]: [u32; 3], out: &mut Vec<u8>) {
    let text = format!("{{\"months\":{months},\"days\":{days},\"milliseconds\":{millis}}}");
    out.extend_from_slice(text.as_bytes());
}
