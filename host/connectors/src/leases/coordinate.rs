//! Who of a fleet takes which lease.
//!
//! Every host looks at the table and decides for itself; a conditional write decides between two that
//! decide the same. A lease expires by the observer's own monotonic clock, when its counter has not
//! moved for `failover`: no clock is compared with another's. Leases are spread evenly, to within one;
//! who has too few asks whoever has the most for one at a time, and is handed it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_core::{
    checkpoint::StoreError,
    coordinator::{Coordinator, HostSituation, Share},
    source::PartitionId,
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    LeaseStore,
    row::Row,
    table::{Change, Written},
};

/// Whoever was asked for a lease and lives has this long to finish a range.
const HAND_OVER_MAX: Duration = Duration::from_secs(30);

/// What a host has seen of the table.
#[derive(Debug, Default)]
pub(super) struct Observations {
    seen: HashMap<PartitionId, Seen>,
    /// The counters at which leases may be taken.
    expected: HashMap<PartitionId, u64>,
    /// Partitions with rows that the source has not listed, as far as that was said.
    unlisted: BTreeSet<PartitionId>,
}

/// A lease, as it was last seen to change.
#[derive(Clone, Debug)]
struct Seen {
    counter: u64,
    owner: Option<String>,
    hands_over: Option<String>,
    /// When its counter was first seen to be this.
    since: Instant,
    /// When it was first seen to be handed over, or to be nobody's.
    between: Option<Instant>,
    /// Its owner has moved it on while this host looked.
    lives: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decision {
    share: Share,
    /// How many of those to be taken have expired.
    failovers: u64,
    /// Whom to ask for which lease.
    ask: Option<(PartitionId, String)>,
}

impl Observations {
    /// The counter at which a lease may be taken; none where that was never said.
    pub(super) fn expected(&self, partition: &PartitionId) -> Option<u64> {
        self.expected.get(partition).copied()
    }

    fn observe(&mut self, rows: &[Row], now: Instant) {
        self.seen.retain(|id, _| rows.iter().any(|row| row.partition == *id));
        for row in rows {
            let before = self.seen.get(&row.partition);
            let moved = before.is_none_or(|it| it.counter != row.counter);
            let since = before.filter(|_| !moved).map_or(now, |it| it.since);
            let is_between = row.hands_over.is_some() || row.owner.is_none();
            let same = before.filter(|it| it.owner == row.owner && it.hands_over == row.hands_over);
            let between = is_between.then(|| same.and_then(|it| it.between).unwrap_or(now));
            let lives = same.is_some_and(|it| it.lives || moved);
            let seen = Seen {
                counter: row.counter,
                owner: row.owner.clone(),
                hands_over: row.hands_over.clone(),
                since,
                between,
                lives,
            };
            self.seen.insert(row.partition.clone(), seen);
        }
    }

    fn decide(
        &mut self,
        rows: &[Row],
        host: HostSituation<'_>,
        failover: Duration,
        now: Instant,
    ) -> Decision {
        self.observe(rows, now);
        let me = host.owner.0.as_str();
        let mut share = Share::default();
        share
            .finished
            .extend(rows.iter().filter(|it| it.is_finished()).map(|it| it.partition.clone()));
        let listed: BTreeSet<&PartitionId> = host.listed.iter().map(|it| &it.id).collect();
        let unlisted =
            rows.iter().filter(|it| !it.is_finished() && !listed.contains(&it.partition));
        let unlisted: BTreeSet<PartitionId> = unlisted.map(|it| it.partition.clone()).collect();
        share.lists_more = !unlisted.is_subset(&self.unlisted);
        self.unlisted = unlisted;

        // What can be read now. Partitions that wait for their parents are nobody's burden.
        let done = |id: &PartitionId| share.finished.contains(id) || !listed.contains(id);
        let ready = host.listed.iter().filter(|it| !done(&it.id) && it.parents.iter().all(done));
        let ready = ready.filter_map(|it| Some((&it.id, self.seen.get(&it.id)?)));
        let ready: Vec<(&PartitionId, &Seen)> = ready.collect();
        let expired = |seen: &Seen| now - seen.since >= failover;

        let mut load: BTreeMap<&str, usize> = [(me, 0)].into();
        let (mut mine, mut free, mut asked) = (BTreeSet::new(), Vec::new(), false);
        for (id, seen) in &ready {
            match (seen.owner.as_deref(), seen.hands_over.as_deref()) {
                (Some(owner), Some(from)) if owner == me => {
                    *load.entry(me).or_default() += 1;
                    let waited = seen.between.is_some_and(|it| now - it >= HAND_OVER_MAX);
                    match from == me || waited || expired(seen) {
                        true => drop(mine.insert(*id)),
                        false => asked = true,
                    }
                }
                (Some(owner), None) if owner == me => {
                    *load.entry(me).or_default() += 1;
                    mine.insert(*id);
                }
                (Some(owner), from) => {
                    if from == Some(me) {
                        share.give_up.insert((*id).clone());
                    }
                    match expired(seen) {
                        true => free.push((*id, *seen)),
                        false => *load.entry(owner).or_default() += 1,
                    }
                }
                (None, _) => free.push((*id, *seen)),
            }
        }
        mine.retain(|id| !host.running.contains(*id) && !host.stopped.contains(*id));
        free.retain(|(id, _)| !host.running.contains(*id) && !host.stopped.contains(*id));
        let spread = |id: &PartitionId| xxh3_64(format!("{me}/{id}").as_bytes());
        // In an order of its own, so that hosts seldom take the same.
        free.sort_by_key(|(id, _)| spread(id));

        let target = ready.len().div_ceil(load.len());
        let mut room = target.saturating_sub(load.get(me).copied().unwrap_or_default());
        let mut failovers = 0;
        let nothing_is_free = free.is_empty();
        for (id, seen) in free {
            // One that others have left lying is taken whoever has how many.
            let is_left = seen.between.is_some_and(|it| now - it >= failover)
                || now - seen.since >= 2 * failover;
            if room == 0 && !is_left {
                continue;
            }
            room = room.saturating_sub(1);
            failovers += u64::from(seen.owner.is_some());
            share.take.insert(id.clone());
        }
        share.take.extend(mine.into_iter().cloned());
        self.expected.extend(
            share.take.iter().filter_map(|id| Some((id.clone(), self.seen.get(id)?.counter))),
        );

        let ask = (nothing_is_free && !asked).then(|| {
            let few = load.get(me).copied().unwrap_or_default();
            let (owner, many) = load.iter().max_by_key(|(_, leases)| **leases)?;
            if few + 2 > *many {
                return None;
            }
            let theirs = ready.iter().filter(|(_, seen)| {
                seen.owner.as_deref() == Some(owner) && seen.hands_over.is_none() && seen.lives
            });
            let theirs = theirs.map(|(id, _)| *id).filter(|id| !host.stopped.contains(*id));
            Some((theirs.min_by_key(|id| spread(id))?.clone(), (*owner).to_owned()))
        });
        Decision { share, failovers, ask: ask.flatten() }
    }
}

#[async_trait]
impl Coordinator for LeaseStore {
    fn look_every(&self) -> Option<Duration> {
        Some(self.shared.config.look_every)
    }

    async fn look(&self, host: HostSituation<'_>) -> Result<Share, StoreError> {
        let shared = &self.shared;
        let mut rows = shared.table.scan().await?;
        // The larger numbers first: of a family that is written in part only children are there, whose
        // parents have no rows, and never a parent whose children were overlooked.
        let missing = host.listed.iter().filter(|it| rows.iter().all(|row| row.partition != it.id));
        let mut missing: Vec<_> = missing.collect();
        missing.sort_by(|a, b| b.id.cmp(&a.id));
        if !missing.is_empty() {
            for partition in missing {
                self.announce(partition, None).await?;
            }
            rows = shared.table.scan().await?;
        }
        let decision = {
            let mut observations = shared.observations();
            observations.decide(&rows, host, shared.config.failover, Instant::now())
        };
        if decision.failovers > 0 {
            shared.meters.failed_over(decision.failovers);
        }
        if let Some((partition, from)) = decision.ask {
            self.ask(&partition, &host.owner.0, &from).await?;
        }
        Ok(decision.share)
    }
}

impl LeaseStore {
    /// Asks an owner for a lease: it is to finish its range and hand it over. The counter stays, for it
    /// is the owner's, and so does the name of its last write.
    async fn ask(
        &self,
        partition: &PartitionId,
        owner: &str,
        from: &str,
    ) -> Result<(), StoreError> {
        let change = Change::default()
            .if_is("leaseOwner", Some(AttributeValue::S(from.to_owned())))
            .if_is("checkpointOwner", None)
            .set_text("leaseOwner", owner)
            .set_text("checkpointOwner", from);
        if let Written::Done(_) = self.shared.table.update(partition, change).await? {
            tracing::info!(partition = %partition, from, "asked for a lease");
            self.shared.meters.asked();
        }
        Ok(())
    }
}
