//! A pipeline, from its parts to its report: which partitions there are, which may be read, and
//! when it is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tidegate_core::{
    CheckpointStore, Failure, Sink, Source,
    batcher::{BatchLimit, RangeLimit},
    checkpoint::{Counts, OwnerId, StoreError, StoreErrorKind},
    coordinator::{Alone, Coordinator, HostSituation, Share},
    ledger::BatchLedger,
    sink::Naming,
    source::{Partition, PartitionId},
    time::Clock,
};
use tokio::{
    sync::mpsc,
    task::LocalSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    error::{Error, causes},
    failpoint::Failpoints,
    memory_budget::MemoryBudget,
    partition::{self, Outcome, PartitionReport, add_stages},
    plan::Plan,
    process::StageStatistics,
    progress::{Event, Observer, Progress, Seam, Unobserved},
    retry::{Retry, RetryPolicy},
    shutdown::{Shutdown, StopHandle},
    swap::{Generations, SwapHandle},
    worker::{Crew, Job, Workers},
};

/// Where partitions come and go, no more of those that had to stop are kept to be reported by name.
const STOPPED_MAX: usize = 1_000;

/// How often finished partitions are looked for that may be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// How much at once, how long, how often.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When a micro-batch is full.
    pub batch: BatchLimit,
    /// When a range ends.
    pub range: RangeLimit,
    /// About how much one read asks for.
    pub read_bytes_max: usize,
    /// Memory for ranges, over all partitions: as many are open at once as fit in, with their reads
    /// ahead, and at least one. Where the source ends, each has room for its spool; where it does
    /// not, it takes what it needs, and is cut where there is no more.
    pub memory_bytes_max: usize,
    /// How many partitions each worker has open at a time: one that waits for I/O leaves its
    /// processor to another.
    pub partitions_per_worker: usize,
    /// How attempts follow each other.
    pub retry: RetryPolicy,
    /// How often a lease is renewed.
    pub renew_every: Duration,
    /// How often the source is asked for its partitions.
    pub discover_every: Duration,
    /// How long a graceful stop may wait for something that is unavailable.
    pub drain_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            // A call of a plugin costs 2 µs, whatever its rows: four of them are 16 ns a record. More
            // records cost more than that: with their columns and what comes out of them they leave
            // the second-level cache.
            batch: BatchLimit { records_max: 500, bytes_max: 1 << 20 },
            range: RangeLimit {
                records_max: 1_000_000,
                bytes_max: 128 << 20,
                age_max: Duration::from_secs(60),
                spooled_bytes_max: 16 << 20,
                open_objects_max: 256,
            },
            // Large enough that few micro-batches lie across two reads, and have to be copied.
            read_bytes_max: 1 << 20,
            memory_bytes_max: 96 << 20,
            partitions_per_worker: 2,
            retry: RetryPolicy::default(),
            renew_every: Duration::from_secs(10),
            discover_every: Duration::from_secs(5),
            drain_max: Duration::from_secs(30),
        }
    }
}

/// What a run takes from the world around it.
#[derive(Clone)]
pub struct Environment {
    /// The wall clock: batch times and the ages of ranges.
    pub clock: Arc<dyn Clock>,
    /// Back-off and the names of writes. Different for each run of a host: a write's name is never
    /// used twice.
    pub seed: u64,
    /// Where the work is done.
    pub workers: Workers,
    /// Places to die at.
    pub failpoints: Failpoints,
    /// Who listens to events.
    pub observer: Arc<dyn Observer>,
    /// Where plans of earlier generations are found, if anywhere.
    pub generations: Option<Arc<dyn Generations>>,
    /// Which partitions are this host's.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where each range is entered before it is committed, if anywhere.
    pub ledger: Option<Arc<dyn BatchLedger>>,
    /// Who the host is for those that it shares a source with. Different for each run of a host.
    pub owner: OwnerId,
}

impl Environment {
    /// A worker for each processor, nobody listens, nobody dies, one generation, no other host.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Environment {
            clock,
            seed,
            workers: Workers::one_a_core(),
            failpoints: Failpoints::default(),
            observer: Arc::new(Unobserved),
            generations: None,
            coordinator: Arc::new(Alone),
            ledger: None,
            owner: OwnerId(format!("{seed:016x}")),
        }
    }
}

/// A pipeline that is built and not yet running.
pub struct Pipeline {
    shared: Arc<Shared>,
    coordinator: Arc<dyn Coordinator>,
    workers: Workers,
}

/// What all tasks of a run share.
pub(crate) struct Shared {
    pub(crate) serving: SwapHandle,
    pub(crate) generations: Option<Arc<dyn Generations>>,
    pub(crate) source: Arc<dyn Source>,
    /// One for each of the plan's destinations.
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    /// Gets a copy of each dead letter.
    pub(crate) letter_copies: Option<Arc<dyn Sink>>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) ledger: Option<Arc<dyn BatchLedger>>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
    pub(crate) owner: OwnerId,
    pub(crate) failpoints: Failpoints,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) progress: Arc<Progress>,
    /// What ranges hold.
    pub(crate) memory: MemoryBudget,
}

impl Shared {
    /// Randomness for reads on behalf of a partition.
    pub(crate) fn random_for(&self, partition: &PartitionId) -> ChaCha8Rng {
        let name = xxhash_rust::xxh3::xxh3_64(partition.0.as_bytes());
        ChaCha8Rng::seed_from_u64(!self.seed ^ name)
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// What became of the records of the ranges that were committed.
    pub counts: Counts,
    /// How many ranges were committed.
    pub ranges: u64,
    /// How many objects hold them.
    pub objects: u64,
    /// The objects' bytes.
    pub object_bytes: u64,
    /// Bytes that were read, those of ranges that were discarded included.
    pub bytes_read: u64,
    /// What each stage did, in order.
    pub stages: Vec<StageStatistics>,
    /// The pipeline was told to stop before all partitions had ended.
    pub interrupted: bool,
    /// Each partition, by name. Where they come and go, those that had to stop and those that were not
    /// done.
    pub partitions: Vec<PartitionReport>,
}

impl Report {
    /// Whether every partition is finished, by this run or an earlier one.
    pub fn is_complete(&self) -> bool {
        let done = |it: &PartitionReport| {
            matches!(it.outcome, Outcome::Finished | Outcome::AlreadyFinished)
        };
        !self.interrupted && self.partitions.iter().all(done)
    }

    /// Counts in what was done for a partition.
    fn add(&mut self, partition: &PartitionReport) {
        self.counts = self.counts.plus(&partition.counts);
        add_stages(&mut self.stages, &partition.stages);
        self.ranges += partition.ranges;
        self.objects += partition.objects;
        self.object_bytes += partition.object_bytes;
    }

    /// Partitions that a person must look at.
    pub fn stopped(&self) -> impl Iterator<Item = &PartitionReport> {
        self.partitions.iter().filter(|it| it.outcome == Outcome::Stopped)
    }
}

impl Pipeline {
    /// Puts the parts together. Each destination of the plan needs the sink of its name, and so does
    /// what gets copies of dead letters.
    pub fn new(
        plan: Arc<Plan>,
        source: Arc<dyn Source>,
        sinks: Vec<Arc<dyn Sink>>,
        store: Arc<dyn CheckpointStore>,
        settings: Settings,
        environment: Environment,
    ) -> Result<Self, Error> {
        Pipeline::beside(SwapHandle::new(plan), source, sinks, store, settings, environment)
    }

    /// One that serves what another pipeline serves, and is offered what that one is offered.
    pub fn beside(
        serving: SwapHandle,
        source: Arc<dyn Source>,
        sinks: Vec<Arc<dyn Sink>>,
        store: Arc<dyn CheckpointStore>,
        settings: Settings,
        environment: Environment,
    ) -> Result<Self, Error> {
        let plan = serving.serving();
        let find = |name: &str, naming: Naming| {
            let sink = sinks.iter().find(|sink| sink.name() == name);
            let sink = sink.ok_or_else(|| Error::Sinks(format!("there is no sink `{name}`")))?;
            match sink.naming() == naming {
                true => Ok(sink.clone()),
                false => Err(Error::Sinks(format!(
                    "sink `{name}` is {:?}, and the plan takes it for {naming:?}",
                    sink.naming()
                ))),
            }
        };
        let copy_to = plan.spec.dead_letters.copy_to.as_deref();
        let letter_copies = copy_to.map(|name| find(name, Naming::Unnamed)).transpose()?;
        let found = plan.destinations().iter().map(|it| find(&it.name, it.naming));
        let sinks = found.collect::<Result<Vec<_>, Error>>()?;
        let Environment {
            clock,
            seed,
            workers,
            failpoints,
            observer,
            generations,
            coordinator,
            ledger,
            owner,
        } = environment;
        let progress = Arc::new(Progress::new(&plan.spec.pipeline));
        let memory = MemoryBudget::new(&settings, source.ends());
        let shared = Shared {
            serving,
            generations,
            source,
            sinks,
            letter_copies,
            store,
            ledger,
            settings,
            clock,
            seed,
            owner,
            failpoints,
            observer,
            progress,
            memory,
        };
        Ok(Pipeline { shared: Arc::new(shared), coordinator, workers })
    }

    /// The counters of the run, to look at while it runs.
    pub fn progress(&self) -> Arc<Progress> {
        self.shared.progress.clone()
    }

    /// Offers the pipeline another plan while it runs.
    pub fn swap_handle(&self) -> SwapHandle {
        self.shared.serving.clone()
    }

    /// Runs until all partitions have ended or the pipeline is told to stop. A partition that has
    /// to stop does not stop the others: the report says which and why.
    ///
    /// Dropping the future is the same as a crash: the next run recovers.
    pub async fn run(self, shutdown: Shutdown) -> Result<Report, Error> {
        let jobs_max = self.shared.settings.partitions_per_worker;
        let crew = Crew::start(self.workers, jobs_max).map_err(Error::Worker)?;
        let slots = vec![jobs_max.max(1); self.workers.count()];
        let (ended, ends) = mpsc::channel(slots.iter().sum());
        let run = Run {
            shared: self.shared,
            coordinator: self.coordinator,
            share: None,
            joined: false,
            look_at: Instant::now(),
            discover_at: Instant::now(),
            forget_at: Instant::now(),
            shutdown,
            crew,
            slots,
            ends,
            tells: ended,
            listed: Vec::new(),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            starts: 0,
            ended: BTreeMap::new(),
            passed: Report::default(),
        };
        // Tasks of `Workers::Here` live in this set; with threads it is empty.
        LocalSet::new().run_until(run.drive()).await
    }
}

/// A run that is under way.
struct Run {
    shared: Arc<Shared>,
    coordinator: Arc<dyn Coordinator>,
    /// What is this host's; none where everything is.
    share: Option<Share>,
    /// It has been told so once.
    joined: bool,
    /// When the coordinator is asked next, and the source.
    look_at: Instant,
    discover_at: Instant,
    /// When finished partitions are forgotten next, where they are at all.
    forget_at: Instant,
    shutdown: Shutdown,
    crew: Crew,
    /// How many more partitions each worker may take.
    slots: Vec<usize>,
    ends: mpsc::Receiver<End>,
    tells: mpsc::Sender<End>,
    /// The source's partitions, as they were last listed.
    listed: Vec<Partition>,
    /// Partitions that are not started.
    waiting: BTreeMap<PartitionId, Waiting>,
    running: BTreeMap<PartitionId, Running>,
    /// How many were started: one that was handed over, or lost, may come back.
    starts: u64,
    /// What was done for partitions. One that was handed over may be waiting again.
    ended: BTreeMap<PartitionId, PartitionReport>,
    /// What was done for those that are not kept by name, where partitions come and go.
    passed: Report,
}

/// A partition that is worked on.
struct Running {
    partition: Waiting,
    stop: StopHandle,
}

/// A partition that is not started.
struct Waiting {
    partition: Partition,
    /// Those of its parents that the source still lists.
    parents: Vec<PartitionId>,
}

/// The task of a partition is over.
struct End {
    worker: usize,
    report: PartitionReport,
}

impl Run {
    /// Runs until there is nothing more to do. Partitions that are being read when the source
    /// can't be listed any more are drained as at a stop, before the error is told.
    async fn drive(mut self) -> Result<Report, Error> {
        if let Err(error) = self.work().await {
            self.shutdown.begin();
            while !self.running.is_empty() {
                let shutdown = self.shutdown.clone();
                tokio::select! {
                    biased;
                    () = shutdown.forced() => break,
                    end = self.ends.recv() => {
                        let End { worker, report } = end.expect("the run itself holds a sender");
                        self.end(worker, report);
                    }
                }
            }
            self.crew.dismiss().await;
            close(&self.shared, &self.shutdown).await;
            return Err(error);
        }
        let (shared, shutdown) = (Arc::clone(&self.shared), self.shutdown.clone());
        let report = self.report().await;
        close(&shared, &shutdown).await;
        Ok(report)
    }

    async fn work(&mut self) -> Result<(), Error> {
        self.discover().await?;
        loop {
            self.look().await?;
            self.start_ready().await;
            if self.running.is_empty() {
                // One last look: partitions may have appeared while others ended.
                if self.shutdown.is_draining() {
                    break;
                }
                let alone = self.share.is_none();
                let due = alone || Instant::now() >= self.discover_at;
                if !due || !self.discover().await? {
                    if self.shared.source.ends() && (alone || self.waiting.is_empty()) {
                        break;
                    }
                    let (shutdown, shared) = (self.shutdown.clone(), Arc::clone(&self.shared));
                    tokio::select! {
                        biased;
                        () = shutdown.drain() => {}
                        () = shared.source.changed() => {
                            (self.discover_at, self.look_at) = (Instant::now(), Instant::now());
                        }
                        () = sleep_until(self.wake_at()) => {}
                    }
                }
                continue;
            }
            let (shutdown, wake_at) = (self.shutdown.clone(), self.wake_at());
            let shared = Arc::clone(&self.shared);
            let draining = shutdown.is_draining();
            tokio::select! {
                biased;
                () = shutdown.forced() => break,
                end = self.ends.recv() => {
                    let End { worker, report } = end.expect("the run itself holds a sender");
                    self.end(worker, report);
                    // While there are partitions to start, the regular look is often enough: a
                    // source of a thousand files is not listed a thousand times.
                    if self.ready().is_none() && !self.shutdown.is_draining() {
                        self.discover().await?;
                    }
                }
                () = shared.source.changed(), if !draining => {
                    self.discover().await?;
                    self.look_at = Instant::now();
                }
                () = sleep_until(wake_at), if !draining => {
                    if Instant::now() >= self.discover_at && !self.shutdown.is_draining() {
                        self.discover().await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// When there is something to be looked at again.
    fn wake_at(&self) -> Instant {
        match self.coordinator.look_every() {
            Some(_) => self.discover_at.min(self.look_at),
            None => self.discover_at,
        }
    }

    /// Asks which partitions are this host's, where it is not alone and it is time to.
    async fn look(&mut self) -> Result<(), Error> {
        let Some(every) = self.coordinator.look_every() else { return Ok(()) };
        let now = Instant::now();
        if now < self.look_at || self.shutdown.is_draining() {
            return Ok(());
        }
        self.look_at = now + every;
        let (running, stopped) = (self.running.keys().cloned().collect(), self.stopped());
        let owner = &self.shared.owner;
        let (listed, running, stopped) = (&self.listed, &running, &stopped);
        let looking = self.coordinator.look(HostSituation { owner, listed, running, stopped });
        // One that hangs must not keep partitions from ending and others from beginning.
        let (patience, shutdown) = (self.shared.settings.retry.timeout, self.shutdown.clone());
        let share = tokio::select! {
            biased;
            () = shutdown.drain() => return Ok(()),
            share = timeout(patience, looking) => share,
        };
        let no_answer = |_| {
            let message = format!("the leases gave no answer in {} s", patience.as_secs());
            Err(StoreError::plain(StoreErrorKind::Unavailable, message))
        };
        match share.unwrap_or_else(no_answer) {
            Ok(share) => self.take(share),
            Err(error) if error.failure() == Failure::Fatal => return Err(Error::Store(error)),
            Err(error) => {
                // Nothing is taken and nothing given up for it: leases are renewed by those who have
                // them.
                self.share.get_or_insert_default().take.clear();
                self.shared.progress.retry(&Seam::Store);
                self.shared.observer.observe(&Event::Waiting {
                    partition: None,
                    seam: Seam::Store,
                    attempts: 1,
                    delay: every,
                    message: causes(&Error::Store(error)),
                });
            }
        }
        Ok(())
    }

    fn take(&mut self, share: Share) {
        for id in &share.give_up {
            if let Some(running) = self.running.get(id) {
                running.stop.drain();
            }
        }
        // What others have finished is not this host's to be read.
        self.waiting.retain(|id, _| !share.finished.contains(id));
        let elsewhere = self.waiting.keys().filter(|id| !share.take.contains(*id));
        let elsewhere: BTreeSet<PartitionId> = elsewhere.cloned().collect();
        if !elsewhere.is_empty() {
            self.shared.source.are_elsewhere(&elsewhere);
        }
        if share.lists_more {
            self.discover_at = Instant::now();
        }
        if !self.joined {
            self.joined = true;
            let partitions = share.take.len() as u64;
            self.shared.observer.observe(&Event::Joined { partitions });
        }
        self.share = Some(share);
    }

    /// Partitions that a person must look at, before they are worked on here again.
    fn stopped(&self) -> BTreeSet<PartitionId> {
        let ended = self.ended.iter().filter(|(_, it)| it.outcome == Outcome::Stopped);
        ended.map(|(id, _)| id.clone()).collect()
    }

    /// Asks the source for its partitions. Says whether one may be started now.
    async fn discover(&mut self) -> Result<bool, Error> {
        let listed = self.list().await?;
        let Some(listed) = listed else { return Ok(false) };
        self.discover_at = Instant::now() + self.shared.settings.discover_every;
        let names = listed.iter().map(|it| it.id.clone()).collect::<BTreeSet<_>>();
        let pass = self.forget().await;
        if pass {
            self.waiting.retain(|id, _| names.contains(id));
        }
        for partition in &listed {
            let id = &partition.id;
            // Where they come and go, one that had to stop is tried again when it is named again.
            let is_over = !pass && self.ended.contains_key(id);
            let known = self.running.contains_key(id) || is_over;
            let finished = self.share.as_ref().is_some_and(|it| it.finished.contains(id));
            if !known && !finished {
                let (partition, parents) = (partition.clone(), partition.parents.clone());
                self.waiting.entry(id.clone()).or_insert(Waiting { partition, parents });
            }
        }
        self.listed = listed;
        // A parent that the source no longer lists counts as finished.
        self.waiting.values_mut().for_each(|it| it.parents.retain(|it| names.contains(it)));
        let again = self.ended.keys();
        let again =
            again.filter(|id| self.waiting.contains_key(*id) || self.running.contains_key(*id));
        let known = self.waiting.len() + self.running.len() + self.ended.len() - again.count();
        self.shared.progress.listed(known as u64);
        self.shared.observer.observe(&Event::Listed { partitions: known as u64 });
        Ok(self.ready().is_some())
    }

    /// Forgets what was finished long enough ago, where partitions come and go; says whether they do.
    async fn forget(&mut self) -> bool {
        let Some(remembered) = self.shared.source.remembers_for() else { return false };
        let now = Instant::now();
        if now >= self.forget_at && !self.shutdown.is_draining() {
            let patience = self.shared.settings.retry.timeout;
            let forgotten = timeout(patience, self.shared.store.forget(remembered)).await;
            // What is left costs room and nothing else: for its sake nothing fails. There may be more
            // where there was something.
            let again = match forgotten {
                Ok(Ok(1..)) => self.shared.settings.discover_every,
                _ => FORGET_EVERY,
            };
            self.forget_at = now + again;
        }
        true
    }

    /// The partitions as of now; none when the pipeline was told to stop before the source said.
    async fn list(&mut self) -> Result<Option<Vec<Partition>>, Error> {
        let patience = self.shared.settings.retry.timeout;
        let mut random = self.shared.random_for(&PartitionId::from(""));
        let mut retry = Retry::new(self.shared.clone(), None, Seam::Source);
        loop {
            let listing = timeout(patience, self.shared.source.partitions());
            let shutdown = self.shutdown.clone();
            let answer = tokio::select! {
                biased;
                answer = listing => answer,
                () = shutdown.drain() => return Ok(None),
            };
            let error = match answer {
                Ok(Ok(listed)) => {
                    retry.succeeded();
                    return Ok(Some(listed));
                }
                Ok(Err(error)) => Error::Source(error),
                Err(_) => {
                    let (seam, seconds) = (Seam::Source.to_string(), patience.as_secs());
                    Error::NoAnswer { seam, seconds }
                }
            };
            let asks_for = error.failure();
            let delay = retry.failed(&mut random, error, asks_for)?;
            tokio::select! {
                biased;
                () = sleep(delay) => {}
                () = shutdown.drain() => return Ok(None),
            }
        }
    }

    /// Starts partitions on the workers that have the most room.
    async fn start_ready(&mut self) {
        loop {
            let room = self.slots.iter().enumerate();
            let most = room.max_by_key(|(worker, slots)| (**slots, usize::MAX - worker));
            let Some((worker, _)) = most.filter(|(_, slots)| **slots > 0) else { return };
            let Some(waiting) = self.ready().and_then(|id| self.waiting.remove(&id)) else {
                return;
            };
            self.slots[worker] -= 1;
            self.shared.progress.opened();
            let (stop, shutdown) = self.shutdown.part();
            let partition = waiting.partition.clone();
            self.running.insert(partition.id.clone(), Running { partition: waiting, stop });
            let nth = self.starts;
            self.starts += 1;
            let job = self.job(worker, partition, nth, shutdown);
            self.crew.spawn(worker, job).await;
        }
    }

    /// The next partition to start, in the order of names.
    ///
    /// Invariant: a child shard is not read before its parents are finished.
    fn ready(&self) -> Option<PartitionId> {
        if self.shutdown.is_draining() {
            return None;
        }
        let finished = |parent: &PartitionId| {
            let done = [Outcome::Finished, Outcome::AlreadyFinished];
            self.ended.get(parent).is_some_and(|report| done.contains(&report.outcome))
                || self.share.as_ref().is_some_and(|share| share.finished.contains(parent))
        };
        let ours = |id: &PartitionId| match &self.share {
            Some(share) => share.take.contains(id),
            None => self.coordinator.look_every().is_none(),
        };
        let mut waiting = self.waiting.iter();
        waiting
            .find(|(id, it)| ours(id) && it.parents.iter().all(finished))
            .map(|(id, _)| id.clone())
    }

    fn job(&self, worker: usize, partition: Partition, nth: u64, shutdown: Shutdown) -> Job {
        let shared = self.shared.clone();
        let mut ending =
            Ending { worker, partition: Some(partition.id.clone()), ended: self.tells.clone() };
        Box::new(move || {
            Box::pin(async move {
                let report = partition::run(shared, partition, nth, shutdown).await;
                ending.with(report);
            })
        })
    }

    fn end(&mut self, worker: usize, report: PartitionReport) {
        self.slots[worker] += 1;
        self.shared.progress.ended();
        let id = report.partition.clone();
        let was_running = self.running.remove(&id);
        let finished = matches!(report.outcome, Outcome::Finished | Outcome::AlreadyFinished);
        self.shared.source.ended(&id, finished);
        let report = match self.ended.remove(&id) {
            Some(before) => report.follows(before),
            None => report,
        };
        if let Some(share) = &mut self.share {
            // Whether it is this host's is asked anew.
            share.take.remove(&id);
            self.look_at = Instant::now();
            let elsewhere = matches!(report.outcome, Outcome::Lost | Outcome::Drained);
            let stays = self.shared.source.remembers_for().is_none();
            if let Some(running) = was_running.filter(|_| elsewhere && stays) {
                self.waiting.insert(id.clone(), running.partition);
            }
        }
        let keeps = self.shared.source.remembers_for().is_none()
            || report.outcome == Outcome::Stopped && self.ended.len() < STOPPED_MAX;
        match keeps {
            true => drop(self.ended.insert(id, report)),
            false => self.passed.add(&report),
        }
    }

    async fn report(self) -> Report {
        let bytes_read = self.shared.progress.snapshot().bytes_read;
        let interrupted = self.shutdown.is_draining();
        let mut report = Report { interrupted, bytes_read, ..self.passed };
        // Before anything is told: tasks that a force left behind are dropped with the crew.
        self.crew.dismiss().await;
        // Without a stop only children of partitions that could not be finished are left.
        let left = if report.interrupted { Outcome::Drained } else { Outcome::Stopped };
        let waiting = self.waiting.into_keys().map(|it| PartitionReport::new(it, left));
        let running = self.running.into_keys();
        let running = running.map(|it| PartitionReport::new(it, Outcome::Drained));
        let mut ended = self.ended;
        for rest in waiting.chain(running) {
            // One that was handed over, or lost, has been reported.
            ended.entry(rest.partition.clone()).or_insert(rest);
        }
        for partition in ended.into_values() {
            report.add(&partition);
            report.partitions.push(partition);
        }
        report
    }
}

/// The last word to the source. What can't be said in time others find out.
async fn close(shared: &Shared, shutdown: &Shutdown) {
    tokio::select! {
        biased;
        _ = timeout(shared.settings.drain_max, shared.source.close()) => {}
        () = shutdown.forced() => {}
    }
}

/// Tells the run that a partition's task is over, even when it panicked.
struct Ending {
    worker: usize,
    partition: Option<PartitionId>,
    ended: mpsc::Sender<End>,
}

impl Ending {
    fn with(&mut self, report: PartitionReport) {
        self.partition = None;
        // There is room: the channel holds one for each partition that may be open.
        let _ = self.ended.try_send(End { worker: self.worker, report });
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(partition) = self.partition.take() {
            let mut report = PartitionReport::new(partition.clone(), Outcome::Stopped);
            report.error = Some(Error::Panicked { partition });
            self.with(report);
        }
    }
}
