//! Corrects fields by declared rules: white space, case, types, dates, spelling, ranges.
//!
//! Each correction is a rule, and each change is a finding that names it: what was changed is said,
//! and what it was is not. A value that no correction fits goes on as it is, to be judged by a
//! `validate` behind.

mod config;
mod number;
mod step;
mod time;
mod value;

use tidegate_plugin::{
    About, Batch, ConfigError, Description, Findings, Kind, Plugin, Read, Reply, Rule, Write,
    export,
    reply::{Column, Field, TextBuilder, Values},
};

pub use config::{
    Booleans, Case, Clamp, Config, Correction, Dates, Limit, Number, Offset, Scalar, Step, Times,
    Unix,
};
pub use time::Format;
use value::Value;

export!(Correct);

/// What a host takes by default. A record of which more is corrected is described well enough, and
/// must not count as one that breaks the plugin.
const FINDINGS_PER_ROW_MAX: usize = 16;

/// The plugin under one config.
#[derive(Debug)]
pub struct Correct {
    targets: Vec<Target>,
}

/// A field and what is done to it, in order.
#[derive(Debug)]
struct Target {
    read: usize,
    /// Steps, each with the index of its rule.
    steps: Vec<(step::Step, u32)>,
}

impl Plugin for Correct {
    type Config = Config;

    fn about() -> About {
        About {
            name: "correct",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: Vec::new(),
            state_version: 0,
            may_be_passed_by: true,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        if config.corrections.is_empty() {
            return Err(ConfigError::at("/corrections", "there is no correction"));
        }
        let mut description = Description::default();
        let mut targets: Vec<Target> = Vec::new();
        for (i, correction) in config.corrections.into_iter().enumerate() {
            let pointer = format!("/corrections/{i}");
            correction.check(&pointer)?;
            let id = correction.id();
            if id.is_empty() || description.rules.iter().any(|rule| rule.id == id) {
                let why = format!("`{id}` is empty or not unique: give the correction an id");
                return Err(ConfigError::at(format!("{pointer}/id"), why));
            }
            let rule = description.rule(Rule {
                id,
                dimension: correction.dimension(),
                severity: correction.severity,
                field: Some(correction.field.clone()),
                text: correction.text(),
            });
            let Correction { field, step, .. } = correction;
            let overlaps = |write: &&Write| {
                write.path != field
                    && (write.path.0.starts_with(&field.0) || field.0.starts_with(&write.path.0))
            };
            if let Some(other) = description.writes.iter().find(overlaps) {
                let why = format!("`{field}` and `{}` lie one in the other", other.path);
                return Err(ConfigError::at(format!("{pointer}/field"), why));
            }
            let known = description.writes.iter().position(|write| write.path == field);
            let target = known.unwrap_or_else(|| {
                // As JSON: what a value becomes may be of another type than what it was.
                let read = description.read(Read::field(field.clone(), Kind::Json));
                description.writes.push(Write { path: field, kind: Kind::Json });
                targets.push(Target { read, steps: Vec::new() });
                targets.len() - 1
            });
            targets[target].steps.push((step.into(), rule));
        }
        Ok((Correct { targets }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        for target in &self.targets {
            reply.columns.push(target.column(batch, &mut reply.findings));
        }
        reply.findings.keep_first(FINDINGS_PER_ROW_MAX);
        reply
    }
}

impl Target {
    /// Corrects the field of each row; a row in which nothing changes is left as it is.
    fn column(&self, batch: &Batch<'_>, findings: &mut Findings) -> Column {
        let values = batch.json(self.read);
        let mut column = TextBuilder::with_capacity(batch.rows, 0);
        let mut json = String::new();
        for row in batch.rows() {
            let mut value = Value::of(values.get(row));
            let mut is_changed = false;
            for (step, rule) in &self.steps {
                if let Some(changed) = step.apply(&value) {
                    value = changed;
                    is_changed = true;
                    findings.add(row, *rule);
                }
            }
            column.push(match (is_changed, &value) {
                (false, _) => Field::Leave,
                (true, Value::Nothing) => Field::Null,
                (true, value) => {
                    json.clear();
                    value.write(&mut json);
                    Field::Set(&json)
                }
            });
        }
        column.finish(Values::Json)
    }
}

#[cfg(test)]
mod tests;
