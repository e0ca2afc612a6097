//! Many seeds: everything fails now and then, processes die, and in the end all is as if nothing
//! had happened.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::Position;
use tidegate_pipeline::{
    Error,
    failpoint::Failpoint,
    memory::{MemoryRecord, StoreWrite, Storm},
};

use crate::world::{World, expected, record};

/// More with `TIDEGATE_SEEDS`.
fn seeds() -> u64 {
    let asked_for = std::env::var("TIDEGATE_SEEDS").ok();
    asked_for.map_or(200, |text| text.parse().expect("TIDEGATE_SEEDS is a number"))
}

/// A source with some partitions, some of them children, some records in groups.
fn random_world(random: &mut ChaCha8Rng) -> World {
    let mut world = World::new();
    for number in 0..random.random_range(1..5) {
        let name = format!("p{number}");
        let records = random.random_range(0..80);
        let groups = random.random_range(1..6);
        for i in 0..records {
            let group_goes_on = i % groups != 0 && i + 1 < records;
            world.source.push(&name, MemoryRecord { group_goes_on, ..record(&name, i) });
        }
        world.source.end(&name);
        if number > 0 && random.random_bool(0.4) {
            world.source.follows(&name, &[&format!("p{}", random.random_range(0..number))]);
        }
    }
    world.settings.range.records_max = random.random_range(1..30);
    world.settings.range.bytes_max = random.random_range(100..4_000);
    world.settings.range.spooled_bytes_max = random.random_range(50..1_000);
    world.settings.batch.records_max = random.random_range(1..9);
    world.settings.read_bytes_max = random.random_range(1..500);
    world
}

fn storm(random: &mut ChaCha8Rng) -> Storm {
    Storm {
        seed: random.random(),
        trouble_per_mille: random.random_range(0..150),
        delay_max: Duration::from_millis(random.random_range(0..40)),
    }
}

/// One life of a seed. Returns all that happened, in order.
async fn live(seed: u64) -> (World, Vec<String>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let world = random_world(&mut random);
    for _ in 0..random.random_range(0..8) {
        world.source.storm(Some(storm(&mut random)));
        world.archive.storm(Some(storm(&mut random)));
        world.letters.storm(Some(storm(&mut random)));
        world.store.storm(Some(storm(&mut random)));
        let places = Failpoint::all().collect::<Vec<_>>();
        let place = places[random.random_range(0..places.len())];
        let time = Duration::from_millis(random.random_range(0..30_000));
        world.plugin.fill_up(random.random_range(0..4));
        let nth = random.random_range(1..20);
        // It dies at a place, or at a time, or neither.
        let _ = tokio::time::timeout(time, world.run_until(place, nth)).await;
        if random.random_bool(0.5) {
            world.archive.land_delayed_writes();
            world.letters.land_delayed_writes();
        }
        check(&world, seed);
    }
    let calm = |storm| {
        world.source.storm(storm);
        world.archive.storm(storm);
        world.letters.storm(storm);
        world.store.storm(storm);
    };
    calm(None);
    world.plugin.fill_up(0);
    let report = world.run().await;
    assert!(report.is_complete(), "seed {seed}: {report:?}");
    check(&world, seed);
    let events = world.events.lock().expect("no test panics while it holds it").clone();
    let history = world.store.history().into_iter().map(|write| format!("{write:?}"));
    let trace = events.into_iter().chain(history).collect();
    (world, trace)
}

/// What holds at every moment.
fn check(world: &World, seed: u64) {
    let mut fences = std::collections::BTreeMap::new();
    let mut ends = std::collections::BTreeMap::new();
    for write in world.store.history() {
        match write {
            StoreWrite::Acquire { partition, counter } => {
                let before = fences.insert(partition, counter);
                assert!(before < Some(counter), "seed {seed}: the fence grows");
            }
            StoreWrite::Commit { partition, counter, range, end } => {
                assert_eq!(
                    fences.get(&partition),
                    Some(&counter),
                    "seed {seed}: the owner commits"
                );
                let before = ends.insert(partition, (range, end));
                let next = before.map_or(0, |(range, _)| range + 1);
                assert_eq!(range, next, "seed {seed}: every range once, in order");
                let at = before.map_or(Position::default(), |(_, end)| end);
                assert!(at < end, "seed {seed}: a checkpoint never moves back");
            }
            _ => {}
        }
    }
    // Invariant: order per partition key holds from source to sink.
    let delivered = world.delivered();
    for number in 0..5 {
        let partition = format!("p{number}");
        world.assert_checkpoint_is_not_ahead(&partition);
        let mut whole = expected(&partition, 80).into_iter();
        let of_this = |text: &&String| text.contains(&format!("\"{partition}\""));
        for text in delivered.iter().filter(of_this) {
            assert!(whole.any(|it| it == *text), "seed {seed}: {text} is out of order, or twice");
        }
    }
    for intent in world.intents() {
        assert!(intent.counts.conserved(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_seed_ends_as_if_nothing_had_happened() {
    for seed in 0..seeds() {
        let (world, _) = live(seed).await;
        let undisturbed = world.twin();
        assert!(undisturbed.run().await.is_complete());
        assert_eq!(world.output(), undisturbed.output(), "seed {seed}");
        for number in 0..5 {
            let states = |world: &World| world.store.states_of(&format!("p{number}"));
            assert_eq!(states(&world), states(&undisturbed), "seed {seed}");
        }
        let order = |world: &World| {
            let mut commits = world.commits();
            commits.sort();
            commits
        };
        assert_eq!(order(&world), order(&undisturbed), "seed {seed}");
    }
}

/// Rivals fence each other, and operators change the plugins between and beside them. Bytes may
/// lie under other names then; every record is still there once.
#[tokio::test(start_paused = true)]
async fn rivals_and_changing_generations_lose_nothing_and_double_nothing() {
    for seed in 0..seeds() {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut world = random_world(&mut random);
        let places = Failpoint::all().collect::<Vec<_>>();
        for _ in 0..random.random_range(1..8) {
            world.archive.storm(Some(storm(&mut random)));
            world.letters.storm(Some(storm(&mut random)));
            world.store.storm(Some(storm(&mut random)));
            world.generation = ["one", "two", "three"][random.random_range(0..3)];
            let mut draw = || {
                let place = places[random.random_range(0..places.len())];
                let begins = Duration::from_millis(random.random_range(0..300));
                let time = Duration::from_millis(random.random_range(0..10_000));
                (place, begins, time, random.random_range(1..20))
            };
            let (one, two) = (draw(), draw());
            let live = async |(place, begins, time, nth)| {
                tokio::time::sleep(begins).await;
                let _ = tokio::time::timeout(time, world.run_until(place, nth)).await;
            };
            tokio::join!(live(one), live(two));
            if random.random_bool(0.5) {
                world.archive.land_delayed_writes();
                world.letters.land_delayed_writes();
            }
            check(&world, seed);
        }
        world.archive.storm(None);
        world.letters.storm(None);
        world.store.storm(None);
        // Ranges that are half there are finished by the generation that began them.
        let mut complete = false;
        for generation in ["one", "two", "three", "one", "two", "three"] {
            world.generation = generation;
            let report = world.run().await;
            complete = report.is_complete();
            let stuck = report.stopped().filter_map(|it| it.error.as_ref());
            for error in stuck {
                let half_published = matches!(error, Error::HalfPublished { .. });
                assert!(half_published, "seed {seed}: {error}");
            }
        }
        assert!(complete, "seed {seed}");
        check(&world, seed);
        let undisturbed = world.twin();
        assert!(undisturbed.run().await.is_complete());
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        assert_eq!(sorted(world.delivered()), sorted(undisturbed.delivered()), "seed {seed}");
        assert_eq!(world.dead_letters(), undisturbed.dead_letters(), "seed {seed}");
        for number in 0..5 {
            let states = |world: &World| world.store.states_of(&format!("p{number}"));
            assert_eq!(states(&world), states(&undisturbed), "seed {seed}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(live(seed)).1
    };
    for seed in 0..25 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace(1), trace(2));
}
