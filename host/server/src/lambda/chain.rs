//! Records of an invocation through the chain: a range that nobody commits.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    Position, RecordBatch, Timestamp,
    batcher::{BatchLimit, Batcher, RangeLimit, Situation, Step},
    checkpoint::StateKeys,
    source::PartitionId,
};
use tidegate_pipeline::{
    Plan, ProcessError, RangeContext, RangeOutput, RangeProcessor, states::NoStates,
};
use tokio::time::Instant;

/// Taking records through the chain was stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the time of the invocation was up before all records were processed")]
    OutOfTime,
}

/// Records of one partition, on their way to sinks or into an answer.
pub(super) struct Ranges {
    plan: Arc<Plan>,
    partition: PartitionId,
    batcher: Batcher,
    until: Instant,
    /// What becomes of each record is of interest.
    keeps_outcomes: bool,
    opened: u64,
    /// The batch time; that of the moment, where this is none.
    batch_time: Option<Timestamp>,
    open: Option<(RangeProcessor, Vec<Position>, Timestamp)>,
}

/// One range of them.
pub(super) struct Processed {
    pub(super) output: RangeOutput,
    /// Of its records, in order.
    pub(super) positions: Vec<Position>,
    /// The batch time.
    pub(super) opened_at: Timestamp,
}

/// What comes next.
pub(super) enum Next {
    /// Records are wanted: see [`Ranges::push`] and [`Ranges::end`].
    Read,
    Cut(Box<Processed>),
    Done,
}

impl Ranges {
    /// Ranges of one batch each.
    pub(super) fn new(
        plan: &Arc<Plan>,
        partition: PartitionId,
        batch: BatchLimit,
        until: Instant,
    ) -> Self {
        let range = RangeLimit {
            records_max: batch.records_max,
            bytes_max: batch.bytes_max,
            age_max: Duration::MAX,
            spooled_bytes_max: usize::MAX,
            open_objects_max: usize::MAX,
        };
        let batcher = Batcher::new(batch, range);
        let plan = Arc::clone(plan);
        Ranges {
            plan,
            partition,
            batcher,
            until,
            keeps_outcomes: false,
            opened: 0,
            batch_time: None,
            open: None,
        }
    }

    /// Takes records through as one range, and says what became of each: for an answer, which has no
    /// raw zone.
    pub(super) async fn whole(
        plan: &Arc<Plan>,
        partition: PartitionId,
        batch: BatchLimit,
        until: Instant,
        records: RecordBatch,
    ) -> Result<RangeOutput, Stopped> {
        let range = RangeLimit {
            records_max: u64::MAX,
            bytes_max: u64::MAX,
            age_max: Duration::MAX,
            spooled_bytes_max: usize::MAX,
            open_objects_max: usize::MAX,
        };
        let batcher = Batcher::new(batch, range);
        let mut ranges =
            Ranges { batcher, keeps_outcomes: true, ..Ranges::new(plan, partition, batch, until) };
        ranges.push(records);
        ranges.end();
        loop {
            match ranges.next().await? {
                Next::Cut(processed) => return Ok(processed.output),
                Next::Read => {}
                // There was no record: a range of none.
                Next::Done => return Ok(ranges.open(now())?.cut()?),
            }
        }
    }

    /// Takes records through as if it were another time.
    pub(super) fn at(self, batch_time: Timestamp) -> Self {
        Ranges { batch_time: Some(batch_time), ..self }
    }

    pub(super) fn push(&mut self, records: RecordBatch) {
        self.batcher.push(records);
    }

    pub(super) fn end(&mut self) {
        self.batcher.end();
    }

    /// Goes on until a range is cut, or records are wanted.
    pub(super) async fn next(&mut self) -> Result<Next, Stopped> {
        let situation =
            Situation { now: now(), spooled_bytes: 0, open_objects: 0, requested: None };
        loop {
            match self.batcher.step(&situation) {
                Step::Open => {
                    let opened_at = self.batch_time.unwrap_or(situation.now);
                    self.open = Some((self.open(opened_at)?, Vec::new(), opened_at));
                    self.batcher.open(situation.now, None);
                }
                Step::Process(batch) => {
                    if Instant::now() >= self.until {
                        return Err(Stopped::OutOfTime);
                    }
                    let open = self.open.as_mut().expect("batches belong to an open range");
                    open.1.extend_from_slice(&batch.positions);
                    open.0.process(&batch, &NoStates).await?;
                }
                Step::Cut(_) => {
                    let (processor, positions, opened_at) =
                        self.open.take().expect("an open range is cut");
                    let output = processor.cut()?;
                    return Ok(Next::Cut(Box::new(Processed { output, positions, opened_at })));
                }
                Step::Read => return Ok(Next::Read),
                Step::Done => return Ok(Next::Done),
            }
        }
    }

    fn open(&mut self, opened_at: Timestamp) -> Result<RangeProcessor, ProcessError> {
        let range = self.opened;
        self.opened += 1;
        self.plan.open_range(RangeContext {
            partition: self.partition.clone(),
            origin: self.keeps_outcomes.then(|| self.partition.clone()),
            range,
            revision: 0,
            start: None,
            opened_at,
            exclusions: Vec::new(),
            state_keys: StateKeys::new(),
            hash_key: None,
        })
    }
}

/// The time by this machine: Lambda's own.
pub(super) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
