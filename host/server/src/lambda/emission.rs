//! Writing to sinks that keep nothing: until all is taken, or the invocation's time is up.

use std::hash::{BuildHasher, RandomState};

use tidegate_core::{
    Sink,
    sink::{Object, SinkError},
};
use tidegate_pipeline::{causes, emit, retry::RetryPolicy};
use tokio::time::Instant;

/// How sinks are written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Emission {
    pub(super) policy: RetryPolicy,
}

impl Emission {
    /// Writes objects. The error says what is left.
    pub(super) async fn emit(
        &self,
        sink: &dyn Sink,
        objects: Vec<Object>,
        until: Instant,
    ) -> Result<(), SinkError> {
        // Functions that run side by side must not wait in step.
        let seed = RandomState::new().hash_one(0);
        let waits = |error: &SinkError, delay: std::time::Duration| {
            let milliseconds = delay.as_millis() as u64;
            tracing::warn!(sink = sink.name(), milliseconds, "waiting: {}", causes(error));
        };
        emit::emit(sink, objects, self.policy, until, seed, waits).await
    }
}
