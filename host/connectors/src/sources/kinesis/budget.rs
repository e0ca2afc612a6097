//! One budget in bytes for what all shards have fetched and not yet handed over.
//!
//! Sixty-four shards that have each fetched what an answer may hold, ten megabytes, would have more
//! in memory than the pipeline's ranges. So an answer of usual size is asked for only when the
//! worst that may come fits into the budget. What came stays charged until it is handed over.
//!
//! A shard that finds no room for a while asks for a small answer all the same. Were it to wait, the
//! answers that others hold while they wait for memory of their own could keep it for ever.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The budget counts in these, so that a large one fits a semaphore's 32-bit requests.
const UNIT_BYTES: usize = 1 << 10;

/// What an answer may hold.
const ANSWER_BYTES_MAX: usize = 10 << 20;

/// How long a shard waits for room before it asks for a small answer.
const PATIENCE: Duration = Duration::from_millis(250);

/// The budget of all shards of a source.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
}

impl Budget {
    /// At least one answer fits.
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes.max(ANSWER_BYTES_MAX) / UNIT_BYTES;
        Budget { units: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))) }
    }

    /// Room for the largest answer, or none after a while.
    pub(super) async fn room(&self) -> Option<Room> {
        let units = (ANSWER_BYTES_MAX / UNIT_BYTES) as u32;
        let acquired = timeout(PATIENCE, self.units.clone().acquire_many_owned(units)).await;
        acquired.ok()?.ok().map(|permit| Room { permit })
    }

    /// What is free.
    #[cfg(test)]
    pub(super) fn free_bytes(&self) -> usize {
        self.units.available_permits() * UNIT_BYTES
    }
}

/// A part of the budget.
#[derive(Debug)]
pub(super) struct Room {
    permit: OwnedSemaphorePermit,
}

impl Room {
    /// So much was needed: the rest is given back.
    pub(super) fn keep(&mut self, bytes: usize) {
        let needed = bytes.div_ceil(UNIT_BYTES);
        let surplus = self.permit.num_permits().saturating_sub(needed);
        drop(self.permit.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_charged_for_what_it_held() {
        let budget = Budget::new(25 << 20);
        let mut first = budget.room().await.expect("nothing is charged yet");
        let second = budget.room().await.expect("two fit");
        assert!(budget.room().await.is_none(), "a third does not");
        first.keep((1 << 20) - 5);
        assert_eq!(budget.free_bytes(), 14 << 20, "only what came stays charged");
        drop(second);
        assert_eq!(budget.free_bytes(), 24 << 20);
        drop(first);
        assert_eq!(budget.free_bytes(), 25 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_that_is_too_small_has_room_for_one_answer() {
        let budget = Budget::new(1);
        let room = budget.room().await.expect("one fits");
        assert!(budget.room().await.is_none());
        drop(room);
        assert!(budget.room().await.is_some());
    }
}
