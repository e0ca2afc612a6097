//! Waiting before another attempt: exponential back-off with full jitter.
//!
//! Only the pipeline acts on a [`Failure`]. How long to wait is decided here, in one place, from
//! randomness that is given.

use std::{error::Error, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use rand::{Rng, RngExt};
use tidegate_core::{Failure, source::PartitionId};

use crate::{
    error::causes,
    progress::{Event, Seam, Waits},
    run::Shared,
};

/// How attempts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first delay lies between nothing and this; each further bound is twice as large.
    pub delay_first: Duration,
    /// The bound grows no further.
    pub delay_max: Duration,
    /// After this many failed attempts in a row the patience is exhausted.
    pub attempts: u32,
    /// What happens then.
    pub on_exhausted: OnExhausted,
    /// An attempt that takes longer counts as failed.
    pub timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            // A far side that is overloaded needs some tens of milliseconds to take a breath; one
            // that is down is asked twice a minute.
            delay_first: Duration::from_millis(100),
            delay_max: Duration::from_secs(30),
            // About two minutes of waiting on average.
            attempts: 12,
            on_exhausted: OnExhausted::Wait,
            // Longer than the slowest upload of a full range should take.
            timeout: Duration::from_secs(300),
        }
    }
}

/// What happens when something has been unavailable for all attempts. Never a dead letter: an
/// outage is not the records' fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExhausted {
    /// The partition waits on, at the longest delay, and says so.
    #[default]
    Wait,
    /// The partition stops with the error, and keeps its checkpoint.
    Stop,
}

/// One thing that is attempted until it works, and what is told of it.
pub(crate) struct Retry {
    shared: Arc<Shared>,
    /// Whose; none where all partitions wait for it.
    partition: Option<PartitionId>,
    seam: Seam,
    attempts: Attempts,
    /// From the first failure on.
    waits: Option<Waits>,
}

impl Retry {
    pub(crate) fn new(shared: Arc<Shared>, partition: Option<PartitionId>, seam: Seam) -> Self {
        let attempts = Attempts::new(shared.settings.retry);
        Retry { shared, partition, seam, attempts, waits: None }
    }

    /// Another attempt has failed. Says so, and how long to wait before the next one; gives the
    /// error back where there should be none.
    pub(crate) fn failed<E: Error>(
        &mut self,
        random: &mut impl Rng,
        error: E,
        asks_for: Failure,
    ) -> Result<Duration, E> {
        let Failure::Retry { after } = asks_for else { return Err(error) };
        let Some(delay) = self.attempts.delay(random, after) else { return Err(error) };
        let Retry { shared, partition, seam, attempts, waits } = self;
        waits.get_or_insert_with(|| shared.progress.waits());
        shared.progress.retry(seam);
        shared.observer.observe(&Event::Waiting {
            partition: partition.clone(),
            seam: seam.clone(),
            attempts: attempts.failed,
            delay,
            message: causes(&error),
        });
        Ok(delay)
    }

    /// Another attempt begins that may go on for long before it ends. Nobody waits meanwhile.
    pub(crate) fn goes_on(&mut self) {
        self.waits = None;
    }

    /// An attempt has succeeded. Where one had failed before, that is told as well.
    pub(crate) fn succeeded(self) {
        let Retry { shared, partition, seam, attempts, waits } = self;
        if waits.is_some() {
            let attempts = attempts.failed;
            shared.observer.observe(&Event::Resumed { partition, seam, attempts });
        }
    }
}

/// One row of attempts.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    bounds: ExponentialBackoff,
    failed: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let bounds = ExponentialBuilder::new()
            .with_min_delay(policy.delay_first)
            .with_max_delay(policy.delay_max)
            .with_factor(2.0)
            .without_max_times()
            .build();
        Attempts { policy, bounds, failed: 0 }
    }

    /// How long to wait after another failed attempt, at least as long as the far side asked for.
    /// None where there should be no further one.
    pub(crate) fn delay(
        &mut self,
        random: &mut impl Rng,
        after: Option<Duration>,
    ) -> Option<Duration> {
        self.failed += 1;
        if self.failed >= self.policy.attempts && self.policy.on_exhausted == OnExhausted::Stop {
            return None;
        }
        let bound = self.bounds.next().unwrap_or(self.policy.delay_max);
        let jittered = bound.mul_f64(random.random_range(0.0..=1.0));
        Some(jittered.max(after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn delays(policy: RetryPolicy, seed: u64, after: Option<Duration>) -> Vec<Option<Duration>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut attempts = Attempts::new(policy);
        (0..40).map(|_| attempts.delay(&mut random, after)).collect()
    }

    #[test]
    fn delays_are_spread_under_a_doubling_bound() {
        let policy = RetryPolicy::default();
        for seed in 0..200 {
            let mut bound = policy.delay_first;
            for delay in delays(policy, seed, None) {
                assert!(delay.expect("it waits for ever") <= bound);
                bound = (bound * 2).min(policy.delay_max);
            }
        }
        let sixth = (0..200).filter_map(|seed| delays(policy, seed, None)[5]);
        let mean = sixth.sum::<Duration>() / 200;
        let half = policy.delay_first * 16;
        assert!(mean > half.mul_f64(0.8) && mean < half.mul_f64(1.2), "full jitter: {mean:?}");
        assert_eq!(delays(policy, 7, None), delays(policy, 7, None), "from the seed alone");
    }

    #[test]
    fn the_far_sides_delay_is_honoured() {
        let after = Some(Duration::from_secs(90));
        assert!(delays(RetryPolicy::default(), 1, after).iter().all(|it| *it == after));
    }

    #[test]
    fn patience_ends_where_the_operator_says_so() {
        let stop =
            RetryPolicy { attempts: 3, on_exhausted: OnExhausted::Stop, ..RetryPolicy::default() };
        assert_eq!(delays(stop, 1, None).iter().flatten().count(), 2);
    }
}
