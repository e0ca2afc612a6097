//! What may go wrong with a call across a seam: on demand, or at random from a seed.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The call fails, and nothing of it is done.
    Fail,
    /// The call fails half-way: where it is made of parts, some of them are done.
    FailHalfway,
    /// All of it is done, but the caller hears of a failure.
    LoseResponse,
}

/// Random trouble, the same for the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Where the randomness comes from.
    pub seed: u64,
    /// How many of a thousand calls go wrong.
    pub trouble_per_mille: u32,
    /// A call takes up to this long.
    pub delay_max: Duration,
}

/// What is to go wrong with the next calls.
#[derive(Debug)]
pub(super) struct Troubles {
    next: Mutex<VecDeque<Trouble>>,
    storm: Mutex<Option<(Storm, ChaCha8Rng)>>,
    corked: watch::Sender<bool>,
}

/// Locks a mutex of a memory member: a test that panicked under the lock fails anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Troubles {
    fn default() -> Self {
        Troubles {
            next: Mutex::default(),
            storm: Mutex::default(),
            corked: watch::Sender::new(false),
        }
    }
}

impl Troubles {
    pub(super) fn add(&self, trouble: Trouble, times: usize) {
        lock(&self.next).extend(std::iter::repeat_n(trouble, times));
    }

    pub(super) fn storm(&self, storm: Option<Storm>) {
        let with_random = storm.map(|it| (it, ChaCha8Rng::seed_from_u64(it.seed)));
        *lock(&self.storm) = with_random;
    }

    pub(super) fn cork(&self, corked: bool) {
        self.corked.send_replace(corked);
    }

    /// What happens to the call that is being made. Waits while the member is corked.
    pub(super) async fn strike(&self) -> Option<Trouble> {
        let mut corked = self.corked.subscribe();
        // The sender is a field of `self`, so it cannot be gone.
        let _ = corked.wait_for(|corked| !corked).await;
        let delay = self.random(|storm, random| {
            storm.delay_max.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX))
        });
        if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
            tokio::time::sleep(delay).await;
        }
        let asked_for = lock(&self.next).pop_front();
        asked_for.or_else(|| {
            self.random(|storm, random| {
                let troubled = random.random_range(0..1_000) < storm.trouble_per_mille;
                let which = random.random_range(0..3);
                let all = [Trouble::Fail, Trouble::FailHalfway, Trouble::LoseResponse];
                troubled.then_some(all[which])
            })?
        })
    }

    /// A number below `bound` while there is a storm.
    pub(super) fn below(&self, bound: usize) -> Option<usize> {
        self.random(|_, random| random.random_range(0..bound.max(1)))
    }

    fn random<T>(&self, draw: impl FnOnce(&Storm, &mut ChaCha8Rng) -> T) -> Option<T> {
        lock(&self.storm).as_mut().map(|(storm, random)| draw(storm, random))
    }
}
