//! The work: what is asked of each transaction, as a chain of the four first-party plugins.
//!
//! `peers/src/straightforward.rs` and `peers/src/remap.rs` do the same by other means, and their
//! output is compared with this chain's before anything is timed.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::Context;
use serde_json::{Value, json};
use tidegate_core::{
    Description, Kind, Origin, Path as RecordPath, TransformFactory,
    description::Capability,
    json::{Layout, Projector},
};
use tidegate_engine::{ConfigureOptions, Runtime};
use tidegate_pipeline::{
    Plan, PlanSpec,
    plan::{Purity, SinkSpec, StageSpec, StateScope, StateSpec},
};

use crate::{handwritten, native::NativeFactory};

/// When an object is full: a range, of 16 MiB, then has two, which are hashed side by side.
const PART_BYTES_MAX: u64 = 8 << 20;

/// A plugin under a config.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The plugin's name.
    pub plugin: &'static str,
    /// Its config.
    pub config: Value,
}

/// What a chain is asked for besides the work that everybody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The SHA-256 of each record's bytes as `record_id`.
    pub record_id: bool,
    /// The amount held against the history of its account, and not against a range alone.
    pub history: bool,
}

/// The chain of four.
pub fn chain(extras: Extras) -> Vec<Stage> {
    vec![validate(), enrich(extras.record_id), categorize(), anomaly(extras.history)]
}

fn validate() -> Stage {
    let config = json!({ "always": [
        { "id": "event-id-given", "field": "event_id", "check": "required" },
        { "id": "timestamp-given", "field": "timestamp", "check": "required" },
        { "id": "timestamp-valid", "field": "timestamp", "check": { "type": "timestamp" } },
        { "id": "amount-given", "field": "amount", "check": "required" },
        { "id": "amount-valid", "field": "amount",
          "check": { "range": { "above": 0, "at_most": 10_000_000 } } },
        { "id": "currency-given", "field": "currency", "check": "required" },
        { "id": "currency-known", "field": "currency",
          "check": { "one_of": ["EUR", "USD", "GBP", "JPY", "CHF", "SEK"] } },
        { "id": "card-given", "field": "card_last4", "check": "required" },
        { "id": "card-digits", "field": "card_last4", "check": { "pattern": "^[0-9]{4}$" } },
    ]});
    Stage { plugin: "validate", config }
}

fn enrich(record_id: bool) -> Stage {
    let time = json!({ "timestamp": "timestamp" });
    let mut fields = vec![
        json!({ "write": "date", "value": { "date_of": time } }),
        json!({ "write": "hour", "value": { "hour": time } }),
        json!({ "write": "is_weekend", "value": { "is_weekend": time } }),
        json!({ "write": "amount_with_fee",
                "value": { "multiply": [{ "number": "amount" }, { "constant": 1.015 }] } }),
    ];
    if record_id {
        fields.push(json!({ "write": "record_id", "value": { "host": "@record-id" } }));
    }
    Stage { plugin: "enrich", config: json!({ "fields": fields }) }
}

fn categorize() -> Stage {
    let config = json!({
        "bands": [{ "write": "amount_category", "field": "amount", "bands": [
            { "label": "micro", "below": 10 },
            { "label": "small", "below": 100 },
            { "label": "medium", "below": 1000 },
            { "label": "large" },
        ]}],
        "flags": [{ "write": "is_high_value", "field": "amount", "above": 1000 }],
    });
    Stage { plugin: "categorize", config }
}

fn anomaly(history: bool) -> Stage {
    let mut config = json!({
        "field": "amount", "range": { "at_most": 5000 }, "write_verdict": "anomaly",
    });
    if history {
        config["key"] = json!(["account_id"]);
    }
    Stage { plugin: "anomaly", config }
}

/// Two rules and two fields of `rules`, whose expressions an operator writes.
pub fn rules() -> Vec<Stage> {
    let config = json!({
        "rules": [
            { "id": "amount-valid", "check": "amount > 0 && amount <= 10000000" },
            { "id": "currency-known",
              "check": "currency in ['EUR', 'USD', 'GBP', 'JPY', 'CHF', 'SEK']" },
        ],
        "fields": [
            { "write": "amount_with_fee", "kind": "float64", "value": "amount * 1.015" },
            { "write": "is_high_value", "kind": "boolean", "value": "amount > 1000" },
        ],
    });
    vec![Stage { plugin: "rules", config }]
}

/// The same, written in Rust: `handwritten.rs`.
pub fn handwritten() -> Vec<Stage> {
    vec![Stage { plugin: "handwritten", config: json!({}) }]
}

/// A JSON Schema of the whole transaction. `peers/src/schema.rs` has the same one.
pub fn schema() -> Vec<Stage> {
    let schema =
        serde_json::from_str::<Value>(include_str!("../peers/src/transaction.schema.json"))
            .expect("the schema is JSON");
    let config = json!({ "checks": [{ "id": "transaction", "schema": schema }] });
    vec![Stage { plugin: "schema", config }]
}

/// More chains, for what each stage costs: one stage for each place, each writing a field of its
/// own.
pub fn flags(stages: usize) -> Vec<Stage> {
    let stage = |i: usize| Stage {
        plugin: "categorize",
        config: json!({ "flags": [
            { "write": format!("is_above_{i}"), "field": "amount", "above": 100 * i },
        ]}),
    };
    (0..stages).map(stage).collect()
}

/// How a chain's plugins are run.
pub enum Plugins<'a> {
    /// Linked into this program.
    Native,
    /// As components, from a directory.
    Components(&'a Runtime, &'a Path),
}

impl Plugins<'_> {
    /// Configures a stage's plugin.
    pub fn factory(&self, stage: &Stage) -> anyhow::Result<Arc<dyn TransformFactory>> {
        let config_json = stage.config.to_string();
        match self {
            Plugins::Native => native(stage.plugin, config_json),
            Plugins::Components(runtime, directory) => {
                let path = directory.join(format!("{}.wasm", stage.plugin));
                let bytes =
                    std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                let grants = BTreeSet::from([Capability::State, Capability::Document]);
                let options =
                    ConfigureOptions { config_json, grants, ..ConfigureOptions::default() };
                let component = runtime.load(&bytes)?;
                Ok(Arc::new(component.configure(options)?))
            }
        }
    }

    /// A plan that takes every transaction through a chain, to one sink of lines.
    pub fn plan(&self, stages: &[Stage], purity: Purity) -> anyhow::Result<Arc<Plan>> {
        self.plan_into(stages, purity, SinkSpec::new("processed"))
    }

    /// The same, to a sink of any kind.
    pub fn plan_into(
        &self,
        stages: &[Stage],
        purity: Purity,
        sink: SinkSpec,
    ) -> anyhow::Result<Arc<Plan>> {
        let mut specs = Vec::new();
        for (place, stage) in stages.iter().enumerate() {
            let name = format!("{}-{place}", stage.plugin);
            let state = StateSpec { scope: StateScope::Partition, ..StateSpec::default() };
            let factory = self.factory(stage)?;
            specs.push(StageSpec { state, purity, ..StageSpec::new(&name, factory) });
        }
        let spec = PlanSpec {
            stages: specs,
            sinks: vec![SinkSpec { part_bytes_max: PART_BYTES_MAX, ..sink }],
            ..PlanSpec::new("transactions", "transactions")
        };
        Ok(Plan::build(spec)?)
    }

    /// Reads what a chain reads of a record and locates what it writes, as its plan does.
    pub fn projector(&self, stages: &[Stage]) -> anyhow::Result<Projector> {
        let factories = stages.iter().map(|stage| self.factory(stage));
        let factories = factories.collect::<anyhow::Result<Vec<_>>>()?;
        projector(factories.iter().map(|factory| &factory.plugin().description))
    }
}

/// Reads what a stage reads, and nothing else.
pub fn projector_of(description: &Description) -> anyhow::Result<Projector> {
    projector([description])
}

/// Reads what plugins read of a record and locates what they write, as a plan's projector does.
fn projector<'a>(
    descriptions: impl IntoIterator<Item = &'a Description>,
) -> anyhow::Result<Projector> {
    let mut reads: Vec<(RecordPath, Kind)> = Vec::new();
    let mut writes: Vec<RecordPath> = Vec::new();
    for description in descriptions {
        for read in &description.reads {
            let Origin::Field(path) = &read.from else { continue };
            let read = (path.clone(), read.kind.clone());
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
        writes.extend(description.writes.iter().map(|written| written.path.clone()));
    }
    Ok(Projector::new(&reads, &writes, Layout::Flat)?)
}

fn native(plugin: &str, config: String) -> anyhow::Result<Arc<dyn TransformFactory>> {
    Ok(match plugin {
        "validate" => Arc::new(NativeFactory::<validate::Validate>::new(config)?),
        "enrich" => Arc::new(NativeFactory::<enrich::Enrich>::new(config)?),
        "categorize" => Arc::new(NativeFactory::<categorize::Categorize>::new(config)?),
        "anomaly" => Arc::new(NativeFactory::<anomaly::Anomaly>::new(config)?),
        "handwritten" => Arc::new(NativeFactory::<handwritten::RatePlugin>::new(config)?),
        other => anyhow::bail!("no plugin `{other}` is linked"),
    })
}
