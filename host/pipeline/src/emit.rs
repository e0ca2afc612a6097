//! Writing to an unnamed sink where nothing is committed: whoever asked is told whether it worked, and
//! asks again from where it did not.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tidegate_core::{
    Failure, Sink,
    sink::{Object, SinkError, SinkErrorKind},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::retry::{Attempts, RetryPolicy};

/// Writes objects until all is taken, the policy's patience is exhausted or the time is up. What was
/// taken is not written again where the sink can tell. The error says what is left, where the sink
/// knows it. `waits` is told of each failure that is followed by another attempt.
pub async fn emit(
    sink: &dyn Sink,
    objects: Vec<Object>,
    policy: RetryPolicy,
    until: Instant,
    seed: u64,
    mut waits: impl FnMut(&SinkError, Duration),
) -> Result<(), SinkError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut attempts = Attempts::new(policy);
    let mut left = objects;
    loop {
        // Even a write that has no time left would be begun.
        if Instant::now() >= until {
            return Err(out_of_time(sink).with_rest(left));
        }
        let attempt = timeout_at(until, timeout(policy.timeout, sink.write(&left)));
        let mut error = match attempt.await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) | Err(_) => out_of_time(sink),
        };
        let before = bytes_of(&left);
        if let Some(rest) = error.rest.take() {
            left = rest;
        }
        if bytes_of(&left) < before {
            attempts = Attempts::new(policy);
            if error.kind == SinkErrorKind::Unfinished && Instant::now() < until {
                continue;
            }
        }
        let Failure::Retry { after } = error.failure() else { return Err(error.with_rest(left)) };
        let delay = attempts.delay(&mut random, after);
        let delay = delay.filter(|delay| Instant::now() + *delay < until);
        let Some(delay) = delay else { return Err(error.with_rest(left)) };
        waits(&error, delay);
        sleep(delay).await;
    }
}

fn out_of_time(sink: &dyn Sink) -> SinkError {
    let kind = SinkErrorKind::Unavailable { after: None };
    SinkError::plain(kind, format!("sink `{}` has not answered in time", sink.name()))
}

fn bytes_of(objects: &[Object]) -> usize {
    objects.iter().map(|object| object.content.len()).sum()
}
