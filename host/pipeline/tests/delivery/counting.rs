//! A plugin, linked natively, that counts the rows of each key and drops some: what is lost or
//! doubled shows in every count behind it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tidegate_core::{
    About, Batch, Binary, Column, Description, Digest, Kind, Origin, Read, Reply, Transform,
    TransformFactory, Values,
    description::{Capability, Dimension, KeyedState, Rule, Severity, Written},
    transform::{Breach, ChangedStates, Findings, Plugin, TransformError, Verdict},
};

/// Rows whose number leaves this remainder are dropped.
pub(crate) fn is_dropped(number: i64) -> bool {
    number % 11 == 5
}

/// Makes instances, unless it was told that there is no room.
pub(crate) struct CountingFactory {
    plugin: Plugin,
    no_room: AtomicU32,
    blocked: Arc<AtomicBool>,
}

impl CountingFactory {
    pub(crate) fn new() -> Self {
        let read = |path: &str, kind| Read {
            from: Origin::Field(path.parse().expect("a path")),
            kind,
            required: true,
        };
        let plugin = Plugin {
            about: About {
                name: "counting".to_owned(),
                version: "1.0.0".to_owned(),
                summary: "Counts the rows of each key.".to_owned(),
                config_schema: "{}".to_owned(),
                capabilities: vec![Capability::State],
                state_version: 1,
                may_be_passed_by: false,
            },
            description: Description {
                reads: vec![read("key", Kind::Utf8), read("number", Kind::Int64)],
                writes: vec![Written { path: "count".parse().expect("a path"), kind: Kind::Int64 }],
                rules: vec![Rule {
                    id: "unwanted".to_owned(),
                    dimension: Dimension::Validity,
                    severity: Severity::Info,
                    field: None,
                    text: "Nobody wants these.".to_owned(),
                }],
                state: Some(KeyedState { key: vec![0] }),
            },
            component: Digest::of(b"counting"),
            config: Digest::of(b"{}"),
        };
        CountingFactory { plugin, no_room: AtomicU32::new(0), blocked: Arc::default() }
    }

    /// No instance is made any more, and those that there are refuse to be called; or they are
    /// let go on.
    pub(crate) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// The next instances can't be made.
    pub(crate) fn fill_up(&self, times: u32) {
        self.no_room.store(times, Ordering::Relaxed);
    }
}

impl TransformFactory for CountingFactory {
    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        refuse_if(&self.blocked)?;
        let less = |left: u32| left.checked_sub(1);
        match self.no_room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err(TransformError::new(Breach::Exhausted, "no room for another instance")),
            Err(_) => Ok(Box::new(Counting { blocked: Arc::clone(&self.blocked) })),
        }
    }
}

fn refuse_if(blocked: &AtomicBool) -> Result<(), TransformError> {
    match blocked.load(Ordering::Relaxed) {
        true => Err(TransformError::new(Breach::Blocked, "an operator has blocked it")),
        false => Ok(()),
    }
}

struct Counting {
    blocked: Arc<AtomicBool>,
}

impl Transform for Counting {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        refuse_if(&self.blocked)?;
        let Values::Int64(numbers) = &batch.columns[1].values else {
            return Err(TransformError::new(Breach::Trap, "numbers are integers"));
        };
        let states = &batch.states.values;
        let mut counts = (0..states.len())
            .map(|key| states.get(key).try_into().map_or(0, i64::from_be_bytes))
            .collect::<Vec<_>>();
        let mut reply = Reply::default();
        let mut written = Vec::new();
        for (row, number) in numbers.iter().enumerate() {
            let count = &mut counts[batch.states.rows[row] as usize];
            *count += 1;
            written.push(*count);
            let verdict = if is_dropped(*number) { Verdict::Drop } else { Verdict::Emit };
            reply.verdicts.push(verdict as u8);
            if verdict == Verdict::Drop {
                reply.findings.rows.push(row as u32);
                reply.findings.rules.push(0);
            }
        }
        reply.columns = vec![Column { values: Values::Int64(written), presence: Vec::new() }];
        reply.findings = Findings { details: Binary::default(), ..reply.findings };
        reply.states = ChangedStates {
            keys: (0..counts.len() as u32).collect(),
            values: counts.iter().map(|count| count.to_be_bytes()).collect(),
        };
        Ok(reply)
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}
