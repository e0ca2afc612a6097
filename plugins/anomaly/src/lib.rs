//! Scores a number against the exponentially weighted history of its key, and a fixed range.

mod config;
mod history;

use tidegate_plugin::{
    About, Batch, Capability, ConfigError, Description, Dimension, Kind, Plugin, Read, Reply, Rule,
    Severity, Write, export,
    reply::{ColumnBuilder, Values},
    state::KeyedStates,
};

pub use config::{Config, Range};
use history::{History, weight};

export!(Anomaly);

/// The plugin under one config.
#[derive(Debug)]
pub struct Anomaly {
    /// The read of the number.
    number: usize,
    /// How histories are kept, where there is a key to keep them by.
    memory: Option<Memory>,
    /// The index of the rule about the range, which is there when a range is.
    range: Option<(Range, u32)>,
    config: Config,
}

/// How the history of a key is kept.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// The weight of a new number.
    weight: f64,
    /// The index of the rule about deviations.
    rule: u32,
}

/// What is said of a number: codes of [`VERDICTS`].
#[derive(Clone, Copy)]
enum Verdict {
    Normal,
    Anomalous,
    WarmingUp,
}

const VERDICTS: [&str; 3] = ["normal", "anomalous", "warming-up"];

impl Plugin for Anomaly {
    type Config = Config;

    fn about() -> About {
        About {
            name: "anomaly",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: vec![Capability::State],
            state_version: 1,
            may_be_passed_by: true,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        config.check()?;
        let mut description = Description::default();
        let number = description.read(Read::field(config.field.clone(), Kind::Float64));
        if let Some(key) = &config.key {
            // As JSON, so that a key may be a number or a text: the host groups by it, nobody
            // reads it.
            let key = key.iter().map(|path| Read::field(path.clone(), Kind::Json));
            description.state_key = Some(key.map(|it| description.read(it) as u32).collect());
        }
        if let Some(path) = config.write_score.clone() {
            description.writes.push(Write { path, kind: Kind::Float64 });
        }
        if let Some(path) = config.write_verdict.clone() {
            let kind = Kind::Enumeration(VERDICTS.map(str::to_owned).into());
            description.writes.push(Write { path, kind });
        }
        let mut rule = |id: &str, dimension, text: String| {
            let field = Some(config.field.clone());
            description.rule(Rule {
                id: id.into(),
                dimension,
                severity: Severity::Warn,
                field,
                text,
            })
        };
        let Config { threshold, half_life, .. } = config;
        let memory = config.key.is_some().then(|| {
            let text = format!("within {threshold} standard deviations of the key's recent mean");
            let rule = rule("deviation", Dimension::Accuracy, text);
            Memory { weight: weight(half_life), rule }
        });
        let range = config.range.clone().map(|range| {
            (range, rule("range", Dimension::Validity, "within the configured range".into()))
        });
        Ok((Anomaly { number, memory, range, config }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        match self.memory {
            Some(memory) => self.by_history(memory, batch),
            None => self.by_range(batch),
        }
    }
}

impl Anomaly {
    /// Holds each number against the history of its key, and the range where there is one.
    fn by_history(&self, memory: Memory, batch: &Batch<'_>) -> Reply {
        let numbers = batch.float64(self.number);
        let mut states = KeyedStates::<History>::of(batch.states);
        let mut scores = ColumnBuilder::with_capacity(batch.rows);
        let mut verdicts = ColumnBuilder::with_capacity(batch.rows);
        let mut reply = Reply::default();
        for row in batch.rows() {
            let Ok(number) = numbers.get(row) else {
                scores.leave();
                verdicts.leave();
                continue;
            };
            let history = states.of_row(row);
            let warm = history.seen >= self.config.warm_up;
            let score = history.score(number, self.config.deviation_min);
            let deviates = warm && score > self.config.threshold;
            if deviates {
                reply.findings.add(row, memory.rule);
            }
            let mut verdict = match (deviates, warm) {
                (true, _) => Verdict::Anomalous,
                (false, true) => Verdict::Normal,
                (false, false) => Verdict::WarmingUp,
            };
            if self.is_out_of_range(number, row, &mut reply) {
                verdict = Verdict::Anomalous;
            }
            scores.set(score);
            verdicts.set(verdict as u32);
            history.learn(self.lesson(history, number, warm), memory.weight);
        }
        if self.config.write_score.is_some() {
            reply.columns.push(scores.finish(Values::Float64));
        }
        if self.config.write_verdict.is_some() {
            reply.columns.push(verdicts.finish(Values::Enumeration));
        }
        reply.states = states.finish();
        reply
    }

    /// Holds each number against the range alone.
    fn by_range(&self, batch: &Batch<'_>) -> Reply {
        let numbers = batch.float64(self.number);
        let mut verdicts = ColumnBuilder::with_capacity(batch.rows);
        let mut reply = Reply::default();
        for row in batch.rows() {
            let Ok(number) = numbers.get(row) else {
                verdicts.leave();
                continue;
            };
            let verdict = match self.is_out_of_range(number, row, &mut reply) {
                true => Verdict::Anomalous,
                false => Verdict::Normal,
            };
            verdicts.set(verdict as u32);
        }
        reply.columns.push(verdicts.finish(Values::Enumeration));
        reply
    }

    /// Whether there is a range and a number lies outside: a finding.
    fn is_out_of_range(&self, number: f64, row: usize, reply: &mut Reply) -> bool {
        let Some((range, rule)) = &self.range else { return false };
        if range.holds(number) {
            return false;
        }
        reply.findings.add(row, *rule);
        true
    }

    /// What the history learns from a number. An anomalous one moves it no farther than one on
    /// the threshold would: so one outlier does not hide the next, and a new level is still
    /// learned, step by step.
    fn lesson(&self, history: &History, number: f64, warm: bool) -> f64 {
        match warm {
            true => history.clamped(number, self.config.threshold, self.config.deviation_min),
            false => number,
        }
    }
}

#[cfg(test)]
mod tests;
