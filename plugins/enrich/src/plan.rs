//! From expressions as written to typed ones over columns.
//!
//! Types are settled here, once: an expression of each type has a Rust type of its own, so that
//! evaluation has nothing left to check.

use tidegate_plugin::{
    ConfigError, Description, HostValue, Kind, Lookup, Origin, Path, Read, TimestampFormat,
};

use crate::config::{self, Constant, Expression, LookupType, Replace, Round, Split, Substring};

/// An expression, by the type of its values.
#[derive(Debug)]
pub(crate) enum Typed {
    Number(Number),
    Integer(Integer),
    Text(Text),
    Boolean(Boolean),
    Time(Time),
    Date(Date),
}

/// A float.
#[derive(Debug)]
pub(crate) enum Number {
    Read(usize),
    Constant(f64),
    FirstOf(Vec<Number>),
    OfInteger(Box<Integer>),
    Fold(Fold, Vec<Number>),
    Divide(Box<[Number; 2]>),
    Absolute(Box<Number>),
    Round(Box<Number>, f64),
    SecondsBetween(Box<[Time; 2]>),
}

/// An integer of 64 bits.
#[derive(Debug)]
pub(crate) enum Integer {
    Read(usize),
    Constant(i64),
    FirstOf(Vec<Integer>),
    Fold(Fold, Vec<Integer>),
    Absolute(Box<Integer>),
    Floor(Box<Number>),
    Ceiling(Box<Number>),
    PartOfTime(TimePart, Box<Time>),
    PartOfDate(DatePart, Box<Date>),
    Length(Box<Text>),
}

/// An operation that takes one operand after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fold {
    Add,
    Subtract,
    Multiply,
    Remainder,
    Min,
    Max,
}

/// A part of a timestamp that a date lacks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TimePart {
    Hour,
    Minute,
    Second,
}

/// A part of a date.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DatePart {
    Year,
    Quarter,
    Month,
    Day,
    DayOfYear,
    Weekday,
    IsoWeek,
    IsoYear,
}

/// A text.
#[derive(Debug)]
pub(crate) enum Text {
    Read(usize),
    Constant(String),
    FirstOf(Vec<Text>),
    OfNumber(Box<Number>),
    OfInteger(Box<Integer>),
    OfBoolean(Box<Boolean>),
    OfDate(Box<Date>),
    Upper(Box<Text>),
    Lower(Box<Text>),
    Trim(Box<Text>),
    Concat(Vec<Text>),
    Substring { value: Box<Text>, start: usize, length: usize },
    Replace { value: Box<Text>, find: String, with: String },
    Split { value: Box<Text>, by: String, index: usize },
    Sha256(Box<Text>),
    Crc32(Box<Text>),
}

/// `true` or `false`.
#[derive(Debug)]
pub(crate) enum Boolean {
    Read(usize),
    Constant(bool),
    FirstOf(Vec<Boolean>),
    IsWeekend(Box<Date>),
}

/// A point in time.
#[derive(Debug)]
pub(crate) enum Time {
    Read(usize),
    FirstOf(Vec<Time>),
}

/// A day.
#[derive(Debug)]
pub(crate) enum Date {
    Read(usize),
    FirstOf(Vec<Date>),
    Of(Box<Time>),
}

impl Typed {
    /// The kind of a column of it.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Typed::Number(_) => Kind::Float64,
            Typed::Integer(_) => Kind::Int64,
            // The same text in every row crosses the border as a code.
            Typed::Text(Text::Constant(text)) => Kind::Enumeration(vec![text.clone()]),
            Typed::Text(_) => Kind::Utf8,
            Typed::Boolean(_) => Kind::Boolean,
            Typed::Time(_) => Kind::Timestamp(TimestampFormat::Rfc3339),
            Typed::Date(_) => Kind::Date,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Typed::Number(_) => "a number",
            Typed::Integer(_) => "an integer",
            Typed::Text(_) => "a text",
            Typed::Boolean(_) => "a boolean",
            Typed::Time(_) => "a timestamp",
            Typed::Date(_) => "a date",
        }
    }
}

/// Types expressions and collects what they read.
pub(crate) struct Planner<'a> {
    pub(crate) description: &'a mut Description,
    /// The look-ups of the field at hand that have a default: the read, and its type.
    pub(crate) defaulted: Vec<(usize, LookupType)>,
}

type Result<T> = std::result::Result<T, ConfigError>;

impl Planner<'_> {
    /// Types the expression at a JSON Pointer into the config.
    pub(crate) fn typed(&mut self, expression: Expression, at: &str) -> Result<Typed> {
        use Expression as E;
        let inside = |operation: &str| format!("{at}/{operation}");
        Ok(match expression {
            E::Number(path) => Typed::Number(Number::Read(self.field(path, Kind::Float64))),
            E::Integer(path) => Typed::Integer(Integer::Read(self.field(path, Kind::Int64))),
            E::Text(path) => Typed::Text(Text::Read(self.field(path, Kind::Utf8))),
            E::Boolean(path) => Typed::Boolean(Boolean::Read(self.field(path, Kind::Boolean))),
            E::Date(path) => Typed::Date(Date::Read(self.field(path, Kind::Date))),
            E::Timestamp(path) => self.time(path, TimestampFormat::Rfc3339),
            E::UnixSeconds(path) => self.time(path, TimestampFormat::UnixSeconds),
            E::UnixMilliseconds(path) => self.time(path, TimestampFormat::UnixMilliseconds),
            E::UnixMicroseconds(path) => self.time(path, TimestampFormat::UnixMicroseconds),
            E::Host(name) => match HostValue::named(&name) {
                Some(value @ (HostValue::ArrivalTime | HostValue::BatchTime)) => {
                    Typed::Time(Time::Read(self.description.read(Read::host(value))))
                }
                Some(value) => Typed::Text(Text::Read(self.description.read(Read::host(value)))),
                None => {
                    let known: Vec<_> = HostValue::ALL.iter().map(|value| value.name()).collect();
                    let why = format!("`{name}` is none of {}", known.join(", "));
                    return Err(ConfigError::at(inside("host"), why));
                }
            },
            E::Constant(Constant::Boolean(value)) => Typed::Boolean(Boolean::Constant(value)),
            E::Constant(Constant::Integer(value)) => Typed::Integer(Integer::Constant(value)),
            E::Constant(Constant::Number(value)) => Typed::Number(Number::Constant(value)),
            E::Constant(Constant::Text(value)) => Typed::Text(Text::Constant(value)),
            E::Lookup(lookup) => self.lookup(*lookup, &inside("lookup"))?,
            E::FirstOf(options) => self.first_of(options, &inside("first_of"))?,

            E::Add(operands) => self.fold(Fold::Add, operands, &inside("add"))?,
            E::Subtract(pair) => self.fold(Fold::Subtract, *pair, &inside("subtract"))?,
            E::Multiply(operands) => self.fold(Fold::Multiply, operands, &inside("multiply"))?,
            E::Remainder(pair) => self.fold(Fold::Remainder, *pair, &inside("remainder"))?,
            E::Min(operands) => self.fold(Fold::Min, operands, &inside("min"))?,
            E::Max(operands) => self.fold(Fold::Max, operands, &inside("max"))?,
            E::Divide(pair) => {
                let at = inside("divide");
                let [dividend, divisor] = *pair;
                let dividend = self.number(dividend, &format!("{at}/0"))?;
                let divisor = self.number(divisor, &format!("{at}/1"))?;
                Typed::Number(Number::Divide(Box::new([dividend, divisor])))
            }
            E::Absolute(value) => match self.typed(*value, &inside("absolute"))? {
                Typed::Integer(value) => Typed::Integer(Integer::Absolute(value.into())),
                other => {
                    let value = number(other, &inside("absolute"))?;
                    Typed::Number(Number::Absolute(value.into()))
                }
            },
            E::Round(round) => {
                let Round { value, decimals } = *round;
                if decimals > 15 {
                    let why = "a number has at most 15 exact decimals";
                    return Err(ConfigError::at(inside("round/decimals"), why));
                }
                let value = self.number(value, &inside("round/value"))?;
                let scale = (0..decimals).fold(1.0, |scale, _| scale * 10.0);
                Typed::Number(Number::Round(value.into(), scale))
            }
            E::Floor(value) => {
                Typed::Integer(Integer::Floor(self.number(*value, &inside("floor"))?.into()))
            }
            E::Ceiling(value) => {
                Typed::Integer(Integer::Ceiling(self.number(*value, &inside("ceiling"))?.into()))
            }

            E::DateOf(value) => Typed::Date(self.date(*value, &inside("date_of"))?),
            E::Year(value) => self.date_part(DatePart::Year, *value, &inside("year"))?,
            E::Quarter(value) => self.date_part(DatePart::Quarter, *value, &inside("quarter"))?,
            E::Month(value) => self.date_part(DatePart::Month, *value, &inside("month"))?,
            E::Day(value) => self.date_part(DatePart::Day, *value, &inside("day"))?,
            E::DayOfYear(value) => {
                self.date_part(DatePart::DayOfYear, *value, &inside("day_of_year"))?
            }
            E::Weekday(value) => self.date_part(DatePart::Weekday, *value, &inside("weekday"))?,
            E::IsoWeek(value) => self.date_part(DatePart::IsoWeek, *value, &inside("iso_week"))?,
            E::IsoYear(value) => self.date_part(DatePart::IsoYear, *value, &inside("iso_year"))?,
            E::IsWeekend(value) => {
                let date = self.date(*value, &inside("is_weekend"))?;
                Typed::Boolean(Boolean::IsWeekend(date.into()))
            }
            E::Hour(value) => self.time_part(TimePart::Hour, *value, &inside("hour"))?,
            E::Minute(value) => self.time_part(TimePart::Minute, *value, &inside("minute"))?,
            E::Second(value) => self.time_part(TimePart::Second, *value, &inside("second"))?,
            E::SecondsBetween(pair) => {
                let at = inside("seconds_between");
                let [from, to] = *pair;
                let from = time(self.typed(from, &format!("{at}/0"))?, &format!("{at}/0"))?;
                let to = time(self.typed(to, &format!("{at}/1"))?, &format!("{at}/1"))?;
                Typed::Number(Number::SecondsBetween(Box::new([from, to])))
            }

            E::TextOf(value) => Typed::Text(match self.typed(*value, &inside("text_of"))? {
                Typed::Number(value) => Text::OfNumber(value.into()),
                Typed::Integer(value) => Text::OfInteger(value.into()),
                Typed::Boolean(value) => Text::OfBoolean(value.into()),
                Typed::Date(value) => Text::OfDate(value.into()),
                other => return Err(other.refused("a number, boolean or date", &inside("text_of"))),
            }),
            E::Upper(value) => {
                Typed::Text(Text::Upper(self.text(*value, &inside("upper"))?.into()))
            }
            E::Lower(value) => {
                Typed::Text(Text::Lower(self.text(*value, &inside("lower"))?.into()))
            }
            E::Trim(value) => Typed::Text(Text::Trim(self.text(*value, &inside("trim"))?.into())),
            E::Length(value) => {
                Typed::Integer(Integer::Length(self.text(*value, &inside("length"))?.into()))
            }
            E::Concat(values) => {
                let at = inside("concat");
                let texts = self.operands(values, &at)?.into_iter().enumerate();
                let texts = texts.map(|(i, value)| text(value, &format!("{at}/{i}")));
                Typed::Text(Text::Concat(texts.collect::<Result<_>>()?))
            }
            E::Substring(substring) => {
                let Substring { value, start, length } = *substring;
                let value = self.text(value, &inside("substring/value"))?.into();
                let length = length.map_or(usize::MAX, |length| length as usize);
                Typed::Text(Text::Substring { value, start: start as usize, length })
            }
            E::Replace(replace) => {
                let Replace { value, find, with } = *replace;
                let value = self.text(value, &inside("replace/value"))?.into();
                Typed::Text(Text::Replace {
                    value,
                    find: full(find, &inside("replace/find"))?,
                    with,
                })
            }
            E::Split(split) => {
                let Split { value, by, index } = *split;
                let value = self.text(value, &inside("split/value"))?.into();
                let by = full(by, &inside("split/by"))?;
                Typed::Text(Text::Split { value, by, index: index as usize })
            }
            E::Sha256(value) => {
                Typed::Text(Text::Sha256(self.text(*value, &inside("sha256"))?.into()))
            }
            E::Crc32(value) => {
                Typed::Text(Text::Crc32(self.text(*value, &inside("crc32"))?.into()))
            }
        })
    }

    fn lookup(&mut self, lookup: config::Lookup, at: &str) -> Result<Typed> {
        let config::Lookup { table, key, column, of, default } = lookup;
        if key.is_empty() {
            return Err(ConfigError::at(format!("{at}/key"), "a key has at least one field"));
        }
        let kind = match of {
            LookupType::Number => Kind::Float64,
            LookupType::Integer => Kind::Int64,
            LookupType::Text => Kind::Utf8,
            LookupType::Boolean => Kind::Boolean,
            LookupType::Date => Kind::Date,
            LookupType::Timestamp => Kind::Timestamp(TimestampFormat::Rfc3339),
        };
        let from = Origin::Lookup(Lookup { table, keys: key, column });
        let read = self.description.read(Read { from, kind, required: false });
        if default.is_some() {
            self.defaulted.push((read, of));
        }
        Ok(match (of, default) {
            (LookupType::Number, None) => Typed::Number(Number::Read(read)),
            (LookupType::Integer, None) => Typed::Integer(Integer::Read(read)),
            (LookupType::Text, None) => Typed::Text(Text::Read(read)),
            (LookupType::Boolean, None) => Typed::Boolean(Boolean::Read(read)),
            (LookupType::Date, None) => Typed::Date(Date::Read(read)),
            (LookupType::Timestamp, None) => Typed::Time(Time::Read(read)),
            (LookupType::Number, Some(Constant::Number(value))) => {
                Typed::Number(Number::FirstOf(vec![Number::Read(read), Number::Constant(value)]))
            }
            (LookupType::Number, Some(Constant::Integer(value))) => {
                let default = Number::Constant(value as f64);
                Typed::Number(Number::FirstOf(vec![Number::Read(read), default]))
            }
            (LookupType::Integer, Some(Constant::Integer(value))) => {
                Typed::Integer(Integer::FirstOf(vec![
                    Integer::Read(read),
                    Integer::Constant(value),
                ]))
            }
            (LookupType::Text, Some(Constant::Text(value))) => {
                Typed::Text(Text::FirstOf(vec![Text::Read(read), Text::Constant(value)]))
            }
            (LookupType::Boolean, Some(Constant::Boolean(value))) => {
                Typed::Boolean(Boolean::FirstOf(vec![
                    Boolean::Read(read),
                    Boolean::Constant(value),
                ]))
            }
            (LookupType::Date | LookupType::Timestamp, Some(_)) => {
                let why = "a date or timestamp has no default: name another operand behind the \
                           look-up in `first_of`";
                return Err(ConfigError::at(format!("{at}/default"), why));
            }
            (_, Some(_)) => {
                let why = "it is not of the look-up's `type`";
                return Err(ConfigError::at(format!("{at}/default"), why));
            }
        })
    }

    fn field(&mut self, path: Path, kind: Kind) -> usize {
        self.description.read(Read::field(path, kind))
    }

    fn time(&mut self, path: Path, format: TimestampFormat) -> Typed {
        Typed::Time(Time::Read(self.field(path, Kind::Timestamp(format))))
    }

    fn number(&mut self, expression: Expression, at: &str) -> Result<Number> {
        number(self.typed(expression, at)?, at)
    }

    fn text(&mut self, expression: Expression, at: &str) -> Result<Text> {
        text(self.typed(expression, at)?, at)
    }

    fn date(&mut self, expression: Expression, at: &str) -> Result<Date> {
        match self.typed(expression, at)? {
            Typed::Time(time) => Ok(Date::Of(time.into())),
            Typed::Date(date) => Ok(date),
            other => Err(other.refused("a timestamp or date", at)),
        }
    }

    fn date_part(&mut self, part: DatePart, value: Expression, at: &str) -> Result<Typed> {
        Ok(Typed::Integer(Integer::PartOfDate(part, self.date(value, at)?.into())))
    }

    fn time_part(&mut self, part: TimePart, value: Expression, at: &str) -> Result<Typed> {
        let time = time(self.typed(value, at)?, at)?;
        Ok(Typed::Integer(Integer::PartOfTime(part, time.into())))
    }

    /// At least one operand.
    fn operands(&mut self, operands: Vec<Expression>, at: &str) -> Result<Vec<Typed>> {
        if operands.is_empty() {
            return Err(ConfigError::at(at, "there is no operand"));
        }
        let operands = operands.into_iter().enumerate();
        operands.map(|(i, operand)| self.typed(operand, &format!("{at}/{i}"))).collect()
    }

    /// Integers make an integer; with a number among them all are numbers.
    fn fold(
        &mut self,
        fold: Fold,
        operands: impl Into<Vec<Expression>>,
        at: &str,
    ) -> Result<Typed> {
        let operands = self.operands(operands.into(), at)?;
        Ok(match all(operands, integer) {
            Ok(integers) => Typed::Integer(Integer::Fold(fold, integers)),
            Err(operands) => {
                let operands = operands.into_iter().enumerate();
                let numbers = operands.map(|(i, typed)| number(typed, &format!("{at}/{i}")));
                Typed::Number(Number::Fold(fold, numbers.collect::<Result<_>>()?))
            }
        })
    }

    fn first_of(&mut self, options: Vec<Expression>, at: &str) -> Result<Typed> {
        let mut options = self.operands(options, at)?;
        if options.iter().any(|option| matches!(option, Typed::Number(_))) {
            let numbers = options.into_iter().enumerate();
            let numbers = numbers.map(|(i, typed)| number(typed, &format!("{at}/{i}")));
            return Ok(Typed::Number(Number::FirstOf(numbers.collect::<Result<_>>()?)));
        }
        macro_rules! of_one_type {
            ($($variant:ident),*) => {$(
                options = match all(options, |option| match option {
                    Typed::$variant(option) => Ok(option),
                    other => Err(other),
                }) {
                    Ok(options) => return Ok(Typed::$variant($variant::FirstOf(options))),
                    Err(options) => options,
                };
            )*};
        }
        of_one_type!(Integer, Text, Boolean, Time, Date);
        let types: Vec<_> = options.iter().map(Typed::type_name).collect();
        Err(ConfigError::at(at, format!("they are not of one type: {}", types.join(", "))))
    }
}

impl Typed {
    fn refused(&self, wanted: &str, at: &str) -> ConfigError {
        ConfigError::at(at, format!("this is {}, and it takes {wanted}", self.type_name()))
    }
}

fn number(typed: Typed, at: &str) -> Result<Number> {
    match typed {
        Typed::Number(number) => Ok(number),
        Typed::Integer(Integer::Constant(value)) => Ok(Number::Constant(value as f64)),
        Typed::Integer(integer) => Ok(Number::OfInteger(integer.into())),
        other => Err(other.refused("a number", at)),
    }
}

fn integer(typed: Typed) -> std::result::Result<Integer, Typed> {
    match typed {
        Typed::Integer(integer) => Ok(integer),
        other => Err(other),
    }
}

fn text(typed: Typed, at: &str) -> Result<Text> {
    match typed {
        Typed::Text(text) => Ok(text),
        other => Err(other.refused("a text", at)),
    }
}

fn time(typed: Typed, at: &str) -> Result<Time> {
    match typed {
        Typed::Time(time) => Ok(time),
        other => Err(other.refused("a timestamp", at)),
    }
}

fn full(text: String, at: &str) -> Result<String> {
    match text.is_empty() {
        false => Ok(text),
        true => Err(ConfigError::at(at, "it is empty")),
    }
}

/// All operands as one type, or all of them back.
fn all<T>(
    operands: Vec<Typed>,
    as_one: impl Fn(Typed) -> std::result::Result<T, Typed>,
) -> std::result::Result<Vec<T>, Vec<Typed>>
where
    Typed: From<T>,
{
    let mut typed = Vec::with_capacity(operands.len());
    let mut rest = operands.into_iter();
    for operand in rest.by_ref() {
        match as_one(operand) {
            Ok(one) => typed.push(one),
            Err(other) => {
                let before = typed.into_iter().map(Typed::from);
                return Err(before.chain([other]).chain(rest).collect());
            }
        }
    }
    Ok(typed)
}

macro_rules! from {
    ($($variant:ident),*) => {$(
        impl From<$variant> for Typed {
            fn from(expression: $variant) -> Self {
                Typed::$variant(expression)
            }
        }
    )*};
}

from!(Number, Integer, Text, Boolean, Time, Date);
