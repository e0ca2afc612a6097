//! Hosts that share a source: partitions go from one to the other and back, and nothing is lost, nothing
//! is twice, and children wait for parents that another host reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    checkpoint::{StoreError, StoreErrorKind},
    coordinator::{Coordinator, HostSituation, Share},
    sink::{Naming, Object, SinkError},
    source::PartitionId,
};
use tidegate_pipeline::{
    Report, Shutdown, Workers,
    failpoint::Failpoints,
    memory::{MemorySink, MemoryStore, StoreWrite},
    partition::{Outcome, PartitionReport},
    shutdown,
};

use crate::world::{World, expected, expected_letters, record};

/// Who is to have what, as the test says.
#[derive(Default)]
struct Assignments {
    to: BTreeMap<PartitionId, &'static str>,
    running: BTreeMap<&'static str, BTreeSet<PartitionId>>,
    /// Others are not waited for.
    by_force: bool,
    /// So many looks fail.
    fail: usize,
}

/// One host's view of it.
struct Host {
    name: &'static str,
    assignments: Arc<Mutex<Assignments>>,
    store: MemoryStore,
}

#[async_trait]
impl Coordinator for Host {
    fn look_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    async fn look(&self, host: HostSituation<'_>) -> Result<Share, StoreError> {
        let mut assignments = self.assignments.lock().expect("no test panics while it holds it");
        assignments.running.insert(self.name, host.running.clone());
        if assignments.fail > 0 {
            assignments.fail -= 1;
            return Err(StoreError::plain(StoreErrorKind::Unavailable, "it was told to fail"));
        }
        let mut share = Share::default();
        for partition in host.listed {
            let id = &partition.id;
            let mine = assignments.to.get(id) == Some(&self.name);
            let others = assignments.running.iter().filter(|(name, _)| **name != self.name);
            let busy = others.into_iter().any(|(_, running)| running.contains(id));
            let finished = self.store.checkpoint(&id.0).is_some_and(|it| it.finished);
            match (finished, mine) {
                (true, _) => drop(share.finished.insert(id.clone())),
                (false, true) if !busy || assignments.by_force => {
                    share.take.insert(id.clone());
                }
                (false, false) if !assignments.by_force => {
                    share.give_up.insert(id.clone());
                }
                _ => {}
            }
        }
        Ok(share)
    }
}

/// Two hosts over one world.
struct Fleet {
    hosts: [World; 2],
    assignments: Arc<Mutex<Assignments>>,
}

impl Fleet {
    fn over(world: &World) -> Fleet {
        let assignments: Arc<Mutex<Assignments>> = Arc::default();
        let hosts = ["a", "b"].map(|name| {
            let (assignments, store) = (assignments.clone(), world.store.clone());
            let coordinator = Arc::new(Host { name, assignments, store });
            World { coordinator, ..world.clone() }
        });
        Fleet { hosts, assignments }
    }

    fn assign(&self, partition: &str, host: &'static str) {
        let mut assignments = self.assignments.lock().expect("no test panics while it holds it");
        assignments.to.insert(PartitionId::from(partition), host);
    }

    /// Runs both until everything is finished.
    async fn run(&self, story: impl Future<Output = ()>) -> [Report; 2] {
        let run = |world: &World| {
            world.pipeline(Failpoints::default(), Workers::Here).run(Shutdown::never())
        };
        let [a, b] = &self.hosts;
        let (a, b, ()) = tokio::join!(run(a), run(b), story);
        [a.expect("a report"), b.expect("a report")]
    }
}

fn report<'a>(report: &'a Report, partition: &str) -> &'a PartitionReport {
    let found = report.partitions.iter().find(|it| &*it.partition.0 == partition);
    found.expect("it is reported")
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_handed_over_and_back_between_two_ranges() {
    let world = World::new();
    let fleet = Fleet::over(&world);
    fleet.assign("p", "a");
    fleet.assign("q", "a");
    let push = |from: usize, to: usize| {
        for i in from..to {
            world.source.push("p", record("p", i));
            world.source.push("q", record("q", i));
        }
    };
    push(0, 13);
    let reports = fleet.run(async {
        seconds(10).await;
        fleet.assign("q", "b");
        seconds(10).await;
        push(13, 39);
        // In the middle of a range, and while the table can't be read.
        fleet.assignments.lock().expect("nobody panics").fail = 5;
        fleet.assign("q", "a");
        seconds(10).await;
        push(39, 50);
        world.source.end("p");
        world.source.end("q");
    });
    let [a, b] = reports.await;
    assert_eq!(world.delivered(), [expected("p", 50), expected("q", 50)].concat());
    assert_eq!(world.dead_letters(), 2 * expected_letters(50));
    assert!(a.is_complete(), "{a:?}");
    assert_eq!(report(&b, "q").outcome, Outcome::Drained);
    let read = [&a, &b].map(|it| report(it, "q").counts.read.records);
    assert_eq!(read[0] + read[1], 50, "{read:?}");
    assert!(read[1] >= 26, "{read:?}");
    let taken =
        world.store.history().into_iter().filter(
            |it| matches!(it, StoreWrite::Acquire { partition, .. } if &*partition.0 == "q"),
        );
    assert_eq!(taken.count(), 3, "by one, the other and the first again");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_lost_is_taken_again() {
    let world = World::new();
    let fleet = Fleet::over(&world);
    fleet.assign("p", "a");
    fleet.assignments.lock().expect("nobody panics").by_force = true;
    let push =
        |from: usize, to: usize| (from..to).for_each(|i| world.source.push("p", record("p", i)));
    push(0, 13);
    let reports = fleet.run(async {
        seconds(10).await;
        push(13, 25);
        fleet.assign("p", "b");
        seconds(30).await;
        push(25, 38);
        fleet.assign("p", "a");
        seconds(30).await;
        push(38, 50);
        world.source.end("p");
    });
    let [a, b] = reports.await;
    assert_eq!(world.delivered(), expected("p", 50));
    assert_eq!(world.dead_letters(), expected_letters(50));
    assert_eq!(report(&a, "p").outcome, Outcome::Finished);
    assert_eq!(report(&b, "p").outcome, Outcome::Lost);
    assert!(world.saw("outcome: Lost"), "by the other, and by the first");
}

#[tokio::test(start_paused = true)]
async fn a_child_is_read_when_another_host_has_finished_its_parents() {
    let world = World::new();
    world.fill("parent", 25);
    world.fill("child", 25);
    world.source.follows("child", &["parent"]);
    let fleet = Fleet::over(&world);
    fleet.assign("child", "b");
    let reports = fleet.run(async {
        seconds(60).await;
        assert!(world.commits().is_empty(), "its parent is nobody's yet");
        fleet.assign("parent", "a");
    });
    let [a, b] = reports.await;
    assert_eq!(report(&a, "parent").outcome, Outcome::Finished);
    assert_eq!(report(&b, "child").outcome, Outcome::Finished);
    let order: Vec<String> = world.commits().into_iter().map(|it| it.0).collect();
    assert!(order.is_sorted_by(|a, b| a >= b), "{order:?}");
    assert_eq!(world.delivered(), [expected("child", 25), expected("parent", 25)].concat());
}

/// The archive as a host reaches it that is slow.
struct Slow {
    archive: MemorySink,
    until: tokio::time::Instant,
}

#[async_trait]
impl Sink for Slow {
    fn name(&self) -> &str {
        self.archive.name()
    }

    fn naming(&self) -> Naming {
        self.archive.naming()
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        tokio::time::sleep_until(self.until).await;
        self.archive.write(objects).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        self.archive.find(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_successor_has_put_there_is_not_foreign_to_a_host_that_has_no_time_to_ask() {
    let mut world = World::new();
    world.settings.drain_max = Duration::from_secs(5);
    // It does not notice before that the partition is not its own any more.
    world.settings.renew_every = Duration::from_secs(600);
    (0..12).for_each(|i| world.source.push("p", record("p", i)));
    let mut fleet = Fleet::over(&world);
    // It can't finish what the first has begun, and puts another revision in its place.
    fleet.hosts[1].generation = "two";
    fleet.assign("p", "a");
    fleet.assignments.lock().expect("nobody panics").by_force = true;
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    let slow = Arc::new(Slow { archive: world.archive.clone(), until });
    let [a, b] = &fleet.hosts;
    let (stop, shutdown) = shutdown();
    let a = a.pipeline_to(slow, Failpoints::default(), Workers::Here).run(shutdown);
    let b = b.pipeline(Failpoints::default(), Workers::Here).run(Shutdown::never());
    let story = async {
        seconds(5).await;
        fleet.assign("p", "b");
        seconds(20).await;
        assert_eq!(world.commits().len(), 1, "by the other");
        stop.drain();
        seconds(3).await;
        // Its write comes through when its time is over, and nobody tells it whose the partition is.
        world.store.cork();
        seconds(10).await;
        world.store.uncork();
        world.source.end("p");
    };
    let (a, b, ()) = tokio::join!(a, b, story);
    assert_eq!(report(&a.expect("a report"), "p").outcome, Outcome::Drained);
    assert_eq!(report(&b.expect("a report"), "p").outcome, Outcome::Finished);
    assert_eq!(world.delivered(), expected("p", 12));
}
