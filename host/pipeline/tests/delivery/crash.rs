//! A process dies at each step of the protocol, before it and after it, and is started again.

use tidegate_pipeline::{
    failpoint::{Failpoint, ProtocolStep},
    partition::Outcome,
};

use crate::world::{World, expected, expected_letters};

/// Five ranges; the last one does not know that it is the last.
const RECORDS: usize = 50;

#[tokio::test(start_paused = true)]
async fn an_undisturbed_run_delivers_everything_once() {
    let world = World::with_records(RECORDS);
    let report = world.run().await;
    assert!(report.is_complete());
    assert_eq!(report.counts.read.records, RECORDS as u64);
    assert!(report.counts.conserved());
    assert_eq!(world.delivered(), expected("p", RECORDS));
    assert_eq!(world.dead_letters(), expected_letters(RECORDS));
    assert_eq!(report.ranges, 5, "ten records a range");
    assert_eq!(world.store.pending("p"), None);
    assert_eq!(world.store.states_of("p").len(), 5, "a state for each key");
    let dropped = RECORDS - expected("p", RECORDS).len() - expected_letters(RECORDS);
    assert_eq!(report.counts.dropped.records, dropped as u64);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_step_a_restart_makes_the_same_bytes() {
    let undisturbed = World::with_records(RECORDS);
    undisturbed.run().await;
    let mut deaths = 0;
    for failpoint in Failpoint::all() {
        for nth in 1..=3 {
            let world = World::with_records(RECORDS);
            deaths += u32::from(world.run_until(failpoint, nth).await.is_none());
            world.assert_checkpoint_is_not_ahead("p");
            let report = world.run().await;
            assert!(report.is_complete(), "{failpoint}, visit {nth}: {report:?}");
            assert_eq!(world.output(), undisturbed.output(), "{failpoint}, visit {nth}");
            assert_eq!(world.commits(), undisturbed.commits(), "{failpoint}, visit {nth}");
            let (states, undisturbed) =
                (world.store.states_of("p"), undisturbed.store.states_of("p"));
            assert_eq!(states, undisturbed, "{failpoint}, visit {nth}");
        }
    }
    // Acquire and Finish are passed once; nothing is emitted or occupied here.
    assert_eq!(deaths, 2 * (6 * 3 + 2), "each place was met");
}

#[tokio::test(start_paused = true)]
async fn dying_again_and_again_at_every_step_changes_nothing() {
    let undisturbed = World::with_records(RECORDS);
    undisturbed.run().await;
    let world = World::with_records(RECORDS);
    let once = [ProtocolStep::Acquire, ProtocolStep::Finish];
    let mut failpoints = Failpoint::all().filter(|it| !once.contains(&it.step)).cycle();
    let mut runs = 0;
    loop {
        runs += 1;
        assert!(runs < 1_000, "every run gets a bit further");
        // Every second visit: else a run that dies before INTENT would never get anywhere.
        let failpoint = failpoints.next().expect("a cycle");
        if let Some(report) = world.run_until(failpoint, 2).await
            && report.partitions[0].outcome == Outcome::AlreadyFinished
        {
            break;
        }
        world.assert_checkpoint_is_not_ahead("p");
    }
    assert_eq!(world.output(), undisturbed.output());
    assert_eq!(world.commits(), undisturbed.commits());
    assert!(runs > 6, "it died {runs} times");
}

#[tokio::test(start_paused = true)]
async fn writes_of_the_dead_that_arrive_late_change_nothing() {
    let undisturbed = World::with_records(RECORDS);
    undisturbed.run().await;
    for milliseconds in 0..60 {
        let world = World::with_records(RECORDS);
        world.archive.cork();
        let pipeline = world.pipeline(Default::default(), tidegate_pipeline::Workers::Here);
        let run = pipeline.run(tidegate_pipeline::Shutdown::never());
        let time = std::time::Duration::from_millis(milliseconds + 1);
        let cut_off = tokio::time::timeout(time, run).await;
        assert!(cut_off.is_err(), "the first write never returns");
        world.archive.uncork();
        if milliseconds % 2 == 0 {
            world.archive.land_delayed_writes();
        }
        let report = world.run().await;
        world.archive.land_delayed_writes();
        assert!(report.is_complete());
        assert_eq!(world.output(), undisturbed.output());
    }
}
