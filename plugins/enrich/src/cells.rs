//! Columns in the middle of a computation: borrowed from the batch as long as nobody changes them.

use std::{borrow::Cow, ops::Range};

use tidegate_plugin::{
    Batch, Findings,
    batch::{self, Fixed},
    blocks,
    reply::{Binary, Column, Values},
};

/// Why each row has no value: empty when all have one; else a byte a row, 0 where there is one.
pub(crate) type Absent<'a> = Cow<'a, [u8]>;

/// An operand had no value of its type. (What the host says of a read column is as good.)
pub(crate) const NOTHING: u8 = 1;

/// The operands had values, and the result is none. All bits, so that it outweighs [`NOTHING`]
/// when the absences of two operands are joined.
pub(crate) const FAILED: u8 = u8::MAX;

/// A column of values of a fixed width.
#[derive(Clone, Debug)]
pub(crate) struct Cells<'a, T: Clone> {
    pub(crate) values: Cow<'a, [T]>,
    pub(crate) absent: Absent<'a>,
}

impl<'a, T: Copy + Default> Cells<'a, T> {
    /// A column of the batch.
    pub(crate) fn read<F: Fixed<Raw = T>>(cells: batch::Cells<'a, F>) -> Self {
        Cells { values: cells.values.into(), absent: cells.presence.into() }
    }

    /// The same value in every row.
    pub(crate) fn constant(value: T, batch: &Batch<'_>) -> Self {
        Cells { values: vec![value; batch.rows].into(), absent: Cow::default() }
    }

    /// Whether a row has a value.
    pub(crate) fn has(&self, row: usize) -> bool {
        has(&self.absent, row)
    }

    /// A value made from each.
    pub(crate) fn map<U: Copy>(self, f: impl FnMut(T) -> U) -> Cells<'a, U> {
        Cells { values: Cow::Owned(blocks::map(&self.values, f)), absent: self.absent }
    }

    /// A value made from each, where there is one.
    pub(crate) fn try_map<U: Clone + Default>(
        self,
        mut f: impl FnMut(T) -> Option<U>,
    ) -> Cells<'a, U> {
        let mut absent = self.absent;
        let mut values = Vec::with_capacity(self.values.len());
        for (row, value) in self.values.iter().enumerate() {
            let made = f(*value);
            if made.is_none() && has(&absent, row) {
                lose(&mut absent, self.values.len(), row, FAILED);
            }
            values.push(made.unwrap_or_default());
        }
        Cells { values: Cow::Owned(values), absent }
    }

    /// The values changed by those of another column.
    pub(crate) fn combine<U: Copy>(&mut self, other: Cells<'a, U>, f: impl FnMut(T, U) -> T) {
        blocks::combine(self.values.to_mut(), &other.values, f);
        join(&mut self.absent, other.absent);
    }

    /// The values of another column where this one has none.
    pub(crate) fn or(&mut self, other: Cells<'a, T>) {
        let values = self.values.to_mut();
        let absent = self.absent.to_mut();
        for (row, absence) in absent.iter_mut().enumerate() {
            if *absence != 0 && other.has(row) {
                values[row] = other.values[row];
                *absence = 0;
            }
        }
    }

    /// The column as it is written, and the rows that failed as findings of a rule.
    pub(crate) fn finish(
        self,
        wrap: fn(Vec<T>) -> Values,
        rule: u32,
        findings: &mut Findings,
    ) -> Column {
        let presence = presence(&self.absent, rule, findings);
        Column { values: wrap(self.values.into_owned()), presence }
    }
}

impl Cells<'_, f64> {
    /// Finds values that JSON has no number for.
    pub(crate) fn lose_infinite(self) -> Self {
        // Not a number is outside of any range; so is infinity, above the greatest.
        self.lose_outside(f64::MIN..f64::INFINITY)
    }
}

impl<T: Copy + Default + PartialOrd> Cells<'_, T> {
    /// Finds values outside a range.
    pub(crate) fn lose_outside(mut self, range: Range<T>) -> Self {
        let lies_within = |value: &T| (range.start <= *value) & (*value < range.end);
        if !blocks::all(&self.values, lies_within) {
            for (row, value) in self.values.iter().enumerate() {
                if !range.contains(value) && has(&self.absent, row) {
                    lose(&mut self.absent, self.values.len(), row, FAILED);
                }
            }
        }
        self
    }
}

/// A column of texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts<'a> {
    offsets: Cow<'a, [u32]>,
    bytes: Cow<'a, str>,
    pub(crate) absent: Absent<'a>,
}

impl<'a> Texts<'a> {
    /// A column of the batch.
    pub(crate) fn read(texts: batch::Texts<'a>) -> Self {
        Texts {
            offsets: texts.texts.offsets.into(),
            bytes: texts.texts.bytes.into(),
            absent: texts.presence.into(),
        }
    }

    /// A text for each row, which `push` appends; it answers whether there is one.
    pub(crate) fn build(
        rows: usize,
        bytes: usize,
        mut absent: Absent<'a>,
        mut push: impl FnMut(usize, &mut String) -> bool,
    ) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let mut text = String::with_capacity(bytes);
        for row in 0..rows {
            if has(&absent, row) && !push(row, &mut text) {
                lose(&mut absent, rows, row, NOTHING);
            }
            offsets.push(text.len() as u32);
        }
        Texts { offsets: offsets.into(), bytes: text.into(), absent }
    }

    /// A text made from each, as by [`Texts::build`].
    pub(crate) fn map(mut self, mut f: impl FnMut(&str, &mut String) -> bool) -> Self {
        let absent = std::mem::take(&mut self.absent);
        let (rows, bytes) = (self.rows(), self.bytes.len());
        Texts::build(rows, bytes, absent, |row, text| f(self.get(row), text))
    }

    /// A number made from each.
    pub(crate) fn measure(self, f: impl Fn(&str) -> i64) -> Cells<'a, i64> {
        let values = (0..self.rows()).map(|row| f(self.get(row))).collect();
        Cells { values: Cow::Owned(values), absent: self.absent }
    }

    pub(crate) fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub(crate) fn get(&self, row: usize) -> &str {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    pub(crate) fn has(&self, row: usize) -> bool {
        has(&self.absent, row)
    }

    /// The column as it is written, and the rows that failed as findings of a rule.
    pub(crate) fn finish(self, rule: u32, findings: &mut Findings) -> Column {
        let presence = presence(&self.absent, rule, findings);
        let offsets = self.offsets.into_owned();
        let bytes = self.bytes.into_owned().into_bytes();
        Column { values: Values::Utf8(Binary { offsets, bytes }), presence }
    }
}

/// Joins the absences of two operands.
pub(crate) fn join<'a>(absent: &mut Absent<'a>, other: Absent<'a>) {
    if absent.is_empty() {
        *absent = other;
    } else if !other.is_empty() {
        blocks::combine(absent.to_mut(), &other, |one, other| one | other);
    }
}

fn has(absent: &[u8], row: usize) -> bool {
    absent.get(row).is_none_or(|absence| *absence == 0)
}

fn lose(absent: &mut Absent<'_>, rows: usize, row: usize, why: u8) {
    let absent = absent.to_mut();
    absent.resize(rows, 0);
    absent[row] = why;
}

fn presence(absent: &[u8], rule: u32, findings: &mut Findings) -> Vec<u8> {
    blocks::each_set(absent, |row, absence| {
        if absence == FAILED {
            findings.add(row, rule);
        }
    });
    blocks::leave_absent(absent)
}
