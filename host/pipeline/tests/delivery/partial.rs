//! A sink that takes a part of what it is given, and says what is left.

use std::{collections::BTreeMap, time::Duration};

use tidegate_pipeline::memory::{MemorySink, Storm};

use crate::world::{ARCHIVE, World, expected, expected_letters, lines};

const RECORDS: usize = 60;

/// A world whose archive takes some lines at a time.
fn picky(seed: u64) -> World {
    let mut world = World::with_records(RECORDS);
    world.archive = MemorySink::unnamed(ARCHIVE);
    world.archive.take_some(seed);
    world
}

/// What the archive was given, in order.
fn taken(world: &World) -> Vec<String> {
    lines(world.archive.delivered().into_iter().map(|object| object.content))
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Invariant: what is reported delivered was taken, and each line once where no answer was lost.
/// What is left over is written behind what came after it: the order is not kept.
#[tokio::test(start_paused = true)]
async fn only_what_is_left_is_written_again() {
    let mut out_of_order = 0;
    for seed in 0..100 {
        let world = picky(seed);
        // Nothing of these is taken, so all that was left then is left still.
        world.archive.fail_next(seed as usize % 4);
        let report = world.run().await;
        assert!(report.is_complete(), "seed {seed}: {report:?}");
        let taken = taken(&world);
        out_of_order += u32::from(taken != expected("p", RECORDS));
        assert_eq!(sorted(taken), sorted(expected("p", RECORDS)), "seed {seed}");
        assert_eq!(report.counts.delivered.records, expected("p", RECORDS).len() as u64);
        assert_eq!(world.dead_letters(), expected_letters(RECORDS), "seed {seed}");

        // What is left of an object has its name.
        let mut records: BTreeMap<String, u64> = BTreeMap::new();
        for object in world.archive.delivered() {
            let lines = object.content.iter().filter(|byte| **byte == b'\n').count();
            *records.entry(object.key).or_default() += lines as u64;
        }
        let intents = world.intents();
        let objects = intents.iter().flat_map(|it| &it.objects).filter(|it| it.sink == ARCHIVE);
        let described = objects.map(|it| (it.key.clone(), it.records)).collect();
        assert_eq!(records, described, "seed {seed}");
    }
    assert!(out_of_order > 90, "{out_of_order} of 100: the sink takes everything at once");
}

/// Where an answer is lost, or none was given in time, all that was left then is written again.
#[tokio::test(start_paused = true)]
async fn where_an_answer_is_lost_a_line_may_come_twice_and_none_is_missing() {
    let mut twice = 0;
    for seed in 0..100 {
        let world = picky(seed);
        let delay_max = Duration::from_millis(20);
        world.archive.storm(Some(Storm { seed, trouble_per_mille: 200, delay_max }));
        let report = world.run().await;
        assert!(report.is_complete(), "seed {seed}: {report:?}");
        let mut taken = sorted(taken(&world));
        let written = taken.len();
        taken.dedup();
        assert_eq!(taken, sorted(expected("p", RECORDS)), "seed {seed}");
        twice += u32::from(written > taken.len());
    }
    assert!(twice > 10, "{twice} of 100: no answer was lost");
}
