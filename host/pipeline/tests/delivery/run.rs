//! Which partitions are read, in which order, where, and until when.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    ObjectDigest, Sink,
    batcher::Cut,
    sink::{Naming, Object, SinkError},
};
use tidegate_pipeline::{
    Error, Shutdown, Workers,
    failpoint::Failpoints,
    memory::{MemoryRecord, MemorySink, StoreWrite},
    partition::Outcome,
    shutdown,
};

use crate::world::{World, expected, lines, record};

#[tokio::test(start_paused = true)]
async fn a_child_shard_is_not_read_before_its_parents_are_finished() {
    let world = World::new();
    for (partition, parents) in
        [("a", &["m", "z"][..]), ("m", &["z"]), ("z", &[]), ("b", &["gone"])]
    {
        world.fill(partition, 25);
        world.source.follows(partition, parents);
    }
    assert!(world.run().await.is_complete());
    let first = |of: &str| {
        let history = world.store.history();
        let acquired = |it: &StoreWrite| matches!(it, StoreWrite::Acquire { partition, .. } if &*partition.0 == of);
        history.iter().position(acquired).expect("every partition is acquired")
    };
    let last = |of: &str| {
        let history = world.store.history();
        let written = |it: &StoreWrite| match it {
            StoreWrite::Commit { partition, .. } | StoreWrite::Finish { partition } => {
                &*partition.0 == of
            }
            _ => false,
        };
        history.iter().rposition(written).expect("every partition is finished")
    };
    assert!(last("z") < first("m") && last("m") < first("a"));
}

#[tokio::test(start_paused = true)]
async fn children_of_a_partition_that_is_stuck_are_not_read() {
    let world = World::new();
    for partition in ["parent", "child", "other"] {
        world.fill(partition, 25);
    }
    world.source.follows("child", &["parent"]);
    let twin = world.twin();
    twin.run().await;
    let of_parent = |key: &&String| key.contains("parent");
    let objects = twin.archive.objects();
    world.archive.plant(objects.keys().find(of_parent).expect("an object"), b"foreign\n");
    let report = world.run().await;
    let outcome = |of: &str| {
        let partition = report.partitions.iter().find(|it| &*it.partition.0 == of);
        partition.expect("it is reported").outcome
    };
    assert_eq!(outcome("parent"), Outcome::Stopped);
    assert_eq!(outcome("child"), Outcome::Stopped);
    assert_eq!(outcome("other"), Outcome::Finished, "one partition does not stop another");
    assert!(world.saw("Opened { partition: PartitionId(\"other\")"));
    assert!(!world.saw("Opened { partition: PartitionId(\"child\")"));
    assert!(!report.is_complete() && report.stopped().count() == 2);
}

#[tokio::test(start_paused = true)]
async fn finished_partitions_are_not_opened_again() {
    let world = World::with_records(25);
    world.fill("empty", 0);
    assert!(world.run().await.is_complete());
    let opened = world.source.opened("p");
    let report = world.run().await;
    assert!(report.is_complete());
    assert!(report.partitions.iter().all(|it| it.outcome == Outcome::AlreadyFinished));
    assert_eq!((world.source.opened("p"), report.counts.read.records), (opened, 0));
}

/// Where partitions come and go, the source hears of each end, a run keeps no report of those that were
/// done, and one that comes again is found to be finished.
#[tokio::test(start_paused = true)]
async fn partitions_that_come_and_go_leave_their_counts_and_nothing_else() {
    let world = World::new();
    world.source.let_pass();
    for partition in ["a", "b"] {
        world.fill(partition, 25);
    }
    world.source.push("open", record("open", 0));
    let comes_again = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.fill("a", 25);
        world.fill("c", 10);
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.source.end("open");
    };
    let (report, ()) = tokio::join!(world.run(), comes_again);
    assert!(report.is_complete());
    let heard = world.source.heard();
    for (partition, times) in [("a", 2), ("b", 1), ("c", 1), ("open", 1)] {
        let of = heard.iter().filter(|it| it.0 == partition).map(|it| it.1);
        assert_eq!(Vec::from_iter(of), vec![true; times], "{heard:?}");
    }
    assert_eq!(report.counts.read.records, 25 + 25 + 10 + 1);
    assert!(report.partitions.is_empty(), "none is kept");
}

#[tokio::test(start_paused = true)]
async fn partitions_that_appear_while_others_run_are_read() {
    let world = World::new();
    world.source.push("first", record("first", 0));
    let appears = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.fill("second", 25);
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.source.end("first");
    };
    let (report, ()) = tokio::join!(world.run(), appears);
    assert!(report.is_complete());
    assert_eq!(report.partitions.len(), 2);
    assert_eq!(world.delivered().len(), 1 + expected("second", 25).len());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_partitions_are_read_a_few_at_a_time() {
    let world = World::new();
    for i in 0..1_000 {
        world.fill(&format!("file-{i:04}"), 3);
    }
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let progress = pipeline.progress();
    let most = async {
        let mut most = 0;
        while progress.snapshot().partitions_ended < 1_000 {
            most = most.max(progress.snapshot().partitions_open);
            tokio::task::yield_now().await;
        }
        most
    };
    let (report, most) = tokio::join!(pipeline.run(Shutdown::never()), most);
    assert!(report.expect("a report").is_complete());
    assert!(most <= 2, "{most} partitions were open at once");
    assert_eq!(world.delivered().len(), 3_000, "three of each file");
}

#[tokio::test(start_paused = true)]
async fn a_range_is_cut_when_its_spool_is_full() {
    let mut world = World::with_records(25);
    world.settings.range.records_max = 1_000;
    // Some records of each batch fit, and a batch is whole.
    world.settings.range.spooled_bytes_max = 1;
    assert!(world.run().await.is_complete());
    assert!(world.saw(&format!("cut: Some({:?})", Cut::Spool)));
    assert!(world.commits().len() > 2, "{:?}", world.commits());
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_commits_what_was_read_and_the_next_run_goes_on() {
    let mut world = World::new();
    world.settings.range.records_max = 1_000;
    world.settings.range.spooled_bytes_max = 1 << 20;
    (0..25).for_each(|i| world.source.push("p", record("p", i)));
    let (stop, listens) = shutdown();
    let run = world.pipeline(Failpoints::default(), Workers::Here).run(listens);
    let stops = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(world.commits().is_empty(), "the range is open");
        stop.drain();
    };
    let (report, ()) = tokio::join!(run, stops);
    let report = report.expect("a report");
    assert!(report.interrupted);
    assert_eq!(report.partitions[0].outcome, Outcome::Drained);
    assert_eq!(world.delivered(), expected("p", 25), "what was read is committed");

    (25..47).for_each(|i| world.source.push("p", record("p", i)));
    world.source.end("p");
    assert!(world.run().await.is_complete());
    assert_eq!(world.delivered(), expected("p", 47));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_drops_everything_and_the_next_start_recovers() {
    let world = World::with_records(25);
    world.archive.cork();
    let (stop, listens) = shutdown();
    let run = world.pipeline(Failpoints::default(), Workers::Here).run(listens);
    let stops = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        stop.drain();
        stop.force();
    };
    let (report, ()) = tokio::join!(run, stops);
    assert!(report.expect("a report").interrupted);
    assert!(world.store.pending("p").is_some());
    world.archive.uncork();
    assert!(world.run().await.is_complete());
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn a_range_that_grows_old_is_cut() {
    let mut world = World::new();
    world.settings.range.age_max = Duration::from_secs(20);
    world.source.push("p", record("p", 0));
    world.source.push("p", record("p", 1));
    let adds = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(world.commits().len(), 1, "two records are not kept waiting for a third");
        world.source.push("p", record("p", 2));
        world.source.end("p");
    };
    let (report, ()) = tokio::join!(world.run(), adds);
    assert!(report.is_complete());
    assert!(world.saw("cut: Some(Age)") && world.saw("cut: Some(Ended)"));
    assert_eq!(world.delivered(), expected("p", 3));
}

#[tokio::test(start_paused = true)]
async fn a_range_never_ends_inside_a_group() {
    let world = World::new();
    for i in 0..47 {
        let record = MemoryRecord { group_goes_on: i % 8 != 7 && i != 46, ..record("p", i) };
        world.source.push("p", record);
    }
    world.source.end("p");
    assert!(world.run().await.is_complete());
    let ends = world.intents().iter().map(|it| it.end.position.offset()).collect::<Vec<_>>();
    assert_eq!(ends, [16, 32, 47], "ten records, and then to the end of the eight");
}

#[tokio::test(start_paused = true)]
async fn an_at_least_once_sink_is_written_between_intent_and_commit() {
    let mut world = World::with_records(25);
    world.archive = MemorySink::unnamed("archive");
    let twin = world.twin();
    assert!(twin.run().await.is_complete());
    let all = |world: &World| {
        let delivered = world.archive.delivered().into_iter();
        lines(delivered.map(|object| object.content))
    };
    assert_eq!(all(&twin), expected("p", 25));

    use tidegate_pipeline::failpoint::{Failpoint, ProtocolStep, Side};
    for side in [Side::Before, Side::After] {
        for step in [ProtocolStep::Emit, ProtocolStep::Publish, ProtocolStep::Commit] {
            let world = twin.twin();
            assert!(world.run_until(Failpoint { step, side }, 2).await.is_none());
            assert!(world.run().await.is_complete());
            let mut delivered = all(&world);
            let written = delivered.len();
            // A named object that is visible says that the at-least-once sinks were written.
            let again = written > expected("p", 25).len();
            let visible = (step, side) > (ProtocolStep::Publish, Side::Before);
            let nothing_written = (step, side) == (ProtocolStep::Emit, Side::Before);
            assert_eq!(again, !visible && !nothing_written, "{side:?} {step:?}");
            delivered.sort();
            delivered.dedup();
            let mut expected = expected("p", 25);
            expected.sort();
            assert_eq!(delivered, expected, "at least once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rival_fences_the_owner_and_both_together_deliver_once() {
    let undisturbed = World::with_records(200);
    undisturbed.fill("q", 120);
    undisturbed.run().await;
    for milliseconds in (0..400).step_by(7) {
        let world = undisturbed.twin();
        let storm = tidegate_pipeline::memory::Storm {
            seed: milliseconds,
            trouble_per_mille: 20,
            delay_max: Duration::from_millis(10),
        };
        world.archive.storm(Some(storm));
        world.store.storm(Some(storm));
        let rival = async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            world.run().await
        };
        let (first, second) = tokio::join!(world.run(), rival);
        assert!(first.stopped().count() + second.stopped().count() == 0, "{first:?} {second:?}");
        // Who acquired a partition last has finished it, and nobody has to come again.
        let again = world.run().await;
        assert!(again.partitions.iter().all(|it| it.outcome == Outcome::AlreadyFinished));
        assert_eq!(world.output(), undisturbed.output());
        assert_eq!(sorted(world.commits()), sorted(undisturbed.commits()));
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

#[tokio::test]
async fn worker_threads_make_the_same_bytes_as_one_thread() {
    let world = World::new();
    for i in 0..40 {
        world.fill(&format!("file-{i:02}"), 40 + i);
    }
    let twin = world.twin();
    assert!(twin.run().await.is_complete());
    let pipeline = world.pipeline(Failpoints::default(), Workers::Threads(3));
    let report = pipeline.run(Shutdown::never()).await.expect("a report");
    assert!(report.is_complete());
    assert_eq!(world.output(), twin.output());
    assert_eq!(report.counts, twin.run_counts());
}

impl World {
    fn run_counts(&self) -> tidegate_core::checkpoint::Counts {
        let counts = self.intents().into_iter().map(|intent| intent.counts);
        counts.fold(Default::default(), |sum, it| sum.plus(&it))
    }
}

/// A sink with a defect.
struct Panicking;

#[async_trait::async_trait]
impl Sink for Panicking {
    fn name(&self) -> &str {
        "archive"
    }

    fn naming(&self) -> Naming {
        Naming::Named
    }

    async fn write(&self, _: &[Object]) -> Result<(), SinkError> {
        panic!("this panic is part of the test")
    }

    async fn find(&self, _: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_stops_its_partition_and_acknowledges_nothing() {
    let world = World::with_records(25);
    for workers in [Workers::Here, Workers::Threads(1)] {
        let pipeline = world.pipeline_to(Arc::new(Panicking), Failpoints::default(), workers);
        let report = pipeline.run(Shutdown::never()).await.expect("a report");
        let partition = &report.partitions[0];
        assert_eq!(partition.outcome, Outcome::Stopped);
        assert!(matches!(partition.error, Some(Error::Panicked { .. })));
        assert_eq!(world.store.checkpoint("p").and_then(|it| it.resume), None);
    }
    assert!(world.run().await.is_complete(), "a host without the defect goes on");
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn a_range_that_finds_no_room_for_its_plugins_is_cut_again() {
    let world = World::with_records(47);
    let twin = world.twin();
    assert!(twin.run().await.is_complete());
    world.plugin.fill_up(5);
    assert!(world.run().await.is_complete());
    assert!(world.saw("seam: Chain"));
    assert_eq!(world.output(), twin.output());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_found_room_again_waits_no_longer() {
    let world = World::with_records(47);
    world.plugin.fill_up(5);
    world.archive.cork();
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let progress = pipeline.progress();
    let looks = async {
        // The back-offs take some seconds, and what is sent to the sink has minutes.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(world.saw("seam: Chain"), "it had waited");
        let waiting = progress.snapshot().waiting;
        world.archive.uncork();
        waiting
    };
    let (report, waiting) = tokio::join!(pipeline.run(Shutdown::never()), looks);
    assert!(report.expect("a report").is_complete());
    assert_eq!(waiting, 0, "it went on");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_the_plan_names_must_be_given() {
    let world = World { letters: MemorySink::named("other"), ..World::new() };
    let error = world.try_pipeline().err().expect("a sink is missing");
    assert!(error.to_string().contains("there is no sink `dead-letters`"), "{error}");
    let world = World { archive: MemorySink::unnamed("archive"), ..World::new() };
    let named = World { archive: MemorySink::named("archive"), ..world.clone() };
    let pipeline = world.try_pipeline_to(Arc::new(named.archive));
    let error = pipeline.err().expect("a sink that differs from the plan");
    assert!(error.to_string().contains("sink `archive` is Named"), "{error}");
}
