//! Hot reload: a running pipeline takes other plugins, configs and tables, with nothing lost.
//!
//! ```text
//! files change ─► received ─► verified ─► serving      a range is cut, the new plan takes over
//! rollback     ─┘     │           │
//!                     └───────────┴─────► refused      the old one runs on, and the reason is kept
//! ```
//!
//! Everything up to `serving` is done off the data path: files are read whole, compiled,
//! configured, and held against the chain, the states and the plugin's golden cases.
//!
//! Architecture invariant: nothing here touches a record. The pipeline swaps; this says to what.

mod candidate;
mod catalogue;
mod control;
mod reprocess;
mod watch;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::Serialize;
use tidegate_connectors::store::{Pin, SqliteStore, SwapCause, SwapEffect, SwapState};
use tidegate_core::{Digest, checkpoint::StoreError, time::Clock};
use tidegate_pipeline::{Event, SwapHandle, causes};
use tokio::sync::{mpsc, oneshot};

use crate::{
    edges::{ConsumerSwitch, OtherWay},
    redrive::Beside,
    watch::Watcher,
};

pub(crate) use self::{
    candidate::{Candidate, Maker, Refusal, digest},
    catalogue::{Catalogue, KeptGenerations},
    control::{Request, ask_to_redrive, ask_to_swap},
    reprocess::{Reprocessed, reprocess},
};

use crate::supply::StageRights;

/// Plans that stay in memory, compiled: the one that serves and two to go back to.
const KEPT_MAX: usize = 3;
/// Events and requests that may wait: each partition tells of a swap once.
const QUEUE_MAX: usize = 1_024;

/// What the reloader is asked for, or told.
#[derive(Debug)]
enum Message {
    /// Files changed, or an operator says so.
    Look { approved: bool, answer: Option<oneshot::Sender<Receipt>> },
    /// An operator wants an earlier generation; the last other one, where none is named.
    Rollback { to: Option<String>, answer: oneshot::Sender<Receipt> },
    /// A partition has taken a generation.
    TookEffect { generation: Digest, effect: SwapEffect },
    /// The run is over.
    End,
}

/// What became of an attempt to make a generation serve.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub(crate) struct Receipt {
    /// The attempt's number in the catalogue; none where there was nothing to do.
    pub swap: Option<u64>,
    /// The generation.
    pub generation: Option<String>,
    /// What served before.
    pub before: String,
    /// `serving`, `refused`, or `unchanged`.
    pub state: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// How the source is read from now on, where that is another way than before.
    #[serde(default)]
    pub source: Option<String>,
    /// What the generation's plugins may ask of the host; nothing, where it could not be made.
    #[serde(default)]
    pub stages: Vec<StageRights>,
}

/// Tells the reloader of the pipeline's swaps. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SwapListener(mpsc::Sender<Message>);

impl SwapListener {
    /// The run is over: what was told before is written down.
    pub(crate) async fn end(&self) {
        let _ = self.0.send(Message::End).await;
    }

    /// Takes an event of the pipeline. Returns at once.
    pub(crate) fn observe(&self, event: &Event) {
        let Event::Swapped { partition, to, after, pause, .. } = event else { return };
        let effect = SwapEffect {
            partition: partition.clone(),
            after: *after,
            pause_micros: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX),
        };
        // A full queue costs a line of the history, and no record.
        let _ = self.0.try_send(Message::TookEffect { generation: *to, effect });
    }
}

/// What is known before the pipeline exists.
pub(crate) struct Mailbox {
    sender: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        let (sender, messages) = mpsc::channel(QUEUE_MAX);
        Mailbox { sender, messages }
    }

    pub(crate) fn listener(&self) -> SwapListener {
        SwapListener(self.sender.clone())
    }
}

/// Makes generations serve.
pub(crate) struct Reloader {
    pub(crate) maker: Maker,
    pub(crate) swaps: SwapHandle,
    pub(crate) store: SqliteStore,
    pub(crate) catalogue: Catalogue,
    pub(crate) clock: Arc<dyn Clock>,
    /// What serves; then those to go back to, the latest first.
    pub(crate) kept: VecDeque<Arc<Candidate>>,
    /// The attempt by which it serves.
    pub(crate) serving_swap: u64,
    /// The digest of the files that were looked at last: what was refused is not tried again.
    pub(crate) seen: Digest,
    /// The generation that the files make.
    pub(crate) on_disk: Digest,
    /// By whom shards are read is no part of a generation.
    pub(crate) consumer: ConsumerSwitch,
    /// Operators order redrives at the same place.
    pub(crate) redrives: Beside,
}

impl Reloader {
    /// Runs until the end is told: watches files, answers operators, keeps the history.
    pub(crate) async fn run(mut self, mailbox: Mailbox, watch: Option<Duration>) {
        self.prune();
        let Mailbox { sender, mut messages } = mailbox;
        let control = control::serve(&self.maker.data_dir, sender.clone(), self.redrives.clone());
        let control = control.inspect_err(|error| {
            tracing::warn!("no command can reach this process: {error:#}");
        });
        let paths = self.serving().files.taken().into_keys().collect();
        let mut watcher = watch.map(|every| {
            let look = || Message::Look { approved: false, answer: None };
            Watcher::start(paths, every, sender, look)
        });
        while let Some(message) = messages.recv().await {
            match message {
                Message::Look { approved, answer } => {
                    let receipt = self.look(approved, answer.is_some()).await;
                    if let Some(watcher) = &mut watcher {
                        watcher.watch(self.serving().files.taken().into_keys());
                    }
                    if let Some(answer) = answer {
                        let _ = answer.send(receipt);
                    }
                }
                Message::Rollback { to, answer } => {
                    let receipt = self.rollback(to).await;
                    let _ = answer.send(receipt);
                }
                Message::TookEffect { generation, effect } => {
                    if generation == self.serving().generation() {
                        let recorded = self.store.swap_took_effect(self.serving_swap, effect).await;
                        warn_unrecorded(recorded);
                    }
                }
                Message::End => break,
            }
        }
        drop(control);
    }

    fn serving(&self) -> &Arc<Candidate> {
        self.kept.front().expect("something serves")
    }

    /// Takes what the files make now, if that is something new. An operator who asks is told again
    /// why something is refused.
    async fn look(&mut self, approved: bool, asked: bool) -> Receipt {
        let before = self.serving().generation();
        let rights = self.serving().rights();
        let unchanged = |generation: Digest| Receipt {
            swap: None,
            generation: Some(generation.to_string()),
            before: before.to_string(),
            state: "unchanged".to_owned(),
            reason: None,
            source: None,
            stages: rights.clone(),
        };
        let (maker, serving) = (self.maker.clone(), Arc::clone(self.serving()));
        // Compiling takes as long as it takes; records flow meanwhile.
        let read = tokio::task::spawn_blocking(move || {
            let known = serving.files.taken().into_keys();
            let files = watch::read_settled(&maker.pipeline, &maker.supply, known);
            let digest = candidate::digest(&files.taken());
            (digest, maker.make(files))
        });
        let (digest, made) = match read.await {
            Ok(read) => read,
            Err(error) => {
                let made = Err(Refusal::new("unreadable", format!("reading failed: {error}")));
                (self.seen, made)
            }
        };
        if digest == self.seen && !asked {
            return unchanged(before);
        }
        self.seen = digest;
        let (made, other_way) = match self.other_way(made).await {
            Ok((made, other_way)) => (Ok(made), other_way),
            Err(refusal) => (Err(refusal), None),
        };
        let generation = made.as_ref().ok().map(Candidate::generation);
        let is_known = |made: &Candidate| {
            let generation = made.generation();
            (generation == self.on_disk || generation == before) && made.may_follow(self.serving())
        };
        let mut receipt = match made.as_ref().is_ok_and(is_known) {
            true => unchanged(before),
            false => self.attempt(SwapCause::Change, made, approved).await,
        };
        if let Some(generation) = generation
            && receipt.state == "serving"
        {
            self.on_disk = generation;
            warn_unrecorded(self.store.set_pin(None).await);
        }
        if receipt.state != "refused" {
            receipt.source = other_way.map(OtherWay::take);
            receipt.source.iter().for_each(|source| tracing::info!("{source}"));
        }
        receipt
    }

    /// What the files make, and how they say that the source is read, if that changes.
    async fn other_way(
        &self,
        made: Result<Candidate, Refusal>,
    ) -> Result<(Candidate, Option<OtherWay>), Refusal> {
        let made = made?;
        if !made.may_follow(self.serving()) {
            return Ok((made, None));
        }
        let found = self.consumer.find(&made.loaded.config).await;
        let found = found.map_err(|error| Refusal::new("consumer", causes(&error)))?;
        Ok((made, found))
    }

    /// Takes an earlier generation.
    async fn rollback(&mut self, to: Option<String>) -> Receipt {
        let before = self.serving().generation();
        let found = match &to {
            // The one that served before this one.
            None => self.kept.get(1).cloned(),
            Some(name) => {
                let named = |it: &&Arc<Candidate>| it.is_named(name);
                self.kept.iter().find(named).cloned()
            }
        };
        let made = match found {
            // It is compiled, and whether it may still serve is checked below.
            Some(kept) => Ok(kept),
            None => {
                let (catalogue, maker) = (self.catalogue.clone(), self.maker.clone());
                let made = tokio::task::spawn_blocking(move || {
                    let files = catalogue.find(to.as_deref(), before)?;
                    maker.make(files).map(Arc::new)
                });
                made.await.unwrap_or_else(|error| {
                    Err(Refusal::new("unreadable", format!("reading failed: {error}")))
                })
            }
        };
        let receipt = self.attempt(SwapCause::Rollback, made, true).await;
        if receipt.state == "serving" {
            let serving = self.serving().generation();
            let pin = Pin { serving, instead_of: self.on_disk };
            let pin = (serving != self.on_disk).then_some(pin);
            warn_unrecorded(self.store.set_pin(pin).await);
        }
        receipt
    }

    /// Of what was pulled out of registries, what no plan in memory uses may go.
    fn prune(&self) {
        let stages = self.kept.iter().flat_map(|it| &it.loaded.config.stages);
        self.maker.supply.prune(stages.map(|stage| &stage.plugin));
    }

    /// Records an attempt, checks it against what runs, and makes it serve or says why not.
    async fn attempt(
        &mut self,
        cause: SwapCause,
        made: Result<impl Into<Arc<Candidate>>, Refusal>,
        approved: bool,
    ) -> Receipt {
        let before = self.serving().generation();
        let made = made.map(Into::into);
        let generation = made.as_ref().ok().map(|it| it.generation());
        let stages = made.as_ref().map(|it| it.rights()).unwrap_or_default();
        let receipt = |swap, state: &str, reason| Receipt {
            swap,
            generation: generation.map(|it| it.to_string()),
            before: before.to_string(),
            state: state.to_owned(),
            reason,
            source: None,
            stages: stages.clone(),
        };
        let swap = self.store.receive_swap(generation, cause, self.clock.now()).await;
        let swap = match swap {
            Ok(swap) => swap,
            Err(error) => {
                warn_unrecorded(Err(error));
                return receipt(None, "refused", Some("the store failed".into()));
            }
        };
        let verified = match made {
            Ok(candidate) => self.verify(&candidate, approved).await.map(|()| candidate),
            Err(refusal) => Err(refusal),
        };
        match verified {
            Ok(candidate) => {
                self.advance(swap, SwapState::Verified, None).await;
                // Before it serves: an intent that names it can be replayed from here on.
                let kept = self.catalogue.keep(&candidate);
                let offered = kept.and_then(|()| {
                    self.swaps
                        .offer(Arc::clone(&candidate.plan))
                        .map_err(|error| Refusal::new("topology", error.to_string()))
                });
                match offered {
                    Ok(()) => {
                        self.kept.retain(|it| it.generation() != candidate.generation());
                        self.kept.push_front(candidate);
                        self.kept.truncate(KEPT_MAX);
                        self.prune();
                        self.serving_swap = swap;
                        self.advance(swap, SwapState::Serving, None).await;
                        self.count("serving");
                        let generation = self.serving().generation().short();
                        tracing::info!(swap, generation, "a new generation serves");
                        stages.iter().for_each(|it| tracing::info!(swap, "{it}"));
                        receipt(Some(swap), "serving", None)
                    }
                    Err(refusal) => {
                        receipt(Some(swap), "refused", Some(self.refuse(swap, &refusal).await))
                    }
                }
            }
            Err(refusal) => receipt(Some(swap), "refused", Some(self.refuse(swap, &refusal).await)),
        }
    }

    /// Records a refusal, and gives its reason.
    async fn refuse(&mut self, swap: u64, refusal: &Refusal) -> String {
        let reason = refusal.to_string();
        self.advance(swap, SwapState::Refused, Some(reason.clone())).await;
        self.count("refused");
        tracing::warn!(swap, "a change is refused, and what serves runs on: {reason}");
        reason
    }

    /// Whether a candidate may take over from what serves.
    async fn verify(&self, candidate: &Arc<Candidate>, approved: bool) -> Result<(), Refusal> {
        let serving = self.serving();
        candidate.is_within(&self.maker.supply)?;
        candidate.follows(serving, approved)?;
        self.swaps
            .fits(&candidate.plan)
            .map_err(|error| Refusal::new("topology", error.to_string()))?;
        candidate.reads_states(serving, &self.store).await?;
        let (candidate, serving) = (Arc::clone(candidate), Arc::clone(serving));
        let tried = tokio::task::spawn_blocking(move || candidate.passes_golden_cases(&serving));
        let died = |error| Err(Refusal::new("golden-cases", format!("they can't be run: {error}")));
        tried.await.unwrap_or_else(died)
    }

    fn count(&self, outcome: &'static str) {
        let pipeline = self.serving().loaded.config.pipeline.clone();
        metrics::counter!("tidegate_swaps_total", "pipeline" => pipeline, "outcome" => outcome)
            .increment(1);
    }

    async fn advance(&self, swap: u64, state: SwapState, reason: Option<String>) {
        let advanced = self.store.advance_swap(swap, state, None, self.clock.now(), reason).await;
        warn_unrecorded(advanced);
    }
}

/// The history is for people: a gap in it must not stop records.
fn warn_unrecorded(recorded: Result<(), StoreError>) {
    if let Err(error) = recorded {
        tracing::warn!("the history of swaps has a gap: {error}");
    }
}
