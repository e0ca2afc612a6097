//! Evaluation: each expression over a whole batch, one loop an operation.

use std::{borrow::Cow, fmt::Write};

use sha2::{Digest, Sha256};
use tidegate_plugin::{Batch, Date as Day, Timestamp, blocks};

use crate::{
    cells::{Cells, Texts, join},
    plan::{Boolean, Date, DatePart, Fold, Integer, Number, Text, Time, TimePart},
};

impl Number {
    pub(crate) fn eval<'a>(&self, batch: &Batch<'a>) -> Cells<'a, f64> {
        match self {
            Number::Read(read) => Cells::read(batch.float64(*read)),
            Number::Constant(value) => Cells::constant(*value, batch),
            Number::FirstOf(options) => first_of(options, |option| option.eval(batch)),
            Number::OfInteger(value) => value.eval(batch).map(|value| value as f64),
            Number::Fold(fold, operands) => fold_numbers(*fold, operands, batch),
            Number::Divide(pair) => {
                let mut quotient = pair[0].eval(batch);
                combine(&mut quotient, &pair[1], batch, |dividend, divisor| dividend / divisor);
                quotient.lose_infinite()
            }
            Number::Absolute(value) => value.eval(batch).map(f64::abs),
            Number::Round(value, scale) => value.eval(batch).map(|value| {
                let rounded = (value * scale).round() / scale;
                // A number so great that it has no decimals may not survive the scaling.
                if rounded.is_finite() { rounded } else { value }
            }),
            Number::SecondsBetween(pair) => {
                let mut from = pair[0].eval(batch);
                from.combine(pair[1].eval(batch), |from, to| to.saturating_sub(from));
                from.map(|microseconds| microseconds as f64 / Timestamp::SECOND as f64)
            }
        }
    }
}

/// Operands that are constants are no columns.
fn combine<'a>(
    column: &mut Cells<'a, f64>,
    operand: &Number,
    batch: &Batch<'a>,
    f: impl Fn(f64, f64) -> f64,
) {
    match operand {
        Number::Constant(constant) => {
            blocks::update(column.values.to_mut(), |value| f(value, *constant));
        }
        operand => column.combine(operand.eval(batch), f),
    }
}

fn fold_numbers<'a>(fold: Fold, operands: &[Number], batch: &Batch<'a>) -> Cells<'a, f64> {
    let Some((first, rest)) = operands.split_first() else { return Cells::constant(0.0, batch) };
    let mut result = first.eval(batch);
    for operand in rest {
        match fold {
            Fold::Add => combine(&mut result, operand, batch, |a, b| a + b),
            Fold::Subtract => combine(&mut result, operand, batch, |a, b| a - b),
            Fold::Multiply => combine(&mut result, operand, batch, |a, b| a * b),
            Fold::Remainder => combine(&mut result, operand, batch, |a, b| a % b),
            Fold::Min => combine(&mut result, operand, batch, |a, b| if b < a { b } else { a }),
            Fold::Max => combine(&mut result, operand, batch, |a, b| if b > a { b } else { a }),
        }
    }
    result.lose_infinite()
}

impl Integer {
    pub(crate) fn eval<'a>(&self, batch: &Batch<'a>) -> Cells<'a, i64> {
        match self {
            Integer::Read(read) => Cells::read(batch.int64(*read)),
            Integer::Constant(value) => Cells::constant(*value, batch),
            Integer::FirstOf(options) => first_of(options, |option| option.eval(batch)),
            Integer::Fold(fold, operands) => fold_integers(*fold, operands, batch),
            Integer::Absolute(value) => value.eval(batch).try_map(i64::checked_abs),
            Integer::Floor(value) => value.eval(batch).try_map(|value| whole(value.floor())),
            Integer::Ceiling(value) => value.eval(batch).try_map(|value| whole(value.ceil())),
            Integer::PartOfTime(part, time) => {
                let mut midnight = Midnight::default();
                let mut second = |time| midnight.since(time) / Timestamp::SECOND;
                let times = time.eval(batch);
                // A loop each: what a closure does inside of one is not called.
                match part {
                    TimePart::Hour => times.map(|time| second(time) / 3600),
                    TimePart::Minute => times.map(|time| second(time) / 60 % 60),
                    TimePart::Second => times.map(|time| second(time) % 60),
                }
            }
            Integer::PartOfDate(part, date) => date.eval(batch).map(once_a_day(part.function())),
            Integer::Length(text) => text.eval(batch).measure(|text| text.chars().count() as i64),
        }
    }
}

/// Overflow is a failure, not a wrong number.
fn fold_integers<'a>(fold: Fold, operands: &[Integer], batch: &Batch<'a>) -> Cells<'a, i64> {
    let Some((first, rest)) = operands.split_first() else { return Cells::constant(0, batch) };
    let step = match fold {
        Fold::Add => i64::checked_add,
        Fold::Subtract => i64::checked_sub,
        Fold::Multiply => i64::checked_mul,
        Fold::Remainder => i64::checked_rem,
        Fold::Min => |a: i64, b: i64| Some(a.min(b)),
        Fold::Max => |a: i64, b: i64| Some(a.max(b)),
    };
    let mut result = first.eval(batch).map(Some);
    for operand in rest {
        result.combine(operand.eval(batch), |result, operand| step(result?, operand));
    }
    result.try_map(|value| value)
}

fn whole(value: f64) -> Option<i64> {
    // 2^63 is exact as a float, and the first that is no i64.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (-LIMIT..LIMIT).contains(&value).then_some(value as i64)
}

impl DatePart {
    fn function(self) -> fn(Day) -> i64 {
        match self {
            DatePart::Year => |day| day.ymd().0.into(),
            DatePart::Quarter => |day| day.quarter().into(),
            DatePart::Month => |day| day.ymd().1.into(),
            DatePart::Day => |day| day.ymd().2.into(),
            DatePart::DayOfYear => |day| day.day_of_year().into(),
            DatePart::Weekday => |day| day.weekday().into(),
            DatePart::IsoWeek => |day| day.iso_week().1.into(),
            DatePart::IsoYear => |day| day.iso_week().0.into(),
        }
    }
}

/// What a function makes of each day, worked out where the day changes: neighbouring rows mostly
/// lie in one.
fn once_a_day<T: Copy>(of: impl Fn(Day) -> T) -> impl FnMut(i32) -> T {
    let mut known = (0, of(Day(0)));
    move |day| {
        if day != known.0 {
            known = (day, of(Day(day)));
        }
        known.1
    }
}

/// The day of the last time that was asked for: a comparison costs less than a division.
#[derive(Default)]
struct Midnight {
    day: Day,
    at: i64,
}

impl Midnight {
    /// Microseconds since midnight.
    #[inline]
    fn since(&mut self, time: i64) -> i64 {
        // Wraps around for a time before this midnight, and is then greater than any day.
        if time.wrapping_sub(self.at) as u64 >= Timestamp::DAY as u64 {
            self.day = Timestamp(time).date();
            self.at = time.wrapping_sub(time.rem_euclid(Timestamp::DAY));
        }
        time.wrapping_sub(self.at)
    }
}

impl Boolean {
    pub(crate) fn eval<'a>(&self, batch: &Batch<'a>) -> Cells<'a, u8> {
        match self {
            Boolean::Read(read) => Cells::read(batch.boolean(*read)),
            Boolean::Constant(value) => Cells::constant(u8::from(*value), batch),
            Boolean::FirstOf(options) => first_of(options, |option| option.eval(batch)),
            Boolean::IsWeekend(date) => {
                date.eval(batch).map(once_a_day(|day| u8::from(day.weekday() >= 6)))
            }
        }
    }
}

impl Time {
    pub(crate) fn eval<'a>(&self, batch: &Batch<'a>) -> Cells<'a, i64> {
        match self {
            Time::Read(read) => Cells::read(batch.timestamp(*read)),
            Time::FirstOf(options) => first_of(options, |option| option.eval(batch)),
        }
    }
}

impl Date {
    pub(crate) fn eval<'a>(&self, batch: &Batch<'a>) -> Cells<'a, i32> {
        match self {
            Date::Read(read) => Cells::read(batch.date(*read)),
            Date::FirstOf(options) => first_of(options, |option| option.eval(batch)),
            Date::Of(time) => {
                let mut midnight = Midnight::default();
                time.eval(batch).map(|time| {
                    midnight.since(time);
                    midnight.day.0
                })
            }
        }
    }
}

fn first_of<'a, E, T: Copy + Default>(
    options: &[E],
    mut eval: impl FnMut(&E) -> Cells<'a, T>,
) -> Cells<'a, T> {
    let mut options = options.iter();
    let first = options.next().map(&mut eval);
    let mut result = first.expect("a plan has no operation without operands");
    for option in options {
        if result.absent.iter().all(|absence| *absence == 0) {
            break;
        }
        result.or(eval(option));
    }
    result
}

impl Text {
    pub(crate) fn eval<'a>(&self, batch: &Batch<'a>) -> Texts<'a> {
        match self {
            Text::Read(read) => Texts::read(batch.utf8(*read)),
            Text::Constant(constant) => {
                let bytes = constant.len() * batch.rows;
                let push = |_, text: &mut String| append(text, constant);
                Texts::build(batch.rows, bytes, Cow::default(), push)
            }
            Text::FirstOf(options) => {
                let options: Vec<_> = options.iter().map(|option| option.eval(batch)).collect();
                Texts::build(batch.rows, 0, Cow::default(), |row, text| {
                    match options.iter().find(|option| option.has(row)) {
                        Some(option) => append(text, option.get(row)),
                        None => false,
                    }
                })
            }
            Text::OfNumber(value) => displayed(value.eval(batch), |value| value),
            Text::OfInteger(value) => displayed(value.eval(batch), |value| value),
            Text::OfBoolean(value) => displayed(value.eval(batch), |value| value != 0),
            Text::OfDate(value) => {
                let Cells { values, absent } = value.eval(batch);
                Texts::build(batch.rows, 10 * batch.rows, absent, |row, text| {
                    let (year, month, day) = Day(values[row]).ymd();
                    write!(text, "{year:04}-{month:02}-{day:02}").is_ok()
                })
            }
            Text::Upper(value) => value.eval(batch).map(|value, text| {
                let start = text.len();
                match value.is_ascii() {
                    true => text.push_str(value),
                    false => return append(text, &value.to_uppercase()),
                }
                text[start..].make_ascii_uppercase();
                true
            }),
            Text::Lower(value) => value.eval(batch).map(|value, text| {
                let start = text.len();
                match value.is_ascii() {
                    true => text.push_str(value),
                    false => return append(text, &value.to_lowercase()),
                }
                text[start..].make_ascii_lowercase();
                true
            }),
            Text::Trim(value) => value.eval(batch).map(|value, text| append(text, value.trim())),
            Text::Concat(parts) => {
                let mut parts: Vec<_> = parts.iter().map(|part| part.eval(batch)).collect();
                let mut absent = Cow::default();
                for part in &mut parts {
                    join(&mut absent, std::mem::take(&mut part.absent));
                }
                Texts::build(batch.rows, 16 * batch.rows, absent, |row, text| {
                    parts.iter().for_each(|part| text.push_str(part.get(row)));
                    true
                })
            }
            Text::Substring { value, start, length } => {
                value.eval(batch).map(|value, text| append(text, substring(value, *start, *length)))
            }
            Text::Replace { value, find, with } => value.eval(batch).map(|value, text| {
                let mut pieces = value.split(&**find);
                text.push_str(pieces.next().unwrap_or_default());
                for piece in pieces {
                    text.push_str(with);
                    text.push_str(piece);
                }
                true
            }),
            Text::Split { value, by, index } => {
                value.eval(batch).map(|value, text| match value.split(&**by).nth(*index) {
                    Some(piece) => append(text, piece),
                    None => false,
                })
            }
            Text::Sha256(value) => value.eval(batch).map(|value, text| {
                Sha256::digest(value.as_bytes()).iter().for_each(|byte| push_hex(*byte, text));
                true
            }),
            Text::Crc32(value) => value.eval(batch).map(|value, text| {
                let sum = crc32fast::hash(value.as_bytes()).to_be_bytes();
                sum.iter().for_each(|byte| push_hex(*byte, text));
                true
            }),
        }
    }
}

fn append(text: &mut String, part: &str) -> bool {
    text.push_str(part);
    true
}

fn displayed<'a, T: Copy + Default, D: std::fmt::Display>(
    cells: Cells<'a, T>,
    shown: impl Fn(T) -> D,
) -> Texts<'a> {
    let Cells { values, absent } = cells;
    Texts::build(values.len(), 8 * values.len(), absent, |row, text| {
        write!(text, "{}", shown(values[row])).is_ok()
    })
}

fn substring(value: &str, start: usize, length: usize) -> &str {
    if value.is_ascii() {
        let start = start.min(value.len());
        return &value[start..start + length.min(value.len() - start)];
    }
    let at = |text: &str, n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let tail = &value[at(value, start)..];
    &tail[..at(tail, length)]
}

fn push_hex(byte: u8, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}
