//! Events that nobody had to collect: a source that makes them up, the same ones for a seed.
//!
//! Four types, `user_action`, `transaction`, `metric` and `system_event`, of which settable shares
//! are invalid, come twice, come late or are anomalous. Every event follows from the settings, its
//! partition and its index alone, so that any part of a partition can be made again, and first
//! thing. Time is made up, too: no clock is asked, but for the rate.

mod draw;
mod event;
mod source;
mod text;

use std::io::{self, Write};

use tidegate_core::Timestamp;

pub use event::EventGenerator;
pub use source::GeneratorSource;

/// The field that events are partitioned by: an account's events are all on one partition.
pub const PARTITION_KEY: &str = "account_id";

/// What to make up.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// What the events are drawn from.
    pub seed: u64,
    /// How many events, over all partitions; none for no end.
    pub records: Option<u64>,
    /// How many partitions they are spread over, at least one.
    pub partitions: u32,
    /// Events a second, over all partitions; none for as fast as they are read.
    pub rate: Option<u64>,
    /// The time of the first event.
    pub start: Timestamp,
    /// From one event's time to the next one's, over all partitions.
    pub step_microseconds: i64,
    /// How often each type comes, relative to the others.
    pub weights: Weights,
    /// The share of events that break a rule.
    pub invalid: f64,
    /// The share of events that are a copy of one shortly before.
    pub duplicate: f64,
    /// The share of events whose time lies one hour to a day before their neighbours'.
    pub late: f64,
    /// The share of events with a value far from what is usual for their account.
    pub anomalous: f64,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        GeneratorConfig {
            seed: 1,
            records: None,
            partitions: 4,
            rate: None,
            // 2026-01-01T00:00:00Z.
            start: Timestamp(1_767_225_600_000_000),
            step_microseconds: 10_000,
            weights: Weights::default(),
            invalid: 0.02,
            duplicate: 0.01,
            late: 0.01,
            anomalous: 0.01,
        }
    }
}

/// How often each event type comes, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// What a user did on a page.
    pub user_action: u32,
    /// A payment.
    pub transaction: u32,
    /// A measurement.
    pub metric: u32,
    /// Something that a system says of itself.
    pub system_event: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { user_action: 4, transaction: 3, metric: 2, system_event: 1 }
    }
}

impl Weights {
    /// Transactions only.
    pub const TRANSACTIONS: Weights =
        Weights { user_action: 0, transaction: 1, metric: 0, system_event: 0 };

    fn total(&self) -> u64 {
        [self.user_action, self.transaction, self.metric, self.system_event]
            .map(u64::from)
            .iter()
            .sum()
    }
}

/// Settings that nothing can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeneratorError {
    /// There is nothing to spread events over.
    #[error("a generator has at least one partition")]
    NoPartitions,
    /// No event type may come.
    #[error("at least one event type has a weight above 0")]
    NoWeights,
    /// The shares are not shares of one whole.
    #[error(
        "the shares of invalid, duplicate, late and anomalous events lie between 0 and 1, and together they are at most 1"
    )]
    Shares,
}

impl GeneratorConfig {
    /// Finds what nothing can be made of.
    pub fn check(&self) -> Result<(), GeneratorError> {
        if self.partitions == 0 {
            return Err(GeneratorError::NoPartitions);
        }
        if self.weights.total() == 0 {
            return Err(GeneratorError::NoWeights);
        }
        let shares = [self.invalid, self.duplicate, self.late, self.anomalous];
        let whole = shares.iter().sum::<f64>() <= 1.0 + 1e-9;
        if !whole || shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err(GeneratorError::Shares);
        }
        Ok(())
    }

    /// How many events a partition has; none for no end.
    pub fn records_of(&self, partition: u32) -> Option<u64> {
        let partitions = u64::from(self.partitions.max(1));
        let more = |records: u64| u64::from(u64::from(partition) < records % partitions);
        self.records.map(|records| records / partitions + more(records))
    }
}

/// Writes a partition's events as lines, and says how many. A generator without an end writes none.
pub fn write_lines(
    config: &GeneratorConfig,
    partition: u32,
    output: &mut impl Write,
) -> io::Result<u64> {
    let records = config.records_of(partition).unwrap_or(0);
    let mut generator = EventGenerator::new(config, partition)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut lines = Vec::with_capacity(LINES_BYTES + 4096);
    for index in 0..records {
        generator.write(index, &mut lines);
        lines.push(b'\n');
        if lines.len() >= LINES_BYTES {
            output.write_all(&lines)?;
            lines.clear();
        }
    }
    output.write_all(&lines)?;
    Ok(records)
}

/// How many bytes of lines are made before they are written.
const LINES_BYTES: usize = 256 << 10;
