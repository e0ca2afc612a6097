//! Holds records, or fields of them, against JSON Schemas.
//!
//! A plugin of its own and no check of `validate`: the library of JSON Schema would make that plugin
//! six times as large, also for those who have no schema.
//!
//! Values are parsed with their numbers as they are written, so that an integer of any length is
//! compared exactly, `1.0` is an integer, and `0.3` is a multiple of `0.1`.

mod config;
mod plan;
#[cfg(target_arch = "wasm32")]
mod random;

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;
use tidegate_plugin::{
    About, Absence, Batch, ConfigError, Description, Plugin, Reply, Verdict, export,
};

pub use config::{Check, Config, Draft};
use plan::Compiled;

export!(Schema);

/// What a host takes by default. A record in which more is wrong is described well enough, and must
/// not count as one that breaks the plugin.
const FINDINGS_PER_ROW_MAX: usize = 16;

/// How much of a place in a record is shown: its names come from the record.
const PLACE_BYTES_MAX: usize = 200;

/// The plugin under one config.
#[derive(Debug)]
pub struct Schema {
    checks: Vec<Compiled>,
}

impl Plugin for Schema {
    type Config = Config;

    fn about() -> About {
        About {
            name: "schema",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: plan::CAPABILITIES.to_vec(),
            state_version: 0,
            may_be_passed_by: false,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        let (checks, description) = plan::plan(config)?;
        Ok((Schema { checks }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        // Found by checks that only warn. They come last, for the first finding of a rejected row
        // names why it was rejected.
        let mut warnings = Vec::new();
        for checks in self.checks.chunk_by(|one, other| one.read == other.read) {
            let texts = batch.json(checks[0].read);
            for row in batch.rows() {
                let value = match texts.get(row) {
                    Ok(text) => parse(text),
                    Err(Absence::Missing) => continue,
                    // A null is a value like any other to a schema.
                    Err(_) => Some(Value::Null),
                };
                for check in checks {
                    let found = match &value {
                        Some(value) if check.validator.is_valid(value) => continue,
                        Some(value) => faults(check, value),
                        None => vec!["no text of Unicode: half a surrogate pair".to_owned()],
                    };
                    match check.rejects {
                        true => {
                            reply.judge(batch.rows, row, Verdict::Reject);
                            found.iter().for_each(|fault| {
                                reply.findings.add_with(row, check.rule, fault);
                            });
                        }
                        false => {
                            warnings.extend(found.into_iter().map(|fault| (row, check.rule, fault)))
                        }
                    }
                }
            }
        }
        for (row, rule, fault) in &warnings {
            reply.findings.add_with(*row, *rule, fault);
        }
        reply.findings.keep_first(FINDINGS_PER_ROW_MAX);
        reply
    }
}

/// The value of a text that the host has found to be JSON, at most 128 deep. None where it has a
/// string that is no text.
fn parse(text: &str) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut deserializer).ok()
}

/// What is wrong with a value: places and keywords, in their order.
fn faults(check: &Compiled, value: &Value) -> Vec<String> {
    // Sorted, so that the order can't depend on a hash map inside the library.
    let mut faults: Vec<_> =
        check.validator.iter_errors(value).map(|error| fault(&error)).collect();
    faults.sort_unstable();
    faults.dedup();
    faults.truncate(FINDINGS_PER_ROW_MAX);
    faults
}

/// The place in the value and the keyword that it breaks, and never the value.
fn fault(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let place = match place {
        "" => "the whole",
        _ => &place[..place.floor_char_boundary(PLACE_BYTES_MAX)],
    };
    match error.kind() {
        // The one keyword that says little without its operand, which the schema names.
        ValidationErrorKind::Required { property: Value::String(name) } => {
            format!("{place}: required `{name}`")
        }
        kind => format!("{place}: {}", kind.keyword()),
    }
}

#[cfg(test)]
mod tests;
