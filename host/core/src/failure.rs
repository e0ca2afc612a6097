//! What a failure asks for: one enum with three answers, given by every seam's error.
//!
//! Only the pipeline acts on it. Sinks, sources and stores never sleep and never loop.

use std::time::Duration;

/// The answer of an error to "what now?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Try the same again: the pipeline backs off with full jitter, and for at least `after`
    /// where the far side named a delay.
    Retry {
        /// The delay that the far side asked for.
        after: Option<Duration>,
    },
    /// These records can never succeed here: to the dead letters with them, and go on.
    Reject,
    /// A person must look: stop and keep the checkpoint.
    Fatal,
}

impl Failure {
    /// A retry for which the far side named no delay.
    pub const RETRY: Failure = Failure::Retry { after: None };
}
