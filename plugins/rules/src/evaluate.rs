//! Operations over columns.
//!
//! Each gives a value and perhaps a fault a row. A fault travels with its row as an error does in CEL:
//! `false && fault` is false, `true || fault` is true, and everything else of it is a fault too.

use std::borrow::Cow;

use tidegate_plugin::{Absence, Batch, batch};

use crate::{
    columns::{Flag, Fold, Integer, Number, Order, Pair, Part, Text},
    fault::Fault,
};

/// Values a row, and why a row has none: no faults at all when every row has one.
#[derive(Debug)]
pub(crate) struct Cells<'a, T: Clone> {
    pub(crate) values: Values<'a, T>,
    pub(crate) faults: Vec<Fault>,
}

/// A value a row, or the same one in all.
#[derive(Debug)]
pub(crate) enum Values<'a, T: Clone> {
    Column(Cow<'a, [T]>),
    Same(T),
}

impl<'a, T: Copy> Cells<'a, T> {
    fn same(value: T) -> Self {
        Cells { values: Values::Same(value), faults: Vec::new() }
    }

    fn read(values: &'a [T], presence: &[u8], variable: usize) -> Self {
        Cells { values: Values::Column(values.into()), faults: faults(presence, variable) }
    }

    /// The value of a row, whether or not it has one.
    pub(crate) fn get(&self, row: usize) -> T {
        match &self.values {
            Values::Column(values) => values[row],
            Values::Same(value) => *value,
        }
    }

    fn map<U: Copy>(self, rows: usize, f: impl Fn(T) -> U) -> Cells<'a, U> {
        let values = match &self.values {
            Values::Column(values) => values[..rows].iter().map(|value| f(*value)).collect(),
            Values::Same(value) => {
                return Cells { values: Values::Same(f(*value)), faults: self.faults };
            }
        };
        Cells { values: Values::Column(Cow::Owned(values)), faults: self.faults }
    }

    /// The same as what comes of an operation.
    fn made(mut self) -> Self {
        self.faults.iter_mut().for_each(|fault| *fault = fault.of_operation());
        self
    }

    /// A value made from each pair.
    fn zip<U: Copy, V: Copy>(
        self,
        other: Cells<'_, U>,
        rows: usize,
        f: impl Fn(T, U) -> V,
    ) -> Cells<'a, V> {
        // A loop for each case, so that none asks which case it is.
        let values: Vec<V> = match (&self.values, &other.values) {
            (Values::Column(one), Values::Column(other)) => {
                one.iter().zip(other.iter()).map(|(one, other)| f(*one, *other)).collect()
            }
            (Values::Column(one), Values::Same(other)) => {
                one.iter().map(|one| f(*one, *other)).collect()
            }
            (Values::Same(one), Values::Column(other)) => {
                other.iter().map(|other| f(*one, *other)).collect()
            }
            (Values::Same(one), Values::Same(other)) => vec![f(*one, *other); rows],
        };
        let faults = join(self.faults, other.faults);
        Cells { values: Values::Column(Cow::Owned(values)), faults }
    }

    /// Marks the rows whose value is none.
    fn lose(mut self, rows: usize, fault: Fault, is_lost: impl Fn(T) -> bool) -> Self {
        for row in 0..rows {
            if is_lost(self.get(row)) && self.fault(row).is_none() {
                self.faults.resize(rows, Fault::NONE);
                self.faults[row] = fault;
            }
        }
        self
    }

    pub(crate) fn fault(&self, row: usize) -> Fault {
        self.faults.get(row).copied().unwrap_or_default()
    }
}

impl<T: Copy> Cells<'_, T> {
    /// The values alone.
    pub(crate) fn into_values(self, rows: usize) -> Vec<T> {
        match self.values {
            Values::Column(values) => values.into_owned(),
            Values::Same(value) => vec![value; rows],
        }
    }
}

impl Cells<'_, f64> {
    /// Finds values that JSON has no number for.
    pub(crate) fn finite(self, rows: usize) -> Self {
        self.lose(rows, Fault::NOT_A_NUMBER, |number| !number.is_finite())
    }
}

/// A column of texts, or the same text in all rows.
struct Texts<'a> {
    values: TextValues<'a>,
    faults: Vec<Fault>,
}

enum TextValues<'a> {
    Column(batch::Text<'a>),
    Same(&'a str),
}

impl<'a> Texts<'a> {
    fn get(&self, row: usize) -> &'a str {
        match self.values {
            TextValues::Column(texts) => texts.get(row),
            TextValues::Same(text) => text,
        }
    }

    /// A value made from each.
    fn map<V: Copy>(self, rows: usize, f: impl Fn(&str) -> V) -> Cells<'a, V> {
        let values = (0..rows).map(|row| f(self.get(row))).collect();
        Cells { values: Values::Column(Cow::Owned(values)), faults: self.faults }
    }

    fn zip<V: Copy>(
        self,
        other: Texts<'_>,
        rows: usize,
        f: impl Fn(&str, &str) -> V,
    ) -> Cells<'a, V> {
        let values = match other.values {
            TextValues::Same(other) => (0..rows).map(|row| f(self.get(row), other)).collect(),
            TextValues::Column(other) => {
                (0..rows).map(|row| f(self.get(row), other.get(row))).collect()
            }
        };
        let faults = join(self.faults, other.faults);
        Cells { values: Values::Column(Cow::Owned(values)), faults }
    }
}

/// The faults of a variable's absences.
fn faults(presence: &[u8], variable: usize) -> Vec<Fault> {
    let fault = |absence: &u8| match absence {
        0 => Fault::NONE,
        absence => Fault::absent(variable, *absence),
    };
    presence.iter().map(fault).collect()
}

/// The first fault of each row.
fn join(mut one: Vec<Fault>, other: Vec<Fault>) -> Vec<Fault> {
    if one.is_empty() {
        return other;
    }
    for (one, other) in one.iter_mut().zip(other) {
        if one.is_none() {
            *one = other;
        }
    }
    one
}

impl Flag {
    pub(crate) fn eval<'a>(&'a self, batch: &Batch<'a>) -> Cells<'a, u8> {
        let rows = batch.rows;
        match self {
            Flag::Read(read) => {
                let cells = batch.boolean(*read);
                Cells::read(cells.values, cells.presence, *read)
            }
            Flag::Constant(value) => Cells::same(u8::from(*value)),
            Flag::Exists(read) => {
                let found = batch.presence(*read);
                let exists = |row| u8::from(found.get(row) != Err(Absence::Missing));
                if found.is_full() {
                    return Cells::same(1);
                }
                let values = (0..rows).map(exists).collect();
                Cells { values: Values::Column(Cow::Owned(values)), faults: Vec::new() }
            }
            Flag::IsNull(read) => {
                let found = batch.presence(*read);
                if found.is_full() {
                    return Cells::same(0);
                }
                let is_null = |row| u8::from(found.get(row) == Err(Absence::Null));
                let values = (0..rows).map(is_null).collect();
                let cells =
                    Cells { values: Values::Column(Cow::Owned(values)), faults: Vec::new() };
                let missing = Fault::absent(*read, Absence::Missing as u8);
                let is_missing = |row| found.get(row) == Err(Absence::Missing);
                mark(cells, rows, missing, is_missing)
            }
            Flag::Not(operand) => operand.eval(batch).made().map(rows, |value| value ^ 1),
            Flag::Both(operands) => connect(operands, 0, batch),
            Flag::Either(operands) => connect(operands, 1, batch),
            Flag::If(parts) => {
                let [condition, yes, no] = &**parts;
                choose(condition.eval(batch), yes.eval(batch), no.eval(batch), rows)
            }
            Flag::Equal(pair) => pair.equal(batch),
            Flag::Ordered(order, pair) => pair.ordered(*order, batch).made(),
            Flag::NumberIn(needle, numbers) => {
                let needle = needle.eval(batch);
                let found = needle.map(rows, |number| u8::from(numbers.contains(&number)));
                unlike(found)
            }
            Flag::TextIn(needle, texts) => {
                let is_in = |text: &str| u8::from(texts.iter().any(|known| known == text));
                unlike(needle.eval(batch).map(rows, is_in))
            }
            Flag::TextHas(part, text, pattern) => {
                let (text, pattern) = (text.eval(batch), pattern.eval(batch));
                let found = match part {
                    Part::Start => text.zip(pattern, rows, |a, b| u8::from(a.starts_with(b))),
                    Part::End => text.zip(pattern, rows, |a, b| u8::from(a.ends_with(b))),
                    Part::Anywhere => text.zip(pattern, rows, |a, b| u8::from(a.contains(b))),
                };
                found.made()
            }
        }
    }
}

fn mark<'a>(
    mut cells: Cells<'a, u8>,
    rows: usize,
    fault: Fault,
    is_lost: impl Fn(usize) -> bool,
) -> Cells<'a, u8> {
    cells.faults = (0..rows).map(|row| if is_lost(row) { fault } else { Fault::NONE }).collect();
    cells
}

/// A value of another type, or null, is unlike any value of the type: no fault, but false.
fn unlike(mut found: Cells<'_, u8>) -> Cells<'_, u8> {
    if !found.faults.iter().any(|fault| fault.is_other_value()) {
        return found;
    }
    if let Values::Column(values) = &mut found.values {
        for (value, fault) in values.to_mut().iter_mut().zip(&mut found.faults) {
            if fault.is_other_value() {
                (*value, *fault) = (0, Fault::NONE);
            }
        }
    }
    found
}

/// `&&`, which `decisive` 0 decides, or `||`, which 1 does.
fn connect<'a>(operands: &'a [Flag; 2], decisive: u8, batch: &Batch<'a>) -> Cells<'a, u8> {
    let [one, other] = operands.each_ref().map(|operand| operand.eval(batch).made());
    let rows = batch.rows;
    if one.faults.is_empty() && other.faults.is_empty() {
        return match decisive {
            0 => one.zip(other, rows, |one, other| one & other),
            _ => one.zip(other, rows, |one, other| one | other),
        };
    }
    let mut values = Vec::with_capacity(rows);
    let mut faults = Vec::with_capacity(rows);
    for row in 0..rows {
        let sides = [(one.get(row), one.fault(row)), (other.get(row), other.fault(row))];
        let is_decided = sides.iter().any(|(value, fault)| fault.is_none() && *value == decisive);
        values.push(if is_decided { decisive } else { decisive ^ 1 });
        let [(_, first), (_, second)] = sides;
        faults.push(match is_decided {
            true => Fault::NONE,
            false if first.is_none() => second,
            false => first,
        });
    }
    Cells { values: Values::Column(Cow::Owned(values)), faults }
}

/// The value of one column or the other.
fn choose<'a, T: Copy>(
    condition: Cells<'_, u8>,
    yes: Cells<'_, T>,
    no: Cells<'_, T>,
    rows: usize,
) -> Cells<'a, T> {
    let condition = condition.made();
    let values: Vec<T> = (0..rows)
        .map(|row| if condition.get(row) != 0 { yes.get(row) } else { no.get(row) })
        .collect();
    let mut faults = Vec::new();
    if ![&condition.faults, &yes.faults, &no.faults].iter().all(|faults| faults.is_empty()) {
        faults.extend((0..rows).map(|row| match condition.fault(row) {
            Fault::NONE if condition.get(row) != 0 => yes.fault(row),
            Fault::NONE => no.fault(row),
            fault => fault,
        }));
    }
    Cells { values: Values::Column(Cow::Owned(values)), faults }
}

impl Pair {
    fn equal<'a>(&'a self, batch: &Batch<'a>) -> Cells<'a, u8> {
        let rows = batch.rows;
        match self {
            Pair::Numbers(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                equal_cells(one, other, rows)
            }
            Pair::Integers(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                equal_cells(one, other, rows)
            }
            Pair::Flags(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                equal_cells(one, other, rows)
            }
            Pair::Texts(sides) => {
                let [mut one, mut other] = sides.each_ref().map(|side| side.eval(batch));
                let faults = (std::mem::take(&mut one.faults), std::mem::take(&mut other.faults));
                alike(one.zip(other, rows, |one, other| u8::from(one == other)), faults, rows)
            }
        }
    }

    fn ordered<'a>(&'a self, order: Order, batch: &Batch<'a>) -> Cells<'a, u8> {
        let rows = batch.rows;
        match self {
            Pair::Numbers(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                order_cells(order, one, other, rows)
            }
            Pair::Integers(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                order_cells(order, one, other, rows)
            }
            Pair::Flags(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                order_cells(order, one, other, rows)
            }
            Pair::Texts(sides) => {
                let [one, other] = sides.each_ref().map(|side| side.eval(batch));
                match order {
                    Order::Below => one.zip(other, rows, |a, b| u8::from(a < b)),
                    Order::AtMost => one.zip(other, rows, |a, b| u8::from(a <= b)),
                    Order::Above => one.zip(other, rows, |a, b| u8::from(a > b)),
                    Order::AtLeast => one.zip(other, rows, |a, b| u8::from(a >= b)),
                }
            }
        }
    }
}

fn equal_cells<'a, T: Copy + PartialEq>(
    mut one: Cells<'a, T>,
    mut other: Cells<'_, T>,
    rows: usize,
) -> Cells<'a, u8> {
    let faults = (std::mem::take(&mut one.faults), std::mem::take(&mut other.faults));
    alike(one.zip(other, rows, |one, other| u8::from(one == other)), faults, rows)
}

/// Equality where there are two values. Else null equals null, and what is no value of the type equals
/// nothing.
fn alike<'a>(
    mut equal: Cells<'a, u8>,
    (one, other): (Vec<Fault>, Vec<Fault>),
    rows: usize,
) -> Cells<'a, u8> {
    if one.is_empty() && other.is_empty() {
        return equal;
    }
    let Values::Column(values) = &mut equal.values else { return equal };
    let values = values.to_mut();
    equal.faults.reserve(rows);
    for (row, value) in values.iter_mut().enumerate() {
        let fault = |faults: &[Fault]| faults.get(row).copied().unwrap_or_default();
        let (one, other) = (fault(&one), fault(&other));
        let is_fault = |fault: &Fault| !fault.is_none() && !fault.is_other_value();
        equal.faults.push([one, other].into_iter().find(is_fault).unwrap_or_default());
        if !one.is_none() || !other.is_none() {
            *value = u8::from(one.is_null() && other.is_null());
        }
    }
    equal
}

fn order_cells<'a, T: Copy + PartialOrd>(
    order: Order,
    one: Cells<'a, T>,
    other: Cells<'_, T>,
    rows: usize,
) -> Cells<'a, u8> {
    match order {
        Order::Below => one.zip(other, rows, |one, other| u8::from(one < other)),
        Order::AtMost => one.zip(other, rows, |one, other| u8::from(one <= other)),
        Order::Above => one.zip(other, rows, |one, other| u8::from(one > other)),
        Order::AtLeast => one.zip(other, rows, |one, other| u8::from(one >= other)),
    }
}

impl Number {
    pub(crate) fn eval<'a>(&'a self, batch: &Batch<'a>) -> Cells<'a, f64> {
        let rows = batch.rows;
        match self {
            Number::Read(read) => {
                let cells = batch.float64(*read);
                Cells::read(cells.values, cells.presence, *read)
            }
            Number::Constant(value) => Cells::same(*value),
            Number::OfInteger(integer) => integer.eval(batch).map(rows, |whole| whole as f64),
            Number::Converted(operand) => operand.eval(batch).made(),
            Number::Negate(operand) => operand.eval(batch).made().map(rows, |number| -number),
            Number::Fold(fold, operands) => {
                let [one, other] = operands.each_ref().map(|operand| operand.eval(batch));
                let made = match fold {
                    Fold::Add => one.zip(other, rows, |one, other| one + other),
                    Fold::Subtract => one.zip(other, rows, |one, other| one - other),
                    Fold::Multiply => one.zip(other, rows, |one, other| one * other),
                    Fold::Divide => one.zip(other, rows, |one, other| one / other),
                    Fold::Remainder => one.zip(other, rows, |one, other| one % other),
                };
                made.made().lose(rows, Fault::NOT_A_NUMBER, f64::is_nan)
            }
            Number::If(parts) => {
                let (condition, yes, no) = &**parts;
                choose(condition.eval(batch), yes.eval(batch), no.eval(batch), rows)
            }
        }
    }
}

impl Integer {
    pub(crate) fn eval<'a>(&'a self, batch: &Batch<'a>) -> Cells<'a, i64> {
        let rows = batch.rows;
        match self {
            Integer::Read(read) => {
                let (values, presence) = match batch.columns[*read].values {
                    batch::Values::Timestamp(times) => (times, batch.columns[*read].presence),
                    _ => (batch.int64(*read).values, batch.int64(*read).presence),
                };
                Cells::read(values, presence, *read)
            }
            Integer::Constant(value) => Cells::same(*value),
            Integer::Negate(operand) => {
                let operand = operand.eval(batch).made();
                let operand = operand.lose(rows, Fault::OVERFLOW, |whole| whole == i64::MIN);
                operand.map(rows, i64::wrapping_neg)
            }
            Integer::Fold(fold, operands) => {
                let [one, other] = operands.each_ref().map(|operand| operand.eval(batch));
                let checked: fn(i64, i64) -> Option<i64> = match fold {
                    Fold::Add => i64::checked_add,
                    Fold::Subtract => i64::checked_sub,
                    Fold::Multiply => i64::checked_mul,
                    Fold::Divide => i64::checked_div,
                    Fold::Remainder => i64::checked_rem,
                };
                let divides = matches!(fold, Fold::Divide | Fold::Remainder);
                let other = match divides {
                    true => other.lose(rows, Fault::DIVISION_BY_ZERO, |whole| whole == 0),
                    false => other,
                };
                let made = one.zip(other, rows, checked).made();
                let made = made.lose(rows, Fault::OVERFLOW, |made| made.is_none());
                made.map(rows, Option::unwrap_or_default)
            }
            Integer::Size(text) => {
                text.eval(batch).map(rows, |text| text.chars().count() as i64).made()
            }
            Integer::If(parts) => {
                let (condition, yes, no) = &**parts;
                choose(condition.eval(batch), yes.eval(batch), no.eval(batch), rows)
            }
        }
    }
}

impl Text {
    fn eval<'a>(&'a self, batch: &Batch<'a>) -> Texts<'a> {
        match self {
            Text::Read(read) => {
                let column = batch.utf8(*read);
                let faults = faults(column.presence, *read);
                Texts { values: TextValues::Column(column.texts), faults }
            }
            Text::Constant(text) => Texts { values: TextValues::Same(text), faults: Vec::new() },
        }
    }
}
