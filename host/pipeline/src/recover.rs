//! Finishing what an earlier owner intended: before a partition is read, its pending range is
//! made visible and committed.
//!
//! What is done depends on what is there, and on whether the pipeline is what it was:
//!
//! | named objects of the range | the pinned generation is to be had | it is gone |
//! |---|---|---|
//! | all there | commit | commit |
//! | some there | replay; the rest | refuse to start |
//! | none there | replay; all | replay with what serves, as a new revision |
//! | one with other bytes | stop: somebody else writes there | stop |
//!
//! The pinned generation is the one that serves, or an earlier one that is still kept. A replay
//! reads `(start, end]` with the batch time and the exclusions that the intent pins. When
//! it makes other bytes than the manifest says (another build, another zstd), the range gets a new
//! revision: an intent with other keys, and the superseded keys are occupied by empty objects.
//!
//! Why another generation may take over a range of which nothing is visible: nobody can have
//! read it. The dead owner's writes may still arrive, but find their keys occupied. Exclusions
//! are not carried over, as they were the old plugins'; at-least-once sinks may have the old
//! rows, and get the new ones, as they may get anything twice. Where something is visible,
//! somebody may have read it, and two generations in one range would be neither's output: the
//! operator has to finish it with the plugins that began it.

use std::sync::Arc;

use tidegate_core::{
    batcher::{Batcher, Cut, Situation, Step},
    checkpoint::{Manifest, ManifestObject},
    sink::Naming,
    source::{ReadLimit, ReadOutcome, Resume, SourceErrorKind},
};

use crate::{
    error::{Error, ForeignObject},
    owner::Owner,
    plan::Plan,
    progress::{Event, Recovery, Seam},
    range::{Ending, Opening, PublishedRange, SealedRange},
    read_ahead::ReadAhead,
};

/// How much of a range is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visible {
    All,
    Some,
    None,
}

/// Which revision a replay makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revision {
    /// The one that the intent pins, with its exclusions.
    Pinned,
    /// The next one.
    Next { keep_exclusions: bool },
}

impl Owner {
    /// Finishes a pending range.
    pub(crate) async fn recover(&mut self, pending: &Manifest) -> Result<PublishedRange, Error> {
        let serving = self.shared.serving.serving();
        let visible = self.look(pending).await?;
        let (how, range) = match visible {
            Visible::All => {
                self.occupy_superseded(pending).await?;
                let complete = PublishedRange::found(pending.clone());
                (Recovery::Complete, self.commit(complete, None).await?)
            }
            _ => match (self.pinned(pending, &serving).await?, visible) {
                (Some(pinned), _) => self.replay(pinned, pending).await?,
                (None, Visible::None) => {
                    let revision = Revision::Next { keep_exclusions: false };
                    (Recovery::Revised, self.revise(serving, pending, revision).await?)
                }
                (None, _) => {
                    return Err(Error::HalfPublished {
                        partition: self.partition.clone(),
                        range: pending.range,
                        pinned: pending.generation,
                        serving: serving.generation(),
                    });
                }
            },
        };
        let partition = self.partition.clone();
        self.tell(Event::Recovered { partition, range: pending.range, how });
        Ok(range)
    }

    /// The plan that an intent pins, if it serves or is still kept.
    async fn pinned(
        &mut self,
        pending: &Manifest,
        serving: &Arc<Plan>,
    ) -> Result<Option<Arc<Plan>>, Error> {
        if pending.generation == serving.generation() {
            return Ok(Some(Arc::clone(serving)));
        }
        match self.shared.generations.clone() {
            Some(generations) => {
                let found = self.alive(generations.find(pending.generation)).await?;
                found.map_err(Error::Process)
            }
            None => Ok(None),
        }
    }

    /// Looks for every named object of a range. At-least-once sinks can't be asked; they were
    /// written before the first named object was, so one that is visible speaks for them.
    async fn look(&mut self, manifest: &Manifest) -> Result<Visible, Error> {
        let (mut named, mut found) = (0, 0);
        for object in &manifest.objects {
            let sink = self.sink(&object.sink, manifest)?;
            if sink.naming() == Naming::Unnamed {
                continue;
            }
            named += 1;
            let seam = Seam::Sink(object.sink.as_str().into());
            let lies_there = self
                .insist(seam, async || {
                    let sink_name = || object.sink.clone();
                    let found = sink.find(&object.key).await;
                    found.map_err(|source| Error::Sink { sink: sink_name(), source: source.into() })
                })
                .await?;
            match lies_there {
                Some(digest) if digest == object.digest => found += 1,
                Some(digest) => {
                    return Err(Error::Foreign(Box::new(ForeignObject {
                        partition: self.partition.clone(),
                        range: manifest.range,
                        revision: manifest.revision,
                        sink: object.sink.clone(),
                        key: object.key.clone(),
                        expected: object.digest,
                        found: digest,
                    })));
                }
                None => {}
            }
        }
        Ok(match (named, found) {
            // All its records were filtered or dropped: there is nothing to be seen.
            (0, _) if manifest.objects.is_empty() => Visible::All,
            (_, 0) => Visible::None,
            (named, found) if named == found => Visible::All,
            _ => Visible::Some,
        })
    }

    /// Makes the range again. The same bytes are published under the intent that pends, others
    /// under a new revision.
    async fn replay(
        &mut self,
        pinned: Arc<Plan>,
        pending: &Manifest,
    ) -> Result<(Recovery, PublishedRange), Error> {
        let sealed = self.read_again(Arc::clone(&pinned), pending, Revision::Pinned).await?;
        let same = Manifest { superseded: pending.superseded.clone(), ..sealed.manifest.clone() };
        if same == *pending {
            let published = self.publish(sealed).await?;
            let committed = self.commit(published, None).await?;
            return Ok((Recovery::Replayed, committed));
        }
        drop(sealed);
        let revision = Revision::Next { keep_exclusions: true };
        Ok((Recovery::Revised, self.revise(pinned, pending, revision).await?))
    }

    /// Makes the range again, as the next revision.
    async fn revise(
        &mut self,
        plan: Arc<Plan>,
        pending: &Manifest,
        revision: Revision,
    ) -> Result<PublishedRange, Error> {
        let sealed = self.read_again(plan, pending, revision).await?;
        self.intend(&sealed).await?;
        let published = self.publish(sealed).await?;
        self.commit(published, None).await
    }

    /// Reads exactly `(start, end]` and takes it through the chain.
    async fn read_again(
        &mut self,
        plan: Arc<Plan>,
        pending: &Manifest,
        revision: Revision,
    ) -> Result<SealedRange, Error> {
        let end = pending.end.position;
        let settings = self.shared.settings;
        let reader = self.open_reader(pending.start.as_ref()).await;
        let reader = reader.map_err(|error| self.unreplayable(error, pending))?;
        let limit = ReadLimit {
            records_max: usize::MAX,
            bytes_max: settings.read_bytes_max,
            until: Some(end),
        };
        let mut reads = ReadAhead::new(reader, limit);
        let mut batcher = Batcher::new(settings.batch, settings.range);
        let (next, exclusions) = match revision {
            Revision::Pinned => (pending.revision, pending.exclusions.clone()),
            Revision::Next { keep_exclusions: true } => {
                (pending.revision + 1, pending.exclusions.clone())
            }
            Revision::Next { keep_exclusions: false } => (pending.revision + 1, Vec::new()),
        };
        let opening = Opening {
            range: pending.range,
            revision: next,
            start: pending.start.clone(),
            opened_at: pending.opened_at,
            exclusions,
            state_keys: Some(pending.state_keys.clone()),
            left: Vec::new(),
        };
        let mut range = self.open(plan, opening).await?;
        batcher.open(pending.opened_at, Some(end));
        let calm = Situation {
            now: pending.opened_at,
            spooled_bytes: 0,
            open_objects: 0,
            requested: None,
        };
        let mut last = pending.start.as_ref().map(|start| start.position);
        loop {
            match batcher.step(&calm) {
                Step::Process(batch) => {
                    reads.set_off().await;
                    last = batch.last_position();
                    self.process(&mut range, &batch).await?;
                    tokio::task::yield_now().await;
                }
                Step::Read => {
                    let read = self
                        .insist(Seam::Source, async || reads.next().await.map_err(Error::Source))
                        .await;
                    match read.map_err(|error| self.unreplayable(error, pending))? {
                        ReadOutcome::Records(batch) => batcher.push(batch),
                        ReadOutcome::Idle => {}
                        ReadOutcome::Ended => batcher.end(),
                    }
                }
                Step::Cut(Cut::Replayed | Cut::Ended) if last == Some(end) => break,
                Step::Cut(_) | Step::Open | Step::Done => {
                    return Err(Error::ReplayEnd {
                        partition: self.partition.clone(),
                        range: pending.range,
                        expected: end,
                        found: last.unwrap_or_default(),
                    });
                }
            }
        }
        let superseded = match revision {
            Revision::Pinned => pending.superseded.clone(),
            Revision::Next { .. } => self.all_superseded(pending)?,
        };
        let end = Resume { position: end, token: pending.end.token.clone() };
        self.cut(range, Ending { end, finishes: pending.finishes, superseded }).await
    }

    /// The keys that a further revision supersedes.
    fn all_superseded(&self, pending: &Manifest) -> Result<Vec<ManifestObject>, Error> {
        let mut superseded = pending.superseded.clone();
        for object in &pending.objects {
            if self.sink(&object.sink, pending)?.naming() == Naming::Named {
                superseded.push(object.clone());
            }
        }
        Ok(superseded)
    }

    /// What is gone from the source is lost: nothing else has it.
    fn unreplayable(&self, error: Error, pending: &Manifest) -> Error {
        match error {
            Error::Source(source)
                if matches!(source.kind, SourceErrorKind::Replaced | SourceErrorKind::Trimmed) =>
            {
                let (partition, range) = (self.partition.clone(), pending.range);
                Error::Unreplayable { partition, range, source }
            }
            other => other,
        }
    }
}
