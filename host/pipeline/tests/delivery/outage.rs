//! Things that are unavailable for a while, or for good.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};
use tidegate_pipeline::{
    Error, Shutdown, Workers,
    failpoint::Failpoints,
    memory::{MemorySink, StoreWrite},
    partition::Outcome,
    retry::{OnExhausted, RetryPolicy},
    shutdown,
};

use crate::world::{World, expected, record};

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_sink_is_waited_out_and_never_turns_into_dead_letters() {
    let world = World::with_records(25);
    let undisturbed = world.twin();
    undisturbed.run().await;
    world.archive.fail_next(100);
    let started = tokio::time::Instant::now();
    let report = world.run().await;
    assert!(report.is_complete());
    assert!(started.elapsed() > Duration::from_secs(600), "it backed off");
    assert_eq!(world.output(), undisturbed.output());
    assert!(world.saw("Waiting") && world.saw("Sink(\"archive\")"), "and said so");
    assert!(world.saw("Resumed"));
}

/// A sink that refuses a write, and then does not answer what lies there.
struct Silent {
    behind: MemorySink,
    writes: AtomicU32,
    questions: AtomicU32,
}

#[async_trait]
impl Sink for Silent {
    fn name(&self) -> &str {
        self.behind.name()
    }

    fn naming(&self) -> Naming {
        self.behind.naming()
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        if self.writes.fetch_add(1, Ordering::Relaxed) == 0 {
            let kind = SinkErrorKind::Unavailable { after: None };
            return Err(SinkError::plain(kind, "it is away"));
        }
        self.behind.write(objects).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        if self.questions.fetch_add(1, Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
        self.behind.find(key).await
    }
}

/// The attempt runs out of time in the middle of its questions: nothing is taken for written.
#[tokio::test(start_paused = true)]
async fn a_sink_that_falls_silent_when_it_is_asked_what_it_has_is_written_to_again() {
    let world = World::with_records(25);
    let undisturbed = world.twin();
    undisturbed.run().await;
    let (writes, questions) = Default::default();
    let silent = Arc::new(Silent { behind: world.archive.clone(), writes, questions });
    let pipeline = world.pipeline_to(silent.clone(), Failpoints::default(), Workers::Here);
    let report = pipeline.run(Shutdown::never()).await.expect("the source can be listed");
    assert!(report.is_complete());
    assert!(silent.questions.load(Ordering::Relaxed) > 1, "it was asked, and asked again");
    assert_eq!(world.output(), undisturbed.output());
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_committed_when_the_source_can_no_longer_be_listed() {
    let world = World::new();
    (0..25).for_each(|i| world.source.push("p", record("p", i)));
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let (stop, listens) = shutdown();
    let trouble = async {
        while world.commits().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.source.break_listing();
    };
    let (ended, ()) = tokio::join!(pipeline.run(listens), trouble);
    drop(stop);
    assert!(matches!(ended, Err(Error::Source(_))), "{ended:?}");
    // It was drained like at a stop: nothing pends, and all that was read is there.
    assert!(world.store.pending("p").is_none());
    assert_eq!(world.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn the_operator_may_prefer_to_stop() {
    let mut world = World::with_records(25);
    world.settings.retry =
        RetryPolicy { attempts: 5, on_exhausted: OnExhausted::Stop, ..RetryPolicy::default() };
    world.archive.fail_next(1_000);
    let report = world.run().await;
    let partition = &report.partitions[0];
    assert_eq!(partition.outcome, Outcome::Stopped);
    assert!(matches!(&partition.error, Some(Error::Sink { sink, .. }) if sink == "archive"));
    assert_eq!(world.store.checkpoint("p").and_then(|it| it.resume), None);
    assert!(world.store.pending("p").is_some(), "the next run goes on from the intent");
}

#[tokio::test(start_paused = true)]
async fn lost_responses_of_intent_and_commit_are_not_done_twice() {
    let undisturbed = World::with_records(47);
    undisturbed.run().await;
    let calls = undisturbed.store.history().len();
    for lost in 0..calls {
        let world = undisturbed.twin();
        world.store.fail_next(lost % 3);
        let run = world.run();
        let trouble = async {
            // The store is asked in steps of its own: let `lost` of them pass.
            while world.store.history().len() < lost {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            world.store.lose_next_response(3);
        };
        let (report, ()) = tokio::join!(run, trouble);
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(world.output(), undisturbed.output());
        assert_eq!(world.commits(), undisturbed.commits());
    }
}

#[tokio::test(start_paused = true)]
async fn lost_responses_of_sinks_write_nothing_twice() {
    let undisturbed = World::with_records(47);
    undisturbed.run().await;
    let world = undisturbed.twin();
    world.archive.lose_next_response(20);
    world.letters.lose_next_response(20);
    assert!(world.run().await.is_complete());
    assert_eq!(world.output(), undisturbed.output());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_again_at_the_same_position() {
    let world = World::with_records(47);
    world.source.fail_next(30);
    assert!(world.run().await.is_complete());
    assert_eq!(world.delivered(), expected("p", 47));
    assert!(world.saw("Waiting") && world.saw("seam: Source"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_slows_the_source_and_grows_no_queue() {
    let world = World::with_records(10_000);
    world.archive.cork();
    let pipeline = world.pipeline(Failpoints::default(), Workers::Here);
    let progress = pipeline.progress();
    let run = pipeline.run(Shutdown::never());
    let looked = async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        let snapshot = progress.snapshot();
        assert_eq!(snapshot.records_read, 30, "as many ranges as there is memory for");
        world.archive.uncork();
    };
    let (report, ()) = tokio::join!(run, looked);
    assert!(report.expect("a report").is_complete());
    assert_eq!(world.delivered().len(), expected("p", 10_000).len());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_its_owner_waits() {
    let world = World::with_records(25);
    world.archive.cork();
    let uncork = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        world.archive.uncork();
    };
    let (report, ()) = tokio::join!(world.run(), uncork);
    assert!(report.is_complete());
    let renewals = |write: &&StoreWrite| matches!(write, StoreWrite::Renew { .. });
    let renewals = world.store.history().iter().filter(renewals).count();
    assert!((9..=11).contains(&renewals), "{renewals} in 100 s, one in 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_during_an_outage_gives_up_in_time_and_loses_nothing() {
    let world = World::with_records(25);
    world.archive.fail_next(1_000_000);
    let (stop, listens) = shutdown();
    let run = world.pipeline(Failpoints::default(), Workers::Here).run(listens);
    let stops = async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        stop.drain();
        tokio::time::Instant::now()
    };
    let (report, stopped) = tokio::join!(run, stops);
    assert!(stopped.elapsed() <= world.settings.drain_max + Duration::from_secs(1));
    let report = report.expect("a report");
    assert!(report.interrupted && report.partitions[0].outcome == Outcome::Drained);

    // The sink comes back, and the next run finishes what was intended.
    let healed = World { archive: MemorySink::named("archive"), ..world };
    assert!(healed.run().await.is_complete());
    assert_eq!(healed.delivered(), expected("p", 25));
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_does_not_wait_for_ever_for_states() {
    let world = World::with_records(25);
    let (stop, listens) = shutdown();
    let run = world.pipeline(Failpoints::default(), Workers::Here).run(listens);
    let stops = async {
        // The partition is acquired, and the states of its first batch can't be read.
        while world.store.history().is_empty() {
            tokio::time::sleep(Duration::from_micros(1)).await;
        }
        world.store.fail_next(1_000_000);
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.drain();
    };
    let (report, ()) = tokio::join!(run, stops);
    assert_eq!(report.expect("a report").partitions[0].outcome, Outcome::Drained);
    assert!(world.saw("seam: Store") && world.intents().is_empty(), "it waited for states");
    let healed = World { store: world.twin().store, ..world };
    assert!(healed.run().await.is_complete());
    assert_eq!(healed.delivered(), expected("p", 25));
}
