//! What an operator writes into a config, beside the same by a program: expressions against Rust
//! written by hand, a JSON Schema against the crate that everybody takes.

use std::sync::Arc;

use anyhow::Context;
use tidegate_benches::{
    agree, run,
    work::{self, Extras, Plugins},
};
use tidegate_pipeline::{Plan, plan::Purity};

use super::{Scene, Table, calls::Call};

/// The chains of one stage that are compared.
pub(crate) struct Checks {
    rules: Arc<Plan>,
    handwritten: Arc<Plan>,
    schema: Arc<Plan>,
}

impl Checks {
    pub(crate) fn new(components: &Plugins<'_>) -> anyhow::Result<Self> {
        Ok(Checks {
            rules: components.plan(&work::rules(), Purity::Off)?,
            handwritten: Plugins::Native.plan(&work::handwritten(), Purity::Off)?,
            schema: components.plan(&work::schema(), Purity::Off)?,
        })
    }

    /// Compares what they make of the transactions.
    pub(crate) fn agree(&self, scene: &Scene<'_>) -> anyhow::Result<()> {
        let output = |plan| scene.io.block_on(run::output(plan, &scene.batches));
        let (rules, handwritten) = (output(&self.rules)?, output(&self.handwritten)?);
        agree::check(("rules", &rules), ("the same by hand", &handwritten))?;
        let schema = output(&self.schema)?;
        let native =
            scene.peers.output("schema", scene.input, Extras::default(), scene.directory)?;
        agree::check(("schema", &schema), ("the native crate", &native))
    }

    /// Adds the chains, from bytes to spliced bytes, and the bare calls of `rules`.
    pub(crate) fn add_rows<'a>(
        &'a self,
        table: &mut Table<'a>,
        components: &Plugins<'_>,
        scene: &'a Scene<'a>,
    ) -> anyhow::Result<()> {
        let chains = [
            ("rules_chain", &self.rules),
            ("handwritten_chain", &self.handwritten),
            ("schema_chain", &self.schema),
        ];
        for (name, plan) in chains {
            table.add_work(name, scene.records, move || {
                scene.io.block_on(run::splice(plan, &scene.batches))
            });
        }
        table
            .add("schema_native", || scene.peers.measure("schema", scene.input, Extras::default()));
        let calls = [
            ("rules_call", components, work::rules()),
            ("handwritten_call", &Plugins::Native, work::handwritten()),
        ];
        for (name, plugins, stages) in calls {
            let stage = stages.first().context("a chain of one stage")?;
            Call::prepare(plugins, stage, scene)?.add_row(table, name);
        }
        Ok(())
    }
}
