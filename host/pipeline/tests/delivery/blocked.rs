//! An operator blocks a component while it runs: no record is taken for poison, nothing is lost,
//! and the partition goes on when it may.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidegate_pipeline::{
    Shutdown, Workers,
    failpoint::{Failpoint, Failpoints, ProtocolStep, Side},
    partition::Outcome,
    retry::{OnExhausted, RetryPolicy},
    shutdown,
};

use crate::{
    counting::CountingFactory,
    world::{World, expected, expected_letters, record},
};

/// Long enough for everything that waits for nothing but the paused clock.
const A_MOMENT: Duration = Duration::from_millis(500);

/// A world whose patience ends after two failures.
fn impatient() -> World {
    let mut world = World::new();
    world.settings.retry =
        RetryPolicy { attempts: 2, on_exhausted: OnExhausted::Stop, ..RetryPolicy::default() };
    world
}

#[tokio::test(start_paused = true)]
async fn a_blocked_plugin_makes_its_partition_wait_and_no_record_poison() {
    let world = impatient();
    (0..6).for_each(|i| world.source.push("p", record("p", i)));
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let (swaps, progress) = (pipeline.swap_handle(), pipeline.progress());
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        // An instance is at work: it refuses the next batch.
        world.plugin.block(true);
        (6..25).for_each(|i| world.source.push("p", record("p", i)));
        world.source.end("p");
        // Much longer than the patience with an outage lasts.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(progress.snapshot().waiting, 1);
        assert!(world.saw("plugin-blocked") && world.saw("seam: Chain"));
        assert_eq!((world.commits().len(), world.dead_letters()), (0, 0));
        world.plugin.block(false);
        swaps.wake();
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 3, "it goes on at once");
    };
    let (report, ()) = tokio::join!(pipeline.run(Shutdown::never()), story);
    assert!(report.expect("a report").is_complete());
    assert_eq!(world.delivered(), expected("p", 25));
    assert_eq!(world.dead_letters(), expected_letters(25), "none is there for the plugin's sake");
}

#[tokio::test(start_paused = true)]
async fn another_plan_takes_over_from_a_blocked_one_at_once() {
    let world = impatient();
    world.plugin.block(true);
    world.fill("p", 25);
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let swaps = pipeline.swap_handle();
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 0);
        let other = World { plugin: Arc::new(CountingFactory::new()), ..world.clone() };
        swaps.offer(other.plan_of("two")).expect("it fits");
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 3, "it need not wait for the next look");
    };
    let (report, ()) = tokio::join!(pipeline.run(Shutdown::never()), story);
    assert!(report.expect("a report").is_complete());
    let two = world.plan_of("two").generation();
    assert!(world.intents().iter().all(|intent| intent.generation == two));
    assert!(world.saw(&format!("to: {two:?}")), "the swap is told of");
}

#[tokio::test(start_paused = true)]
async fn a_swap_that_is_offered_while_a_partition_backs_off_is_told_of() {
    let world = World::new();
    (0..6).for_each(|i| world.source.push("p", record("p", i)));
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let swaps = pipeline.swap_handle();
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        // There is no room for an instance behind the first range, and then another plan serves.
        world.plugin.fill_up(1);
        (6..25).for_each(|i| world.source.push("p", record("p", i)));
        while !world.saw("seam: Chain") {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        swaps.offer(world.plan_of("two")).expect("it fits");
        world.source.end("p");
    };
    let (report, ()) = tokio::join!(pipeline.run(Shutdown::never()), story);
    assert!(report.expect("a report").is_complete());
    let of = |generation| world.plan_of(generation).generation();
    assert!(world.saw(&format!("from: {:?}, to: {:?}", of("one"), of("two"))));
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_partition_stops_when_it_is_told_to() {
    let world = impatient();
    world.plugin.block(true);
    world.fill("p", 25);
    let (stop, listens) = shutdown();
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let since = tokio::time::Instant::now();
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        stop.drain();
    };
    let (report, ()) = tokio::join!(pipeline.run(listens), story);
    let report = report.expect("a report");
    assert_eq!(report.partitions[0].outcome, Outcome::Drained);
    assert!(since.elapsed() < world.settings.drain_max, "there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn what_is_half_there_waits_for_a_generation_that_the_policy_withholds() {
    let mut world = impatient();
    world.fill("p", 25);
    let publish = Failpoint { step: ProtocolStep::Publish, side: Side::After };
    assert!(world.run_until(publish, 1).await.is_none());
    world.generation = "two";
    world.kept = vec!["one"];
    world.withheld.store(true, Ordering::Relaxed);
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let swaps = pipeline.swap_handle();
    let story = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(world.saw("held back by the policy"));
        assert_eq!(world.commits().len(), 0);
        world.withheld.store(false, Ordering::Relaxed);
        swaps.wake();
    };
    let (report, ()) = tokio::join!(pipeline.run(Shutdown::never()), story);
    assert!(report.expect("a report").is_complete());
    assert_eq!(world.delivered(), expected("p", 25));
}
