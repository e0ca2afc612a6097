//! Copies of dead letters: at least once, between INTENT and the first named object.

use tidegate_pipeline::{
    failpoint::{Failpoint, ProtocolStep, Side},
    memory::MemorySink,
    plan::Compression,
};

use crate::world::{World, expected_letters, lines};

const RECORDS: usize = 60;

fn copying() -> World {
    let mut world = World::with_records(RECORDS);
    world.copies = Some(MemorySink::unnamed("queue"));
    world
}

/// The letters that were copied, in order.
fn copied(world: &World) -> Vec<String> {
    let copies = world.copies.as_ref().expect("the world has some");
    lines(copies.delivered().into_iter().map(|object| object.content))
}

fn letters(world: &World) -> Vec<String> {
    lines(world.letters.objects().into_values())
}

/// Whatever the letters' own objects are compressed with, a copy is plain.
#[tokio::test(start_paused = true)]
async fn each_letter_is_copied_once_where_nothing_goes_wrong() {
    let undisturbed = copying();
    assert!(undisturbed.run().await.is_complete());
    assert_eq!(copied(&undisturbed), letters(&undisturbed));
    assert_eq!(copied(&undisturbed).len(), expected_letters(RECORDS));
    for compression in [Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }] {
        let world = World { compression, ..copying() };
        assert!(world.run().await.is_complete());
        assert_eq!(copied(&world), copied(&undisturbed), "{compression:?}");
    }
}

/// A letter that the queue does not take is sent again, alone, and nothing is published before.
#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_copied_again() {
    for seed in 0..50 {
        let world = copying();
        world.copies.as_ref().expect("it has some").take_some(seed);
        assert!(world.run().await.is_complete());
        let (mut copied, mut letters) = (copied(&world), letters(&world));
        copied.sort_unstable();
        letters.sort_unstable();
        assert_eq!(copied, letters, "seed {seed}");
    }
}

/// Invariant: a letter's copy is taken before its object can be seen. So a letter that is found after
/// a crash need not be copied again, and one that is not is copied, perhaps for the second time.
#[tokio::test(start_paused = true)]
async fn no_letter_is_without_its_copy_wherever_it_dies() {
    let mut twice = 0;
    for step in [ProtocolStep::Intent, ProtocolStep::Emit, ProtocolStep::Publish] {
        for side in [Side::Before, Side::After] {
            for nth in 1..6 {
                let world = copying();
                let died = world.run_until(Failpoint { step, side }, nth).await.is_none();
                assert!(died, "{step:?} {side:?} {nth}");
                let copies = copied(&world);
                let visible = letters(&world);
                let missing = visible.iter().find(|letter| !copies.contains(letter));
                assert_eq!(missing, None, "{step:?} {side:?} {nth}");

                assert!(world.run().await.is_complete());
                let mut copies = copied(&world);
                let sent = copies.len();
                copies.sort_unstable();
                copies.dedup();
                let mut all = letters(&world);
                all.sort_unstable();
                assert_eq!(copies, all, "{step:?} {side:?} {nth}");
                let repeated = sent - copies.len();
                assert!(repeated <= 2, "one range's letters: {repeated}");
                twice += repeated;
            }
        }
    }
    assert!(twice > 0, "no letter was copied twice: the story is not told");
}

#[tokio::test(start_paused = true)]
async fn the_sink_of_copies_must_be_there_and_be_unnamed() {
    let mut world = copying();
    world.copies = Some(MemorySink::named("queue"));
    let error = world.try_pipeline().err().expect("it is named").to_string();
    assert!(error.contains("sink `queue` is Named"), "{error}");
}
