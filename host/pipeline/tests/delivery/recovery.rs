//! What a new owner makes of a pending range.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError},
};
use tidegate_pipeline::{
    Error, Shutdown, Workers,
    failpoint::{Failpoint, Failpoints, ProtocolStep, Side},
    memory::MemorySink,
    partition::Outcome,
};

use crate::world::{World, expected, expected_letters};

const AFTER_INTENT: Failpoint = Failpoint { step: ProtocolStep::Intent, side: Side::After };
const BEFORE_COMMIT: Failpoint = Failpoint { step: ProtocolStep::Commit, side: Side::Before };

/// A world that died where its first range was intended and nothing of it was visible.
async fn intended() -> World {
    let world = World::with_records(25);
    assert!(world.run_until(AFTER_INTENT, 1).await.is_none());
    assert!(world.store.pending("p").is_some());
    assert!(world.archive.objects().is_empty());
    world
}

/// A world that died where all of its first range was visible.
async fn published() -> World {
    let world = World::with_records(25);
    assert!(world.run_until(BEFORE_COMMIT, 1).await.is_none());
    assert_eq!(world.archive.objects().len(), 1);
    world
}

fn error_of(report: tidegate_pipeline::Report) -> Error {
    let [partition] = <[_; 1]>::try_from(report.partitions).expect("one partition");
    assert_eq!(partition.outcome, Outcome::Stopped);
    partition.error.expect("it says why it stopped")
}

#[tokio::test(start_paused = true)]
async fn a_range_that_is_all_there_is_committed_without_a_replay() {
    let world = published().await;
    let opened = world.source.opened("p");
    let stop_after = Failpoint { step: ProtocolStep::Commit, side: Side::After };
    assert!(world.run_until(stop_after, 1).await.is_none());
    assert_eq!(world.source.opened("p"), opened, "nothing was read again");
    assert_eq!(world.commits(), [("p".to_owned(), 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_range_that_is_not_there_is_replayed_to_the_same_bytes() {
    let world = intended().await;
    assert!(world.run().await.is_complete());
    assert!(world.saw("Replayed"));
    assert!(world.intents().iter().all(|intent| intent.revision == 0));
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn batch_time_and_exclusions_come_from_the_intent() {
    let mut world = World::with_records(25);
    world.settings.range.age_max = Duration::from_secs(20);
    assert!(world.run_until(AFTER_INTENT, 1).await.is_none());
    let pinned = world.store.pending("p").expect("an intent pends");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(world.run().await.is_complete());
    let intents = world.intents();
    assert_eq!(intents[0], pinned);
    assert!(intents.iter().all(|it| it.revision == 0), "an hour later, and still the same bytes");
    assert!(intents[1].opened_at > pinned.opened_at);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_makes_other_bytes_is_a_new_revision_and_occupies_the_old_keys() {
    let world = published().await;
    // As if another build had written it: other bytes, of which one of two objects is visible.
    let old = Bytes::from_static(b"bytes of another build\n");
    let key = world.archive.objects().into_keys().next().expect("an object");
    world.archive.remove(&key);
    world.archive.plant(&key, &old);
    let letter = world.letters.objects().into_keys().next().expect("a dead letter");
    world.letters.remove(&letter);
    world.store.tamper("p", |pending| {
        let object = pending.objects.iter_mut().find(|it| it.key == key && it.sink == "archive");
        object.expect("the manifest names it").digest = ObjectDigest::of(&old);
    });

    // Die on the way, too: the next revision pends, and what it supersedes is known.
    let occupied = Failpoint { step: ProtocolStep::Occupy, side: Side::After };
    assert!(world.run_until(occupied, 1).await.is_none());
    assert_eq!(world.store.pending("p").expect("it pends").revision, 1);

    assert!(world.run().await.is_complete());
    assert_eq!(world.archive.object(&key), Some(Bytes::new()), "the old key is occupied");
    assert_eq!(world.letters.object(&letter), Some(Bytes::new()), "visible or not");
    assert_eq!(world.delivered(), expected("p", 25), "and every record is there once");
    assert_eq!(world.dead_letters(), expected_letters(25));
    let revisions = world.intents().iter().map(|it| it.revision).collect::<Vec<_>>();
    assert_eq!(revisions, [0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn foreign_bytes_stop_the_partition() {
    let world = intended().await;
    let pending = world.store.pending("p").expect("an intent pends");
    let foreign = pending.objects.iter().find(|it| it.sink == "archive").expect("an object");
    world.archive.plant(&foreign.key, b"foreign\n");
    let error = error_of(world.run().await);
    assert!(matches!(&error, Error::Foreign(it) if it.key == foreign.key), "{error}");
    assert_eq!(world.store.checkpoint("p").and_then(|it| it.resume), None);
    assert_eq!(world.archive.object(&foreign.key), Some(Bytes::from_static(b"foreign\n")));

    world.archive.remove(&foreign.key);
    assert!(world.run().await.is_complete(), "it goes on once the object is moved away");
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn foreign_bytes_in_the_way_of_a_new_range_stop_it_after_its_intent() {
    let twin = World::with_records(25);
    twin.run().await;
    let world = twin.twin();
    let key = twin.archive.objects().into_keys().nth(1).expect("a second range");
    world.archive.plant(&key, b"foreign\n");
    let error = error_of(world.run().await);
    assert!(matches!(&error, Error::Foreign(it) if it.key == key && it.range == 1), "{error}");
    assert_eq!(world.commits(), [("p".to_owned(), 0)]);
    world.assert_checkpoint_is_not_ahead("p");
}

#[tokio::test(start_paused = true)]
async fn another_generation_commits_what_is_all_there() {
    let mut world = published().await;
    world.generation = "two";
    assert!(world.run().await.is_complete());
    assert!(world.saw("Complete"));
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn another_generation_makes_again_what_nobody_can_have_seen() {
    let mut world = intended().await;
    let pending = world.store.pending("p").expect("an intent pends");
    world.generation = "two";
    assert!(world.run().await.is_complete());
    assert!(world.saw("Revised"));
    let intents = world.intents();
    assert_eq!((intents[1].range, intents[1].revision), (0, 1));
    assert_eq!(intents[1].end, pending.end);
    assert_eq!(intents[1].opened_at, pending.opened_at);
    assert_ne!(intents[1].generation, pending.generation);
    for object in &pending.objects {
        let sink = if object.sink == "archive" { &world.archive } else { &world.letters };
        assert_eq!(sink.object(&object.key), Some(Bytes::new()), "a late write finds it occupied");
    }
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn another_generation_does_not_finish_what_is_half_there() {
    let mut world = published().await;
    let letter = world.letters.objects().into_keys().next().expect("a dead letter");
    world.letters.remove(&letter);
    world.generation = "two";
    let error = error_of(world.run().await);
    let [one, two] = ["one", "two"].map(|it| ObjectDigest::of(it.as_bytes()));
    let (pinned, serving) = match &error {
        Error::HalfPublished { pinned, serving, .. } => (*pinned, *serving),
        other => panic!("it must say that it is half published: {other}"),
    };
    let text = error.to_string();
    assert!(text.contains(&pinned.to_string()) && text.contains(&serving.to_string()), "{text}");
    assert_ne!(one, two);
    assert_ne!(pinned, serving);

    world.generation = "one";
    assert!(world.run().await.is_complete(), "the first generation finishes it");
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn records_that_are_gone_before_they_were_published_are_reported_as_lost() {
    let world = World::with_records(25);
    assert!(world.run_until(AFTER_INTENT, 2).await.is_none());
    world.source.replace("p", vec![crate::world::record("p", 0)]);
    let error = error_of(world.run().await);
    assert!(matches!(error, Error::Unreplayable { range: 1, .. }), "{error}");
    assert!(error.to_string().contains("records are lost"));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_partition_is_not_resumed_into() {
    let world = World::with_records(25);
    let committed = Failpoint { step: ProtocolStep::Commit, side: Side::After };
    assert!(world.run_until(committed, 1).await.is_none());
    world.source.replace("p", vec![crate::world::record("p", 0)]);
    let error = error_of(world.run().await);
    assert!(matches!(error, Error::Source(_)), "{error}");
}

/// Takes a minute for a write.
struct Slow(MemorySink);

#[async_trait::async_trait]
impl Sink for Slow {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn naming(&self) -> Naming {
        self.0.naming()
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        tokio::time::sleep(Duration::from_secs(60)).await;
        self.0.write(objects).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        self.0.find(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_superseded_while_it_slept_has_lost_and_is_not_broken() {
    let mut world = World::with_records(25);
    // So that it does not learn of it from a renewal.
    world.settings.renew_every = Duration::from_secs(3_600);
    let slow = Arc::new(Slow(world.archive.clone()));
    let zombie = world.pipeline_to(slow, Failpoints::default(), Workers::Here);
    let rival = World { generation: "two", ..world.clone() };
    let rival = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        // The dead letters of the first range are not there yet: the archive comes first.
        rival.run().await
    };
    let (zombie, rival) = tokio::join!(zombie.run(Shutdown::never()), rival);
    assert!(rival.is_complete(), "{rival:?}");
    let zombie = zombie.expect("a report");
    assert_eq!(zombie.partitions[0].outcome, Outcome::Lost, "{zombie:?}");
    assert_eq!(world.delivered(), expected("p", 25));
    assert_eq!(world.dead_letters(), expected_letters(25));
}
