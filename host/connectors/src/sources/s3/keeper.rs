//! What is done with the queue while a run lasts, by two tasks: one receives, one keeps what is held
//! hidden and deletes what is finished.
//!
//! Neither decides what a failure means. A queue that can't be received from is told to the pipeline,
//! which asks again when it finds proper. What could not be deleted or hidden is sent again a little
//! later, and nothing depends on it: a message that is seen again finds its work where it was left.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidegate_core::source::{PartitionId, SourceError};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::{
    held::{Held, Item},
    message::BadMessage,
    meters::Meters,
    name::{self, ObjectVersion},
    notification::Notification,
    object::Bucket,
    queue::{ENTRIES_MAX, Queue, Received, Refused},
};

/// What the queue did not do is asked for again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// The reason code of a message that tells of no object.
const MALFORMED: &str = "notification-malformed";

/// The queue, and what was received from it.
pub(super) struct Keeper {
    pub(super) bucket: Arc<Bucket>,
    queue: Queue,
    held: Mutex<Held>,
    /// Why nothing is received, until somebody has heard it.
    failure: Mutex<Option<SourceError>>,
    /// Whether the last attempt to receive has failed.
    fails: watch::Sender<bool>,
    /// Grows when there may be more to work on.
    version: watch::Sender<u64>,
    /// There may be room for more.
    room: Notify,
    /// Nothing more is received.
    closing: AtomicBool,
    /// There is something to be told to the queue.
    due: Notify,
}

impl Keeper {
    pub(super) fn new(bucket: Arc<Bucket>) -> Self {
        Keeper {
            queue: Queue::new(&bucket.config),
            bucket,
            held: Mutex::default(),
            failure: Mutex::default(),
            fails: watch::Sender::new(false),
            version: watch::Sender::new(0),
            room: Notify::new(),
            closing: AtomicBool::new(false),
            due: Notify::new(),
        }
    }

    fn meters(&self) -> &Meters {
        &self.bucket.meters
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in it is ever half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, Option<SourceError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows when there may be more to work on.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What there is to work on, or why nothing can be received. Where that was told before, it is
    /// tried once more: who asks decides how often.
    pub(super) async fn listed(&self) -> Result<Vec<PartitionId>, SourceError> {
        let mut fails = self.fails.subscribe();
        // What is held and has not begun does not wait for the queue.
        if self.held().is_waited_for() {
            return Ok(self.held().listed().cloned().collect());
        }
        let told = self.failure().take();
        if let Some(error) = told {
            return Err(error);
        }
        if *fails.borrow_and_update() && self.room() > 0 {
            self.room.notify_one();
            // The sender lives as long as this.
            let _ = fails.changed().await;
            let failed = self.failure().take();
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(self.held().listed().cloned().collect())
    }

    /// How many more objects may be held.
    fn room(&self) -> usize {
        self.bucket.config.objects_max.max(1).saturating_sub(self.held().len())
    }

    /// Holds an object that an earlier run has begun, whether or not its message comes again.
    pub(super) fn adopt(&self, object: ObjectVersion) {
        self.held().adopt(object.partition(), Item::Object(object));
    }

    /// What a partition is, of those that are held.
    pub(super) fn item(&self, id: &PartitionId) -> Option<Item> {
        self.held().item(id).cloned()
    }

    pub(super) fn started(&self, id: &PartitionId) {
        if self.held().started(id) {
            self.changed();
        }
    }

    /// Another host works on these: what came later may begin before them.
    pub(super) fn are_elsewhere(&self, ids: &BTreeSet<PartitionId>) {
        if self.held().are_elsewhere(ids) {
            self.changed();
        }
    }

    pub(super) fn ended(&self, id: &PartitionId, finished: bool) {
        let visibility = self.bucket.config.visibility;
        let held = {
            let mut held = self.held();
            // It may have been finished before anybody began.
            let others = held.started(id);
            held.ended(id, finished, Instant::now(), visibility);
            if others {
                self.changed();
            }
            held.len()
        };
        self.meters().held.set(held as f64);
        self.room.notify_one();
        self.due.notify_one();
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Receives while there is room, until it is told to stop.
    pub(super) async fn receive(self: Arc<Self>) {
        while !self.closing.load(Ordering::Relaxed) {
            let room = self.room();
            if room == 0 || self.failure().is_some() {
                self.room.notified().await;
                continue;
            }
            // Somebody waits to hear whether it works again.
            let waits = !*self.fails.borrow();
            match self.queue.receive(room, waits).await {
                Ok(messages) => {
                    self.take(messages);
                    self.fails.send_if_modified(std::mem::take);
                }
                Err(error) => {
                    *self.failure() = Some(error);
                    self.fails.send_replace(true);
                    self.changed();
                }
            }
        }
    }

    fn take(&self, messages: Vec<Received>) {
        if messages.is_empty() {
            return;
        }
        let now = Instant::now();
        let extend_at = now + self.bucket.config.visibility / 2;
        let mut held = self.held();
        held.next_turn();
        for Received { id, receipt, body } in messages {
            self.meters().received.increment(1);
            let items = self.items(&id, &body);
            held.receive(&id, receipt, items, now, extend_at);
        }
        self.meters().held.set(held.len() as f64);
        drop(held);
        self.changed();
        self.due.notify_one();
    }

    /// Nothing is received but what is on its way.
    pub(super) fn stop_receiving(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.room.notify_one();
    }

    /// What a message names.
    fn items(&self, id: &str, body: &str) -> Vec<(PartitionId, Item)> {
        let config = &self.bucket.config;
        let Notification { created, mut others, mut faults } = Notification::parse(body);
        let mut items = Vec::new();
        for object in created {
            if object.bucket != config.bucket {
                faults.push(format!(
                    "the message tells of the bucket `{}`, and the source reads `{}`",
                    object.bucket, config.bucket
                ));
            } else if config.wants(&object.key) {
                items.push((object.partition(), Item::Object(object)));
            } else {
                others += 1;
            }
        }
        self.meters().ignored.increment(others as u64);
        if !faults.is_empty() {
            self.meters().malformed.increment(1);
            let partition = name::message(&config.queue, id);
            // Why is said in its dead letter: it may quote the message.
            tracing::warn!(%partition, faults = faults.len(), "a message is no notification");
            let why = format!(
                "message `{id}` of the queue `{}`: {}: send nothing but notifications of this bucket \
                 there",
                config.queue,
                faults.join("; ")
            );
            let message = BadMessage { body: body.into(), code: MALFORMED, why };
            items.push((partition, Item::Message(message)));
        }
        items
    }

    /// Deletes what is finished, and hides what is worked on.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            self.tell().await;
            let next = self.held().next();
            let wait = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.due.notified() => {}
            }
        }
    }

    /// Tells the queue what is due, some at a time.
    async fn tell(&self) {
        loop {
            let now = Instant::now();
            let extends = self.held().extends(now, ENTRIES_MAX);
            let deletes = self.held().deletes(now, ENTRIES_MAX);
            if extends.is_empty() && deletes.is_empty() {
                return;
            }
            if !extends.is_empty() {
                self.extend(extends).await;
            }
            if !deletes.is_empty() {
                self.delete(deletes).await;
            }
        }
    }

    async fn extend(&self, receipts: Vec<String>) {
        let answer = self.queue.hide(&receipts, false).await;
        let Sorted { done, for_good, again } = self.sort("hidden for longer", receipts, answer);
        self.meters().extended.increment(done.len() as u64);
        let now = Instant::now();
        let mut held = self.held();
        held.extended(done, now + self.bucket.config.visibility / 2);
        held.extended(again, now + AGAIN);
        held.lost(for_good);
    }

    async fn delete(&self, receipts: Vec<String>) {
        let answer = self.queue.delete(&receipts).await;
        let Sorted { done, for_good, again } = self.sort("deleted", receipts, answer);
        self.meters().deleted.increment(done.len() as u64);
        let mut held = self.held();
        held.deleted(done);
        // Their receipts have run out: they come again, and are found to be finished.
        held.deleted(for_good);
        held.delete_later(again, Instant::now() + AGAIN);
    }

    /// What became of messages that the queue was asked to do something about.
    fn sort(
        &self,
        what: &str,
        receipts: Vec<String>,
        answer: Result<Vec<Refused>, SourceError>,
    ) -> Sorted {
        let refused = match answer {
            Ok(refused) => refused,
            Err(error) => {
                let cause = error.cause.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
                tracing::warn!("messages are not {what} for now: {error}{cause}");
                let again = |receipt| Refused { receipt, is_for_good: false };
                receipts.iter().cloned().map(again).collect()
            }
        };
        self.meters().refused.increment(refused.len() as u64);
        let mut sorted = Sorted::default();
        for receipt in receipts {
            match refused.iter().find(|it| it.receipt == receipt) {
                None => sorted.done.push(receipt),
                Some(it) if it.is_for_good => sorted.for_good.push(receipt),
                Some(_) => sorted.again.push(receipt),
            }
        }
        sorted
    }

    /// Says what is still to be said, and shows others what is left.
    pub(super) async fn close(&self) {
        self.tell().await;
        let back = self.held().give_back(Instant::now());
        self.meters().held.set(0.0);
        for some in back.chunks(ENTRIES_MAX) {
            // One that is not shown now is when its time is over.
            if let Ok(refused) = self.queue.hide(some, true).await {
                self.meters().given_back.increment((some.len() - refused.len()) as u64);
            }
        }
    }
}

/// Receipts, by what became of what was asked.
#[derive(Default)]
struct Sorted {
    done: Vec<String>,
    /// It is not done, and never will be.
    for_good: Vec<String>,
    again: Vec<String>,
}
