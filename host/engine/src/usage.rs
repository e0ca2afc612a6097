//! What a call of a plugin used up of what it may: for those who write plugins and set limits.

use std::{fmt, sync::Arc, time::Duration};

/// An amount, and the most that it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// How much it was.
    pub used: u64,
    /// How much it may be.
    pub max: u64,
}

/// What one call of `transform` used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallUsage {
    /// The rows that it was called with.
    pub rows: u32,
    /// How long it took, the host's work at the sandbox's border included.
    pub time: Duration,
    /// How long it may take.
    pub time_max: Duration,
    /// Fuel.
    pub fuel: Used,
    /// What the instance's memories and tables hold after it, in bytes; what it wanted to hold, where
    /// it was refused that.
    pub memory_bytes: Used,
    /// The reply's lists, in bytes. None of a call that failed.
    pub reply_bytes: Used,
    /// Findings. None of a call that failed.
    pub findings: Used,
    /// Log lines, those that were suppressed included.
    pub log_lines: Used,
    /// The largest state that it left. None of a call that failed.
    pub state_bytes: Used,
    /// It failed.
    pub failed: bool,
}

/// Is told what each call used up. Called on the data path: it must not block.
#[derive(Clone)]
pub struct UsageSink(Arc<dyn Fn(&CallUsage) + Send + Sync>);

impl UsageSink {
    /// A sink that calls a function.
    pub fn new(take: impl Fn(&CallUsage) + Send + Sync + 'static) -> Self {
        UsageSink(Arc::new(take))
    }

    pub(crate) fn take(&self, usage: &CallUsage) {
        (self.0)(usage);
    }
}

impl fmt::Debug for UsageSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsageSink")
    }
}
