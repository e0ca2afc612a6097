//! Another plan takes over while records flow: nothing is lost, nothing is twice, and every range
//! is one generation's.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::batcher::Cut;
use tidegate_pipeline::{
    Plan, Shutdown, Workers,
    failpoint::{Failpoint, Failpoints, ProtocolStep, Side},
    memory::Storm,
    plan::{DeadLetterSpec, PlanSpec, SinkSpec},
    shutdown,
};

use crate::world::{ARCHIVE, LETTERS, World, expected, record};

/// Long enough for everything that waits for nothing but the paused clock.
const A_MOMENT: Duration = Duration::from_millis(500);

#[tokio::test(start_paused = true)]
async fn a_swap_cuts_the_range_between_two_batches() {
    let world = World::new();
    (0..6).for_each(|i| world.source.push("p", record("p", i)));
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let swaps = pipeline.swap_handle();
    let run = pipeline.run(Shutdown::never());
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 0, "the range has room for more");
        swaps.offer(world.plan_of("two")).expect("it fits");
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 1, "the range is cut though no record has come");
        (6..9).for_each(|i| world.source.push("p", record("p", i)));
        world.source.end("p");
    };
    let (report, ()) = tokio::join!(run, story);
    assert!(report.expect("a report").is_complete());
    let intents = world.intents();
    let of = |generation| world.plan_of(generation).generation();
    assert_eq!(intents.len(), 2);
    assert_eq!((intents[0].generation, intents[1].generation), (of("one"), of("two")));
    // States went from the old plan to the new one: the counts go on.
    assert_eq!(world.delivered(), expected("p", 9));
    assert!(world.saw(&format!("cut: Some({:?})", Cut::Swap)));
    let after = format!("after: Some({:?})", intents[0].end.position);
    assert!(world.saw(&after) && world.saw("Swapped"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_takes_a_plan_at_once() {
    let world = World::new();
    (0..4).for_each(|i| world.source.push("p", record("p", i)));
    let (stop, listens) = shutdown();
    let mut world = world;
    world.settings.range.records_max = 4;
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let swaps = pipeline.swap_handle();
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 1);
        swaps.offer(world.plan_of("two")).expect("it fits");
        tokio::time::sleep(A_MOMENT).await;
        assert!(world.saw("Swapped") && world.saw("pause: 0ns"));
        stop.drain();
    };
    let (report, ()) = tokio::join!(pipeline.run(listens), story);
    assert!(report.expect("a report").interrupted);
}

#[tokio::test(start_paused = true)]
async fn the_generation_that_serves_already_cuts_no_range() {
    let world = World::new();
    (0..6).for_each(|i| world.source.push("p", record("p", i)));
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let swaps = pipeline.swap_handle();
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        // Built anew, as by a rollback to what serves.
        swaps.offer(world.plan_of("one")).expect("it fits");
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 0, "the range has room for more");
        (6..9).for_each(|i| world.source.push("p", record("p", i)));
        world.source.end("p");
    };
    let (report, ()) = tokio::join!(pipeline.run(Shutdown::never()), story);
    assert!(report.expect("a report").is_complete());
    assert_eq!(world.intents().len(), 1);
    assert!(!world.saw("Swapped"));
    assert_eq!(world.delivered(), expected("p", 9));
}

#[tokio::test(start_paused = true)]
async fn the_next_range_is_filled_while_the_last_one_is_published() {
    let world = World::with_records(40);
    world.archive.cork();
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let (progress, swaps) = (pipeline.progress(), pipeline.swap_handle());
    let story = async {
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(world.commits().len(), 0);
        assert!(progress.snapshot().records_read > 10, "the first range has ten records");
        swaps.offer(world.plan_of("two")).expect("it fits");
        tokio::time::sleep(A_MOMENT).await;
        world.archive.uncork();
    };
    let (report, ()) = tokio::join!(pipeline.run(Shutdown::never()), story);
    assert!(report.expect("a report").is_complete());
    // What a range left of states was seen by the next one before it was committed.
    assert_eq!(world.delivered(), expected("p", 40));
}

#[tokio::test(start_paused = true)]
async fn a_plan_with_other_edges_is_refused() {
    let world = World::with_records(5);
    let swaps = world.pipeline(Failpoints::default(), Workers::Here).swap_handle();
    let spec = |pipeline: &str, source: &str, sink: &str| PlanSpec {
        sinks: vec![SinkSpec::new(sink)],
        dead_letters: DeadLetterSpec::new(LETTERS),
        ..PlanSpec::new(pipeline, source)
    };
    for (what, spec) in [
        ("the pipeline's name", spec("other", "memory", ARCHIVE)),
        ("the source", spec("delivery", "other", ARCHIVE)),
        ("a sink", spec("delivery", "memory", "other")),
    ] {
        let plan = Plan::build(spec).expect("the plan is sound");
        let error = swaps.offer(plan).expect_err(what);
        assert_eq!(error.what, what);
        assert!(error.to_string().contains("stop and start"), "{error}");
    }
    assert_eq!(swaps.serving().generation(), world.plan_of("one").generation());
}

/// A range that is half there, by generation `one`.
async fn half_published() -> World {
    let world = World::with_records(25);
    let publish = Failpoint { step: ProtocolStep::Publish, side: Side::After };
    assert!(world.run_until(publish, 1).await.is_none());
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_half_there_is_finished_by_the_generation_that_its_intent_pins() {
    let mut world = half_published().await;
    world.generation = "two";
    world.kept = vec!["one"];
    assert!(world.run().await.is_complete());
    assert!(world.saw("Replayed") || world.saw("Complete"));
    let intents = world.intents();
    let of = |generation| world.plan_of(generation).generation();
    assert_eq!((intents[0].generation, intents[0].revision), (of("one"), 0));
    assert!(intents[1..].iter().all(|it| it.generation == of("two")));
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_visible_and_the_pinned_generation_is_kept_so_it_is_replayed() {
    let mut world = World::with_records(25);
    let intent = Failpoint { step: ProtocolStep::Intent, side: Side::After };
    assert!(world.run_until(intent, 1).await.is_none());
    world.generation = "two";
    world.kept = vec!["one"];
    assert!(world.run().await.is_complete());
    assert!(world.saw("Replayed"));
    assert_eq!(world.intents().iter().filter(|it| it.range == 0).count(), 1, "no new revision");
    assert_eq!(world.delivered(), expected("p", 25));
}

/// Invariant: a swap loses nothing, doubles nothing and reorders nothing.
///
/// At least two hundred swaps at random moments, under trouble at every seam and with deaths.
#[tokio::test(start_paused = true)]
async fn a_swap_loses_nothing_doubles_nothing_and_reorders_nothing() {
    const GENERATIONS: [&str; 4] = ["one", "two", "three", "four"];
    let mut swaps_taken = 0;
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::new();
        world.kept = GENERATIONS.to_vec();
        world.settings.range.records_max = random.random_range(5..40);
        let (partitions, records) = (random.random_range(1..4), random.random_range(100..200));
        for number in 0..partitions {
            world.fill(&format!("p{number}"), records);
        }
        let mut complete = false;
        for life in 0..50 {
            let calm = life > 3;
            let storm = |random: &mut ChaCha8Rng| {
                (!calm).then(|| Storm {
                    seed: random.random(),
                    trouble_per_mille: random.random_range(0..100),
                    delay_max: Duration::from_millis(random.random_range(1..20)),
                })
            };
            world.archive.storm(storm(&mut random));
            world.letters.storm(storm(&mut random));
            world.store.storm(storm(&mut random));
            world.source.storm(storm(&mut random));
            let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
            let swaps = pipeline.swap_handle();
            let lives = Duration::from_millis(random.random_range(50..2_000));
            let offers = async {
                loop {
                    let wait = Duration::from_millis(random.random_range(0..40));
                    tokio::time::sleep(wait).await;
                    let generation = GENERATIONS[random.random_range(0..GENERATIONS.len())];
                    swaps.offer(world.plan_of(generation)).expect("it fits");
                }
            };
            let run = async {
                tokio::select! {
                    report = pipeline.run(Shutdown::never()) => Some(report.expect("a report")),
                    () = tokio::time::sleep(lives), if !calm => None,
                    () = offers => unreachable!("there is always another offer"),
                }
            };
            if let Some(report) = run.await {
                complete = report.is_complete();
                assert!(report.stopped().count() == 0, "seed {seed}: {report:?}");
            }
            if complete {
                break;
            }
        }
        assert!(complete, "seed {seed}");
        for number in 0..partitions {
            let partition = format!("p{number}");
            let of_this = |text: &String| text.contains(&format!("\"{partition}\""));
            let delivered: Vec<_> = world.delivered().into_iter().filter(of_this).collect();
            assert_eq!(delivered, expected(&partition, records), "seed {seed}");
        }
        let events = world.events.lock().expect("no test panics while it holds it").clone();
        swaps_taken += events.iter().filter(|event| event.starts_with("Swapped")).count();
        assert!(world.intents().iter().all(|intent| intent.counts.conserved()), "seed {seed}");
    }
    assert!(swaps_taken >= 200, "{swaps_taken} swaps");
}
