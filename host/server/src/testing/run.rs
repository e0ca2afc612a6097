//! Records through the plan, and what comes out of it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use serde_json::Value;
use tidegate_core::{
    Timestamp, TransformFactory,
    batcher::{Batcher, RangeLimit, Situation, Step},
    checkpoint::{Outcome, StateKeys},
    source::PartitionId,
};
use tidegate_engine::Runtime;
use tidegate_pipeline::{Plan, RangeContext, RangeOutput, Settings, states::NoStates};

use crate::{
    DEAD_LETTERS, chain,
    config::{ByteSize, Compression, Loaded, LoadedTests, Rotation, TestCase},
    finding::{Finding, both},
    letters::Letter,
    objects, plan, records,
    supply::Supply,
    tables,
};

/// A pipeline that is tested.
pub(crate) struct Pipeline {
    plan: Arc<Plan>,
    settings: Settings,
    /// The sinks' names, in order.
    pub(crate) sinks: Vec<String>,
    /// The stages' names and their plugins' rules, in order.
    pub(crate) stages: Vec<(String, Vec<String>)>,
}

/// What a case's records have become.
#[derive(Debug, Default)]
pub(crate) struct Produced {
    /// What became of each record, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// The records of each sink.
    pub(crate) sinks: BTreeMap<String, Vec<Value>>,
    /// The dead letters, each with its record's number, from 1.
    pub(crate) letters: Vec<(u64, Letter)>,
    /// How many findings each stage has, by rule, but for those of which there are none.
    pub(crate) findings: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Pipeline {
    /// Compiles and configures the plugins. What is only about files is left out: each sink has one
    /// object, so that its records are in the order of those that they come from.
    pub(crate) fn build(
        loaded: &Loaded,
        runtime: &Runtime,
        supply: &Supply,
    ) -> Result<Self, Vec<Finding>> {
        let mut loaded = loaded.clone();
        for sink in &mut loaded.config.sinks {
            sink.compression = Compression::None;
            sink.compression_level = None;
            sink.rotation = Rotation { records: None, bytes: ByteSize::bytes(u64::MAX) };
            if let Some(directory) = &mut sink.directory {
                directory.tree.clear();
            }
            if let Some(s3) = &mut sink.s3 {
                s3.tree.clear();
            }
        }
        loaded.config.dead_letters.compression = Compression::None;
        loaded.config.dead_letters.compression_level = None;
        let (stages, tables) = both(chain::load(&loaded, runtime, supply), tables::load(&loaded))?;
        let (plan, _) = plan::build(&loaded, &stages, tables)?;
        let rules = |stage: &chain::LoadedStage| {
            let rules = &stage.factory.plugin().description.rules;
            rules.iter().map(|rule| rule.id.clone()).collect()
        };
        let names = loaded.config.stages.iter().map(|stage| stage.name.clone());
        Ok(Pipeline {
            plan,
            settings: plan::settings(&loaded.config),
            sinks: loaded.config.sinks.iter().map(|sink| sink.name.clone()).collect(),
            stages: names.zip(stages.iter().map(rules)).collect(),
        })
    }

    /// Takes a case's records through.
    pub(crate) async fn run(
        &self,
        tests: &LoadedTests,
        case: &TestCase,
    ) -> anyhow::Result<Produced> {
        let records = records(tests, case).await?;
        let partition = PartitionId::from("given");
        let mut processor = self.plan.open_range(RangeContext {
            partition: partition.clone(),
            // What becomes of each record is of interest.
            origin: Some(partition),
            range: 0,
            revision: 0,
            start: None,
            opened_at: tests.batch_time(case),
            exclusions: Vec::new(),
            state_keys: StateKeys::new(),
            hash_key: None,
        })?;
        let endless = RangeLimit {
            records_max: u64::MAX,
            bytes_max: u64::MAX,
            spooled_bytes_max: usize::MAX,
            open_objects_max: usize::MAX,
            ..self.settings.range
        };
        let mut batcher = Batcher::new(self.settings.batch, endless);
        batcher.push(records::batch(&records)?);
        batcher.end();
        let now = Timestamp::default();
        let situation = Situation { now, spooled_bytes: 0, open_objects: 0, requested: None };
        loop {
            match batcher.step(&situation) {
                Step::Open => batcher.open(now, None),
                Step::Process(batch) => processor.process(&batch, &NoStates).await?,
                Step::Cut(_) | Step::Read => {}
                Step::Done => break,
            }
        }
        self.produced(&processor.cut()?)
    }

    fn produced(&self, output: &RangeOutput) -> anyhow::Result<Produced> {
        let mut produced = Produced {
            outcomes: output.outcomes.iter().map(|it| it.outcome).collect(),
            sinks: self.sinks.iter().map(|name| (name.clone(), Vec::new())).collect(),
            ..Produced::default()
        };
        for object in &output.objects {
            let sink = &self.plan.destinations()[object.destination].name;
            let lines = object.object.content.split(|byte| *byte == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                if sink == DEAD_LETTERS {
                    let letter = Letter::parse(line)?;
                    produced.letters.push((letter.position()?.offset(), letter));
                } else {
                    let record = serde_json::from_slice(line).context("a sink holds no JSON")?;
                    produced.sinks.entry(sink.clone()).or_default().push(record);
                }
            }
        }
        for (did, (name, rules)) in output.stages.iter().zip(&self.stages) {
            let counts = rules.iter().cloned().zip(did.findings.iter().copied());
            let counts = counts.filter(|(_, findings)| *findings > 0).collect();
            produced.findings.insert(name.clone(), counts);
        }
        Ok(produced)
    }
}

/// A case's records, as bytes.
async fn records(tests: &LoadedTests, case: &TestCase) -> anyhow::Result<Vec<Vec<u8>>> {
    let given = case.given.iter().map(|record| match record {
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    });
    let mut records: Vec<Vec<u8>> = given.collect();
    if let Some(file) = &case.given_file {
        let path = tests.base.join(file);
        objects::each_record(&path, |batch| {
            records.extend((0..batch.len()).map(|row| batch.record(row).to_vec()));
            Ok(())
        })
        .await?;
    }
    Ok(records)
}
