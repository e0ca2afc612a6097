//! Scores a number against what its key has shown before, and a fixed range.

mod config;
mod extremes;
mod history;
mod memory;
mod method;
mod season;
mod sketch;

use tidegate_plugin::{
    About, Batch, Capability, ConfigError, Description, Dimension, Kind, Plugin, Read, Reply, Rule,
    Severity, Timestamp, TimestampFormat, Write,
    blocks::{self, Interval},
    export,
    reply::{Column, ColumnBuilder, Findings, Values},
    state::KeyedStates,
};

pub use config::{
    AdaptiveRange, Combine, Config, Detector, Mean, Median, Range, Rate, Season, Seasonal,
};
use history::SCORE_MAX;
use memory::Memory;
use method::Method;

export!(Anomaly);

/// The plugin under one config.
#[derive(Debug)]
pub struct Anomaly {
    /// The read of the number.
    number: usize,
    /// The read of its time, where a detector asks for it.
    time: Option<usize>,
    /// The detectors; none without a key to remember by.
    judges: Vec<Judge>,
    /// The index of the rule about the range, which is there when a range is.
    range: Option<(Interval, u32)>,
    config: Config,
}

/// A detector that sits with others.
#[derive(Clone, Copy, Debug)]
struct Judge {
    method: Method,
    /// The score beyond which a number deviates.
    threshold: f64,
    /// The index of its rule.
    rule: u32,
}

/// What is said of a number: codes of [`VERDICTS`].
#[derive(Clone, Copy)]
enum Verdict {
    Normal,
    Anomalous,
    WarmingUp,
    CoolingDown,
}

const VERDICTS: [&str; 4] = ["normal", "anomalous", "warming-up", "cooling-down"];

impl Plugin for Anomaly {
    type Config = Config;

    fn about() -> About {
        About {
            name: "anomaly",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: vec![Capability::State],
            // 1 was a bare mean and variance.
            state_version: 2,
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
        let detectors = match config.key {
            Some(_) => config.detectors(),
            None => Vec::new(),
        };
        let is_timed = detectors.iter().any(|(it, _)| matches!(it, Detector::Seasonal(_)));
        let time = config.time.clone().filter(|_| is_timed);
        let time = time.map(|path| {
            description.read(Read::field(path, Kind::Timestamp(TimestampFormat::Rfc3339)))
        });
        if let Some(path) = config.write_score.clone() {
            description.writes.push(Write { path, kind: Kind::Float64 });
        }
        if let Some(path) = config.write_verdict.clone() {
            let kind = Kind::Enumeration(VERDICTS.map(str::to_owned).into());
            description.writes.push(Write { path, kind });
        }
        let mut rule = |id: String, dimension, text: String| {
            let field = Some(config.field.clone());
            description.rule(Rule { id, dimension, severity: Severity::Warn, field, text })
        };
        let judge = |(detector, id): (Detector, String)| Judge {
            method: Method::of(&detector),
            threshold: detector.threshold(),
            rule: rule(id, Dimension::Accuracy, detector.text()),
        };
        let judges = detectors.into_iter().map(judge).collect();
        let range = config.range.as_ref().map(|Range { at_least, at_most }| {
            let range = Interval::new(None, *at_least, None, *at_most);
            (range, rule("range".into(), Dimension::Validity, "within the configured range".into()))
        });
        Ok((Anomaly { number, time, judges, range, config }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        match self.judges.is_empty() {
            false => self.by_history(batch),
            true => self.by_range(batch),
        }
    }
}

impl Anomaly {
    /// Holds each number against the history of its key, and the range where there is one.
    fn by_history(&self, batch: &Batch<'_>) -> Reply {
        let numbers = batch.float64(self.number);
        let times = self.time.map(|read| batch.timestamp(read));
        let mut states = KeyedStates::<Memory>::of(batch.states);
        let mut scores = ColumnBuilder::with_capacity(batch.rows);
        let mut verdicts = ColumnBuilder::with_capacity(batch.rows);
        let mut reply = Reply::default();
        for row in batch.rows() {
            let Ok(number) = numbers.get(row) else {
                scores.leave();
                verdicts.leave();
                continue;
            };
            let time = times.and_then(|times| times.get(row).ok());
            let memory = states.of_row(row);
            let (score, mut verdict) = self.judge(memory, number, time, row, &mut reply.findings);
            if self.is_out_of_range(number, row, &mut reply) {
                verdict = Verdict::Anomalous;
            }
            scores.set(score);
            verdicts.set(verdict as u32);
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

    /// What the detectors say of a number together; those that find it deviating are findings.
    fn judge(
        &self,
        memory: &mut Memory,
        number: f64,
        time: Option<Timestamp>,
        row: usize,
        findings: &mut Findings,
    ) -> (f64, Verdict) {
        let Config { warm_up, cool_down, combine, .. } = self.config;
        memory.fit(self.judges.iter().map(|judge| judge.method));
        let is_alone = self.judges.len() == 1;
        let mut is_warm = false;
        let mut deviating = [false; config::DETECTORS_MAX];
        let mut scores = [0.0; config::DETECTORS_MAX];
        for (i, (judge, trace)) in self.judges.iter().zip(memory.traces()).enumerate() {
            let opinion = judge.method.meet(trace, number, time, warm_up);
            is_warm |= opinion.is_warm;
            deviating[i] = opinion.is_warm && opinion.score > judge.threshold;
            scores[i] = match (is_alone, opinion.is_warm) {
                (true, _) => opinion.score,
                (false, true) => (opinion.score / judge.threshold).min(SCORE_MAX),
                (false, false) => 0.0,
            };
        }
        let score = combine.of(&mut scores[..self.judges.len()]);
        let deviates = if is_alone { deviating[0] } else { score > 1.0 };
        let is_told = memory.cool_down.pass(deviates, score, cool_down);
        if is_told {
            for (judge, _) in self.judges.iter().zip(deviating).filter(|(_, deviates)| *deviates) {
                findings.add(row, judge.rule);
            }
        }
        let verdict = match (is_told, deviates, is_warm) {
            (true, _, _) => Verdict::Anomalous,
            (false, true, _) => Verdict::CoolingDown,
            (false, false, true) => Verdict::Normal,
            (false, false, false) => Verdict::WarmingUp,
        };
        (score, verdict)
    }

    /// Holds each number against the range alone.
    fn by_range(&self, batch: &Batch<'_>) -> Reply {
        let numbers = batch.float64(self.number);
        let mut reply = Reply::default();
        let holds = |number| self.range.is_none_or(|(range, _)| range.contains(number));
        let verdict = |number| match holds(number) {
            true => Verdict::Normal as u32,
            false => Verdict::Anomalous as u32,
        };
        let verdicts = Values::Enumeration(blocks::map(numbers.values, verdict));
        let presence = blocks::leave_absent(numbers.presence);
        reply.columns.push(Column { values: verdicts, presence });
        blocks::suspects(numbers, holds, |row| {
            if let Ok(number) = numbers.get(row) {
                self.is_out_of_range(number, row, &mut reply);
            }
        });
        reply
    }

    /// Whether there is a range and a number lies outside: a finding.
    fn is_out_of_range(&self, number: f64, row: usize, reply: &mut Reply) -> bool {
        let Some((range, rule)) = &self.range else { return false };
        if range.contains(number) {
            return false;
        }
        reply.findings.add(row, *rule);
        true
    }
}

impl Combine {
    /// The one score of all. Sorts them.
    fn of(self, scores: &mut [f64]) -> f64 {
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        match self {
            Combine::Any => scores[0],
            Combine::Majority => scores[scores.len() / 2],
            Combine::All => scores[scores.len() - 1],
            Combine::Mean => scores.iter().sum::<f64>() / scores.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests;
