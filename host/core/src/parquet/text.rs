//! Values as JSON: what each type of a column becomes. `docs/parquet.md` has the table.

use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType},
    data_type::Int96,
    schema::types::ColumnDescriptor,
};

use super::ReadError;
pub(super) use crate::json::typed::Unwritable;
use crate::json::{
    Validator,
    typed::{self, DECIMAL_DIGITS_MAX, Unit, Written},
};

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

/// The code of a row with such a value.
pub(super) fn code(why: Unwritable) -> &'static str {
    match why {
        Unwritable::NotFinite => "parquet-not-finite",
        Unwritable::InvalidUtf8 => "parquet-invalid-utf8",
        Unwritable::InvalidJson => "parquet-invalid-json",
        Unwritable::OutOfRange => "parquet-out-of-range",
    }
}

fn unit_of(unit: TimeUnit) -> Unit {
    match unit {
        TimeUnit::MILLIS => Unit::Millis,
        TimeUnit::MICROS => Unit::Micros,
        TimeUnit::NANOS => Unit::Nanos,
    }
}

impl Text {
    /// By a column's type. The newer annotation counts where there are both.
    pub(super) fn of(column: &ColumnDescriptor) -> Result<Self, ReadError> {
        let physical = column.physical_type();
        let decimal = |scale: i32| match u32::try_from(scale) {
            Ok(scale) if scale <= DECIMAL_DIGITS_MAX => Ok(Text::Decimal { scale }),
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
                Text::Time { unit: unit_of(it.unit) }
            }
            (None, ConvertedType::TIME_MILLIS, PhysicalType::INT32) => {
                Text::Time { unit: Unit::Millis }
            }
            (None, ConvertedType::TIME_MICROS, PhysicalType::INT64) => {
                Text::Time { unit: Unit::Micros }
            }
            (Some(LogicalType::Timestamp(it)), _, PhysicalType::INT64) => {
                Text::Timestamp { unit: unit_of(it.unit), utc: it.is_adjusted_to_u_t_c }
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
            Text::Unsigned => {
                typed::write_integer(i128::from(value.cast_unsigned()), out);
                Ok(())
            }
            Text::Date => typed::write_date(value, out),
            _ => self.write_int64(i64::from(value), out),
        }
    }

    /// Appends a whole number of 64 bits.
    pub(super) fn write_int64(self, value: i64, out: &mut Vec<u8>) -> Written {
        match self {
            Text::Unsigned => typed::write_integer(i128::from(value.cast_unsigned()), out),
            Text::Decimal { scale } => typed::write_digits(&value.to_string(), scale, out),
            Text::Time { unit } => return typed::write_time(value, unit, out),
            Text::Timestamp { unit, utc } => return typed::write_instant(value, unit, utc, out),
            _ => typed::write_integer(i128::from(value), out),
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
        typed::write_seconds(seconds, of_day % 1_000_000_000, true, out)
    }

    /// Appends a value of bytes.
    pub(super) fn write_bytes(
        self,
        value: &[u8],
        validator: &mut Validator,
        out: &mut Vec<u8>,
    ) -> Written {
        match self {
            Text::Utf8 => return typed::write_utf8(value, out),
            Text::Json if validator.validate(value).is_ok() => {
                out.extend_from_slice(value.trim_ascii());
            }
            Text::Json => {
                typed::write_base64(value, out);
                return Err(Unwritable::InvalidJson);
            }
            Text::Decimal { scale } => return typed::write_decimal(value, scale, out),
            Text::Half if value.len() == 2 => {
                let value = half::f16::from_le_bytes([value[0], value[1]]);
                return typed::write_float32(value.to_f32(), out);
            }
            Text::Uuid if value.len() == 16 => typed::write_uuid(value, out),
            Text::Interval if value.len() == 12 => {
                let part = |at: usize| {
                    u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
                };
                typed::write_interval([part(0), part(4), part(8)], out);
            }
            _ => typed::write_base64(value, out),
        }
        Ok(())
    }
}
