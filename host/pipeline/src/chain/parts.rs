//! A stage's call in parts: a part of its input, and one reply out of many.

use tidegate_core::{
    Column, Timestamp, Write,
    column::Binary,
    description::Description,
    transform::{Batch, Reply, States},
};

use super::cells;

/// What a stage is called with: some rows, compacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) rows: usize,
    /// One for each read of the description.
    pub(crate) columns: &'a [&'a Column],
    pub(crate) states: &'a States,
    pub(crate) batch_time: Timestamp,
}

impl<'a> Input<'a> {
    /// All of it, as a plugin is called.
    pub(crate) fn batch(&self) -> Batch<'a> {
        Batch {
            rows: self.rows as u32,
            columns: self.columns,
            states: self.states,
            batch_time: self.batch_time,
        }
    }
}

/// Consecutive rows of an input, with columns of their own.
#[derive(Debug)]
pub(crate) struct Slice {
    columns: Vec<Column>,
    states: States,
    /// For each key of `states`, its place in the whole input's.
    keys: Vec<u32>,
}

impl Slice {
    /// Rows `start..end`, with the states that earlier slices left.
    pub(crate) fn of(
        input: &Input<'_>,
        description: &Description,
        carried: &Carried,
        start: usize,
        end: usize,
    ) -> Self {
        let rows: Vec<u32> = (start as u32..end as u32).collect();
        let columns = input.columns.iter().zip(&description.reads).map(|(column, read)| {
            let mut part = Column::empty(&read.kind);
            column.gather(&rows, &mut part);
            part
        });
        let columns = columns.collect();
        let mut keys: Vec<u32> = Vec::new();
        let mut states = States::default();
        if !input.states.rows.is_empty() {
            let mut places = vec![u32::MAX; input.states.values.len()];
            for key in &input.states.rows[start..end] {
                let place = &mut places[*key as usize];
                if *place == u32::MAX {
                    *place = keys.len() as u32;
                    keys.push(*key);
                    states.values.push(carried.state(input, *key));
                }
                states.rows.push(*place);
            }
        }
        Slice { columns, states, keys }
    }

    /// Calls `f` with the slice as a batch.
    pub(crate) fn with_batch<R>(
        &self,
        input: &Input<'_>,
        rows: usize,
        f: impl FnOnce(&Batch<'_>) -> R,
    ) -> R {
        let columns: Vec<&Column> = self.columns.iter().collect();
        f(&Batch {
            rows: rows as u32,
            columns: &columns,
            states: &self.states,
            batch_time: input.batch_time,
        })
    }
}

/// The states that slices left, on their way to the next.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// One a key of the whole input, where it was changed.
    changed: Vec<Option<Vec<u8>>>,
}

impl Carried {
    fn state<'a>(&'a self, input: &'a Input<'_>, key: u32) -> &'a [u8] {
        match self.changed.get(key as usize) {
            Some(Some(state)) => state,
            _ => input.states.values.get(key as usize),
        }
    }

    fn take(&mut self, slice: &Slice, reply: &mut Reply) {
        for (i, key) in reply.states.keys.drain(..).enumerate() {
            let key = slice.keys[key as usize] as usize;
            if self.changed.len() <= key {
                self.changed.resize(key + 1, None);
            }
            self.changed[key] = Some(reply.states.values.get(i).to_vec());
        }
        reply.states.values.clear();
    }
}

/// The replies to slices, in row order, on their way to one.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    parts: Vec<(usize, usize, Reply)>,
    pub(crate) carried: Carried,
}

impl Parts {
    /// Takes the reply to rows `start..end`, which follow those taken before.
    pub(crate) fn push(&mut self, slice: &Slice, start: usize, end: usize, mut reply: Reply) {
        self.carried.take(slice, &mut reply);
        self.parts.push((start, end, reply));
    }

    /// One reply for all `rows` rows. Rows that no slice answered for get a row of the reply that
    /// leaves everything as it is: those that passed the stage by stay, and what becomes of the
    /// others their verdict does not say.
    pub(crate) fn merge(self, description: &Description, rows: usize) -> Reply {
        let fans_out = self.parts.iter().any(|(_, _, reply)| !reply.parents.is_empty());
        let judges = self.parts.iter().any(|(_, _, reply)| !reply.verdicts.is_empty());
        let details = self.parts.iter().any(|(_, _, reply)| !reply.findings.details.is_empty());
        let mut merged = Reply {
            columns: description.writes.iter().map(|it| Column::empty(&it.kind)).collect(),
            ..Reply::default()
        };
        let mut next = 0;
        for (start, end, reply) in &self.parts {
            skip(&mut merged, next, *start, judges, fans_out);
            if judges {
                let verdicts = &reply.verdicts;
                merged.verdicts.extend((0..end - start).map(|row| verdicts.get(row).unwrap_or(&0)));
            }
            if fans_out && reply.parents.is_empty() {
                merged.parents.extend(*start as u32..*end as u32);
            } else {
                merged.parents.extend(reply.parents.iter().map(|parent| parent + *start as u32));
            }
            for (into, from) in merged.columns.iter_mut().zip(&reply.columns) {
                cells::append(into, from);
            }
            let findings = &reply.findings;
            merged.findings.rows.extend(findings.rows.iter().map(|row| row + *start as u32));
            merged.findings.rules.extend_from_slice(&findings.rules);
            if details {
                append_details(
                    &mut merged.findings.details,
                    &findings.details,
                    findings.rows.len(),
                );
            }
            next = *end;
        }
        skip(&mut merged, next, rows, judges, fans_out);
        for (key, state) in self.carried.changed.iter().enumerate() {
            if let Some(state) = state {
                merged.states.keys.push(key as u32);
                merged.states.values.push(state);
            }
        }
        merged
    }
}

/// Rows of the reply for input rows that nobody answered for.
fn skip(merged: &mut Reply, from: usize, to: usize, judges: bool, fans_out: bool) {
    for row in from..to {
        if judges {
            merged.verdicts.push(0);
        }
        if fans_out {
            merged.parents.push(row as u32);
        }
        for column in &mut merged.columns {
            cells::push_absent(column, Write::Leave as u8);
        }
    }
}

fn append_details(into: &mut Binary, from: &Binary, findings: usize) {
    match from.is_empty() {
        true => (0..findings).for_each(|_| into.push(b"")),
        false => cells::append_binary(into, from),
    }
}
