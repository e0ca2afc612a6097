//! Values as JSON: what each type of a column becomes. `docs/parquet.md` has the table.

use base64::{Engine, prelude::BASE64_STANDARD};
use num_bigint::BigInt;
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType},
    data_type::Int96,
    schema::types::ColumnDescriptor,
};

use super::ReadError;
use crate::{
    description::TimestampFormat,
    json::{self, Validator, date_has_text, timestamp_has_text},
};

/// No decimal has more digits in any format that columns come from.
const SCALE_MAX: i32 = 76;

/// As many bytes hold so many digits.
const DECIMAL_BYTES_MAX: usize = 32;

/// The days from the first one of Int96's calendar to the epoch.
const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;

const DAY_NANOS: i64 = 86_400_000_000_000;

/// What a column's values become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// A boolean, a number or a text, as it stands.
    Plain,
    Unsigned,
    Half,
    Decimal {
        scale: u32,
    },
    Date,
    Time {
        unit: Unit,
    },
    Timestamp {
        unit: Unit,
        utc: bool,
    },
    Utf8,
    Json,
    Uuid,
    Interval,
    Base64,
}

/// A part of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
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

    fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        }
    }
}

/// A value that is no JSON. What was written in its place is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritable {
    NotFinite,
    InvalidUtf8,
    InvalidJson,
    OutOfRange,
}

impl Unwritable {
    pub(super) fn code(self) -> &'static str {
        match self {
            Unwritable::NotFinite => "parquet-not-finite",
            Unwritable::InvalidUtf8 => "parquet-invalid-utf8",
            Unwritable::InvalidJson => "parquet-invalid-json",
            Unwritable::OutOfRange => "parquet-out-of-range",
        }
    }

    pub(super) fn message(self, column: &str) -> String {
        match self {
            Unwritable::NotFinite => format!(
                "`{column}` is not a finite number, which JSON has no text for: `not_finite: \
                 as_null` takes such a value for none"
            ),
            Unwritable::InvalidUtf8 => format!("`{column}` is declared a text, and is not UTF-8"),
            Unwritable::InvalidJson => format!("`{column}` is declared JSON, and is none"),
            Unwritable::OutOfRange => format!(
                "`{column}` has no text: a year is from 0 to 9999, a time of day within a day, and \
                 a decimal has at most {SCALE_MAX} digits"
            ),
        }
    }
}

type Written = Result<(), Unwritable>;

impl Text {
    /// By a column's type. The newer annotation counts where there are both.
    pub(super) fn of(column: &ColumnDescriptor) -> Result<Self, ReadError> {
        let physical = column.physical_type();
        let decimal = |scale: i32| match u32::try_from(scale) {
            Ok(scale) if scale <= SCALE_MAX as u32 => Ok(Text::Decimal { scale }),
            _ => {
                let detail = format!("`{}` is a decimal of scale {scale}", column.path());
                Err(ReadError::Schema { detail })
            }
        };
        let text = match (column.logical_type_ref(), column.converted_type(), physical) {
            (Some(LogicalType::Decimal(it)), _, _) => decimal(it.scale)?,
            (None, ConvertedType::DECIMAL, _) => decimal(column.type_scale())?,
            (Some(LogicalType::Integer(it)), _, PhysicalType::INT32 | PhysicalType::INT64)
                if !it.is_signed =>
            {
                Text::Unsigned
            }
            (
                None,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
                PhysicalType::INT32 | PhysicalType::INT64,
            ) => Text::Unsigned,
            (Some(LogicalType::Date), _, PhysicalType::INT32)
            | (None, ConvertedType::DATE, PhysicalType::INT32) => Text::Date,
            (Some(LogicalType::Time(it)), _, PhysicalType::INT32 | PhysicalType::INT64) => {
                Text::Time { unit: Unit::of(it.unit) }
            }
            (None, ConvertedType::TIME_MILLIS, PhysicalType::INT32) => {
                Text::Time { unit: Unit::Millis }
            }
            (None, ConvertedType::TIME_MICROS, PhysicalType::INT64) => {
                Text::Time { unit: Unit::Micros }
            }
            (Some(LogicalType::Timestamp(it)), _, PhysicalType::INT64) => {
                Text::Timestamp { unit: Unit::of(it.unit), utc: it.is_adjusted_to_u_t_c }
            }
            (None, ConvertedType::TIMESTAMP_MILLIS, PhysicalType::INT64) => {
                Text::Timestamp { unit: Unit::Millis, utc: true }
            }
            (None, ConvertedType::TIMESTAMP_MICROS, PhysicalType::INT64) => {
                Text::Timestamp { unit: Unit::Micros, utc: true }
            }
            // Not in use but for this, and always in UTC where its writers say what it is.
            (_, _, PhysicalType::INT96) => Text::Timestamp { unit: Unit::Nanos, utc: true },
            (Some(LogicalType::String | LogicalType::Enum), _, PhysicalType::BYTE_ARRAY)
            | (None, ConvertedType::UTF8 | ConvertedType::ENUM, PhysicalType::BYTE_ARRAY) => {
                Text::Utf8
            }
            (Some(LogicalType::Json), _, PhysicalType::BYTE_ARRAY)
            | (None, ConvertedType::JSON, PhysicalType::BYTE_ARRAY) => Text::Json,
            (Some(LogicalType::Uuid), _, PhysicalType::FIXED_LEN_BYTE_ARRAY) => Text::Uuid,
            (Some(LogicalType::Float16), _, PhysicalType::FIXED_LEN_BYTE_ARRAY) => Text::Half,
            (None, ConvertedType::INTERVAL, PhysicalType::FIXED_LEN_BYTE_ARRAY) => Text::Interval,
            (_, _, PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY) => Text::Base64,
            _ => Text::Plain,
        };
        Ok(text)
    }

    /// Appends a whole number of 32 bits.
    pub(super) fn write_int32(self, value: i32, out: &mut Vec<u8>) -> Written {
        match self {
            Text::Unsigned => self.write_integer(i128::from(value.cast_unsigned()), out),
            Text::Date if date_has_text(value) => {
                json::write_date(value, out);
                Ok(())
            }
            _ => self.write_integer(i128::from(value), out),
        }
    }

    /// Appends a whole number of 64 bits.
    pub(super) fn write_int64(self, value: i64, out: &mut Vec<u8>) -> Written {
        match self {
            Text::Unsigned => self.write_integer(i128::from(value.cast_unsigned()), out),
            _ => self.write_integer(i128::from(value), out),
        }
    }

    fn write_integer(self, value: i128, out: &mut Vec<u8>) -> Written {
        let whole = i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Text::Decimal { scale } => push_decimal(&value.to_string(), scale, out),
            Text::Time { unit } if (0..DAY_NANOS / unit.nanos()).contains(&whole) => {
                push_time(whole * unit.nanos(), out);
            }
            Text::Timestamp { unit, utc } => {
                let seconds = whole.div_euclid(1_000_000_000 / unit.nanos());
                let fraction = whole.rem_euclid(1_000_000_000 / unit.nanos()) * unit.nanos();
                return write_timestamp(seconds, fraction, utc, out);
            }
            _ => {
                out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                // Dates and times come here only if they have no text.
                if matches!(self, Text::Date | Text::Time { .. }) {
                    return Err(Unwritable::OutOfRange);
                }
            }
        }
        Ok(())
    }

    /// Appends a timestamp of the oldest kind.
    pub(super) fn write_int96(value: &Int96, out: &mut Vec<u8>) -> Written {
        let [low, high, day] = *value.data() else {
            out.extend_from_slice(b"null");
            return Err(Unwritable::OutOfRange);
        };
        let nanos = i64::from_le_bytes((u64::from(low) | (u64::from(high) << 32)).to_le_bytes());
        let days = i64::from(day) - JULIAN_DAY_OF_EPOCH + nanos.div_euclid(DAY_NANOS);
        let of_day = nanos.rem_euclid(DAY_NANOS);
        let seconds = days * 86_400 + of_day / 1_000_000_000;
        write_timestamp(seconds, of_day % 1_000_000_000, true, out)
    }

    /// Appends a value of bytes.
    pub(super) fn write_bytes(
        self,
        value: &[u8],
        validator: &mut Validator,
        out: &mut Vec<u8>,
    ) -> Written {
        match self {
            Text::Utf8 if simdutf8::basic::from_utf8(value).is_ok() => {
                json::write_string(value, out);
            }
            Text::Json if validator.validate(value).is_ok() => {
                out.extend_from_slice(value.trim_ascii());
            }
            Text::Decimal { scale } if value.len() <= DECIMAL_BYTES_MAX => {
                push_decimal(&BigInt::from_signed_bytes_be(value).to_string(), scale, out);
            }
            Text::Uuid if value.len() == 16 => push_uuid(value, out),
            Text::Interval if value.len() == 12 => push_interval(value, out),
            Text::Half if value.len() == 2 => {
                let value = half::f16::from_le_bytes([value[0], value[1]]);
                return write_float32(value.to_f32(), out);
            }
            _ => {
                out.push(b'"');
                out.extend_from_slice(BASE64_STANDARD.encode(value).as_bytes());
                out.push(b'"');
                return match self {
                    Text::Utf8 => Err(Unwritable::InvalidUtf8),
                    Text::Json => Err(Unwritable::InvalidJson),
                    Text::Decimal { .. } => Err(Unwritable::OutOfRange),
                    _ => Ok(()),
                };
            }
        }
        Ok(())
    }
}

/// Appends a float of 32 bits: the shortest decimal that reads back as the same.
pub(super) fn write_float32(value: f32, out: &mut Vec<u8>) -> Written {
    if !value.is_finite() {
        return push_not_finite(f64::from(value), out);
    }
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    Ok(())
}

/// Appends a float of 64 bits.
pub(super) fn write_float64(value: f64, out: &mut Vec<u8>) -> Written {
    if !value.is_finite() {
        return push_not_finite(value, out);
    }
    json::write_float64(value, out);
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

/// Appends a decimal with all its digits, of which there are at least one before the point.
fn push_decimal(unscaled: &str, scale: u32, out: &mut Vec<u8>) {
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

/// Appends a time of day, of which there are as many nanoseconds.
fn push_time(nanos: i64, out: &mut Vec<u8>) {
    let seconds = nanos / 1_000_000_000;
    let [hour, minute, second] = [seconds / 3600, seconds / 60 % 60, seconds % 60];
    out.extend_from_slice(format!("\"{hour:02}:{minute:02}:{second:02}").as_bytes());
    push_fraction(nanos % 1_000_000_000, out);
    out.push(b'"');
}

/// A timestamp by RFC 3339; without a zone where it has none.
fn write_timestamp(seconds: i64, nanos: i64, utc: bool, out: &mut Vec<u8>) -> Written {
    let micros = seconds.checked_mul(1_000_000).filter(|micros| timestamp_has_text(*micros));
    let Some(micros) = micros else {
        out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
        return Err(Unwritable::OutOfRange);
    };
    json::write_timestamp(micros, TimestampFormat::Rfc3339, out);
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

fn push_uuid(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (at, byte) in value.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    out.push(b'"');
}

fn push_interval(value: &[u8], out: &mut Vec<u8>) {
    let part =
        |at: usize| u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
    let (months, days, millis) = (part(0), part(4), part(8));
    let text = format!("{{\"months\":{months},\"days\":{days},\"milliseconds\":{millis}}}");
    out.extend_from_slice(text.as_bytes());
}
