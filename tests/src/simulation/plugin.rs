//! A plugin, linked natively, that counts the records of each key: what is lost, doubled or out of
//! order shows in every count behind it.

use std::sync::Arc;

use tidegate_core::{
    About, Batch, Column, Description, Digest, Kind, Origin, Read, Reply, Transform,
    TransformFactory, Values,
    description::{Capability, Dimension, KeyedState, Rule, Severity, Written},
    transform::{Breach, ChangedStates, Plugin, TransformError, Verdict},
};

use super::{
    stream::Fate,
    weather::{Spell, Weather},
};

/// Makes instances of one build, with one config.
pub(super) struct CountingFactory {
    plugin: Plugin,
    weather: Arc<Weather>,
    /// What its config says; and what differs from build to build, which the digests do not say.
    marks: [i64; 2],
}

impl CountingFactory {
    pub(super) fn new(config: i64, build: i64, weather: Arc<Weather>) -> Self {
        let path = |text: &str| text.parse().expect("a path");
        let read =
            |name: &str, kind| Read { from: Origin::Field(path(name)), kind, required: true };
        let written = |name: &str| Written { path: path(name), kind: Kind::Int64 };
        let plugin = Plugin {
            about: About {
                name: "counting".to_owned(),
                version: "1.0.0".to_owned(),
                summary: "Counts the records of each key.".to_owned(),
                config_schema: "{}".to_owned(),
                capabilities: vec![Capability::State],
                state_version: 1,
                may_be_passed_by: false,
            },
            description: Description {
                reads: vec![read("key", Kind::Utf8), read("fate", Kind::Int64)],
                writes: vec![written("count"), written("config"), written("build")],
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
            config: Digest::of(&config.to_be_bytes()),
        };
        CountingFactory { plugin, weather, marks: [config, build] }
    }
}

impl TransformFactory for CountingFactory {
    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        Ok(Box::new(Counting { weather: self.weather.clone(), marks: self.marks }))
    }
}

struct Counting {
    weather: Arc<Weather>,
    marks: [i64; 2],
}

impl Transform for Counting {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        let Values::Int64(fates) = &batch.columns[1].values else {
            return Err(TransformError::new(Breach::Trap, "fates are integers"));
        };
        let is = |fate: Fate| move |it: &i64| *it == fate as i64;
        if fates.iter().any(is(Fate::Poison)) {
            return Err(TransformError::new(Breach::Trap, "poison"));
        }
        if fates.iter().any(is(Fate::Slow)) && self.weather.lasts(Spell::SlowMachine) {
            return Err(TransformError::new(Breach::Time, "the machine is slow"));
        }
        let states = &batch.states.values;
        let mut counts = (0..states.len())
            .map(|key| states.get(key).try_into().map_or(0, i64::from_be_bytes))
            .collect::<Vec<_>>();
        let mut reply = Reply::default();
        let mut written = Vec::new();
        for (row, fate) in fates.iter().enumerate() {
            let count = &mut counts[batch.states.rows[row] as usize];
            *count += 1;
            written.push(*count);
            let is_dropped = is(Fate::Dropped)(fate);
            let verdict = if is_dropped { Verdict::Drop } else { Verdict::Emit };
            reply.verdicts.push(verdict as u8);
            if is_dropped {
                reply.findings.rows.push(row as u32);
                reply.findings.rules.push(0);
            }
        }
        let column = |values| Column { values: Values::Int64(values), presence: Vec::new() };
        let rows = written.len();
        let marks = self.marks.map(|mark| column(vec![mark; rows]));
        reply.columns = [column(written)].into_iter().chain(marks).collect();
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
