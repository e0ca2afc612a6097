//! One task owns one partition: takes it, finishes what pends, reads, and ends it.

use std::{
    pin::pin,
    sync::{Arc, Weak},
};

use tidegate_core::{
    Digest, Timestamp,
    batcher::{Batcher, Cut, Situation, Step},
    checkpoint::{Checkpoint, Counts, Manifest, StateKeys},
    source::{Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Resume},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    closer::{Closer, CutRange, RANGES_CLOSING_MAX},
    error::{Error, causes},
    failpoint::{ProtocolStep, Side},
    memory_budget::OPEN_MIN,
    owner::Owner,
    plan::Plan,
    process::StageStatistics,
    progress::{Event, Seam},
    range::{Ending, OpenRange, Opening, PublishedRange},
    read_ahead::ReadAhead,
    retry::Retry,
    run::Shared,
    shutdown::Shutdown,
    states::LeftStates,
};

/// How the work on a partition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it is done.
    Finished,
    /// It was finished by an earlier run.
    AlreadyFinished,
    /// The pipeline was told to stop: the next run goes on from here.
    Drained,
    /// Somebody else has acquired it.
    Lost,
    /// It can't go on without a person, or its parents could not.
    Stopped,
}

/// What was done for one partition.
#[derive(Debug)]
pub struct PartitionReport {
    /// Which.
    pub partition: PartitionId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was stopped.
    pub error: Option<Error>,
    /// What became of the records of the ranges that were committed.
    pub counts: Counts,
    /// How many ranges were committed, recovered ones included.
    pub ranges: u64,
    /// How many of them an earlier run had begun.
    pub recovered: u64,
    /// How many objects hold them.
    pub objects: u64,
    /// The objects' bytes.
    pub object_bytes: u64,
    /// What the stages did with the records of these ranges, except those of ranges that an
    /// earlier run had processed.
    pub stages: Vec<StageStatistics>,
    /// How far it is done.
    pub checkpoint: Option<Resume>,
}

impl PartitionReport {
    pub(crate) fn new(partition: PartitionId, outcome: Outcome) -> Self {
        PartitionReport {
            partition,
            outcome,
            error: None,
            counts: Counts::default(),
            ranges: 0,
            recovered: 0,
            objects: 0,
            object_bytes: 0,
            stages: Vec::new(),
            checkpoint: None,
        }
    }

    /// Both together: the partition was worked on before, and was somebody else's in between.
    pub(crate) fn follows(self, before: PartitionReport) -> Self {
        let mut stages = before.stages;
        add_stages(&mut stages, &self.stages);
        PartitionReport {
            counts: self.counts.plus(&before.counts),
            ranges: self.ranges + before.ranges,
            recovered: self.recovered + before.recovered,
            objects: self.objects + before.objects,
            object_bytes: self.object_bytes + before.object_bytes,
            checkpoint: self.checkpoint.or(before.checkpoint),
            stages,
            ..self
        }
    }

    pub(crate) fn count(&mut self, range: PublishedRange) {
        let PublishedRange { manifest, stages, .. } = range;
        add_stages(&mut self.stages, &stages);
        self.counts = self.counts.plus(&manifest.counts);
        self.ranges += 1;
        self.objects += manifest.objects.len() as u64;
        self.object_bytes += manifest.objects.iter().map(|object| object.bytes).sum::<u64>();
        self.checkpoint = Some(manifest.end);
    }
}

/// Adds what stages did to what they did before, stage by stage.
pub(crate) fn add_stages(sums: &mut Vec<StageStatistics>, stages: &[StageStatistics]) {
    for stage in stages {
        match sums.iter_mut().find(|sum| sum.stage == stage.stage) {
            None => sums.push(stage.clone()),
            Some(sum) => {
                sum.rows += stage.rows;
                sum.dropped += stage.dropped;
                sum.rejected += stage.rejected;
                sum.poison += stage.poison;
                sum.keys_added += stage.keys_added;
                sum.keys_removed += stage.keys_removed;
                sum.breaker_open |= stage.breaker_open;
                sum.calls += stage.calls;
                sum.instances += stage.instances;
                sum.purity_checks += stage.purity_checks;
                sum.impure += stage.impure;
                sum.impurity = sum.impurity.take().or_else(|| stage.impurity.clone());
                sum.findings.iter_mut().zip(&stage.findings).for_each(|(sum, more)| *sum += more);
                for (sum, more) in sum.lookups.iter_mut().zip(&stage.lookups) {
                    sum.hits += more.hits;
                    sum.misses += more.misses;
                }
            }
        }
    }
}

/// Works on a partition until it ends, the pipeline stops, or nothing more can be done. `nth` is how
/// many partitions the run has worked on before.
pub(crate) async fn run(
    shared: Arc<Shared>,
    partition: Partition,
    nth: u64,
    shutdown: Shutdown,
) -> PartitionReport {
    let mut report = PartitionReport::new(partition.id.clone(), Outcome::Stopped);
    let mut owner = Owner::new(shared, partition.id.clone(), nth, shutdown);
    match work(&mut owner, &partition, &mut report).await {
        Ok(outcome) => report.outcome = outcome,
        Err(error) if error.is_fenced() => report.outcome = Outcome::Lost,
        // Where a new owner has put something in our place, it is not foreign, and we are late.
        Err(error @ Error::Foreign(_)) => match owner.is_fenced().await {
            Ok(true) => report.outcome = Outcome::Lost,
            // Nobody says. If it is foreign, then to whoever takes it next as well.
            Err(Error::Interrupted { .. }) => report.outcome = Outcome::Drained,
            Ok(false) | Err(_) => report.error = Some(error),
        },
        Err(Error::Interrupted { .. }) => report.outcome = Outcome::Drained,
        Err(error) => report.error = Some(error),
    }
    if report.outcome != Outcome::Lost {
        owner.hand_over().await;
    }
    owner.states_are(u64::MAX, StateKeys::new());
    let (outcome, message) = (report.outcome, report.error.as_ref().map(|error| causes(error)));
    owner.tell(Event::Ended { partition: partition.id, outcome, message });
    report
}

async fn work(
    owner: &mut Owner,
    partition: &Partition,
    report: &mut PartitionReport,
) -> Result<Outcome, Error> {
    let acquired = owner.acquire(partition).await?;
    let mut checkpoint = acquired.checkpoint;
    report.checkpoint = checkpoint.resume.clone();
    let mut retry = owner.retry(Seam::Chain);
    if let Some(pending) = acquired.pending {
        let range = loop {
            match owner.recover(&pending).await {
                Err(error) => again(owner, &mut retry, error).await?,
                Ok(range) => break range,
            }
        };
        checkpoint = checkpoint_after(&range.manifest);
        report.count(range);
        report.recovered += 1;
    } else if checkpoint.finished {
        return Ok(Outcome::AlreadyFinished);
    }
    if checkpoint.finished {
        return Ok(Outcome::Finished);
    }
    owner.tell(Event::Opened {
        partition: owner.partition.clone(),
        after: checkpoint.resume.as_ref().map(|resume| resume.position),
    });
    let mut retry = owner.retry(Seam::Chain);
    loop {
        let next_range = checkpoint.next_range;
        match read_on(owner, &mut checkpoint, report).await {
            Err(error) => {
                if checkpoint.next_range > next_range {
                    // It went on meanwhile: this is another trouble, and not the last one still.
                    retry = owner.retry(Seam::Chain);
                }
                again(owner, &mut retry, error).await?;
            }
            Ok(outcome) => return Ok(outcome),
        }
    }
}

/// Reads from the checkpoint on, and closes the ranges that are cut meanwhile.
async fn read_on(
    owner: &mut Owner,
    checkpoint: &mut Checkpoint,
    report: &mut PartitionReport,
) -> Result<Outcome, Error> {
    let reader = owner.open_reader(checkpoint.resume.as_ref()).await?;
    let (queue, cut) = mpsc::channel(RANGES_CLOSING_MAX);
    let tip = checkpoint.clone();
    let deputy = owner.deputy();
    let (outcome, deputy, closed) = {
        let mut closer = pin!(Closer { owner: deputy, checkpoint, report }.run(cut));
        let outcome = tokio::select! {
            biased;
            outcome = Reading::new(owner, reader, tip, queue).drive() => Ok(outcome),
            // Ranges can't be closed any more: what is open can't be committed either.
            closed = &mut closer => Err(closed),
        };
        match outcome {
            // What was cut is closed, whatever became of the records behind it.
            Ok(outcome) => {
                let (deputy, closed) = closer.await;
                (Some(outcome), deputy, closed)
            }
            Err((deputy, closed)) => (None, deputy, closed),
        }
    };
    owner.take_back(deputy);
    closed?;
    match outcome.expect("a closer that has not failed ends after the reading")? {
        // The partition has ended, and its last range did not say so.
        Outcome::Finished if !checkpoint.finished => {
            owner.finish().await?;
            Ok(Outcome::Finished)
        }
        outcome => Ok(outcome),
    }
}

/// A range that could not be processed for want of room or time is discarded, and cut again from
/// the checkpoint. Everything else was tried often enough where it failed.
async fn again(owner: &mut Owner, retry: &mut Retry, error: Error) -> Result<(), Error> {
    match error {
        Error::Process(blocked) if blocked.is_blocked() => {
            owner.wait_for_unblocking(&Error::Process(blocked)).await
        }
        Error::Process(_) => {
            owner.back_off(retry, &Seam::Chain, error).await?;
            retry.goes_on();
            Ok(())
        }
        other => Err(other),
    }
}

/// How far a partition is done when a range is committed.
pub(crate) fn checkpoint_after(manifest: &Manifest) -> Checkpoint {
    Checkpoint {
        resume: Some(manifest.end.clone()),
        next_range: manifest.range + 1,
        finished: manifest.finishes,
    }
}

/// A partition that is being read.
struct Reading<'a> {
    owner: &'a mut Owner,
    reads: ReadAhead,
    batcher: Batcher,
    /// Where the partition will be when all ranges that are cut are committed.
    tip: Checkpoint,
    /// What cut ranges left of states, until they are committed.
    left: Vec<Weak<LeftStates>>,
    cut: mpsc::Sender<CutRange>,
    open: Option<OpenRange>,
    /// Since when.
    open_since: Instant,
    /// The open range finds no more memory.
    is_cramped: bool,
    /// What the next range is opened with.
    plan: Arc<Plan>,
    offers: watch::Receiver<Arc<Plan>>,
    swapping: Option<Swapping>,
    /// Nothing more can be read. What was read before it is finished first.
    failed: Option<Error>,
    ended: bool,
}

/// A swap that has cut a range, and whose plan has not been at work yet.
struct Swapping {
    from: Digest,
    since: Instant,
}

impl<'a> Reading<'a> {
    fn new(
        owner: &'a mut Owner,
        reader: Box<dyn Reader>,
        tip: Checkpoint,
        cut: mpsc::Sender<CutRange>,
    ) -> Self {
        let settings = owner.shared.settings;
        let limit =
            ReadLimit { records_max: usize::MAX, bytes_max: settings.read_bytes_max, until: None };
        let offers = owner.shared.serving.listen();
        let plan = offers.borrow().clone();
        // What was offered while the partition backed off is taken here, and is a swap as well.
        let generation = plan.generation();
        let from = *owner.serves.get_or_insert(generation);
        let swapping = (from != generation).then(|| Swapping { from, since: Instant::now() });
        Reading {
            owner,
            reads: ReadAhead::new(reader, limit),
            batcher: Batcher::new(settings.batch, settings.range),
            tip,
            left: Vec::new(),
            cut,
            open: None,
            open_since: Instant::now(),
            is_cramped: false,
            plan,
            offers,
            swapping,
            failed: None,
            ended: false,
        }
    }

    async fn drive(mut self) -> Result<Outcome, Error> {
        loop {
            self.look_for_offers();
            let situation = self.situation();
            match self.batcher.step(&situation) {
                Step::Open => self.open(situation.now).await?,
                Step::Process(batch) => {
                    self.reads.set_off().await;
                    let range = self.open.as_mut().expect("batches belong to an open range");
                    self.owner.process(range, &batch).await?;
                    self.is_cramped = !range.finds_room(&self.owner.shared.memory);
                    // Other partitions of the same worker have their turn, and so has the closer.
                    tokio::task::yield_now().await;
                }
                Step::Cut(cut) => self.close(cut).await?,
                Step::Read | Step::Done if let Some(error) = self.failed.take() => {
                    return Err(error);
                }
                Step::Read => self.read(situation.now).await?,
                Step::Done if self.ended => return Ok(Outcome::Finished),
                Step::Done => return Ok(Outcome::Drained),
            }
        }
    }

    /// Takes what is offered, if no range is open that has to be cut for it.
    fn look_for_offers(&mut self) {
        if self.open.is_none() && self.offers.has_changed().unwrap_or(false) {
            let plan = self.offers.borrow_and_update().clone();
            let swapping = Swapping { from: self.plan.generation(), since: Instant::now() };
            // One that was cut for an earlier offer has waited since then.
            self.swapping.get_or_insert(swapping);
            self.plan = plan;
        }
    }

    fn situation(&self) -> Situation {
        let range = self.open.as_ref();
        let swap = range.is_some() && self.offers.has_changed().unwrap_or(false);
        Situation {
            now: self.owner.shared.clock.now(),
            spooled_bytes: range.map_or(0, OpenRange::spooled_bytes),
            open_objects: range.map_or(0, OpenRange::open_objects),
            requested: match self.owner.is_draining() || self.failed.is_some() {
                true => Some(Cut::Stop),
                false if swap => Some(Cut::Swap),
                false => self.is_in_the_way().then_some(Cut::Memory),
            },
        }
    }

    /// Whether the open range finds no more memory, or holds what others wait for.
    fn is_in_the_way(&self) -> bool {
        let others_wait = self.owner.shared.memory.is_short();
        self.open.is_some()
            && (self.is_cramped || others_wait && self.open_since.elapsed() >= OPEN_MIN)
    }

    async fn open(&mut self, now: Timestamp) -> Result<(), Error> {
        self.left.retain(|left| left.strong_count() > 0);
        let opening = Opening {
            range: self.tip.next_range,
            revision: 0,
            start: self.tip.resume.clone(),
            opened_at: now,
            exclusions: Vec::new(),
            state_keys: None,
            left: self.left.clone(),
        };
        self.open = Some(self.owner.open(Arc::clone(&self.plan), opening).await?);
        (self.open_since, self.is_cramped) = (Instant::now(), false);
        self.batcher.open(now, None);
        self.swapped();
        Ok(())
    }

    /// The new plan is ready for its first batch, or would be, if there were one.
    fn swapped(&mut self) {
        let Some(Swapping { from, since }) = self.swapping.take() else { return };
        let to = self.plan.generation();
        self.owner.serves = Some(to);
        if from == to {
            return;
        }
        let pause = since.elapsed();
        self.owner.shared.progress.swapped(pause);
        self.owner.tell(Event::Swapped {
            partition: self.owner.partition.clone(),
            from,
            to,
            after: self.tip.resume.as_ref().map(|resume| resume.position),
            pause,
        });
    }

    async fn read(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.open.is_none() {
            self.swapped();
        }
        let age_left = self.batcher.age_left(now).filter(|left| !left.is_zero());
        let draining = self.owner.is_draining();
        // One that is to be cut already waits for the end of a group.
        let may_be_cut = self.open.is_some() && !self.is_in_the_way();
        let (comes_of_age, drain) = (sleep(age_left.unwrap_or_default()), self.owner.drain());
        let (reads, offers) = (&mut self.reads, &self.offers);
        // One that is known already waits for the end of a group. It is not marked as seen before
        // the open range is cut for it.
        let offer_waits = offers.has_changed().unwrap_or(true);
        let mut offers = offers.clone();
        let (shared, may_be_cut_at) = (self.owner.shared.clone(), self.open_since + OPEN_MIN);
        let others_wait = async {
            sleep_until(may_be_cut_at).await;
            shared.memory.until_short().await;
        };
        let read =
            self.owner.insist(Seam::Source, async || reads.next().await.map_err(Error::Source));
        let read = tokio::select! {
            biased;
            read = read => match read {
                Err(error @ Error::Source(_)) if self.open.is_some() => {
                    self.failed = Some(error);
                    None
                }
                read => Some(read?),
            },
            () = comes_of_age, if age_left.is_some() => None,
            () = drain, if !draining => None,
            _ = offers.changed(), if !offer_waits => None,
            () = others_wait, if may_be_cut => None,
        };
        match read {
            Some(ReadOutcome::Records(batch)) => self.batcher.push(batch),
            Some(ReadOutcome::Ended) => {
                self.ended = true;
                self.batcher.end();
            }
            // The group that the range is in may never end: it is read again by the next run.
            Some(ReadOutcome::Idle) if draining => {
                let waiting_for = "the end of a group of records".to_owned();
                return Err(Error::Interrupted { waiting_for });
            }
            Some(ReadOutcome::Idle) | None => {}
        }
        Ok(())
    }

    /// CUT: the rest of the protocol is the closer's, while the next range is filled.
    async fn close(&mut self, cut: Cut) -> Result<(), Error> {
        if cut == Cut::Swap {
            let swapping = Swapping { from: self.plan.generation(), since: Instant::now() };
            self.swapping.get_or_insert(swapping);
        }
        let range = self.open.take().expect("an open range is cut");
        let position = range.last().expect("a range has records");
        let token = self.reads.token(position).await;
        let end = Resume { position, token };
        let ending = Ending { end, finishes: cut == Cut::Ended, superseded: Vec::new() };
        let range = self.owner.cut(range, ending).await?;
        self.tip = checkpoint_after(&range.manifest);
        if range.leaves_states() {
            self.left.push(range.states());
        }
        // A closer that is gone has failed, and says so itself.
        let _ = self.cut.send(CutRange { range, cut }).await;
        Ok(())
    }
}

impl Owner {
    /// Starts reading behind a checkpoint.
    pub(crate) async fn open_reader(
        &mut self,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, Error> {
        let (shared, partition) = (self.shared.clone(), self.partition.clone());
        self.insist(Seam::Source, async || {
            shared.source.open(&partition, after).await.map_err(Error::Source)
        })
        .await
    }

    /// Marks the partition as finished.
    async fn finish(&mut self) -> Result<(), Error> {
        self.reach(ProtocolStep::Finish, Side::Before).await;
        let (shared, lease, write) = (self.shared.clone(), self.lease(), self.write_id());
        self.insist(Seam::Store, async || {
            shared.store.finish(&lease, write).await.map_err(Error::Store)
        })
        .await?;
        self.reach(ProtocolStep::Finish, Side::After).await;
        Ok(())
    }
}
