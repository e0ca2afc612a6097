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
    source::{Partition, PartitionId},
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
    /// Since when nobody asks for a row any more.
    history: HashMap<PartitionId, Instant>,
    /// The table was looked at before.
    has_looked: bool,
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
    /// An earlier run of this host had it when this one looked first, and it has not changed since.
    /// That run has ended, for it had the data directory that this one has. It may be taken at once.
    is_of_earlier_run: bool,
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

    fn observe(&mut self, rows: &[Row], me: &str, now: Instant) {
        // Only then: were two hosts copies of one another, they would take leases from each other
        // for ever.
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        self.seen.retain(|id, _| rows.iter().any(|row| row.partition == *id));
        for row in rows {
            let before = self.seen.get(&row.partition);
            let moved = before.is_none_or(|it| it.counter != row.counter);
            let since = before.filter(|_| !moved).map_or(now, |it| it.since);
            let is_between = row.hands_over.is_some() || row.owner.is_none();
            let same = before.filter(|it| it.owner == row.owner && it.hands_over == row.hands_over);
            let between = is_between.then(|| same.and_then(|it| it.between).unwrap_or(now));
            let lives = same.is_some_and(|it| it.lives || moved);
            let is_of_earlier_run = match before {
                None => is_first && row.has().is_some_and(|owner| is_earlier_run(owner, me)),
                Some(before) => before.is_of_earlier_run && same.is_some() && !moved,
            };
            let seen = Seen {
                counter: row.counter,
                owner: row.owner.clone(),
                hands_over: row.hands_over.clone(),
                since,
                between,
                lives,
                is_of_earlier_run,
            };
            self.seen.insert(row.partition.clone(), seen);
        }
    }

    /// Those rows that nobody has asked for in a long time. Each is named once in that time: another
    /// host may have an old list, and would create the row anew and read the partition again.
    fn outdated<'r>(
        &mut self,
        history: impl Iterator<Item = &'r Row>,
        kept: Duration,
        now: Instant,
    ) -> BTreeSet<PartitionId> {
        let mut before = std::mem::take(&mut self.history);
        let mut outdated = BTreeSet::new();
        for row in history {
            let id = &row.partition;
            let mut since = before.remove(id).unwrap_or(now);
            if now - since >= kept {
                outdated.insert(id.clone());
                since = now;
            }
            self.history.insert(id.clone(), since);
        }
        outdated
    }

    /// Which leases a host takes that a queue has told of, and how many of them have expired.
    fn of_queue(
        &mut self,
        rows: &[Row],
        me: &str,
        failover: Duration,
        now: Instant,
    ) -> (BTreeSet<PartitionId>, u64) {
        self.observe(rows, me, now);
        self.expected.clear();
        let (mut take, mut failovers) = (BTreeSet::new(), 0);
        for row in rows {
            let others = row.owner.as_deref().is_some_and(|owner| owner != me);
            let expired =
                self.seen.get(&row.partition).is_some_and(|it| now - it.since >= failover);
            // What is finished is taken to see just that, and harms nobody.
            let is_held = others && !row.is_finished();
            if is_held && !expired {
                continue;
            }
            failovers += u64::from(is_held);
            self.expected.insert(row.partition.clone(), row.counter);
            take.insert(row.partition.clone());
        }
        (take, failovers)
    }

    fn decide(
        &mut self,
        rows: &[Row],
        host: HostSituation<'_>,
        failover: Duration,
        now: Instant,
    ) -> Decision {
        let me = host.owner.0.as_str();
        self.observe(rows, me, now);
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
        let expired = |seen: &Seen| seen.is_of_earlier_run || now - seen.since >= failover;

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
            let is_left = seen.is_of_earlier_run
                || seen.between.is_some_and(|it| now - it >= failover)
                || now - seen.since >= 2 * failover;
            if room == 0 && !is_left {
                continue;
            }
            room = room.saturating_sub(1);
            failovers += u64::from(seen.owner.is_some() && !seen.is_of_earlier_run);
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

/// Whether two names are of two runs of one host: `<host>:<run>`.
fn is_earlier_run(owner: &str, me: &str) -> bool {
    let same = owner.rsplit_once(':').zip(me.rsplit_once(':')).filter(|(a, b)| a.0 == b.0);
    same.is_some_and(|(earlier, now)| earlier.1 != now.1)
}

#[async_trait]
impl Coordinator for LeaseStore {
    fn look_every(&self) -> Option<Duration> {
        Some(self.shared.config.look_every)
    }

    async fn look(&self, host: HostSituation<'_>) -> Result<Share, StoreError> {
        let shared = &self.shared;
        if shared.config.expires_after.is_some() {
            return self.look_at_listed(host).await;
        }
        let mut rows = shared.table.scan(false).await?;
        // The larger numbers first: of a family that is written in part only children are there, whose
        // parents have no rows, and never a parent whose children were overlooked.
        let missing = host.listed.iter().filter(|it| rows.iter().all(|row| row.partition != it.id));
        let mut missing: Vec<_> = missing.collect();
        missing.sort_by(|a, b| b.id.cmp(&a.id));
        if !missing.is_empty() {
            for partition in missing {
                self.announce(partition, None).await?;
            }
            rows = shared.table.scan(true).await?;
        }
        let decision = {
            let mut observations = shared.observations();
            observations.decide(&rows, host, shared.config.failover, Instant::now())
        };
        if decision.failovers > 0 {
            shared.meters.failed_over(decision.failovers);
        }
        let outdated = {
            let history = rows.iter().filter(|row| is_history(row, &rows, host.listed));
            let (kept, now) = (shared.config.history_kept, Instant::now());
            shared.observations().outdated(history, kept, now)
        };
        for row in rows.iter().filter(|row| outdated.contains(&row.partition)) {
            // It costs a little room, and for its sake nothing fails that would work.
            match shared.table.delete_finished(&row.partition).await {
                Ok(()) => {
                    let states = row.states.objects.iter().map(|it| it.key.clone());
                    shared.remove(&states.collect::<Vec<_>>()).await;
                }
                Err(error) => {
                    let cause = error.cause.as_deref().map(ToString::to_string).unwrap_or_default();
                    tracing::warn!("{error}: {cause}");
                }
            }
        }
        if let Some((partition, from)) = decision.ask {
            self.ask(&partition, &host.owner.0, &from).await?;
        }
        Ok(decision.share)
    }
}

/// Whether nobody asks for a finished partition any more: the source has dropped it, and whatever comes
/// after it has begun, and has taken its states.
fn is_history(row: &Row, rows: &[Row], listed: &[Partition]) -> bool {
    let is_listed = listed.is_empty() || listed.iter().any(|it| it.id == row.partition);
    let mut children = rows.iter().filter(|it| it.parents.contains(&row.partition));
    row.is_finished() && !is_listed && children.all(|it| it.is_finished() || it.resume.is_some())
}

impl LeaseStore {
    /// A queue has told this host of what is listed, so that it is its own unless another host is still
    /// at work on it. Nothing is spread, and no other row is looked at.
    async fn look_at_listed(&self, host: HostSituation<'_>) -> Result<Share, StoreError> {
        let shared = &self.shared;
        let mut rows = Vec::new();
        for partition in host.listed.iter().filter(|it| !host.running.contains(&it.id)) {
            let mut row = shared.table.get(&partition.id).await?;
            if row.is_none() {
                self.announce(partition, None).await?;
                row = shared.table.get(&partition.id).await?;
            }
            rows.extend(row);
        }
        let (take, failovers) = {
            let mut observations = shared.observations();
            observations.of_queue(&rows, &host.owner.0, shared.config.failover, Instant::now())
        };
        if failovers > 0 {
            shared.meters.failed_over(failovers);
        }
        Ok(Share { take, ..Share::default() })
    }

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

#[cfg(test)]
mod tests {
    use tidegate_core::checkpoint::OwnerId;

    use super::{super::row::Item, *};

    const FAILOVER: Duration = Duration::from_secs(10);

    /// A table, and what hosts do with it.
    struct Simulated {
        rows: Vec<Row>,
        listed: Vec<Partition>,
        now: Instant,
    }

    impl Simulated {
        fn with(leases: usize) -> Self {
            let listed = (0..leases).map(|n| Partition {
                id: PartitionId::from(format!("shard-{n:02}").as_str()),
                parents: Vec::new(),
                hash_range: None,
            });
            let listed: Vec<Partition> = listed.collect();
            let row = |id: &PartitionId| {
                let key = ("leaseKey".to_owned(), AttributeValue::S(id.to_string()));
                Row::read(&Item::from([key])).expect("readable").expect("a lease")
            };
            let rows = listed.iter().map(|it| row(&it.id)).collect();
            Simulated { rows, listed, now: Instant::now() }
        }

        fn of(&self, owner: &str) -> BTreeSet<PartitionId> {
            let owned = self.rows.iter().filter(|it| it.is_of(owner));
            owned.map(|it| it.partition.clone()).collect()
        }

        fn row(&mut self, id: &PartitionId) -> &mut Row {
            self.rows.iter_mut().find(|it| it.partition == *id).expect("it is listed")
        }

        /// A host looks, and does at once what it is told; what it has it renews.
        fn turn(&mut self, host: &mut Observations, name: &str) -> Decision {
            let (owner, running) = (OwnerId(name.to_owned()), self.of(name));
            let stopped = BTreeSet::new();
            let situation = HostSituation {
                owner: &owner,
                listed: &self.listed,
                running: &running,
                stopped: &stopped,
            };
            let decision = host.decide(&self.rows, situation, FAILOVER, self.now);
            for id in &running {
                self.row(id).counter += 1;
            }
            for id in &decision.share.give_up {
                let row = self.row(id);
                row.hands_over = None;
                row.counter += 1;
            }
            for id in &decision.share.take {
                let row = self.row(id);
                row.owner = Some(name.to_owned());
                row.hands_over = None;
                row.counter += 1;
            }
            if let Some((id, from)) = &decision.ask {
                let row = self.row(id);
                row.owner = Some(name.to_owned());
                row.hands_over = Some(from.clone());
            }
            decision
        }
    }

    #[test]
    fn leases_come_to_be_spread_to_within_one_whatever_the_numbers_and_stay_so() {
        for (leases, hosts) in [(1, 2), (4, 3), (7, 2), (8, 8), (16, 5), (64, 8), (3, 8)] {
            let mut table = Simulated::with(leases);
            let names: Vec<String> = (0..hosts).map(|n| format!("host-{n}")).collect();
            let mut seen: Vec<Observations> =
                names.iter().map(|_| Observations::default()).collect();
            let counts = |table: &Simulated| -> Vec<usize> {
                names.iter().map(|name| table.of(name).len()).collect()
            };
            // The first is alone for a while.
            table.turn(&mut seen[0], &names[0]);
            for _ in 0..leases + 10 {
                table.now += Duration::from_secs(1);
                for (host, name) in seen.iter_mut().zip(&names) {
                    table.turn(host, name);
                }
            }
            let spread = counts(&table);
            let (least, most) = (spread.iter().min(), spread.iter().max());
            assert_eq!(spread.iter().sum::<usize>(), leases, "{spread:?}");
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{spread:?}");
            for (host, name) in seen.iter_mut().zip(&names) {
                let Decision { share, ask, .. } = table.turn(host, name);
                assert!(share.take.is_empty() && share.give_up.is_empty() && ask.is_none());
            }
        }
    }

    #[test]
    fn a_lease_expires_by_what_this_host_has_seen_and_not_before() {
        let mut table = Simulated::with(2);
        let (mut a, mut b) = (Observations::default(), Observations::default());
        table.turn(&mut a, "a");
        assert_eq!(table.of("a").len(), 2);
        // `a` is gone. `b` can't know whether it had renewed them just before.
        assert_eq!(table.turn(&mut b, "b"), Decision::default());
        table.now += FAILOVER - Duration::from_millis(1);
        let decision = table.turn(&mut b, "b");
        assert_eq!(
            (decision.share.take.len(), decision.ask),
            (0, None),
            "nor is a dead host asked"
        );
        table.now += Duration::from_millis(1);
        let decision = table.turn(&mut b, "b");
        assert_eq!((decision.share.take.len(), decision.failovers), (2, 2));
        assert_eq!(table.of("b").len(), 2);
    }

    #[test]
    fn what_a_queue_tells_of_is_taken_unless_another_host_is_at_work_on_it() {
        let mut table = Simulated::with(3);
        let [free, held, done] = [0, 1, 2].map(|it: usize| table.listed[it].id.clone());
        table.row(&held).owner = Some("a".to_owned());
        table.row(&done).owner = Some("a".to_owned());
        table.row(&done).checkpoint = Some("SHARD_END".to_owned());
        let mut b = Observations::default();
        let mut look = |table: &Simulated| b.of_queue(&table.rows, "b", FAILOVER, table.now);
        assert_eq!(look(&table), ([free.clone(), done.clone()].into(), 0));
        // It lives, however long it takes.
        for _ in 0..5 {
            table.now += FAILOVER / 2;
            table.row(&held).counter += 1;
            assert_eq!(look(&table).0, [free.clone(), done.clone()].into());
        }
        table.now += FAILOVER;
        assert_eq!(look(&table), ([free, held, done].into(), 1));
    }

    #[test]
    fn a_host_that_starts_again_takes_back_what_it_had_at_once_and_only_that() {
        let mut table = Simulated::with(4);
        let runs = ["a-1:1", "b-1:1"].map(|name| (Observations::default(), name));
        let [(mut first, a), (mut other, b)] = runs;
        for _ in 0..6 {
            table.turn(&mut first, a);
            table.turn(&mut other, b);
            table.now += Duration::from_secs(1);
        }
        let (had, theirs) = (table.of(a), table.of(b));
        assert_eq!((had.len(), theirs.len()), (2, 2));
        let decision = table.turn(&mut Observations::default(), "a-1:2");
        assert_eq!((&decision.share.take, decision.failovers), (&had, 0));
        assert_eq!((table.of("a-1:2"), table.of(b)), (had.clone(), theirs.clone()));
        // A third host of a similar name has to wait.
        let decision = table.turn(&mut Observations::default(), "a-12:1");
        assert_eq!(decision.share.take, [].into());
        // Nor does a run take anything back later, as a copy of a host would for ever.
        let mut second = Observations::default();
        table.turn(&mut second, "a-1:3");
        assert_eq!(table.of("a-1:3"), had);
        for id in &had {
            table.row(id).owner = Some("a-1:4".to_owned());
            table.row(id).counter += 1;
        }
        let decision = table.turn(&mut second, "a-1:3");
        assert_eq!(decision.share.take, [].into());
    }

    #[test]
    fn whoever_is_asked_and_does_not_answer_is_waited_for_only_so_long() {
        for dies in [true, false] {
            let mut table = Simulated::with(2);
            let (mut a, mut b) = (Observations::default(), Observations::default());
            table.turn(&mut a, "a");
            table.turn(&mut b, "b");
            table.turn(&mut a, "a");
            let asked = table.turn(&mut b, "b").ask.expect("two are too many").0;
            let mut waited = Duration::ZERO;
            while table.row(&asked).hands_over.is_some() {
                let step = Duration::from_secs(1);
                table.now += step;
                waited += step;
                if !dies {
                    // It renews, and is at work on a range that does not end.
                    table.row(&asked).counter += 1;
                }
                table.turn(&mut b, "b");
            }
            // That it hands over is seen with the next look.
            let expected = if dies { FAILOVER } else { HAND_OVER_MAX + Duration::from_secs(1) };
            assert_eq!(waited, expected);
            assert!(table.of("b").contains(&asked));
        }
    }

    #[test]
    fn a_lease_that_its_host_can_not_work_on_is_left_to_others() {
        let mut table = Simulated::with(2);
        let mut a = Observations::default();
        let (owner, running) = (OwnerId("a".to_owned()), BTreeSet::new());
        let stopped = BTreeSet::from([table.listed[0].id.clone()]);
        let situation = HostSituation {
            owner: &owner,
            listed: &table.listed,
            running: &running,
            stopped: &stopped,
        };
        let share = a.decide(&table.rows, situation, FAILOVER, table.now).share;
        assert_eq!(share.take, [table.listed[1].id.clone()].into());
        // The other has its share already, and takes it all the same when nobody else does.
        let mut b = Observations::default();
        table.row(&table.listed[1].id.clone()).owner = Some("a".to_owned());
        table.turn(&mut b, "b");
        assert_eq!(table.of("b").len(), 1);
    }
}
