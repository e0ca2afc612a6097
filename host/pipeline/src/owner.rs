//! The owner of a partition: holds its lease, and does all that is written or asked on its behalf,
//! again and again where it has to be.
//!
//! One task owns one partition and writes its row, renewals included: a heartbeat of somebody
//! else between INTENT and COMMIT would fence ourselves. While records are read, the right to
//! write, the pen, lies with a deputy, who closes ranges beside the one that is filled.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::{
    Digest,
    checkpoint::{Acquired, Lease, MovedCheckpoint, StateKeys, StoreErrorKind, WriteId},
    source::{Partition, PartitionId},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    error::{Error, causes},
    failpoint::{ProtocolStep, Side},
    progress::{Event, Seam},
    retry::Retry,
    run::Shared,
    shutdown::Shutdown,
    states::StateCounts,
};

/// Owns one partition.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) partition: PartitionId,
    lease: Option<Lease>,
    /// Shared with its deputy.
    state_counts: Arc<Mutex<StateCounts>>,
    /// It writes the partition's row, and nobody else does. See [`Owner::deputy`].
    holds_pen: bool,
    random: ChaCha8Rng,
    renew_at: Instant,
    shutdown: Shutdown,
    /// The generation that its last range was opened with, or could have been.
    pub(crate) serves: Option<Digest>,
    /// Something may have become of what the partition is blocked by, since it was last looked at.
    wakes: watch::Receiver<()>,
}

impl Owner {
    /// Owns nothing yet: see [`Owner::acquire`]. `nth` is how many partitions the run has
    /// started before: were it to get this one again, the names of its writes are others.
    pub(crate) fn new(
        shared: Arc<Shared>,
        partition: PartitionId,
        nth: u64,
        shutdown: Shutdown,
    ) -> Self {
        let name = xxhash_rust::xxh3::xxh3_64_with_seed(partition.0.as_bytes(), nth);
        let random = ChaCha8Rng::seed_from_u64(shared.seed ^ name);
        let (lease, renew_at) = (None, Instant::now());
        let (state_counts, wakes) = (Arc::default(), shared.serving.wakes());
        Owner {
            shared,
            partition,
            lease,
            state_counts,
            holds_pen: true,
            random,
            renew_at,
            shutdown,
            serves: None,
            wakes,
        }
    }

    /// A deputy who closes ranges while this one reads on. The pen goes along: until
    /// [`Owner::take_back`] it is the deputy who renews the lease and writes the row.
    pub(crate) fn deputy(&mut self) -> Owner {
        debug_assert!(self.holds_pen, "there is one pen");
        self.holds_pen = false;
        Owner {
            shared: self.shared.clone(),
            partition: self.partition.clone(),
            lease: self.lease.clone(),
            state_counts: Arc::clone(&self.state_counts),
            holds_pen: true,
            random: ChaCha8Rng::seed_from_u64(self.random.next_u64()),
            renew_at: self.renew_at,
            shutdown: self.shutdown.clone(),
            serves: self.serves,
            wakes: self.wakes.clone(),
        }
    }

    /// Ends a deputy's work.
    pub(crate) fn take_back(&mut self, deputy: Owner) {
        self.holds_pen = deputy.holds_pen;
        self.renew_at = deputy.renew_at;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shutdown.is_draining()
    }

    /// Returns when the pipeline is to stop.
    pub(crate) fn drain(&self) -> impl Future<Output = ()> + use<> {
        let shutdown = self.shutdown.clone();
        async move { shutdown.drain().await }
    }

    pub(crate) fn tell(&self, event: Event) {
        self.shared.observer.observe(&event);
    }

    pub(crate) async fn reach(&self, step: ProtocolStep, side: Side) {
        self.shared.failpoints.reach(step, side).await;
    }

    /// The right to write for the partition.
    pub(crate) fn lease(&self) -> Lease {
        self.lease.clone().expect("nothing is written before the partition is acquired")
    }

    /// A name for a write that was never used before.
    pub(crate) fn write_id(&mut self) -> WriteId {
        assert!(self.holds_pen, "whoever writes the row holds the pen");
        WriteId(u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64()))
    }

    /// Takes the partition from whoever had it, and, before its first range, what its parents have
    /// left to it.
    pub(crate) async fn acquire(&mut self, partition: &Partition) -> Result<Acquired, Error> {
        let (shared, id, write) = (self.shared.clone(), &partition.id, self.write_id());
        self.reach(ProtocolStep::Acquire, Side::Before).await;
        let acquired = self
            .insist(Seam::Store, async || {
                shared.store.acquire(id, &shared.owner, write).await.map_err(Error::Store)
            })
            .await?;
        self.lease = Some(acquired.lease.clone());
        if let Some(MovedCheckpoint { from, to }) = acquired.moved {
            self.tell(Event::CheckpointMoved { partition: id.clone(), from, to });
        }
        self.states_are(acquired.checkpoint.next_range, acquired.state_keys.clone());
        self.renew_at = Instant::now() + shared.settings.renew_every;
        if acquired.checkpoint.next_range == 0
            && acquired.pending.is_none()
            && let Some(state_keys) = self.inherit(partition).await?
        {
            self.states_are(0, state_keys);
        }
        self.reach(ProtocolStep::Acquire, Side::After).await;
        Ok(acquired)
    }

    pub(crate) fn state_counts(&self) -> MutexGuard<'_, StateCounts> {
        self.state_counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store has counted the states, up to a range.
    pub(crate) fn states_are(&self, next_range: u64, keys: StateKeys) {
        let before = self.state_counts().committed(next_range, keys.clone());
        self.shared.progress.state_keys(&before, &keys);
    }

    /// Takes the states of the keys that the partition owns from its parents.
    async fn inherit(&mut self, partition: &Partition) -> Result<Option<StateKeys>, Error> {
        let Partition { parents, hash_range, .. } = partition;
        let Some(hash_range) = hash_range.filter(|_| !parents.is_empty()) else { return Ok(None) };
        let (shared, lease, write) = (self.shared.clone(), self.lease(), self.write_id());
        self.insist(Seam::Store, async || {
            let inherited = shared.store.inherit(&lease, write, parents, hash_range).await;
            inherited.map(Some).map_err(Error::Store)
        })
        .await
    }

    /// Gives the partition up, if it still can: whoever takes it does not depend on it.
    pub(crate) async fn hand_over(&mut self) {
        let (Some(lease), write) = (self.lease.take(), self.write_id()) else { return };
        let patience = self.shared.settings.retry.timeout;
        let _ = timeout(patience, self.shared.store.hand_over(&lease, write)).await;
    }

    /// Does some work and renews the lease while it lasts. Not for writes to the store: between
    /// two attempts of one write there must be no other.
    pub(crate) async fn alive<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = sleep_until(self.renew_at), if self.holds_pen => self.renew_if_due().await?,
            }
        }
    }

    /// Renews the lease if it is time to. Between two micro-batches, and while waiting.
    pub(crate) async fn renew_if_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let due = self.holds_pen && now >= self.renew_at;
        let Some(lease) = self.lease.clone().filter(|_| due) else { return Ok(()) };
        self.renew_at = now + self.shared.settings.renew_every;
        let write = self.write_id();
        match self.shared.store.renew(&lease, write).await {
            Ok(()) => Ok(()),
            // The next renewal, or the next write, will tell whether somebody took it meanwhile.
            Err(error) if error.kind == StoreErrorKind::Unavailable => {
                self.shared.progress.retry(&Seam::Store);
                Ok(())
            }
            Err(error) => Err(Error::Store(error)),
        }
    }

    /// Asks the store whether somebody else has acquired the partition. An error where it does not
    /// say before the pipeline has to stop.
    pub(crate) async fn is_fenced(&mut self) -> Result<bool, Error> {
        let (shared, lease, write) = (self.shared.clone(), self.lease(), self.write_id());
        let renewed = self.insist(Seam::Store, async || {
            shared.store.renew(&lease, write).await.map_err(Error::Store)
        });
        match renewed.await {
            Ok(()) => Ok(false),
            Err(error) if error.is_fenced() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Attempts something until it succeeds, fails for good, or the pipeline has to stop. The one
    /// place where a failure is acted on.
    pub(crate) async fn insist<T>(
        &mut self,
        seam: Seam,
        mut attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let patience = self.shared.settings.retry.timeout;
        let mut retry = self.retry(seam.clone());
        loop {
            let answer = timeout(patience, attempt());
            let answer = self.in_time(&seam, answer).await?;
            let no_answer = |_| {
                let seconds = patience.as_secs();
                Err(Error::NoAnswer { seam: seam.to_string(), seconds })
            };
            match answer.unwrap_or_else(no_answer) {
                Ok(done) => {
                    retry.succeeded();
                    return Ok(done);
                }
                Err(error) => self.back_off(&mut retry, &seam, error).await?,
            }
        }
    }

    /// Something of the partition's that is attempted until it works.
    pub(crate) fn retry(&self, seam: Seam) -> Retry {
        Retry::new(self.shared.clone(), Some(self.partition.clone()), seam)
    }

    /// Waits before another attempt, and says so. Gives the error back where there should be none.
    pub(crate) async fn back_off(
        &mut self,
        retry: &mut Retry,
        seam: &Seam,
        error: Error,
    ) -> Result<(), Error> {
        let asks_for = error.failure();
        let delay = retry.failed(&mut self.random, error, asks_for)?;
        self.in_time(seam, sleep(delay)).await
    }

    /// Waits until something may have become of a component that is blocked: it is unblocked, or
    /// another plan is offered. However often: what an operator has stopped is no outage, so no
    /// patience is exhausted by it.
    pub(crate) async fn wait_for_unblocking(&mut self, error: &Error) -> Result<(), Error> {
        let _waits = self.shared.progress.waits();
        let delay = self.shared.settings.retry.delay_max;
        self.tell(Event::Waiting {
            partition: Some(self.partition.clone()),
            seam: Seam::Chain,
            attempts: 1,
            delay,
            message: causes(error),
        });
        let (mut wakes, drain) = (self.wakes.clone(), self.drain());
        let waited = self.in_time(&Seam::Chain, async {
            tokio::select! {
                biased;
                () = drain => Err(Error::Interrupted { waiting_for: Seam::Chain.to_string() }),
                _ = wakes.changed() => Ok(()),
                () = sleep(delay) => Ok(()),
            }
        });
        waited.await??;
        self.wakes.mark_unchanged();
        Ok(())
    }

    /// Does some work unless the pipeline is told to stop and runs out of patience, and renews the
    /// lease meanwhile, unless it is a write to the store.
    pub(crate) async fn in_time<T>(
        &mut self,
        seam: &Seam,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let (shutdown, patience) = (self.shutdown.clone(), self.shared.settings.drain_max);
        let may_renew = *seam != Seam::Store;
        let work = async {
            match may_renew {
                true => self.alive(work).await,
                false => Ok(work.await),
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = shutdown.out_of_patience(patience) => {
                Err(Error::Interrupted { waiting_for: seam.to_string() })
            }
        }
    }
}
