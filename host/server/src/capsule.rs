//! A crash capsule: a record that broke a plugin, with everything that it takes to break it again.
//!
//! One JSON file. It holds the dead letter, and so the record itself; the call that failed with it
//! alone, as the letter wrote it down: the columns of the row and the state of its key; the plugin's
//! config, limits and grants; and the component by its digest, or whole.
//!
//! A plugin is a function of these and nothing else, so that it fails in the same way wherever the
//! capsule is opened.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Column, Digest, Reply, TransformFactory, transform::Batch};
use tidegate_engine::{ConfigureOptions, Runtime, RuntimeOptions};
use tidegate_pipeline::call::{Failure, RecordedCall};

use crate::{
    chain,
    config::{Grant, PluginLimits},
    letters::Letter,
    supply::{Admitted, Policy, Rights},
};

/// What the format is called.
pub(crate) const FORMAT: &str = "tidegate-capsule/1";

/// A capsule, as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capsule {
    /// [`FORMAT`].
    pub(crate) format: String,
    /// The stage's name.
    pub(crate) stage: String,
    /// The component.
    pub(crate) component: CapsuleComponent,
    /// The plugin's config.
    pub(crate) config: Value,
    /// What it may use up, all of it spelled out.
    pub(crate) limits: PluginLimits,
    /// What it may ask of the host.
    pub(crate) grants: Vec<Grant>,
    /// The dead letter, with its record and the call that failed.
    pub(crate) letter: Value,
}

/// The component that failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CapsuleComponent {
    pub(crate) digest: Digest,
    /// The plugin's name and version.
    pub(crate) plugin: String,
    /// The component itself, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wasm: Option<String>,
}

/// What came of running a plugin on a capsule's record.
pub(crate) struct Replayed {
    /// How it failed then.
    pub(crate) expected: Failure,
    /// What it did now.
    pub(crate) answer: Result<Reply, Failure>,
    /// The rules that the reply names, in order.
    pub(crate) rules: Vec<String>,
    /// The component that was run.
    pub(crate) digest: Digest,
    /// Its name and version.
    pub(crate) plugin: String,
    /// Whether the capsule's config is the one that the plugin failed with.
    pub(crate) same_config: bool,
}

impl Replayed {
    /// Whether it failed as it did then. Where the functions have other names, for it is another
    /// component, the way there does not count.
    pub(crate) fn is_the_same(&self, component: Digest) -> bool {
        let same_component = self.digest == component;
        self.answer.as_ref().is_err_and(|failure| {
            failure.code == self.expected.code
                && failure.message == self.expected.message
                && (!same_component || failure.backtrace == self.expected.backtrace)
        })
    }
}

impl Capsule {
    /// Reads one out of its file's text.
    pub(crate) fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let capsule: Capsule = serde_json::from_slice(text)?;
        anyhow::ensure!(
            capsule.format == FORMAT,
            "it is of format `{}`, and this host reads `{FORMAT}`",
            capsule.format
        );
        Ok(capsule)
    }

    /// The component that the capsule carries, if it does. Its digest is checked.
    pub(crate) fn wasm(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(wasm) = &self.component.wasm else { return Ok(None) };
        let wasm = STANDARD.decode(wasm)?;
        anyhow::ensure!(
            Digest::of(&wasm) == self.component.digest,
            "the component in it is not the one that it names: the file is damaged"
        );
        Ok(Some(wasm))
    }

    /// Runs a component on the record, as it was judged: alone, on a fresh instance, under the
    /// capsule's limits. Blocks for as long as the compiler takes.
    pub(crate) fn replay(&self, wasm: &Admitted, policy: &Policy) -> anyhow::Result<Replayed> {
        let letter = Letter::from_json(self.letter.clone());
        let call = letter.call().ok_or_else(|| anyhow::anyhow!("its letter holds no call"))?;
        let call: RecordedCall = serde_json::from_value(call.clone())?;
        // Under other limits it would be another call.
        if let Some(above) = policy.lower(&mut self.limits.clone()).first() {
            anyhow::bail!(
                "the capsule's limit `{}` is {}, and {policy} allows {} at most",
                above.limit,
                above.asked,
                above.ceiling
            );
        }
        let limits = chain::limits(&self.limits);
        let defaults = RuntimeOptions::default();
        let memory_bytes_max = defaults.memory_bytes_max.max(limits.memory_bytes);
        // One instance: its address space is all that has to be set aside.
        let options = RuntimeOptions { instances_max: 1, memory_bytes_max, ..defaults };
        let component = Runtime::new(options)?.load_within(&wasm.bytes, &limits)?;
        let rights = Rights::new(&component.about().capabilities, &self.grants, policy.ceiling());
        let config_json = self.config.to_string();
        let same_config = Digest::of(config_json.as_bytes()) == call.config;
        let factory = component.configure(ConfigureOptions {
            config_json,
            limits,
            grants: rights.grantable(),
            ..ConfigureOptions::default()
        })?;
        let plugin = factory.plugin();
        let (columns, states) = call.arguments(&plugin.description)?;
        let columns: Vec<&Column> = columns.iter().collect();
        let batch =
            Batch { rows: 1, columns: &columns, states: &states, batch_time: call.batch_time };
        let answer = factory.instantiate().and_then(|mut instance| instance.transform(&batch));
        let rules = answer.iter().flat_map(|reply| &reply.findings.rules);
        let rules = rules.filter_map(|rule| plugin.description.rules.get(*rule as usize));
        Ok(Replayed {
            expected: Failure {
                code: letter.etl("errorCode").to_owned(),
                message: letter.etl("errorMessage").to_owned(),
                backtrace: letter.etl("backtrace").to_owned(),
            },
            rules: rules.map(|rule| rule.id.clone()).collect(),
            answer: answer.map_err(|error| Failure::of(&error)),
            digest: plugin.component,
            plugin: format!("{} {}", plugin.about.name, plugin.about.version),
            same_config,
        })
    }
}
