//! A sink that takes a part of what it is given, and says what is left.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};
use tidegate_pipeline::{
    Shutdown, Workers,
    failpoint::Failpoints,
    memory::{MemorySink, Storm},
    retry::{OnExhausted, RetryPolicy},
};
use tokio::time::Instant;

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

/// A sink that takes the first line of what it is given, and says what is left.
struct Sipping {
    says: SinkErrorKind,
    taken: Mutex<Vec<String>>,
}

#[async_trait]
impl Sink for Sipping {
    fn name(&self) -> &str {
        ARCHIVE
    }

    fn naming(&self) -> Naming {
        Naming::Unnamed
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let (first, others) = objects.split_first().expect("something is written");
        let end = first.content.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
        let line = String::from_utf8(first.content[..end - 1].to_vec()).expect("text");
        self.taken.lock().expect("nobody panics with it").push(line);
        let rest = Object::new(&first.key, first.content.slice(end..));
        let rest: Vec<_> = [rest].into_iter().chain(others.iter().cloned()).collect();
        let rest: Vec<_> = rest.into_iter().filter(|object| !object.content.is_empty()).collect();
        match rest.is_empty() {
            true => Ok(()),
            false => Err(SinkError::plain(self.says.clone(), "a sip").with_rest(rest)),
        }
    }

    async fn find(&self, _: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}

/// A sink that goes on taking a little is neither given up nor waited for ever longer; one that has
/// only more to do than it does at once is not waited for at all.
#[tokio::test(start_paused = true)]
async fn as_long_as_something_is_taken_patience_begins_anew() {
    let first = RetryPolicy::default().delay_first;
    for says in [SinkErrorKind::Unavailable { after: None }, SinkErrorKind::Unfinished] {
        let mut world = picky(0);
        world.settings.range.records_max = RECORDS as u64;
        world.settings.retry.attempts = 3;
        world.settings.retry.on_exhausted = OnExhausted::Stop;
        let sink = Arc::new(Sipping { says: says.clone(), taken: Mutex::default() });
        let started = Instant::now();
        let pipeline = world.pipeline_to(sink.clone(), Failpoints::default(), Workers::Here);
        let report = pipeline.run(Shutdown::never()).await.expect("the source can be listed");
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(*sink.taken.lock().expect("it is over"), expected("p", RECORDS));
        let waited = started.elapsed();
        let has_waited = says != SinkErrorKind::Unfinished;
        assert_eq!(world.saw("Waiting"), has_waited);
        let most = if has_waited { first * RECORDS as u32 } else { Duration::from_millis(20) };
        assert!(waited <= most, "{says:?}: {waited:?}");
    }
}
