//! A host of the fleet: a pipeline over leases, which can die, stand still and be stopped.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_connectors::leases::{LeaseConfig, LeaseStore, MemoryTable};
use tidegate_core::{
    CheckpointStore, Digest, Sink, Source, Timestamp,
    checkpoint::{
        Acquired, Lease, Manifest, OwnerId, StateChange, StateKeys, StateRow, StoreError,
        StoreErrorKind, WriteId,
    },
    source::PartitionId,
    time::Clock,
};
use tidegate_pipeline::{
    Environment, Event, Generations, Pipeline, Plan, PlanSpec, Settings, StopHandle, SwapHandle,
    Workers,
    memory::MemorySink,
    partition::Outcome,
    plan::{DeadLetterSpec, SinkSpec, StageSpec, StateScope, StateSpec},
    process::ProcessError,
    shutdown,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Objects, Oracle,
    bugs::{Bucket, Bug, Commits, Orphans},
    ledger::Ledger,
    plugin::CountingFactory,
    stream::Stream,
    weather::Weather,
};

/// Longer than a host stands still.
const HISTORY_KEPT: Duration = Duration::from_secs(60);

/// How many generations there are.
pub(super) const GENERATIONS: usize = 3;

/// What all hosts share, and outlives them.
pub(super) struct Fleet {
    pub(super) weather: Arc<Weather>,
    pub(super) stream: Stream,
    pub(super) table: MemoryTable,
    pub(super) objects: Objects,
    pub(super) ledger: Ledger,
    pub(super) archive: MemorySink,
    pub(super) letters: MemorySink,
    pub(super) oracle: Arc<Oracle>,
    pub(super) settings: Settings,
    pub(super) failover: Duration,
    pub(super) bug: Option<Bug>,
    /// Where the randomness of runs comes from.
    pub(super) seeds: RefCell<ChaCha8Rng>,
    /// How many runs of hosts there were.
    pub(super) runs: Cell<u64>,
}

/// A run of a host.
pub(super) struct Host {
    task: JoinHandle<()>,
    stop: StopHandle,
    stands_until: Rc<Cell<Option<Instant>>>,
    swaps: SwapHandle,
    plans: Vec<Arc<Plan>>,
    clock: Arc<HostClock>,
}

impl Fleet {
    /// Starts a host that serves a generation. What differs from build to build is in no digest.
    pub(super) fn start(&self, number: usize, generation: usize, build: i64) -> Host {
        let (run, seed) = (self.runs.get(), self.seeds.borrow_mut().random());
        self.runs.set(run + 1);
        let name = format!("host-{number}:{run}");
        let owner = OwnerId(name.clone());
        let weather = self.weather.clone();
        let table = self.table.reached_by(&name, move |_| weather.call());
        let leases = LeaseConfig {
            failover: self.failover,
            history_kept: HISTORY_KEPT,
            ..LeaseConfig::new("leases")
        };
        let leases = LeaseStore::in_memory(leases, table.clone(), Arc::new(self.objects.clone()));
        let plans: Vec<Arc<Plan>> =
            (0..GENERATIONS).map(|config| self.plan(config as i64, build)).collect();
        let clock = Arc::new(HostClock { started: Instant::now(), offset: AtomicI64::new(0) });
        let oracle = self.oracle.clone();
        let told = name.clone();
        let environment = Environment {
            workers: Workers::Here,
            generations: Some(Arc::new(Kept(plans.clone()))),
            coordinator: Arc::new(leases.clone()),
            ledger: Some(Arc::new(self.ledger.clone())),
            owner: owner.clone(),
            observer: Arc::new(move |event: &Event| {
                oracle.event(&told, event);
                if let Event::Ended { partition, outcome: Outcome::Stopped, message } = event {
                    let why = message.as_deref().unwrap_or_default();
                    oracle.broken(format!("{told} stopped {partition}: {why}"));
                }
            }),
            ..Environment::new(clock.clone(), seed)
        };
        let store =
            Watched { leases, commits: Commits::new(self.bug), oracle: self.oracle.clone(), build };
        let source: Arc<dyn Source> = match self.bug {
            Some(Bug::ChildBeforeParent) => Arc::new(Orphans(self.stream.clone())),
            _ => Arc::new(self.stream.clone()),
        };
        let bucket = |sink: &MemorySink| -> Arc<dyn Sink> {
            Arc::new(Bucket::new(sink.clone(), self.weather.clone(), self.bug))
        };
        let sinks = vec![bucket(&self.archive), bucket(&self.letters)];
        let pipeline = Pipeline::new(
            plans[generation].clone(),
            source,
            sinks,
            Arc::new(store),
            self.settings,
            environment,
        );
        let pipeline = pipeline.expect("the sinks are those of the plan");
        let swaps = pipeline.swap_handle();
        let (stop, shutdown) = shutdown();
        let oracle = self.oracle.clone();
        let run = async move {
            if let Err(error) = pipeline.run(shutdown).await {
                oracle.broken(format!("{name} ended: {error}"));
            }
        };
        let beats = self.bug == Some(Bug::HeartbeatRace);
        let (every, random) = (self.failover / 4, ChaCha8Rng::seed_from_u64(!seed));
        let run = async move {
            match beats {
                true => tokio::select! {
                    biased;
                    () = run => {}
                    () = beat(table, owner, every, random) => {}
                },
                false => run.await,
            }
        };
        let stands_until = Rc::new(Cell::new(None));
        let task = tokio::task::spawn_local(standing_still(run, stands_until.clone()));
        Host { task, stop, stands_until, swaps, plans, clock }
    }

    fn plan(&self, config: i64, build: i64) -> Arc<Plan> {
        let plugin = Arc::new(CountingFactory::new(config, build, self.weather.clone()));
        let state = StateSpec { scope: StateScope::Follows, ..StateSpec::default() };
        let spec = PlanSpec {
            stages: vec![StageSpec { state, ..StageSpec::new("count", plugin) }],
            sinks: vec![SinkSpec::new(self.archive.name())],
            dead_letters: DeadLetterSpec::new(self.letters.name()),
            ..PlanSpec::new("simulation", "stream")
        };
        Plan::build(spec).expect("the plan is sound")
    }
}

impl Host {
    /// It is gone in the middle of whatever it did.
    pub(super) fn crash(self) {
        self.task.abort();
    }

    /// It does nothing for a while, and does not know it.
    pub(super) fn stand_still(&self, lasts: Duration) {
        self.stands_until.set(Some(Instant::now() + lasts));
    }

    /// It is asked to stop.
    pub(super) fn drain(&self) {
        self.stop.drain();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) fn swap(&self, generation: usize) {
        self.swaps.offer(self.plans[generation].clone()).expect("only the config differs");
    }

    /// Its wall clock is set, forwards or backwards.
    pub(super) fn set_clock(&self, by: Duration, back: bool) {
        let by = i64::try_from(by.as_micros()).unwrap_or_default();
        self.clock.offset.fetch_add(if back { -by } else { by }, Ordering::Relaxed);
    }
}

/// Runs something that is not looked at while it stands still.
async fn standing_still(run: impl Future<Output = ()>, until: Rc<Cell<Option<Instant>>>) {
    let mut run = pin!(run);
    loop {
        let stands = poll_fn(|context| match until.get() {
            Some(end) if end > Instant::now() => Poll::Ready(Some(end)),
            _ => run.as_mut().poll(context).map(|()| None),
        });
        match stands.await {
            Some(end) => sleep_until(end).await,
            None => return,
        }
    }
}

/// Renews all leases of an owner, beside the tasks that write their rows.
async fn beat(table: MemoryTable, owner: OwnerId, every: Duration, mut random: ChaCha8Rng) {
    loop {
        sleep(every).await;
        for lease in table.leases() {
            if lease.owner.as_ref() == Some(&owner) && lease.hands_over.is_none() {
                let write = WriteId(random.random());
                // A beat that does not arrive is followed by another.
                let _ = table.beat(&lease.partition, &owner, write).await;
            }
        }
    }
}

/// A host's wall clock.
struct HostClock {
    started: Instant,
    /// By how many microseconds it is ahead.
    offset: AtomicI64,
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp(1_800_000_000_000_000 + since + self.offset.load(Ordering::Relaxed))
    }
}

/// All generations are kept.
struct Kept(Vec<Arc<Plan>>);

#[async_trait]
impl Generations for Kept {
    async fn find(&self, generation: Digest) -> Result<Option<Arc<Plan>>, ProcessError> {
        Ok(self.0.iter().find(|plan| plan.generation() == generation).cloned())
    }
}

/// The store as the pipeline knows it. The oracle looks over its shoulder.
struct Watched {
    leases: LeaseStore,
    commits: Commits,
    oracle: Arc<Oracle>,
    build: i64,
}

impl Watched {
    fn heard<T>(&self, lease: &Lease, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.as_ref().is_err_and(|error| error.kind == StoreErrorKind::Fenced) {
            self.oracle.fenced(lease);
        }
        answer
    }
}

#[async_trait]
impl CheckpointStore for Watched {
    async fn acquire(
        &self,
        partition: &PartitionId,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<Acquired, StoreError> {
        self.leases.acquire(partition, owner, write).await
    }

    async fn renew(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        self.heard(lease, self.leases.renew(lease, write).await)
    }

    async fn hand_over(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        self.heard(lease, self.leases.hand_over(lease, write).await)
    }

    async fn inherit(
        &self,
        lease: &Lease,
        write: WriteId,
        parents: &[PartitionId],
        hash_range: (u128, u128),
    ) -> Result<StateKeys, StoreError> {
        self.heard(lease, self.leases.inherit(lease, write, parents, hash_range).await)
    }

    async fn intend(
        &self,
        lease: &Lease,
        write: WriteId,
        manifest: &Manifest,
        states: &[StateChange],
    ) -> Result<(), StoreError> {
        self.heard(lease, self.commits.intend(&self.leases, lease, write, manifest, states).await)?;
        self.oracle.intended(lease, manifest, self.build);
        Ok(())
    }

    async fn commit(
        &self,
        lease: &Lease,
        write: WriteId,
        range: u64,
    ) -> Result<StateKeys, StoreError> {
        self.heard(lease, self.commits.commit(&self.leases, lease, write, range).await)
    }

    async fn states(
        &self,
        lease: &Lease,
        stage: &str,
        keys: &[u128],
    ) -> Result<Vec<Option<StateRow>>, StoreError> {
        self.heard(lease, self.leases.states(lease, stage, keys).await)
    }

    async fn finish(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        self.heard(lease, self.leases.finish(lease, write).await)
    }
}
