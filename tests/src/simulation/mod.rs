//! A fleet in one thread with a paused clock: the real pipeline and the real leases over a stream, a
//! table, objects and a bucket in memory, and everything that goes wrong between them.
//!
//! ```text
//! producer ─► Stream ─► Host: pipeline, leases ─► MemorySink (bucket, dead letters)
//!               ▲         │  ▲                      ▲
//!             splits      ▼  │ crash, pause, swap   │ what was sent may land late
//!             merges    MemoryTable, Objects     Oracle looks at every write
//! ```
//!
//! A seed decides everything: the fleet, the records, the faults and when they come. The same seed
//! gives the same trace. The oracle knows what was acknowledged to the producer, hears of every
//! write to the table when it is made, and says which promise a run broke.

mod bugs;
mod host;
mod ledger;
mod objects;
mod oracle;
mod plugin;
mod story;
mod stream;
mod weather;

use std::collections::BTreeMap;

pub use bugs::Bug;
pub use objects::Objects;
use oracle::Oracle;

/// What a seed came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How often each kind of fault struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// Records that the producer was told were taken.
    pub produced: u64,
    /// Those of them that are nowhere in the end.
    pub lost: u64,
    /// Those that are in more than one place, or in one more than once.
    pub duplicated: u64,
    /// Ranges that were committed.
    pub ranges: u64,
    /// Promises that were broken, in order.
    pub violations: Vec<String>,
    /// All that happened, in order.
    pub trace: Vec<String>,
}

/// Lives a seed, with one bug planted or with none.
///
/// # Panics
/// Where the machine has no room for a runtime.
pub fn live(seed: u64, bug: Option<Bug>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(tokio::task::LocalSet::new().run_until(story::tell(seed, bug)))
}
