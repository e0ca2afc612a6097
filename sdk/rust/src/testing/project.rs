//! JSON values into columns, for tests.

use serde_json::Value;

use crate::{
    HostValue, Kind, Path, Segment, Timestamp, TimestampFormat,
    batch::Absence,
    reply::{Binary, Column, Values},
};

/// What lies at a path.
pub(super) fn at<'a>(record: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(record, |value, segment| match segment {
        Segment::Key(key) => value.as_object()?.get(key),
        Segment::Index(index) => value.as_array()?.get(*index as usize),
    })
}

/// What a host knows of a record of a test.
pub(super) fn host_value(value: HostValue, record: &Value, now: Timestamp) -> Option<Value> {
    match value {
        // No test should depend on which: any text of the right form will do.
        HostValue::RecordId => {
            let sum = record
                .to_string()
                .bytes()
                .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
            Some(Value::from(format!("{sum:064x}")))
        }
        HostValue::Partition | HostValue::Source => Some("test".into()),
        HostValue::Position => Some("0".into()),
        HostValue::PartitionKey => None,
        HostValue::ArrivalTime | HostValue::BatchTime => {
            jiff::Timestamp::from_microsecond(now.0).ok().map(|time| time.to_string().into())
        }
    }
}

/// The presence byte of a value as a kind.
pub(super) fn presence(value: Option<&Value>, kind: &Kind) -> u8 {
    push(&mut empty(kind), value, kind).err().map_or(0, |absence| absence as u8)
}

/// A column of values.
pub(super) fn column(kind: &Kind, cells: impl Iterator<Item = Option<Value>>) -> Column {
    let mut values = empty(kind);
    let presence: Vec<u8> = cells
        .map(|cell| match push(&mut values, cell.as_ref(), kind) {
            Ok(()) => 0,
            Err(absence) => {
                push_nothing(&mut values);
                absence as u8
            }
        })
        .collect();
    let full = presence.iter().all(|byte| *byte == 0);
    Column { values, presence: if full { Vec::new() } else { presence } }
}

fn empty(kind: &Kind) -> Values {
    match kind {
        Kind::Boolean => Values::Boolean(Vec::new()),
        Kind::Int64 => Values::Int64(Vec::new()),
        Kind::Float64 => Values::Float64(Vec::new()),
        Kind::Timestamp(_) => Values::Timestamp(Vec::new()),
        Kind::Date => Values::Date(Vec::new()),
        Kind::Utf8 => Values::Utf8(Binary::with_capacity(0, 0)),
        Kind::Enumeration(_) => Values::Enumeration(Vec::new()),
        Kind::Json => Values::Json(Binary::with_capacity(0, 0)),
    }
}

fn push_nothing(values: &mut Values) {
    match values {
        Values::Boolean(values) => values.push(0),
        Values::Int64(values) | Values::Timestamp(values) => values.push(0),
        Values::Float64(values) => values.push(0.0),
        Values::Date(values) => values.push(0),
        Values::Utf8(texts) | Values::Json(texts) => texts.push(b""),
        Values::Enumeration(codes) => codes.push(0),
    }
}

fn push(values: &mut Values, value: Option<&Value>, kind: &Kind) -> Result<(), Absence> {
    let value = value.ok_or(Absence::Missing)?;
    if value.is_null() {
        return Err(Absence::Null);
    }
    let text = || value.as_str().ok_or(Absence::OtherType);
    match (values, kind) {
        (Values::Boolean(values), _) => {
            values.push(u8::from(value.as_bool().ok_or(Absence::OtherType)?));
        }
        (Values::Int64(values), _) => {
            let number = value.as_number().ok_or(Absence::OtherType)?;
            values.push(match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole,
                (None, Some(float)) if float.fract() != 0.0 => return Err(Absence::Malformed),
                (None, Some(float)) if float.abs() < 9e18 => float as i64,
                _ => return Err(Absence::OutOfRange),
            });
        }
        (Values::Float64(values), _) => values.push(value.as_f64().ok_or(Absence::OtherType)?),
        (Values::Timestamp(values), Kind::Timestamp(TimestampFormat::Rfc3339)) => {
            let time: jiff::Timestamp = text()?.parse().map_err(|_| Absence::Malformed)?;
            values.push(time.as_microsecond());
        }
        (Values::Timestamp(values), Kind::Timestamp(format)) => {
            let number = value.as_f64().ok_or(Absence::OtherType)?;
            values.push((number * microseconds_in(*format) as f64) as i64);
        }
        (Values::Date(values), _) => {
            let date: jiff::civil::Date = text()?.parse().map_err(|_| Absence::Malformed)?;
            let epoch = jiff::civil::date(1970, 1, 1);
            values.push(epoch.until(date).map_err(|_| Absence::OutOfRange)?.get_days());
        }
        (Values::Utf8(texts), _) => texts.push(text()?.as_bytes()),
        (Values::Json(texts), _) => texts.push(value.to_string().as_bytes()),
        (Values::Enumeration(codes), Kind::Enumeration(labels)) => {
            let text = text()?;
            let code = labels.iter().position(|label| label == text).ok_or(Absence::OutOfRange)?;
            codes.push(code as u32);
        }
        (Values::Enumeration(_) | Values::Timestamp(_), _) => {
            unreachable!("the column was made for the kind")
        }
    }
    Ok(())
}

/// Microseconds in the unit of a format.
pub(super) fn microseconds_in(format: TimestampFormat) -> i64 {
    match format {
        TimestampFormat::Rfc3339 | TimestampFormat::UnixSeconds => Timestamp::SECOND,
        TimestampFormat::UnixMilliseconds => 1_000,
        TimestampFormat::UnixMicroseconds => 1,
    }
}
