//! One task owns one partition: takes it, finishes what pends, reads, and ends it.

use std::sync::Arc;

use tidegate_core::{
    Timestamp,
    batcher::{Batcher, Cut, Situation, Step},
    checkpoint::{Checkpoint, Counts, Manifest},
    source::{PartitionId, ReadLimit, ReadOutcome, Reader, Resume},
    tracker::{InFlightLimit, Tracker},
};
use tokio::time::sleep;

use crate::{
    error::Error,
    failpoint::{ProtocolStep, Side},
    owner::{Owner, chain},
    process::StageStatistics,
    progress::{Event, Seam},
    range::{Ending, OpenRange, Opening, PublishedRange},
    read_ahead::ReadAhead,
    retry::Attempts,
    run::Shared,
    shutdown::Shutdown,
};

/// What is in flight in a partition is one range, and the batcher bounds it.
pub(crate) const NO_LIMIT: InFlightLimit =
    InFlightLimit { records_max: u64::MAX / 2, bytes_max: u64::MAX / 2 };

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

    fn count(&mut self, range: PublishedRange) {
        let PublishedRange { manifest, stages } = range;
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

/// Works on a partition until it ends, the pipeline stops, or nothing more can be done.
pub(crate) async fn run(
    shared: Arc<Shared>,
    partition: PartitionId,
    shutdown: Shutdown,
) -> PartitionReport {
    let mut report = PartitionReport::new(partition.clone(), Outcome::Stopped);
    let mut owner = Owner::new(shared, partition.clone(), shutdown);
    match work(&mut owner, &mut report).await {
        Ok(outcome) => report.outcome = outcome,
        Err(error) if error.is_fenced() => report.outcome = Outcome::Lost,
        // Where a new owner has put something in our place, it is not foreign, and we are late.
        Err(Error::Foreign(_)) if owner.is_fenced().await => report.outcome = Outcome::Lost,
        Err(Error::Interrupted { .. }) => report.outcome = Outcome::Drained,
        Err(error) => report.error = Some(error),
    }
    if report.outcome != Outcome::Lost {
        owner.hand_over().await;
    }
    let (outcome, message) = (report.outcome, report.error.as_ref().map(|error| chain(error)));
    owner.tell(Event::Ended { partition, outcome, message });
    report
}

async fn work(owner: &mut Owner, report: &mut PartitionReport) -> Result<Outcome, Error> {
    let acquired = owner.acquire().await?;
    let mut checkpoint = acquired.checkpoint;
    report.checkpoint = checkpoint.resume.clone();
    if let Some(pending) = acquired.pending {
        let mut attempts = Attempts::new(owner.shared.settings.retry);
        let range = loop {
            match owner.recover(&pending).await {
                Err(error) => again(owner, &mut attempts, error).await?,
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
    let mut attempts = Attempts::new(owner.shared.settings.retry);
    loop {
        let reader = owner.open_reader(checkpoint.resume.as_ref()).await?;
        let reading = Reading::new(owner, reader, &mut checkpoint, report);
        match reading.drive().await {
            Err(error) => again(owner, &mut attempts, error).await?,
            Ok(outcome) => return Ok(outcome),
        }
    }
}

/// A range that could not be processed for want of room or time is discarded, and cut again from
/// the checkpoint. Everything else was tried often enough where it failed.
async fn again(owner: &mut Owner, attempts: &mut Attempts, error: Error) -> Result<(), Error> {
    match error {
        Error::Process(_) => owner.back_off(attempts, &Seam::Chain, error).await,
        other => Err(other),
    }
}

/// How far a partition is done when a range is committed.
fn checkpoint_after(manifest: &Manifest) -> Checkpoint {
    Checkpoint {
        resume: Some(manifest.end.clone()),
        next_range: manifest.range + 1,
        finished: manifest.finishes,
    }
}

/// A partition that is being read.
struct Reading<'a> {
    owner: &'a mut Owner,
    report: &'a mut PartitionReport,
    reads: ReadAhead,
    batcher: Batcher,
    tracker: Tracker,
    checkpoint: &'a mut Checkpoint,
    open: Option<OpenRange>,
    ended: bool,
}

impl<'a> Reading<'a> {
    fn new(
        owner: &'a mut Owner,
        reader: Box<dyn Reader>,
        checkpoint: &'a mut Checkpoint,
        report: &'a mut PartitionReport,
    ) -> Self {
        let settings = owner.shared.settings;
        let limit =
            ReadLimit { records_max: usize::MAX, bytes_max: settings.read_bytes_max, until: None };
        Reading {
            owner,
            report,
            reads: ReadAhead::new(reader, limit),
            batcher: Batcher::new(settings.batch, settings.range),
            tracker: Tracker::new(NO_LIMIT),
            checkpoint,
            open: None,
            ended: false,
        }
    }

    async fn drive(mut self) -> Result<Outcome, Error> {
        loop {
            let situation = self.situation();
            match self.batcher.step(&situation) {
                Step::Open => self.open(situation.now).await?,
                Step::Process(batch) => {
                    self.reads.set_off().await;
                    let range = self.open.as_mut().expect("batches belong to an open range");
                    self.owner.process(range, &batch, &mut self.tracker).await?;
                    // Other partitions of the same worker have their turn.
                    tokio::task::yield_now().await;
                }
                Step::Cut(cut) => self.close(cut).await?,
                Step::Read => self.read(situation.now).await?,
                Step::Done if self.ended => return self.finish().await,
                Step::Done => return Ok(Outcome::Drained),
            }
        }
    }

    fn situation(&self) -> Situation {
        let range = self.open.as_ref();
        Situation {
            now: self.owner.shared.clock.now(),
            spooled_bytes: range.map_or(0, OpenRange::spooled_bytes),
            open_objects: range.map_or(0, OpenRange::open_objects),
            requested: self.owner.is_draining().then_some(Cut::Stop),
        }
    }

    async fn open(&mut self, now: Timestamp) -> Result<(), Error> {
        let opening = Opening {
            range: self.checkpoint.next_range,
            revision: 0,
            start: self.checkpoint.resume.clone(),
            opened_at: now,
            exclusions: Vec::new(),
        };
        self.open = Some(self.owner.open(opening).await?);
        self.batcher.open(now, None);
        Ok(())
    }

    async fn read(&mut self, now: Timestamp) -> Result<(), Error> {
        let age_left = self.batcher.age_left(now).filter(|left| !left.is_zero());
        let draining = self.owner.is_draining();
        let (comes_of_age, drain) = (sleep(age_left.unwrap_or_default()), self.owner.drain());
        let reads = &mut self.reads;
        let read =
            self.owner.insist(Seam::Source, async || reads.next().await.map_err(Error::Source));
        let read = tokio::select! {
            biased;
            read = read => Some(read?),
            () = comes_of_age, if age_left.is_some() => None,
            () = drain, if !draining => None,
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

    /// CUT to COMMIT.
    async fn close(&mut self, cut: Cut) -> Result<(), Error> {
        let range = self.open.take().expect("an open range is cut");
        let position = range.last().expect("a range has records");
        let token = self.reads.token(position).await;
        let end = Resume { position, token };
        let ending = Ending { end, finishes: cut == Cut::Ended, superseded: Vec::new() };
        let sealed = self.owner.cut(range, ending).await?;
        self.owner.intend(&sealed).await?;
        let published = self.owner.publish(sealed).await?;
        let committed = self.owner.commit(published, &mut self.tracker, Some(cut)).await?;
        *self.checkpoint = checkpoint_after(&committed.manifest);
        self.report.count(committed);
        Ok(())
    }

    /// The partition has ended, and its last range did not say so.
    async fn finish(self) -> Result<Outcome, Error> {
        if !self.checkpoint.finished {
            self.owner.finish().await?;
        }
        Ok(Outcome::Finished)
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
