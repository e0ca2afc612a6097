//! A compiled condition over columns.

use super::compile::{Bounds, Compiled, Leaf, Node};
use crate::column::{Column, Presence, Values};

impl Compiled {
    /// Which of `rows` rows meet the condition. `columns` stand in the order of the reads and
    /// have at least that many rows.
    pub fn evaluate(&self, columns: &[&Column], rows: usize) -> Vec<bool> {
        let mut met = vec![true; rows];
        narrow(&self.node, columns, &mut met);
        met
    }
}

/// Leaves those rows marked that meet the node as well.
fn narrow(node: &Node, columns: &[&Column], met: &mut [bool]) {
    match node {
        Node::All(nodes) => nodes.iter().for_each(|node| narrow(node, columns, met)),
        Node::Any(nodes) => {
            let mut any = vec![false; met.len()];
            for node in nodes {
                let mut one = met.to_vec();
                narrow(node, columns, &mut one);
                any.iter_mut().zip(one).for_each(|(any, one)| *any |= one);
            }
            met.copy_from_slice(&any);
        }
        Node::Not(node) => {
            let mut inner = vec![true; met.len()];
            narrow(node, columns, &mut inner);
            met.iter_mut().zip(inner).for_each(|(met, inner)| *met &= !inner);
        }
        Node::Leaf { column, test } => test.narrow(columns[*column], met),
    }
}

impl Leaf {
    fn narrow(&self, column: &Column, met: &mut [bool]) {
        let presence = |row: usize| column.presence_of(row);
        match (self, &column.values) {
            (Leaf::Missing, _) => keep(met, |row| presence(row) == Presence::Missing as u8),
            (Leaf::Null, _) => keep(met, |row| presence(row) == Presence::Null as u8),
            (Leaf::There, _) => keep(met, |row| {
                presence(row) != Presence::Missing as u8 && presence(row) != Presence::Null as u8
            }),
            (Leaf::Boolean(wanted), Values::Boolean(values)) => {
                keep_values(met, column, |row| (values[row] != 0) == *wanted);
            }
            (Leaf::Integers(wanted), Values::Int64(values)) => {
                keep_values(met, column, |row| wanted.contains(&values[row]));
            }
            (Leaf::Floats(wanted), Values::Float64(values)) => {
                keep_values(met, column, |row| wanted.contains(&values[row]));
            }
            (Leaf::Texts(wanted), Values::Utf8(values)) => match wanted.as_slice() {
                [one] => keep_values(met, column, |row| values.get(row) == &**one),
                many => {
                    keep_values(met, column, |row| many.iter().any(|w| values.get(row) == &**w))
                }
            },
            (Leaf::Prefix(prefix), Values::Utf8(values)) => {
                keep_values(met, column, |row| values.get(row).starts_with(prefix));
            }
            (Leaf::FloatRange(bounds), Values::Float64(values)) => {
                keep_values(met, column, |row| bounds.contain(&values[row]));
            }
            (Leaf::IntegerRange(bounds), Values::Int64(values))
            | (Leaf::TimeRange(bounds), Values::Timestamp(values)) => {
                keep_values(met, column, |row| bounds.contain(&values[row]));
            }
            (Leaf::DateRange(bounds), Values::Date(values)) => {
                keep_values(met, column, |row| bounds.contain(&values[row]));
            }
            (Leaf::TextRange(bounds), Values::Utf8(values)) => {
                keep_values(met, column, |row| bounds.contain_bytes(values.get(row)));
            }
            // A column of another kind than the one that was asked for: nothing has the value.
            _ => met.fill(false),
        }
    }
}

fn keep(met: &mut [bool], test: impl Fn(usize) -> bool) {
    met.iter_mut().enumerate().for_each(|(row, met)| *met = *met && test(row));
}

fn keep_values(met: &mut [bool], column: &Column, test: impl Fn(usize) -> bool) {
    if column.presence.is_empty() {
        keep(met, test);
    } else {
        keep(met, |row| column.presence[row] == Presence::Value as u8 && test(row));
    }
}

impl<T: PartialOrd> Bounds<T> {
    fn contain(&self, value: &T) -> bool {
        self.min.as_ref().is_none_or(|min| value >= min)
            && self.max.as_ref().is_none_or(|max| value <= max)
            && self.above.as_ref().is_none_or(|above| value > above)
            && self.below.as_ref().is_none_or(|below| value < below)
    }
}

impl Bounds<Box<[u8]>> {
    fn contain_bytes(&self, value: &[u8]) -> bool {
        self.min.as_deref().is_none_or(|min| value >= min)
            && self.max.as_deref().is_none_or(|max| value <= max)
            && self.above.as_deref().is_none_or(|above| value > above)
            && self.below.as_deref().is_none_or(|below| value < below)
    }
}
