//! Memory for ranges: one budget in bytes, which all partitions draw on.
//!
//! - Where the source ends, a range sets aside at its start what it may come to need. Where it is cut
//!   does not depend on what other partitions do, and one input gives the same objects each time.
//! - Where records keep coming, many partitions have little to say. A range begins with what it
//!   takes to read and to process a batch, and takes more as it grows. One that finds no more is cut
//!   where it stands; so are those that have been open for a while, when others wait to begin.
//!
//! Invariant: a range that has begun never waits for memory, so ranges can't block each other.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::run::Settings;

/// The budget is counted in these: a semaphore has no room for bytes.
const UNIT: usize = 1 << 10;

/// What the output of a batch takes before anybody looks at how much there is.
const BATCH_BYTES: usize = 256 << 10;

/// For so long a range is left alone when others wait to begin: what came in this time is better one
/// object than many.
pub(crate) const OPEN_MIN: Duration = Duration::from_millis(200);

/// The budget of a run.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    free: Arc<Semaphore>,
    /// How many wait to begin.
    waiting: watch::Sender<usize>,
    /// What a range holds from its start.
    first: u32,
    /// What it holds at most.
    whole: u32,
    grows: bool,
}

/// What a range has set aside. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl MemoryBudget {
    /// A budget for ranges of a source that ends, or of one that does not.
    pub(crate) fn new(settings: &Settings, ends: bool) -> Self {
        let total = units(settings.memory_bytes_max).max(1);
        let reads = settings.read_bytes_max.saturating_mul(4);
        let whole = units(settings.range.spooled_bytes_max.saturating_add(reads)).clamp(1, total);
        let first = units(reads.saturating_add(BATCH_BYTES)).clamp(1, whole);
        MemoryBudget {
            free: Arc::new(Semaphore::new(total as usize)),
            waiting: watch::Sender::new(0),
            first: if ends { whole } else { first },
            whole,
            grows: !ends,
        }
    }

    /// Waits until there is room for a range to begin. One that is made again can't be cut where it
    /// stands, and has all of it from its start.
    pub(crate) async fn set_aside(&self, is_replay: bool) -> Room {
        let units = if is_replay { self.whole } else { self.first };
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(units) {
            return Room(permit);
        }
        let _waits = Waits::new(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_many_owned(units).await;
        Room(permit.expect("the budget is never closed"))
    }

    /// Whether a range has room for so many bytes of output, which is set aside for it if there is.
    pub(crate) fn has_room(&self, room: &mut Room, spooled_bytes: usize) -> bool {
        let held = room.0.num_permits();
        let wanted = self.first.saturating_add(units(spooled_bytes)).min(self.whole) as usize;
        let Ok(more) = u32::try_from(wanted.saturating_sub(held)) else { return false };
        if !self.grows || more == 0 {
            return true;
        }
        match Arc::clone(&self.free).try_acquire_many_owned(more) {
            Ok(more) => {
                room.0.merge(more);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether others wait to begin, and ranges that are open may be cut for them.
    pub(crate) fn is_short(&self) -> bool {
        self.grows && *self.waiting.borrow() > 0
    }

    /// Returns when it is short.
    pub(crate) async fn until_short(&self) {
        if !self.grows {
            return std::future::pending().await;
        }
        let mut waiting = self.waiting.subscribe();
        // The sender lives as long as the budget.
        let _ = waiting.wait_for(|waiting| *waiting > 0).await;
    }
}

/// Somebody waits to begin.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32)
}

#[cfg(test)]
mod tests {
    use tidegate_core::batcher::RangeLimit;
    use tokio::time::timeout;

    use super::*;

    fn settings(memory: usize, spool: usize) -> Settings {
        let defaults = Settings::default();
        Settings {
            memory_bytes_max: memory,
            read_bytes_max: 64 << 10,
            range: RangeLimit { spooled_bytes_max: spool, ..defaults.range },
            ..defaults
        }
    }

    async fn is_free(budget: &MemoryBudget) -> Option<Room> {
        timeout(Duration::from_millis(1), budget.set_aside(false)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_of_a_source_that_ends_has_all_that_it_may_need() {
        // A spool of 1.75 MiB and the reads ahead: 2 MiB each.
        let budget = MemoryBudget::new(&settings(5 << 20, 1792 << 10), true);
        let (mut one, _other) = (budget.set_aside(false).await, budget.set_aside(false).await);
        assert!(is_free(&budget).await.is_none());
        assert!(budget.has_room(&mut one, usize::MAX), "where it is cut depends on nobody else");
        assert!(!budget.is_short());
        drop(one);
        assert!(is_free(&budget).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_of_a_stream_takes_more_as_it_grows_and_never_waits() {
        let budget = MemoryBudget::new(&settings(2 << 20, 1 << 20), false);
        let (mut one, mut two) = (budget.set_aside(false).await, budget.set_aside(false).await);
        let three = is_free(&budget).await.expect("three begin with half a MiB each");
        assert!(budget.has_room(&mut one, 512 << 10), "the last half");
        assert!(budget.has_room(&mut one, 512 << 10), "it has that already");
        assert!(!budget.has_room(&mut two, 1 << 10), "nothing is left");
        assert!(budget.has_room(&mut two, 0));
        drop(three);
        assert!(budget.has_room(&mut two, 1 << 10));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_to_begin_is_seen_for_as_long_as_he_does() {
        let budget = Arc::new(MemoryBudget::new(&settings(1 << 20, 1 << 20), false));
        let one = budget.set_aside(false).await;
        let _two = budget.set_aside(false).await;
        assert!(!budget.is_short());
        assert!(timeout(OPEN_MIN, budget.until_short()).await.is_err());
        let begins = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.set_aside(false).await }
        });
        budget.until_short().await;
        drop(one);
        let _three = begins.await.expect("it begins");
        assert!(!budget.is_short());
    }

    #[tokio::test]
    async fn a_budget_is_enough_for_one_range_however_small() {
        let budget = MemoryBudget::new(&settings(1, 1 << 20), false);
        let mut room = budget.set_aside(true).await;
        assert!(budget.has_room(&mut room, 1 << 30), "it has all that there is");
    }
}
