//! What a plugin may use up. All limits are on by default; each breach has a code of its own.
//!
//! What counts as poison must not depend on the weather: fuel, memory, the stack and the sizes of
//! a reply are the same on every machine, and a record is poison by those alone. Time protects
//! the host.

use std::time::Duration;

/// A limit that grows with the rows of a batch, so that it does not depend on how rows were cut
/// into batches whether a plugin keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// For any batch.
    pub base: u64,
    /// More for each row.
    pub per_row: u64,
}

impl Limit {
    /// The limit of a batch.
    pub fn of(self, rows: u32) -> u64 {
        self.base.saturating_add(self.per_row.saturating_mul(u64::from(rows)))
    }
}

/// The limits of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, all its memories together. A limit and no reservation: what
    /// a guest does not touch costs nothing.
    pub memory_bytes: u64,
    /// Fuel of a call: about one unit an instruction. A plugin that used it up is stopped at the
    /// same instruction everywhere.
    pub fuel: Limit,
    /// Fuel of `describe` and `configure`.
    pub configure_fuel: u64,
    /// Time of a call.
    pub time: Duration,
    /// More time for each row.
    pub time_per_row: Duration,
    /// What a call may copy out of the guest: all lists of a reply together. As much again may be
    /// logged, where every line counts as 64 bytes at least.
    pub reply_bytes: Limit,
    /// Findings of a reply.
    pub findings: Limit,
    /// Log lines of a call; more are counted and suppressed.
    pub log_lines: u32,
    /// The state of one key.
    pub state_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Measured with batches of 10,000 rows: Rust 1.4 MiB, QuickJS 2, Go 8, StarlingMonkey
            // from 9, CPython 14. Four times that leaves room for tables and libraries.
            memory_bytes: 64 << 20,
            // A row of Rust burns hundreds, of Python 18,000; a first call of StarlingMonkey
            // 770,000 and Go's collector now and then 2 million. The base is fifty times the
            // worst of these and a row fifty times Python's, and a guest that spins is
            // stopped within a tenth of a second on a row of its own.
            fuel: Limit { base: 100_000_000, per_row: 1_000_000 },
            // Patterns, schemas and tables are compiled here, once an instance.
            configure_fuel: 1_000_000_000,
            // A unit of fuel takes a tenth of a nanosecond to one, so this is at least fifty times
            // what the fuel lasts: on a machine that is not starved, fuel always runs out first.
            time: Duration::from_secs(5),
            time_per_row: Duration::from_millis(50),
            // Writes are fields, of some bytes each; the base leaves room for a large document.
            reply_bytes: Limit { base: 4 << 20, per_row: 16 << 10 },
            // A row that breaks a dozen rules is described well enough by the first sixteen.
            findings: Limit { base: 16, per_row: 16 },
            // Enough to see what goes on, too few to fill a disk at ten thousand batches a second.
            log_lines: 16,
            // A state is read and written with each batch that has its key: sketches and windows
            // fit, histories do not.
            state_bytes: 64 << 10,
        }
    }
}

impl Limits {
    /// The time of a call with some rows.
    pub(crate) fn time_of(&self, rows: u32) -> Duration {
        self.time.saturating_add(self.time_per_row.saturating_mul(rows))
    }
}
