//! Plugins out of a closure, that fail as they are told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidegate_core::{
    Batch, Column, Digest, Kind, Path, Presence, Read, Reply, Rule, Transform, TransformFactory,
    Values,
    column::Binary,
    description::{About, Description, Dimension, KeyedState, Origin, Severity, Written},
    transform::{Breach, MigrateError, Plugin, ReplyLimits, TransformError},
};

/// What an instance remembers, and should not.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Calls of this instance.
    pub(crate) calls: u64,
    /// Anything else.
    pub(crate) hidden: u64,
    /// What `memory_bytes` says.
    pub(crate) bytes: u64,
    /// By how much its time limit is multiplied.
    pub(crate) patience: u32,
}

type Behaviour = dyn Fn(&Batch<'_>, &mut Memory) -> Result<Reply, TransformError> + Send + Sync;

/// A plugin whose every call is a closure's.
pub(crate) struct Scripted {
    plugin: Plugin,
    behaviour: Arc<Behaviour>,
    refuses_to_start: Option<Breach>,
    migration: Option<Migration>,
    instances: AtomicU64,
    calls: Arc<AtomicU64>,
}

/// A state of another version, migrated; none where it refuses.
pub(crate) type Migration = fn(u32, &[u8]) -> Option<Vec<u8>>;

impl Scripted {
    /// A plugin that does this with each batch.
    pub(crate) fn new(
        name: &str,
        description: Description,
        behaviour: impl Fn(&Batch<'_>, &mut Memory) -> Result<Reply, TransformError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let state_version = u32::from(description.state.is_some());
        Scripted {
            plugin: Plugin {
                about: About {
                    name: name.to_owned(),
                    version: "1.2.3".to_owned(),
                    summary: "scripted".to_owned(),
                    config_schema: "{}".to_owned(),
                    capabilities: Vec::new(),
                    state_version,
                    may_be_passed_by: true,
                },
                description,
                component: Digest::of(name.as_bytes()),
                config: Digest::of(b"{}"),
            },
            behaviour: Arc::new(behaviour),
            refuses_to_start: None,
            migration: None,
            instances: AtomicU64::new(0),
            calls: Arc::default(),
        }
    }

    /// It keeps states of this version, and makes them of one state of another.
    pub(crate) fn migrating(mut self, version: u32, migration: Migration) -> Self {
        self.plugin.about.state_version = version;
        self.migration = Some(migration);
        self
    }

    /// It says that records may not pass it by.
    pub(crate) fn indispensable(mut self) -> Self {
        self.plugin.about.may_be_passed_by = false;
        self
    }

    /// None of its instances starts.
    pub(crate) fn refusing_to_start(mut self, breach: Breach) -> Self {
        self.refuses_to_start = Some(breach);
        self
    }

    /// Calls of all instances.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Instances so far.
    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Ordering::Relaxed)
    }
}

struct Instance {
    behaviour: Arc<Behaviour>,
    description: Description,
    memory: Memory,
    calls: Arc<AtomicU64>,
    failed: bool,
}

impl TransformFactory for Scripted {
    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn migrates(&self) -> bool {
        self.migration.is_some()
    }

    fn migrate(&self, from: u32, states: &Binary) -> Result<Binary, MigrateError> {
        let migrate = self.migration.expect("it is asked whether it migrates");
        let one = |place| migrate(from, states.get(place));
        let migrated = (0..states.len()).map(one).collect::<Option<Binary>>();
        migrated.ok_or_else(|| MigrateError::Refused { from, message: "no number".to_owned() })
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        self.instantiate_patient(1)
    }

    fn instantiate_patient(&self, factor: u32) -> Result<Box<dyn Transform>, TransformError> {
        if let Some(breach) = self.refuses_to_start {
            return Err(TransformError::new(breach, "it refuses to start"));
        }
        self.instances.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Instance {
            behaviour: Arc::clone(&self.behaviour),
            description: self.plugin.description.clone(),
            memory: Memory { patience: factor, ..Memory::default() },
            calls: Arc::clone(&self.calls),
            failed: false,
        }))
    }
}

impl Transform for Instance {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        assert!(!self.failed, "an instance that failed is never called again");
        assert_eq!(batch.columns.len(), self.description.reads.len());
        for (column, read) in batch.columns.iter().zip(&self.description.reads) {
            assert!(column.values.is_of(&read.kind));
            assert_eq!(column.values.len(), batch.rows as usize);
            assert!(column.presence.is_empty() || column.presence.len() == batch.rows as usize);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.memory.calls += 1;
        let limits = ReplyLimits {
            reply_bytes_max: 1 << 30,
            findings_max: 1 << 20,
            state_bytes_max: 1 << 20,
            fan_out: true,
        };
        let reply = (self.behaviour)(batch, &mut self.memory)
            .and_then(|reply| reply.check(&self.description, batch, &limits).map(|()| reply));
        self.failed = reply.is_err();
        reply
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.bytes
    }
}

/// A description in one line a part.
pub(crate) fn description(reads: &[(&str, Kind)], writes: &[(&str, Kind)]) -> Description {
    let path = |text: &&str| -> Path { text.parse().expect("a path") };
    Description {
        reads: reads
            .iter()
            .map(|(from, kind)| Read {
                from: match tidegate_core::description::HostValue::ALL
                    .into_iter()
                    .find(|value| value.name() == *from)
                {
                    Some(value) => Origin::Host(value),
                    None => Origin::Field(path(from)),
                },
                kind: kind.clone(),
                required: false,
            })
            .collect(),
        writes: writes
            .iter()
            .map(|(to, kind)| Written { path: path(to), kind: kind.clone() })
            .collect(),
        rules: vec![Rule {
            id: "says-so".to_owned(),
            dimension: Dimension::Validity,
            severity: Severity::Reject,
            field: None,
            text: "the plugin says so".to_owned(),
        }],
        state: None,
    }
}

/// The same with states by the first read.
pub(crate) fn keyed(mut description: Description) -> Description {
    description.state = Some(KeyedState { key: vec![0] });
    description
}

/// The text of a row of a column of texts.
pub(crate) fn text<'a>(batch: &Batch<'a>, column: usize, row: usize) -> &'a str {
    match &batch.columns[column].values {
        Values::Utf8(texts) | Values::Json(texts) => {
            std::str::from_utf8(texts.get(row)).expect("columns are UTF-8")
        }
        other => panic!("not texts: {other:?}"),
    }
}

/// The value of a row of a column of integers, where there is one.
pub(crate) fn integer(batch: &Batch<'_>, column: usize, row: usize) -> Option<i64> {
    match &batch.columns[column].values {
        Values::Int64(values) => {
            (batch.columns[column].presence_of(row) == Presence::Value as u8).then(|| values[row])
        }
        other => panic!("not integers: {other:?}"),
    }
}

/// A column of integers that are all set.
pub(crate) fn integers(values: impl IntoIterator<Item = i64>) -> Column {
    Column { values: Values::Int64(values.into_iter().collect()), presence: Vec::new() }
}

/// A column of texts that are all set.
pub(crate) fn texts<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Column {
    Column { values: Values::Utf8(values.into_iter().collect::<Binary>()), presence: Vec::new() }
}

/// Doubles `n` into `twice`, and traps on rows whose `n` is one of these.
pub(crate) fn doubling(poison: &'static [i64], hints: bool) -> Scripted {
    let description = description(&[("n", Kind::Int64)], &[("twice", Kind::Int64)]);
    Scripted::new("doubling", description, move |batch, _| {
        let rows = 0..batch.rows as usize;
        let culprit =
            rows.clone().find(|row| integer(batch, 0, *row).is_some_and(|n| poison.contains(&n)));
        if let Some(row) = culprit {
            let mut error = TransformError::new(Breach::Trap, "index out of bounds");
            error.row = hints.then_some(row as u32);
            error.backtrace = vec!["double".to_owned(), "transform".to_owned()];
            return Err(error);
        }
        let doubled = rows.map(|row| integer(batch, 0, row).unwrap_or(0) * 2);
        Ok(Reply { columns: vec![integers(doubled)], ..Reply::default() })
    })
}
