//! Drops, rejects or flags records whose key was seen before: exactly, or by a filter of a fixed
//! size.
//!
//! Rows are judged one after the other against what the rows before them left, so a duplicate in
//! the same batch is one like any other.

mod config;
mod filter;

use tidegate_plugin::{
    About, Batch, Capability, ConfigError, Description, Dimension, HostValue, Kind, Plugin, Read,
    Reply, Rule, Severity, Verdict, Write,
    batch::{States, Values},
    export,
    reply::{ChangedStates, Column, Values as Written},
};
use xxhash_rust::xxh3::xxh3_128;

pub use config::{Approximate, Comparable, Config, KeyField, OnDuplicate, Span, TypedField};
use filter::{Filter, Size};

export!(Dedupe);

/// The plugin under one config.
#[derive(Debug)]
pub struct Dedupe {
    memory: Memory,
    on_duplicate: OnDuplicate,
    renew: bool,
}

/// How keys are remembered.
#[derive(Debug)]
enum Memory {
    /// A state for each: that there is one says that it was seen.
    Exact,
    /// A filter.
    Approximate {
        size: Size,
        /// The reads that are the key.
        key: Vec<usize>,
        /// The read of the batch time, and the time to live in microseconds.
        ttl: Option<(usize, i64)>,
    },
}

/// The index of the only rule.
const DUPLICATE: u32 = 0;

/// The state of a key that was seen.
const SEEN: &[u8] = &[1];

impl Plugin for Dedupe {
    type Config = Config;

    fn about() -> About {
        About {
            name: "dedupe",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: vec![Capability::State],
            state_version: 1,
            may_be_passed_by: false,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        config.check()?;
        let mut description = Description::default();
        let fields = config.key.iter().map(KeyField::read);
        let key: Vec<usize> = fields
            .map(|(path, kind)| description.read(Read::field(path.clone(), kind).required()))
            .collect();
        let (memory, state_key) = match &config.approximate {
            None => (Memory::Exact, key),
            Some(approximate) => {
                let size = approximate.size()?;
                let ttl = approximate
                    .ttl
                    .map(|span| (description.read(Read::host(HostValue::BatchTime)), span.0));
                let per = approximate.per.iter();
                let mut of: Vec<usize> = per
                    .map(|path| description.read(Read::field(path.clone(), Kind::Json)))
                    .collect();
                if of.is_empty() {
                    of.push(description.read(Read::host(HostValue::Partition)));
                }
                (Memory::Approximate { size, key, ttl }, of)
            }
        };
        description.state_key = Some(state_key.into_iter().map(|read| read as u32).collect());
        let names: Vec<String> =
            config.key.iter().map(|field| format!("`{}`", field.read().0)).collect();
        description.rule(Rule {
            id: "duplicate".into(),
            dimension: Dimension::Uniqueness,
            severity: match config.on_duplicate {
                OnDuplicate::Drop => Severity::Info,
                OnDuplicate::Reject => Severity::Reject,
                OnDuplicate::Flag(_) => Severity::Warn,
            },
            field: (config.key.len() == 1).then(|| config.key[0].read().0.clone()),
            text: format!("no record with the same {} came before", names.join(" and ")),
        });
        if let OnDuplicate::Flag(path) = &config.on_duplicate {
            description.writes.push(Write { path: path.clone(), kind: Kind::Boolean });
        }
        let Config { on_duplicate, renew, .. } = config;
        Ok((Dedupe { memory, on_duplicate, renew }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        let mut flags = match self.on_duplicate {
            OnDuplicate::Flag(_) => vec![0; batch.rows],
            _ => Vec::new(),
        };
        let duplicate = |row: usize| match self.on_duplicate {
            OnDuplicate::Drop => reply.drop(batch.rows, row, DUPLICATE),
            OnDuplicate::Reject => reply.reject(batch.rows, row, DUPLICATE),
            OnDuplicate::Flag(_) => {
                flags[row] = 1;
                reply.judge(batch.rows, row, Verdict::Emit);
                reply.findings.add(row, DUPLICATE);
            }
        };
        let states = match &self.memory {
            Memory::Exact => self.by_keys(batch, duplicate),
            Memory::Approximate { size, key, ttl } => {
                let (now, ttl) = match *ttl {
                    Some((read, ttl)) => (Some(batch.timestamp(read)), ttl),
                    None => (None, i64::MAX),
                };
                let now = |row: usize| now.and_then(|now| now.get(row).ok()).map_or(0, |it| it.0);
                self.by_filter(*size, key, ttl, now, batch, duplicate)
            }
        };
        reply.states = states;
        if let OnDuplicate::Flag(_) = self.on_duplicate {
            reply.columns.push(Column { values: Written::Boolean(flags), presence: Vec::new() });
        }
        reply
    }
}

impl Dedupe {
    /// Holds each row against the keys that were seen.
    fn by_keys(&self, batch: &Batch<'_>, mut duplicate: impl FnMut(usize)) -> ChangedStates {
        let States { rows, .. } = batch.states;
        let keys = batch.states.keys();
        let before = |key: usize| !batch.states.get(key).is_empty();
        let mut seen: Vec<bool> = (0..keys).map(before).collect();
        for row in batch.rows() {
            if std::mem::replace(&mut seen[rows[row] as usize], true) {
                duplicate(row);
            }
        }
        let mut changed = ChangedStates::default();
        // A state that is set begins its time to live anew, whether it changed or not.
        (0..keys).filter(|key| self.renew || !before(*key)).for_each(|key| changed.set(key, SEEN));
        changed
    }

    /// Holds each row against the filter of its group.
    fn by_filter(
        &self,
        size: Size,
        key: &[usize],
        ttl: i64,
        now: impl Fn(usize) -> i64,
        batch: &Batch<'_>,
        mut duplicate: impl FnMut(usize),
    ) -> ChangedStates {
        let mut filters: Vec<Option<Filter>> = vec![None; batch.states.keys()];
        let mut text = Vec::new();
        for row in batch.rows() {
            let group = batch.states.rows[row] as usize;
            let filter = filters[group].get_or_insert_with(|| {
                let mut filter = Filter::decode(size, batch.states.get(group), now(row));
                filter.age(now(row), ttl);
                filter
            });
            text.clear();
            key.iter().for_each(|read| push_value(&batch.columns[*read].values, row, &mut text));
            if filter.saw(xxh3_128(&text), now(row), self.renew) {
                duplicate(row);
            }
        }
        let mut changed = ChangedStates::default();
        let mut state = Vec::new();
        for (group, filter) in filters.iter().enumerate() {
            let Some(filter) = filter else { continue };
            state.clear();
            filter.encode(&mut state);
            if state != batch.states.get(group) {
                changed.set(group, &state);
            }
        }
        changed
    }
}

/// Appends a value of a key, in such a way that values of two fields can't run into each other.
fn push_value(values: &Values<'_>, row: usize, out: &mut Vec<u8>) {
    match values {
        Values::Utf8(texts) | Values::Json(texts) => {
            let text = texts.get(row);
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Values::Int64(values) | Values::Timestamp(values) => {
            out.extend_from_slice(&values[row].to_le_bytes());
        }
        Values::Date(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        _ => unreachable!("a key is read as one of the kinds above"),
    }
}

#[cfg(test)]
mod tests;
