//! Runs a plugin on JSON records as a host would, in an ordinary unit test, without wasm.
//!
//! A [`Harness`] projects records into the columns that the plugin reads, calls it, checks the
//! reply as a host does and writes what it says into the records. It keeps states from one run to
//! the next. Every run is repeated on fresh instances in batches of other sizes, and a reply that
//! differs fails the test as impure.
//!
//! It is a small host and leaves out what a host adds around a call: selection by `when`, limits,
//! and the exact spelling of numbers. `tidegate plugin test` runs the component itself.

mod project;
mod splice;

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    Batch, ConfigError, Description, Origin, Plugin, Reply, Timestamp, Verdict,
    batch::{self, States},
    reply::{Binary, Column, Values},
};

/// Runs records through a plugin under a config.
///
/// # Panics
/// When the config is refused, and as [`Harness::run`] does.
pub fn run<P: Plugin>(config: Value, records: Value) -> Vec<Outcome> {
    match Harness::<P>::new(config) {
        Ok(mut harness) => harness.run(records),
        Err(error) => panic!("the config is refused: {error}"),
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its verdict.
    pub verdict: Verdict,
    /// What goes on in its place: nothing where it was dropped or rejected, else itself with what
    /// was written, or its children.
    pub records: Vec<Value>,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Outcome {
    /// The record that goes on.
    ///
    /// # Panics
    /// When it is none or several.
    pub fn record(&self) -> &Value {
        match &self.records[..] {
            [record] => record,
            records => panic!("{} records go on: {:?}", records.len(), self.findings),
        }
    }

    /// The ids of the rules that were found, in order.
    pub fn rules(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| &*finding.rule).collect()
    }
}

/// That a record met a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id; `required` where the host found that a required field has no value.
    pub rule: String,
    /// A word for people, or nothing.
    pub detail: String,
}

/// A plugin under a config, and the states of its keys.
pub struct Harness<P> {
    config: String,
    plugin: P,
    description: Description,
    batch_time: Timestamp,
    lookups: BTreeMap<String, Value>,
    states: BTreeMap<String, Vec<u8>>,
}

impl<P> fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<P: Plugin> Harness<P> {
    /// Configures the plugin.
    pub fn new(config: Value) -> Result<Self, ConfigError> {
        let config = config.to_string();
        let (plugin, description) = crate::configure(&config)?;
        Ok(Harness {
            config,
            plugin,
            description,
            batch_time: Timestamp(1_772_366_400 * Timestamp::SECOND), // 2026-03-01T12:00:00Z
            lookups: BTreeMap::new(),
            states: BTreeMap::new(),
        })
    }

    /// What the plugin reads, writes and rules on.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Sets `@batch-time`, which is 2026-03-01T12:00:00Z else.
    ///
    /// # Panics
    /// When the text is no time by RFC 3339.
    pub fn at(mut self, rfc3339: &str) -> Self {
        let time: jiff::Timestamp = rfc3339.parse().expect("a time by RFC 3339");
        self.batch_time = Timestamp(time.as_microsecond());
        self
    }

    /// Adds a row to a look-up table: its key, as a JSON array of the key's values, and its cells.
    pub fn lookup(mut self, table: &str, key: Value, cells: Value) -> Self {
        self.lookups.insert(lookup_key(table, key), cells);
        self
    }

    /// How many keys have a state, and the length of the longest in bytes.
    pub fn states(&self) -> (usize, usize) {
        (self.states.len(), self.states.values().map(Vec::len).max().unwrap_or(0))
    }

    /// Runs records, a JSON array, as one batch, and again in batches of 1 and 3 and on fresh
    /// instances.
    ///
    /// # Panics
    /// When a reply is not as the contract says, or depends on how the batch was cut.
    pub fn run(&mut self, records: Value) -> Vec<Outcome> {
        let Value::Array(records) = records else { panic!("records are a JSON array") };
        let before = self.states.clone();
        let outcomes = call(&self.plugin, self, &mut self.states.clone(), &records);
        let mut after = before.clone();
        for rows in [records.len().max(1), 1, 3] {
            let (fresh, _) = crate::configure::<P>(&self.config).expect("it was accepted before");
            let mut states = before.clone();
            let cut: Vec<Outcome> = records
                .chunks(rows)
                .flat_map(|part| call(&fresh, self, &mut states, part))
                .collect();
            assert_eq!(outcomes, cut, "the plugin is impure: in batches of {rows} it differs");
            if rows > 1 || records.len() == 1 {
                after = states;
            } else {
                assert_eq!(after, states, "the plugin is impure: its states differ row by row");
            }
        }
        self.states = after;
        outcomes
    }
}

/// One call, with what a host does before and after.
fn call<P: Plugin>(
    plugin: &P,
    harness: &Harness<P>,
    states: &mut BTreeMap<String, Vec<u8>>,
    records: &[Value],
) -> Vec<Outcome> {
    let description = &harness.description;
    let cell = |record: &Value, origin: &Origin| -> Option<Value> {
        match origin {
            Origin::Field(path) => project::at(record, path).cloned(),
            Origin::Host(value) => project::host_value(*value, record, harness.batch_time),
            Origin::Lookup(lookup) => {
                let key = lookup.keys.iter().map(|path| project::at(record, path).cloned());
                let key = lookup_key(&lookup.table, Value::Array(key.collect::<Option<_>>()?));
                harness.lookups.get(&key)?.get(&lookup.column).cloned()
            }
        }
    };

    // A row without a required value, or without a key, never reaches a plugin.
    let mut outcomes = Vec::new();
    let mut selected = Vec::new();
    for record in records {
        let lacking = description.reads.iter().enumerate().find(|(i, read)| {
            let needed = description.state_key.iter().flatten().any(|key| *key as usize == *i);
            (read.required || needed)
                && project::presence(cell(record, &read.from).as_ref(), &read.kind) != 0
        });
        outcomes.push(Outcome { verdict: Verdict::Reject, records: vec![], findings: vec![] });
        match lacking {
            Some((_, read)) => outcomes.last_mut().expect("just pushed").findings.push(Finding {
                rule: "required".into(),
                detail: match &read.from {
                    Origin::Field(path) => path.to_string(),
                    Origin::Host(value) => value.name().into(),
                    Origin::Lookup(lookup) => format!("{}.{}", lookup.table, lookup.column),
                },
            }),
            None => selected.push((outcomes.len() - 1, record)),
        }
    }

    let columns: Vec<Column> = description
        .reads
        .iter()
        .map(|read| {
            let cells = selected.iter().map(|(_, record)| cell(record, &read.from));
            project::column(&read.kind, cells)
        })
        .collect();
    let mut keys: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    if let Some(key) = &description.state_key {
        for (_, record) in &selected {
            let values =
                key.iter().map(|read| cell(record, &description.reads[*read as usize].from));
            let key = Value::from_iter(values.map(Option::unwrap_or_default)).to_string();
            let known = keys.iter().position(|known| *known == key);
            rows.push(known.unwrap_or(keys.len()) as u32);
            if known.is_none() {
                keys.push(key);
            }
        }
    }
    let mut values = Binary::with_capacity(keys.len(), 0);
    keys.iter().for_each(|key| values.push(states.get(key).map_or(&[], Vec::as_slice)));

    let borrowed: Vec<_> = columns.iter().map(borrow).collect();
    let states_in = States { rows: &rows, offsets: &values.offsets, bytes: &values.bytes };
    let reply =
        plugin.transform(&Batch { rows: selected.len(), columns: &borrowed, states: states_in });
    check(&reply, description, selected.len(), keys.len());

    for (i, key) in reply.states.keys.iter().enumerate() {
        let state = slice(&reply.states.values, i).to_vec();
        match state.is_empty() {
            true => states.remove(&keys[*key as usize]),
            false => states.insert(keys[*key as usize].clone(), state),
        };
    }
    for (i, row) in reply.findings.rows.iter().enumerate() {
        let rule = &description.rules[reply.findings.rules[i] as usize];
        let detail = match reply.findings.details.is_empty() {
            true => String::new(),
            false => String::from_utf8_lossy(slice(&reply.findings.details, i)).into_owned(),
        };
        let finding = Finding { rule: rule.id.clone(), detail };
        outcomes[selected[*row as usize].0].findings.push(finding);
    }
    for (row, (outcome, _)) in selected.iter().enumerate() {
        outcomes[*outcome].verdict = match reply.verdicts.get(row) {
            None | Some(0) => Verdict::Emit,
            Some(1) => Verdict::Drop,
            Some(_) => Verdict::Reject,
        };
    }
    let one_to_one: Vec<u32> = (0..selected.len() as u32).collect();
    let parents = if reply.parents.is_empty() { &one_to_one } else { &reply.parents };
    for (output, parent) in parents.iter().enumerate() {
        let (outcome, record) = selected[*parent as usize];
        if outcomes[outcome].verdict == Verdict::Emit {
            let mut record = record.clone();
            for (write, column) in description.writes.iter().zip(&reply.columns) {
                splice::write(&mut record, write, column, output);
            }
            outcomes[outcome].records.push(record);
        }
    }
    outcomes
}

/// Checks what a host checks.
fn check(reply: &Reply, description: &Description, rows: usize, keys: usize) {
    let Reply { verdicts, parents, columns, findings, states } = reply;
    assert!(verdicts.is_empty() || verdicts.len() == rows, "one verdict a row, or none");
    assert!(verdicts.iter().all(|verdict| *verdict <= 2), "verdicts are 0, 1 or 2");
    assert!(parents.is_sorted(), "parents never decrease");
    assert!(parents.iter().all(|parent| (*parent as usize) < rows), "a parent is an input row");
    let outputs = if parents.is_empty() { rows } else { parents.len() };
    assert_eq!(columns.len(), description.writes.len(), "one column for each write");
    for (write, column) in description.writes.iter().zip(columns) {
        splice::check(write, column, outputs);
    }
    assert_eq!(findings.rows.len(), findings.rules.len(), "one rule for each finding's row");
    assert!(findings.rows.iter().all(|row| (*row as usize) < rows), "a finding's row exists");
    let rules = description.rules.len();
    assert!(findings.rules.iter().all(|rule| (*rule as usize) < rules), "a finding's rule exists");
    let details = &findings.details;
    assert!(details.is_empty() || details.len() == findings.len(), "one detail each, or none");
    for (row, verdict) in verdicts.iter().enumerate() {
        let named = findings.rows.iter().any(|found| *found as usize == row);
        assert!(*verdict == 0 || named, "a dropped or rejected row names its rule");
    }
    assert_eq!(states.keys.len(), states.values.len(), "one state for each changed key");
    assert!(states.keys.iter().all(|key| (*key as usize) < keys), "a changed key exists");
    let mut changed = states.keys.clone();
    changed.sort_unstable();
    changed.dedup();
    assert_eq!(changed.len(), states.keys.len(), "a key changes at most once");
}

fn lookup_key(table: &str, key: Value) -> String {
    format!("{table} {key}")
}

fn slice(binary: &Binary, i: usize) -> &[u8] {
    &binary.bytes[binary.offsets[i] as usize..binary.offsets[i + 1] as usize]
}

fn borrow(column: &Column) -> batch::Column<'_> {
    let values = match &column.values {
        Values::Boolean(values) => batch::Values::Boolean(values),
        Values::Int64(values) => batch::Values::Int64(values),
        Values::Float64(values) => batch::Values::Float64(values),
        Values::Timestamp(values) => batch::Values::Timestamp(values),
        Values::Date(values) => batch::Values::Date(values),
        Values::Utf8(texts) => batch::Values::Utf8(text(texts)),
        Values::Enumeration(codes) => batch::Values::Enumeration(codes),
        Values::Json(texts) => batch::Values::Json(text(texts)),
    };
    batch::Column { values, presence: &column.presence }
}

fn text(texts: &Binary) -> batch::Text<'_> {
    let bytes = std::str::from_utf8(&texts.bytes).expect("it was made from strings");
    batch::Text { offsets: &texts.offsets, bytes }
}
