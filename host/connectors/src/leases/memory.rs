//! A table in memory that many hosts share, with verbs for what goes wrong on the way to a real one.
//!
//! A request that was sent arrives whatever becomes of whoever sent it, and its answer may be lost.
//! Reads that need not be of now see rows as they were a moment ago.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_core::{
    checkpoint::{OwnerId, StoreError, StoreErrorKind, WriteId},
    source::PartitionId,
};
use tokio::time::{Instant, sleep};

use super::{
    LeaseRecord,
    row::{Item, Row, write_id},
    table::{Change, Condition, LeaseTable, Written},
};

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the calls of the table")]
pub enum Call {
    Get,
    Scan,
    Update,
    Delete,
}

/// How a request fares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passage {
    /// How long it is on its way.
    pub there: Duration,
    /// How long its answer is.
    pub back: Duration,
    /// How old what it reads may be, where it need not be of now.
    pub lag: Duration,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is done, and answered.
    #[default]
    Done,
    /// It is throttled: nothing of it is done.
    Throttled,
    /// It does not arrive, and nobody says so.
    Lost,
    /// It is done, and its answer is lost.
    AnswerLost,
}

/// A row was changed.
#[derive(Clone, Debug)]
pub struct LeaseWrite {
    /// By whom.
    pub host: Arc<str>,
    /// What it was; none where it was not there.
    pub before: Option<LeaseRecord>,
    /// What it is; none where it was deleted.
    pub after: Option<LeaseRecord>,
}

type Way = dyn Fn(Call) -> Passage + Send + Sync;
type Hears = dyn Fn(&LeaseWrite) + Send + Sync;

/// Rows in memory, as one host reaches them. Clones share them, and the way to them.
#[derive(Clone)]
pub struct MemoryTable {
    rows: Arc<Rows>,
    host: Arc<str>,
    way: Option<Arc<Way>>,
}

struct Rows {
    items: Mutex<BTreeMap<PartitionId, Versions>>,
    hears: Option<Box<Hears>>,
    fenced: bool,
}

/// A row, and what it was before.
#[derive(Debug, Default)]
struct Versions {
    now: Option<Item>,
    before: Option<Item>,
    changed_at: Option<Instant>,
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTable").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Default for MemoryTable {
    fn default() -> Self {
        MemoryTable::with(true, None)
    }
}

impl MemoryTable {
    /// A table without rows. `hears` is told of each write when it is made.
    pub fn heard(hears: impl Fn(&LeaseWrite) + Send + Sync + 'static) -> Self {
        MemoryTable::with(true, Some(Box::new(hears)))
    }

    /// The same, broken on purpose: no write of a row is held back by who has it, or by its counter.
    pub fn unfenced(hears: impl Fn(&LeaseWrite) + Send + Sync + 'static) -> Self {
        MemoryTable::with(false, Some(Box::new(hears)))
    }

    fn with(fenced: bool, hears: Option<Box<Hears>>) -> Self {
        let rows = Rows { items: Mutex::default(), hears, fenced };
        MemoryTable { rows: Arc::new(rows), host: Arc::from(""), way: None }
    }

    /// The same table, as a host reaches it.
    pub fn reached_by(
        &self,
        host: &str,
        way: impl Fn(Call) -> Passage + Send + Sync + 'static,
    ) -> Self {
        MemoryTable { rows: self.rows.clone(), host: host.into(), way: Some(Arc::new(way)) }
    }

    /// All leases.
    pub fn leases(&self) -> Vec<LeaseRecord> {
        self.rows.items().values().filter_map(|it| record(it.now.as_ref())).collect()
    }

    /// Renews a lease in its owner's name, behind the owner's back.
    ///
    /// # Errors
    /// Where the request does not arrive, or no answer comes back.
    pub async fn beat(
        &self,
        partition: &PartitionId,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<(), StoreError> {
        let beat = Change::default()
            .if_owned(&owner.0)
            .add("leaseCounter", AttributeValue::N("1".to_owned()))
            .set("tgWrite", write_id(write));
        self.update(partition, beat).await.map(drop)
    }

    /// Sends a request, and waits for its answer.
    async fn send<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&Rows, Duration) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let Passage { there, back, lag, fate } =
            self.way.as_ref().map(|way| way(call)).unwrap_or_default();
        let rows = self.rows.clone();
        // A task of its own: it goes on when whoever waits for it is gone.
        let arrives = tokio::spawn(async move {
            sleep(there).await;
            matches!(fate, Fate::Done | Fate::AnswerLost).then(|| work(&rows, lag))
        });
        let answer = arrives.await.unwrap_or_default();
        sleep(back).await;
        let unavailable = |message: &str| StoreError::plain(StoreErrorKind::Unavailable, message);
        match answer.filter(|_| fate != Fate::AnswerLost) {
            Some(answer) => Ok(answer),
            None if fate == Fate::Throttled => Err(unavailable("the table has no room for more")),
            None => Err(unavailable("no answer came back from the table")),
        }
    }
}

#[async_trait]
impl LeaseTable for MemoryTable {
    async fn get(&self, partition: &PartitionId) -> Result<Option<Row>, StoreError> {
        let partition = partition.clone();
        let get = self.send(Call::Get, move |rows, _| {
            rows.items().get(&partition).and_then(|it| it.now.clone())
        });
        get.await?.as_ref().map_or(Ok(None), Row::read)
    }

    async fn scan(&self, now: bool) -> Result<Vec<Row>, StoreError> {
        let scan = self.send(Call::Scan, move |rows, lag| {
            let is_old = |it: &Versions| it.changed_at.is_none_or(|at| at.elapsed() >= lag);
            let items = rows.items();
            let seen = items.values().map(|it| match now || is_old(it) {
                true => it.now.as_ref(),
                false => it.before.as_ref(),
            });
            seen.flatten().filter_map(|item| Row::read(item).transpose()).collect()
        });
        scan.await?
    }

    async fn delete_finished(&self, partition: &PartitionId) -> Result<(), StoreError> {
        let (partition, host) = (partition.clone(), self.host.clone());
        let delete = self.send(Call::Delete, move |rows, _| {
            let finished = |item: &Item| {
                Row::read(item).is_ok_and(|row| row.is_some_and(|row| row.is_finished()))
            };
            let is_finished =
                rows.items().get(&partition).and_then(|it| it.now.as_ref()).is_some_and(finished);
            if is_finished {
                rows.put(&host, partition, None);
            }
        });
        delete.await
    }

    async fn update(&self, partition: &PartitionId, change: Change) -> Result<Written, StoreError> {
        let (partition, host) = (partition.clone(), self.host.clone());
        let update = self.send(Call::Update, move |rows, _| {
            let before = rows.items().get(&partition).and_then(|it| it.now.clone());
            let holds = |condition: &Condition| {
                let is_fence =
                    !matches!(condition, Condition::There | Condition::Is("leaseKey", _));
                holds(condition, before.as_ref()) || (!rows.fenced && is_fence)
            };
            if !change.conditions.iter().all(holds) {
                return Written::Refused(before);
            }
            let key = ("leaseKey".to_owned(), AttributeValue::S(partition.to_string()));
            let after = changed(before.unwrap_or_else(|| Item::from([key])), change);
            rows.put(&host, partition, Some(after.clone()));
            Written::Done(after)
        });
        update.await
    }
}

impl Rows {
    fn items(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Versions>> {
        // Nothing in it is ever half changed.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, host: &Arc<str>, partition: PartitionId, now: Option<Item>) {
        let mut items = self.items();
        let versions = items.entry(partition).or_default();
        let before = std::mem::replace(&mut versions.now, now.clone());
        versions.before.clone_from(&before);
        versions.changed_at = Some(Instant::now());
        drop(items);
        if let Some(hears) = &self.hears {
            let (before, after) = (record(before.as_ref()), record(now.as_ref()));
            hears(&LeaseWrite { host: host.clone(), before, after });
        }
    }
}

fn record(item: Option<&Item>) -> Option<LeaseRecord> {
    LeaseRecord::of(Row::read(item?).ok()??).ok()
}

fn holds(condition: &Condition, item: Option<&Item>) -> bool {
    let is = |attribute: &str, value: Option<&AttributeValue>| {
        item.and_then(|item| item.get(attribute)) == value
    };
    match condition {
        Condition::Is(attribute, value) => is(attribute, value.as_ref()),
        Condition::There => item.is_some(),
        Condition::Owned(owner) => {
            let owner = AttributeValue::S(owner.clone());
            is("checkpointOwner", Some(&owner))
                || (is("checkpointOwner", None) && is("leaseOwner", Some(&owner)))
        }
    }
}

fn changed(mut item: HashMap<String, AttributeValue>, change: Change) -> Item {
    let Change { sets, removes, adds, .. } = change;
    item.extend(sets.into_iter().map(|(name, value)| (name.to_owned(), value)));
    removes.into_iter().for_each(|name| drop(item.remove(name)));
    for (name, added) in adds {
        let sum = match (item.remove(name), added) {
            (Some(AttributeValue::N(before)), AttributeValue::N(added)) => {
                let number = |text: String| text.parse::<u64>().unwrap_or_default();
                AttributeValue::N((number(before) + number(added)).to_string())
            }
            (Some(AttributeValue::Ss(mut before)), AttributeValue::Ss(added)) => {
                let new = added.into_iter().filter(|it| !before.contains(it));
                let new: Vec<String> = new.collect();
                before.extend(new);
                AttributeValue::Ss(before)
            }
            (_, added) => added,
        };
        item.insert(name.to_owned(), sum);
    }
    item
}

#[cfg(test)]
mod tests {
    use tidegate_core::conformance;

    use super::{
        super::{LeaseConfig, LeaseStore},
        *,
    };
    use crate::objects::SharedDirectory;

    #[tokio::test(start_paused = true)]
    async fn leases_over_it_pass_the_suite_that_those_over_dynamodb_pass() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let table = MemoryTable::default();
        let open = async || {
            let objects = Arc::new(SharedDirectory::new(folder.path(), "host"));
            LeaseStore::in_memory(LeaseConfig::new("leases"), table.clone(), objects)
        };
        conformance::checkpoint_store(open).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_arrives_though_nobody_waits_for_it_any_more() {
        let table = MemoryTable::default();
        let slow = table.reached_by("slow", |_| Passage {
            there: Duration::from_secs(5),
            ..Passage::default()
        });
        let create = || Change::default().if_is("leaseKey", None).set_number("leaseCounter", 7);
        let partition = PartitionId::from("p");
        let gone = tokio::time::timeout(Duration::from_secs(1), slow.update(&partition, create()));
        assert!(gone.await.is_err());
        assert!(table.leases().is_empty());
        sleep(Duration::from_secs(5)).await;
        assert_eq!(table.leases()[0].counter, 7);
        let again = table.update(&partition, create()).await.expect("it answers");
        assert!(matches!(again, Written::Refused(Some(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_need_not_be_of_now_is_of_a_moment_ago() {
        let table = MemoryTable::default();
        let lags = table
            .reached_by("a", |_| Passage { lag: Duration::from_millis(500), ..Passage::default() });
        let partition = PartitionId::from("p");
        let set = |n| Change::default().set_number("leaseCounter", n);
        let counters = async |now| -> Vec<u64> {
            lags.scan(now).await.expect("it answers").iter().map(|it| it.counter).collect()
        };
        table.update(&partition, set(1)).await.expect("it answers");
        assert_eq!((counters(false).await, counters(true).await), (vec![], vec![1]));
        sleep(Duration::from_secs(1)).await;
        table.update(&partition, set(2)).await.expect("it answers");
        assert_eq!((counters(false).await, counters(true).await), (vec![1], vec![2]));
    }
}
