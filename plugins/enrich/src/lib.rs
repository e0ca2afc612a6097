//! Computes new fields: dates from times, arithmetic, constants, look-ups, text functions, hashes.
//!
//! Three steps, a module each: [`Config`] is what an operator writes, the plan is the same with
//! its types settled, and evaluation runs the plan over columns.

mod cells;
mod config;
mod evaluate;
mod plan;

use std::ops::Range;

use tidegate_plugin::{
    About, Batch, Capability, ConfigError, Description, Dimension, Findings, Plugin, Reply, Rule,
    Severity, Timestamp, Write, export,
    reply::{Column, Values},
};

pub use config::{
    Config, Constant, Expression, Field, Lookup, LookupType, Replace, Round, Split, Substring,
};
use plan::{Planner, Text, Typed};

export!(Enrich);

/// The years 0 to 9999, in days since 1970: others have no text as a date.
const DAYS: Range<i32> = -719_528..2_932_897;

/// What a host takes by default. A record of which more fails is described well enough, and must
/// not count as one that breaks the plugin.
const FINDINGS_PER_ROW_MAX: usize = 16;

/// The plugin under one config.
#[derive(Debug)]
pub struct Enrich {
    fields: Vec<Typed>,
    defaults: Vec<Fallback>,
}

/// A look-up for which a constant may stand in.
#[derive(Debug)]
struct Fallback {
    read: usize,
    of: LookupType,
    /// Its field's rule that counts how often.
    rule: u32,
}

impl Plugin for Enrich {
    type Config = Config;

    fn about() -> About {
        About {
            name: "enrich",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: vec![Capability::Lookups],
            state_version: 0,
            may_be_passed_by: true,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        let mut description = Description::default();
        let mut fields = Vec::new();
        let mut defaulted = Vec::new();
        for (i, Field { write, value }) in config.fields.into_iter().enumerate() {
            let mut planner = Planner { description: &mut description, defaulted: Vec::new() };
            let typed = planner.typed(value, &format!("/fields/{i}/value"))?;
            if !planner.defaulted.is_empty() {
                defaulted.push((write.clone(), planner.defaulted));
            }
            if description.writes.iter().any(|known| known.path == write) {
                let why = format!("`{write}` is written twice");
                return Err(ConfigError::at(format!("/fields/{i}/write"), why));
            }
            description.rule(Rule {
                id: format!("computable:{write}"),
                dimension: Dimension::Validity,
                severity: Severity::Warn,
                text: format!("`{write}` can be computed from its operands"),
                field: Some(write.clone()),
            });
            description.writes.push(Write { path: write, kind: typed.kind() });
            fields.push(typed);
        }
        let mut defaults = Vec::new();
        for (write, reads) in defaulted {
            let rule = description.rule(Rule {
                id: format!("defaulted:{write}"),
                dimension: Dimension::Completeness,
                severity: Severity::Info,
                text: format!("what `{write}` looks up is in the table"),
                field: Some(write),
            });
            defaults.extend(reads.into_iter().map(|(read, of)| Fallback { read, of, rule }));
        }
        Ok((Enrich { fields, defaults }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        for (field, typed) in self.fields.iter().enumerate() {
            // A field's rule has the field's index.
            reply.columns.push(typed.column(batch, field as u32, &mut reply.findings));
        }
        for fallback in &self.defaults {
            fallback.count(batch, &mut reply.findings);
        }
        reply.findings.keep_first(FINDINGS_PER_ROW_MAX);
        reply
    }
}

impl Fallback {
    /// Finds the rows for which the constant stands in.
    fn count(&self, batch: &Batch<'_>, findings: &mut Findings) {
        let presence = match self.of {
            LookupType::Number => batch.float64(self.read).presence,
            LookupType::Integer => batch.int64(self.read).presence,
            LookupType::Text => batch.utf8(self.read).presence,
            LookupType::Boolean => batch.boolean(self.read).presence,
            LookupType::Date => batch.date(self.read).presence,
            LookupType::Timestamp => batch.timestamp(self.read).presence,
        };
        let absent = presence.iter().enumerate().filter(|(_, presence)| **presence != 0);
        absent.for_each(|(row, _)| findings.add(row, self.rule));
    }
}

impl Typed {
    fn column(&self, batch: &Batch<'_>, rule: u32, findings: &mut Findings) -> Column {
        match self {
            Typed::Number(number) => number.eval(batch).finish(Values::Float64, rule, findings),
            Typed::Integer(integer) => integer.eval(batch).finish(Values::Int64, rule, findings),
            Typed::Text(Text::Constant(_)) => {
                Column { values: Values::Enumeration(vec![0; batch.rows]), presence: Vec::new() }
            }
            Typed::Text(text) => text.eval(batch).finish(rule, findings),
            Typed::Boolean(boolean) => boolean.eval(batch).finish(Values::Boolean, rule, findings),
            Typed::Time(time) => {
                let times = time.eval(batch).lose_outside(
                    i64::from(DAYS.start) * Timestamp::DAY..i64::from(DAYS.end) * Timestamp::DAY,
                );
                times.finish(Values::Timestamp, rule, findings)
            }
            Typed::Date(date) => {
                date.eval(batch).lose_outside(DAYS).finish(Values::Date, rule, findings)
            }
        }
    }
}

#[cfg(test)]
mod tests;
