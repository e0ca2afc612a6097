//! From a condition to columns and tests on them.

use std::str::FromStr;

use super::{Condition, Literal, Range, Test};
use crate::{
    description::{Kind, Origin, TimestampFormat},
    time::Timestamp,
};

/// Integers up to this have a float of their own.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// A condition that can be evaluated: which columns it reads, and what it asks of them.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The columns to evaluate it with, in order; each pair of origin and kind once.
    pub reads: Vec<(Origin, Kind)>,
    pub(super) node: Node,
}

/// A condition with columns instead of fields.
#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Leaf { column: usize, test: Leaf },
}

/// A test on a column of the right kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leaf {
    Missing,
    /// Anything but missing and null, of whatever type.
    There,
    Null,
    Boolean(bool),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<Box<[u8]>>),
    Prefix(Box<[u8]>),
    FloatRange(Bounds<f64>),
    IntegerRange(Bounds<i64>),
    TimeRange(Bounds<i64>),
    DateRange(Bounds<i32>),
    TextRange(Bounds<Box<[u8]>>),
}

/// Where values lie; without a bound everywhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds<T> {
    pub(super) min: Option<T>,
    pub(super) max: Option<T>,
    pub(super) above: Option<T>,
    pub(super) below: Option<T>,
}

/// A test that its field can't be put to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct InvalidCondition {
    /// The field.
    pub field: String,
    /// What does not fit, and what would.
    pub reason: String,
}

impl Condition {
    /// Chooses a column for each test, by the types of the test's literals.
    pub fn compile(&self) -> Result<Compiled, InvalidCondition> {
        let mut reads = Vec::new();
        let node = compile(self, &mut reads)?;
        Ok(Compiled { reads, node })
    }
}

fn compile(
    condition: &Condition,
    reads: &mut Vec<(Origin, Kind)>,
) -> Result<Node, InvalidCondition> {
    let mut each = |conditions: &[Condition]| {
        conditions.iter().map(|condition| compile(condition, reads)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match condition {
        Condition::All(conditions) => Node::All(each(conditions)?),
        Condition::Any(conditions) => Node::Any(each(conditions)?),
        Condition::Not(condition) => Node::Not(Box::new(compile(condition, reads)?)),
        Condition::Test { field, test } => Tested { field, reads }.compile(test)?,
    })
}

/// A field whose tests are compiled.
struct Tested<'a> {
    field: &'a Origin,
    reads: &'a mut Vec<(Origin, Kind)>,
}

impl Tested<'_> {
    fn compile(&mut self, test: &Test) -> Result<Node, InvalidCondition> {
        match test {
            Test::Equals(literal) => self.one_of(std::slice::from_ref(literal)),
            Test::In(literals) => self.one_of(literals),
            Test::Range(range) => self.range(range),
            Test::Prefix(prefix) => self.leaf(Kind::Utf8, Leaf::Prefix(bytes(prefix))),
            Test::Exists(exists) => {
                let test = if *exists { Leaf::There } else { Leaf::Missing };
                self.leaf(self.presence_kind(), test)
            }
        }
    }

    fn one_of(&mut self, literals: &[Literal]) -> Result<Node, InvalidCondition> {
        let mut nodes = Vec::new();
        let (mut integers, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for literal in literals {
            match literal {
                Literal::Null => nodes.push(self.leaf(self.presence_kind(), Leaf::Null)?),
                Literal::Boolean(value) => {
                    nodes.push(self.leaf(Kind::Boolean, Leaf::Boolean(*value))?);
                }
                Literal::Integer(value) => integers.push(*value),
                Literal::Float(value) => match whole(*value) {
                    Some(integer) => integers.push(integer),
                    None => floats.push(*value),
                },
                Literal::Text(text) if self.is_time() => {
                    let at = time(text).ok_or_else(|| self.invalid(not_a_time(text)))?;
                    let range = Bounds { min: Some(at), max: Some(at), above: None, below: None };
                    nodes.push(self.leaf(timestamp(), Leaf::TimeRange(range))?);
                }
                Literal::Text(text) => texts.push(bytes(text)),
            }
        }
        if !integers.is_empty() {
            nodes.push(self.leaf(Kind::Int64, Leaf::Integers(integers))?);
        }
        if !floats.is_empty() {
            nodes.push(self.leaf(Kind::Float64, Leaf::Floats(floats))?);
        }
        if !texts.is_empty() {
            nodes.push(self.leaf(Kind::Utf8, Leaf::Texts(texts))?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn range(&mut self, range: &Range) -> Result<Node, InvalidCondition> {
        let Range { min, max, above, below } = range;
        let given = || [min, max, above, below].into_iter().flatten();
        let is_number =
            |literal: &&Literal| matches!(literal, Literal::Integer(_) | Literal::Float(_));
        if let Some(other) = given().find(|l| matches!(l, Literal::Null | Literal::Boolean(_))) {
            return Err(self.invalid(format!("`range` can't be bounded by {other}")));
        }
        if given().all(|literal| is_number(&literal)) {
            // Integers that floats can't tell apart are compared as integers.
            if given().any(|literal| matches!(literal, Literal::Integer(value) if value.unsigned_abs() > EXACT_INTEGER_MAX))
                && let Some(bounds) = range.bounds(|literal| match literal {
                    Literal::Integer(value) => Some(*value),
                    _ => None,
                })
            {
                return self.leaf(Kind::Int64, Leaf::IntegerRange(bounds));
            }
            let bounds = range.bounds(|literal| match literal {
                Literal::Integer(value) => Some(*value as f64),
                Literal::Float(value) => Some(*value),
                _ => None,
            });
            return self.ranged(Kind::Float64, bounds.map(Leaf::FloatRange));
        }
        if given().any(|literal| is_number(&literal)) {
            return Err(self.invalid("`range` mixes numbers and texts".to_owned()));
        }
        if let Some(bounds) = range.bounds(|literal| text_of(literal).and_then(time)) {
            return self.leaf(timestamp(), Leaf::TimeRange(bounds));
        }
        if self.is_time() {
            let text = given().filter_map(text_of).find(|text| time(text).is_none());
            return Err(self.invalid(not_a_time(text.unwrap_or_default())));
        }
        if let Some(bounds) = range.bounds(|literal| text_of(literal).and_then(date)) {
            return self.leaf(Kind::Date, Leaf::DateRange(bounds));
        }
        let bounds = range.bounds(|literal| text_of(literal).map(bytes));
        self.ranged(Kind::Utf8, bounds.map(Leaf::TextRange))
    }

    fn ranged(&mut self, kind: Kind, leaf: Option<Leaf>) -> Result<Node, InvalidCondition> {
        let leaf = leaf.ok_or_else(|| self.invalid("`range` mixes types".to_owned()))?;
        self.leaf(kind, leaf)
    }

    /// A test on the field's column of a kind.
    fn leaf(&mut self, kind: Kind, test: Leaf) -> Result<Node, InvalidCondition> {
        if let Origin::Host(value) = self.field
            && value.kind().name() != kind.name()
        {
            let reason = format!("it is of kind {}, which can't be tested as {kind}", value.kind());
            return Err(self.invalid(reason));
        }
        let wanted = (self.field.clone(), kind);
        let column = self.reads.iter().position(|read| *read == wanted).unwrap_or_else(|| {
            self.reads.push(wanted);
            self.reads.len() - 1
        });
        Ok(Node::Leaf { column, test })
    }

    /// The kind of column that tells missing and null from the rest at the least cost.
    fn presence_kind(&self) -> Kind {
        match self.field {
            Origin::Host(value) => value.kind(),
            _ => Kind::Boolean,
        }
    }

    fn is_time(&self) -> bool {
        matches!(self.field, Origin::Host(value) if matches!(value.kind(), Kind::Timestamp(_)))
    }

    fn invalid(&self, reason: String) -> InvalidCondition {
        InvalidCondition { field: self.field.to_string(), reason }
    }
}

impl Range {
    /// The bounds as values of a type, if all that are given are of it.
    fn bounds<T>(&self, of: impl Fn(&Literal) -> Option<T>) -> Option<Bounds<T>> {
        let convert = |literal: &Option<Literal>| match literal {
            None => Some(None),
            Some(literal) => of(literal).map(Some),
        };
        Some(Bounds {
            min: convert(&self.min)?,
            max: convert(&self.max)?,
            above: convert(&self.above)?,
            below: convert(&self.below)?,
        })
    }
}

/// The integer that a float is, where it is one that can't be another's as well.
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= EXACT_INTEGER_MAX as f64).then_some(value as i64)
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn text_of(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::Text(text) => Some(text),
        _ => None,
    }
}

fn timestamp() -> Kind {
    Kind::Timestamp(TimestampFormat::Rfc3339)
}

fn time(text: &str) -> Option<i64> {
    Timestamp::parse(text).map(|time| time.0)
}

fn not_a_time(text: &str) -> String {
    format!("{text:?} is no RFC 3339 timestamp such as \"2026-03-01T12:00:00Z\"")
}

/// Days since the epoch of a text `YYYY-MM-DD`.
fn date(text: &str) -> Option<i32> {
    if text.len() != 10 {
        return None;
    }
    let date = jiff::civil::Date::from_str(text).ok()?;
    let epoch = jiff::civil::date(1970, 1, 1);
    Some(date.duration_since(epoch).as_hours() as i32 / 24)
}
