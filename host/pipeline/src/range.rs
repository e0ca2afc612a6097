//! One range's way through the protocol: OPEN, PROCESS, CUT, INTENT, PUBLISH, COMMIT.
//!
//! ```text
//! OPEN     start, batch time and plan are fixed; memory for the spool is set aside
//! PROCESS  micro-batches go through the chain; each has a ticket; sinks see nothing
//! CUT      the objects are encoded; the manifest describes them; the sums are checked
//! INTENT   one fenced write stores the manifest; at-least-once sinks are written right after it
//! PUBLISH  each destination takes its objects, and settles its share of the tickets
//!          where there is a ledger, the range is entered
//! COMMIT   one fenced write moves the checkpoint to the end of the settled prefix
//! ```
//!
//! A crash before INTENT leaves nothing. A crash after it leaves an intent that whoever acquires
//! the partition finishes first: see `recover`.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tidegate_core::{
    Digest, Failure, Position, RecordBatch, Sink, Timestamp,
    batcher::Cut,
    checkpoint::{
        Exclusion, Lease, Manifest, ManifestObject, StateChange, StateKeys, StateRow, StoreError,
        Tally,
    },
    ledger::LedgerEntry,
    parquet,
    sink::{Naming, Object, Provenance, SinkError, SinkErrorKind},
    source::{PartitionId, Resume},
    tracker::{InFlightLimit, Span, Ticket, Tracker},
};

use crate::{
    encode,
    error::{Error, ForeignObject},
    failpoint::{ProtocolStep, Side},
    memory_budget::{MemoryBudget, Room},
    owner::Owner,
    plan::Plan,
    process::{
        ProcessError, RangeContext, RangeObject, RangeOutput, RangeProcessor, StageStatistics,
    },
    progress::{Event, Seam},
    retry::Retry,
    run::Shared,
    states::{LeftStates, StateLoader},
};

/// What is in flight in a range is the range, and the batcher bounds it.
const NO_LIMIT: InFlightLimit =
    InFlightLimit { records_max: u64::MAX / 2, bytes_max: u64::MAX / 2 };

/// A range that takes records.
pub(crate) struct OpenRange {
    plan: Arc<Plan>,
    processor: RangeProcessor,
    context: RangeContext,
    states: PredecessorStates,
    /// What the protocol itself counts, to be held against what the processor says.
    read: Tally,
    last: Option<Position>,
    tracker: Tracker,
    tickets: Vec<Ticket>,
    room: Room,
}

/// A range that takes no more records, and is described by its manifest.
pub(crate) struct SealedRange {
    pub(crate) manifest: Manifest,
    plan: Arc<Plan>,
    objects: Vec<RangeObject>,
    states: Arc<LeftStates>,
    stages: Vec<StageStatistics>,
    tracker: Tracker,
    tickets: Vec<Ticket>,
    _room: Room,
}

/// A range of which everything is visible.
pub(crate) struct PublishedRange {
    pub(crate) manifest: Manifest,
    /// What its stages did; empty where an earlier run had it processed.
    pub(crate) stages: Vec<StageStatistics>,
    /// How far its tickets are settled.
    settled: Option<Position>,
    /// Its successor sees them here until they are committed.
    _states: Option<Arc<LeftStates>>,
}

impl PublishedRange {
    /// A range of an earlier run, all of whose objects were found.
    pub(crate) fn found(manifest: Manifest) -> Self {
        let settled = Some(manifest.end.position);
        PublishedRange { manifest, stages: Vec::new(), settled, _states: None }
    }
}

impl SealedRange {
    /// Whether its successors have to see states that are not committed.
    pub(crate) fn leaves_states(&self) -> bool {
        !self.states.changes().is_empty()
    }

    /// What its successors see of its states before they are committed.
    pub(crate) fn states(&self) -> Weak<LeftStates> {
        Arc::downgrade(&self.states)
    }
}

/// What a range is at its start.
pub(crate) struct Opening {
    pub(crate) range: u64,
    pub(crate) revision: u32,
    pub(crate) start: Option<Resume>,
    pub(crate) opened_at: Timestamp,
    pub(crate) exclusions: Vec<Exclusion>,
    /// How many states there were, where an intent says so.
    pub(crate) state_keys: Option<StateKeys>,
    /// What its predecessors left and have not committed yet, in their order.
    pub(crate) left: Vec<Weak<LeftStates>>,
}

/// How a range comes to its end.
pub(crate) struct Ending {
    pub(crate) end: Resume,
    pub(crate) finishes: bool,
    pub(crate) superseded: Vec<ManifestObject>,
}

impl Owner {
    /// OPEN. Waits until there is memory for a range's spool.
    pub(crate) async fn open(
        &mut self,
        plan: Arc<Plan>,
        opening: Opening,
    ) -> Result<OpenRange, Error> {
        self.reach(ProtocolStep::Open, Side::Before).await;
        let room = self.set_room_aside(opening.state_keys.is_some()).await?;
        let state_keys = opening.state_keys.unwrap_or_else(|| {
            let counts = self.state_counts();
            plan.keyed_stages().map(|stage| (stage.to_owned(), counts.of(stage))).collect()
        });
        let context = RangeContext {
            partition: self.partition.clone(),
            origin: self.shared.source.origin(&self.partition),
            range: opening.range,
            revision: opening.revision,
            start: opening.start,
            opened_at: opening.opened_at,
            exclusions: opening.exclusions,
            state_keys,
            hash_key: self.shared.source.hash_key(),
        };
        let processor = Plan::open_range(&plan, context.clone()).map_err(Error::Process)?;
        let (shared, lease, left) = (self.shared.clone(), self.lease(), opening.left);
        let states = PredecessorStates { shared, lease, left };
        self.reach(ProtocolStep::Open, Side::After).await;
        Ok(OpenRange {
            plan,
            processor,
            context,
            states,
            read: Tally::default(),
            last: None,
            tracker: Tracker::new(NO_LIMIT),
            tickets: Vec::new(),
            room,
        })
    }

    /// Whole ranges wait, not parts of them: see [`crate::memory_budget`].
    async fn set_room_aside(&mut self, is_replay: bool) -> Result<Room, Error> {
        let (shared, drain) = (self.shared.clone(), self.drain());
        let room = self.alive(async {
            tokio::select! {
                biased;
                room = shared.memory.set_aside(is_replay) => Some(room),
                () = drain => None,
            }
        });
        let waiting_for = || "memory for the range's spool".to_owned();
        room.await?.ok_or_else(|| Error::Interrupted { waiting_for: waiting_for() })
    }

    /// PROCESS: takes one micro-batch through the chain.
    pub(crate) async fn process(
        &mut self,
        range: &mut OpenRange,
        batch: &RecordBatch,
    ) -> Result<(), Error> {
        self.reach(ProtocolStep::Process, Side::Before).await;
        for position in &batch.positions {
            range.read.add(position.hash128());
        }
        let end = batch.last_position().expect("a micro-batch has records");
        let span = Span { end, records: batch.len() as u64, bytes: batch.bytes.len() as u64 };
        let ticket =
            range.tracker.open(span).expect("a range's own limits are below the tracker's");
        range.tickets.push(ticket);
        range.last = Some(end);
        let OpenRange { processor, states, .. } = range;
        let processed = self.in_time(&Seam::Chain, processor.process(batch, states)).await?;
        processed.map_err(Error::Process)?;
        self.shared.progress.read(span.records, span.bytes);
        self.renew_if_due().await?;
        self.reach(ProtocolStep::Process, Side::After).await;
        Ok(())
    }

    /// CUT: from here on the range is what its manifest says.
    pub(crate) async fn cut(
        &mut self,
        range: OpenRange,
        ending: Ending,
    ) -> Result<SealedRange, Error> {
        self.reach(ProtocolStep::Cut, Side::Before).await;
        let OpenRange { plan, processor, context, read, tracker, tickets, room, .. } = range;
        let output = processor.cut().map_err(Error::Process)?;
        // Invariant: read = filtered + dropped + delivered + dead-lettered, per partition and range,
        // each record in exactly one: the processor has seen to that. And what was read is what the
        // protocol has handed over.
        if output.counts.read != read {
            let RangeContext { partition, range, .. } = context;
            let (read, accounted) = (read.records, output.counts.read.records);
            return Err(Error::Unaccounted { partition, range, read, accounted });
        }
        let destinations = plan.destinations();
        let described = output.objects.iter().map(|object| ManifestObject {
            sink: destinations[object.destination].name.clone(),
            key: object.object.key.clone(),
            bytes: object.object.content.len() as u64,
            digest: object.object.digest,
            records: object.records,
        });
        let manifest = Manifest {
            range: context.range,
            revision: context.revision,
            start: context.start,
            end: ending.end,
            finishes: ending.finishes,
            opened_at: context.opened_at,
            generation: plan.generation(),
            exclusions: output.exclusions.clone(),
            objects: described.collect(),
            superseded: ending.superseded,
            counts: output.counts,
            destinations: output.destinations.clone(),
            states: digest_states(&output.states),
            state_keys: context.state_keys,
            outcomes: output.outcomes.clone(),
        };
        let RangeOutput { objects, states, stages, .. } = output;
        let states = Arc::new(LeftStates::new(states));
        self.state_counts().cut(manifest.range, &stages);
        self.reach(ProtocolStep::Cut, Side::After).await;
        Ok(SealedRange { manifest, plan, objects, states, stages, tracker, tickets, _room: room })
    }

    /// INTENT: nothing of the range is visible before it is stored what will be.
    pub(crate) async fn intend(&mut self, range: &SealedRange) -> Result<(), Error> {
        self.reach(ProtocolStep::Intent, Side::Before).await;
        let (shared, lease, write) = (self.shared.clone(), self.lease(), self.write_id());
        let SealedRange { manifest, states, .. } = range;
        self.insist(Seam::Store, async || {
            let states = states.changes();
            shared.store.intend(&lease, write, manifest, states).await.map_err(Error::Store)
        })
        .await?;
        self.reach(ProtocolStep::Intent, Side::After).await;
        Ok(())
    }

    /// PUBLISH: each destination takes its objects and settles its share of the tickets.
    ///
    /// Invariant: at-least-once sinks are done before the first named object is visible, and so are
    /// the copies of dead letters. So a named object that is found after a crash says that they need
    /// not be written again.
    pub(crate) async fn publish(&mut self, range: SealedRange) -> Result<PublishedRange, Error> {
        let SealedRange { manifest, plan, objects, states, stages, mut tracker, tickets, _room } =
            range;
        let mut by_destination = Vec::new();
        for chunk in objects.chunk_by(|a, b| a.destination == b.destination) {
            let name = &plan.destinations()[chunk[0].destination].name;
            let objects = chunk.iter().map(|it| it.object.clone()).collect::<Vec<_>>();
            if chunk[0].destination == plan.dead_letters() {
                self.copy_letters(&plan, &objects).await?;
            }
            by_destination.push((self.sink(name, &manifest)?, objects));
        }
        drop(objects);
        by_destination.sort_by_key(|(sink, _)| sink.naming() == Naming::Named);
        let mut shares = split(tickets, by_destination.len());
        let mut occupied = false;
        for (sink, objects) in by_destination {
            if sink.naming() == Naming::Named {
                if !std::mem::replace(&mut occupied, true) {
                    self.occupy_superseded(&manifest).await?;
                }
                self.reach(ProtocolStep::Publish, Side::Before).await;
                self.write_named(sink, objects, &manifest).await?;
                self.reach(ProtocolStep::Publish, Side::After).await;
            } else {
                self.reach(ProtocolStep::Emit, Side::Before).await;
                self.write_unnamed(sink, objects).await?;
                self.reach(ProtocolStep::Emit, Side::After).await;
            }
            let share = shares.pop().expect("one share for each destination");
            share.into_iter().for_each(Ticket::settle);
        }
        if !occupied {
            self.occupy_superseded(&manifest).await?;
        }
        let settled = tracker.settle_prefix().map(|it| it.end);
        Ok(PublishedRange { manifest, stages, settled, _states: Some(states) })
    }

    /// COMMIT. Invariant: the stored checkpoint never passes a record that is not delivered,
    /// dead-lettered, dropped by a plugin's word or filtered by the operator's: it moves to the
    /// end of the longest settled prefix and nowhere else.
    pub(crate) async fn commit(
        &mut self,
        published: PublishedRange,
        cut: Option<Cut>,
    ) -> Result<PublishedRange, Error> {
        let manifest = &published.manifest;
        if published.settled != Some(manifest.end.position) {
            let (partition, range) = (self.partition.clone(), manifest.range);
            return Err(Error::Unsettled { partition, range, end: manifest.end.position });
        }
        self.enter(&published.manifest).await?;
        self.reach(ProtocolStep::Commit, Side::Before).await;
        let (shared, lease, write) = (self.shared.clone(), self.lease(), self.write_id());
        let manifest = &published.manifest;
        let range = manifest.range;
        let committed = self.insist(Seam::Store, async || {
            shared.store.commit(&lease, write, range).await.map_err(Error::Store)
        });
        let state_keys = committed.await?;
        self.states_are(range + 1, state_keys);
        self.reach(ProtocolStep::Commit, Side::After).await;
        let objects = manifest.objects.len() as u64;
        let object_bytes = manifest.objects.iter().map(|object| object.bytes).sum();
        self.shared.progress.committed(&manifest.counts, objects, object_bytes);
        self.shared.progress.stages(&published.stages);
        self.tell(Event::Committed {
            partition: self.partition.clone(),
            range,
            cut,
            counts: manifest.counts,
            objects,
            object_bytes,
            stages: published.stages.clone(),
        });
        Ok(published)
    }

    /// Enters a range into the ledger, where there is one: after a crash in between it is entered
    /// again, as the same row.
    async fn enter(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let Some(ledger) = self.shared.ledger.clone() else { return Ok(()) };
        let serving = self.shared.serving.serving();
        let (pipeline, dead_letters) = (&serving.spec.pipeline, &serving.spec.dead_letters.name);
        let partition = self.partition.clone();
        let entry = LedgerEntry { pipeline, partition: &partition, manifest, dead_letters };
        self.insist(Seam::Ledger, async || ledger.enter(entry).await.map_err(Error::Ledger)).await
    }

    /// Puts empty objects where those of earlier revisions lie, or may still arrive.
    pub(crate) async fn occupy_superseded(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let partition = self.partition.clone();
        let serving = self.shared.serving.serving();
        let provenance = Arc::new(Provenance {
            pipeline: serving.spec.pipeline.clone(),
            generation: manifest.generation,
            partition: partition.clone(),
            range: manifest.range,
            revision: manifest.revision,
        });
        for object in &manifest.superseded {
            self.reach(ProtocolStep::Occupy, Side::Before).await;
            let sink = self.sink(&object.sink, manifest)?;
            let schema = serving.schema_of(&object.sink);
            let empty = empty_object(&object.key, schema).map_err(Error::Process)?;
            let empty = Object { provenance: Some(provenance.clone()), ..empty };
            self.insist(Seam::Sink(object.sink.as_str().into()), async || {
                let occupied = sink.occupy(&empty, object.digest).await;
                occupied.map_err(|error| refused(&partition, manifest, &*sink, error))
            })
            .await?;
            self.reach(ProtocolStep::Occupy, Side::After).await;
        }
        Ok(())
    }

    /// The sink that a manifest names.
    pub(crate) fn sink(&self, name: &str, manifest: &Manifest) -> Result<Arc<dyn Sink>, Error> {
        let found = self.shared.sinks.iter().find(|sink| sink.name() == name);
        found.cloned().ok_or_else(|| Error::UnknownSink {
            partition: self.partition.clone(),
            range: manifest.range,
            sink: name.to_owned(),
        })
    }

    async fn write_named(
        &mut self,
        sink: Arc<dyn Sink>,
        objects: Vec<Object>,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let partition = self.partition.clone();
        let mut missing = objects;
        let mut ambiguous = false;
        self.insist(Seam::Sink(sink.name().into()), async || {
            if std::mem::replace(&mut ambiguous, true) {
                // Some answer was lost: what is there already is not sent again. The attempt may run
                // out of time at any answer, and then what is still to be written stays as it is.
                let mut at = 0;
                while let Some(object) = missing.get(at) {
                    match sink.find(&object.key).await {
                        Ok(Some(digest)) if digest == object.digest => drop(missing.remove(at)),
                        _ => at += 1,
                    }
                }
            }
            let written = sink.write(&missing).await;
            written.map_err(|error| refused(&partition, manifest, &*sink, error))
        })
        .await
    }

    /// Writes until all is taken. What was taken is not written again where the sink can tell; an
    /// attempt that runs out of time can't.
    async fn write_unnamed(
        &mut self,
        sink: Arc<dyn Sink>,
        objects: Vec<Object>,
    ) -> Result<(), Error> {
        let seam = Seam::Sink(sink.name().into());
        let mut left = objects;
        let mut waited: Option<Retry> = None;
        loop {
            let attempt = self.insist(seam.clone(), async || {
                let Err(mut source) = sink.write(&left).await else { return Ok(Attempt::Done) };
                let before = bytes_of(&left);
                if let Some(rest) = source.rest.take() {
                    left = rest;
                }
                let goes_on = matches!(source.failure(), Failure::Retry { .. });
                let is_less = bytes_of(&left) < before;
                let is_unfinished = source.kind == SinkErrorKind::Unfinished;
                let error = Error::Sink { sink: sink.name().to_owned(), source: source.into() };
                match goes_on && is_less {
                    true => Ok(Attempt::Partly((!is_unfinished).then_some(error))),
                    false => Err(error),
                }
            });
            let attempt = attempt.await?;
            if let Some(retry) = waited.take() {
                retry.succeeded();
            }
            match attempt {
                Attempt::Done => return Ok(()),
                Attempt::Partly(None) => {}
                // A sink that takes a little at a time is waited for, but not ever longer.
                Attempt::Partly(Some(error)) => {
                    let mut retry = self.retry(seam.clone());
                    self.back_off(&mut retry, &seam, error).await?;
                    waited = Some(retry);
                }
            }
        }
    }

    /// Gives a range's dead letters to the sink that gets copies of them, if there is one.
    async fn copy_letters(&mut self, plan: &Plan, letters: &[Object]) -> Result<(), Error> {
        let Some(sink) = self.shared.letter_copies.clone() else { return Ok(()) };
        let plain = |letters: &Object| {
            let content = encode::plain(&letters.content, plan.spec.dead_letters.compression);
            let content = content.map_err(|source| {
                Error::Process(ProcessError::Encode { key: letters.key.clone(), source })
            })?;
            let provenance = letters.provenance.clone();
            Ok(Object { provenance, ..Object::new(&letters.key, content) })
        };
        let letters = letters.iter().map(plain).collect::<Result<Vec<_>, Error>>()?;
        self.reach(ProtocolStep::Emit, Side::Before).await;
        self.write_unnamed(sink, letters).await?;
        self.reach(ProtocolStep::Emit, Side::After).await;
        Ok(())
    }
}

/// What an attempt to write to an unnamed sink came to.
enum Attempt {
    Done,
    /// A part was taken; the error, if there was one, is about what is left.
    Partly(Option<Error>),
}

fn bytes_of(objects: &[Object]) -> usize {
    objects.iter().map(|object| object.content.len()).sum()
}

impl OpenRange {
    /// Whether there is memory for what it holds by now, which is set aside for it if there is.
    pub(crate) fn finds_room(&mut self, memory: &MemoryBudget) -> bool {
        let spooled = self.spooled_bytes();
        memory.has_room(&mut self.room, spooled)
    }

    pub(crate) fn spooled_bytes(&self) -> usize {
        self.processor.spooled_bytes()
    }

    pub(crate) fn open_objects(&self) -> usize {
        self.processor.open_objects()
    }

    /// The last record's position.
    pub(crate) fn last(&self) -> Option<Position> {
        self.last
    }
}

/// The states that a range's predecessors left: those of cut ranges that are not committed yet,
/// the latest first, and else what the store has.
struct PredecessorStates {
    shared: Arc<Shared>,
    lease: Lease,
    left: Vec<Weak<LeftStates>>,
}

#[async_trait::async_trait]
impl StateLoader for PredecessorStates {
    async fn load(&self, stage: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError> {
        // One that is gone is committed, and in the store before it went.
        let left: Vec<_> = self.left.iter().rev().filter_map(Weak::upgrade).collect();
        if left.is_empty() {
            return self.committed(stage, keys).await;
        }
        let found: Vec<Option<&Option<StateRow>>> =
            keys.iter().map(|key| left.iter().find_map(|it| it.find(stage, *key))).collect();
        let unknown: Vec<u128> =
            keys.iter().zip(&found).filter(|it| it.1.is_none()).map(|(key, _)| *key).collect();
        let mut committed = match unknown.is_empty() {
            true => Vec::new(),
            false => self.committed(stage, &unknown).await?,
        }
        .into_iter();
        let rows = found.into_iter().map(|row| match row {
            Some(row) => row.clone(),
            None => committed.next().expect("the store answers for each key"),
        });
        Ok(rows.collect())
    }
}

impl PredecessorStates {
    /// Reads committed states, again and again while the store is unavailable: a processor that
    /// was refused its states is of no more use.
    async fn committed(
        &self,
        stage: &str,
        keys: &[u128],
    ) -> Result<Vec<Option<StateRow>>, StoreError> {
        let shared = &self.shared;
        let partition = &self.lease.partition;
        let mut retry = Retry::new(shared.clone(), Some(partition.clone()), Seam::Store);
        let mut random = shared.random_for(partition);
        loop {
            match shared.store.states(&self.lease, stage, keys).await {
                Ok(rows) => {
                    retry.succeeded();
                    return Ok(rows);
                }
                Err(error) => {
                    let asks_for = error.failure();
                    tokio::time::sleep(retry.failed(&mut random, error, asks_for)?).await;
                }
            }
        }
    }
}

/// One list of shares for each destination. Without any the tickets are settled: every record was
/// filtered or dropped.
fn split(tickets: Vec<Ticket>, destinations: usize) -> Vec<Vec<Ticket>> {
    let mut shares = (0..destinations).map(|_| Vec::new()).collect::<Vec<_>>();
    for ticket in tickets {
        let parts = ticket.split(destinations as u32);
        shares.iter_mut().zip(parts).for_each(|(share, part)| share.push(part));
    }
    shares
}

/// An object that holds nothing and is valid: what an empty file of its kind looks like.
fn empty_object(key: &str, schema: Option<&Arc<parquet::Schema>>) -> Result<Object, ProcessError> {
    let content: &[u8] = match key.rsplit('.').next() {
        Some("gz") => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        Some("zst") => &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0],
        _ => &[],
    };
    let content = match schema {
        Some(schema) => {
            let file = schema.empty_file();
            file.map_err(|source| ProcessError::Encode { key: key.to_owned(), source })?.into()
        }
        None => Bytes::from_static(content),
    };
    Ok(Object::new(key, content))
}

/// A sink's refusal. Other bytes under a key of ours are somebody else's.
fn refused(
    partition: &PartitionId,
    manifest: &Manifest,
    sink: &dyn Sink,
    source: SinkError,
) -> Error {
    let sink = sink.name().to_owned();
    let SinkErrorKind::Occupied { key, found } = &source.kind else {
        return Error::Sink { sink, source: source.into() };
    };
    let mut objects = manifest.objects.iter().chain(&manifest.superseded);
    match objects.find(|object| object.sink == sink && object.key == *key) {
        Some(object) => Error::Foreign(Box::new(ForeignObject {
            partition: partition.clone(),
            range: manifest.range,
            revision: manifest.revision,
            sink,
            key: key.clone(),
            expected: object.digest,
            found: *found,
        })),
        None => Error::Sink { sink, source: source.into() },
    }
}

/// One digest over state changes, in the order of stages and keys.
fn digest_states(states: &[StateChange]) -> Digest {
    let mut hasher = Sha256::new();
    for StateChange { stage, key, state } in states {
        hasher.update((stage.len() as u64).to_be_bytes());
        hasher.update(stage.as_bytes());
        hasher.update(key.to_be_bytes());
        hasher.update([u8::from(state.is_some())]);
        let Some(state) = state else { continue };
        let expires_at = state.expires_at.map_or(i64::MAX, |at| at.0);
        hasher.update(state.version.to_be_bytes());
        hasher.update(expires_at.to_be_bytes());
        hasher.update(state.hash_key.unwrap_or_default().to_be_bytes());
        hasher.update((state.bytes.len() as u64).to_be_bytes());
        hasher.update(&state.bytes);
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tidegate_core::{Kind, parquet::Field};

    use super::*;

    #[test]
    fn an_empty_object_is_a_valid_file_of_its_kind() {
        let content = |key| empty_object(key, None).expect("there is memory").content;
        assert_eq!(content("part.jsonl").len(), 0);
        let mut text = Vec::new();
        let gzip = content("part.jsonl.gz");
        flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut text).expect("valid gzip");
        let zstd = content("part.jsonl.zst");
        zstd::stream::copy_decode(&*zstd, &mut text).expect("a valid frame");
        assert!(text.is_empty());
        let field = Field { name: "a".to_owned(), kind: Kind::Utf8, required: false };
        let limit = parquet::RowGroupLimit::default();
        let schema = parquet::Schema::new(vec![field], parquet::Codec::Plain, limit);
        let schema = Arc::new(schema.expect("one column makes a schema"));
        let empty = empty_object("part.parquet", Some(&schema)).expect("there is memory");
        let file = parquet::File::open(Arc::new(empty.content), parquet::RowFormat::default());
        assert_eq!(file.expect("a valid file").row_count(), 0);
    }
}
