//! A state goes with its key to the partition that owns it next: through a split and a merge, and
//! whatever happens on the way.

use std::collections::BTreeMap;

use tidegate_pipeline::{failpoint::Failpoint, memory::MemoryRecord, plan::StateScope};

use crate::world::World;

/// Keys, and what they have for a hash: their one byte.
const KEYS: [&str; 4] = ["a", "b", "m", "n"];

/// Twelve records of each key in each partition that owns it, in the order of the partitions.
const EACH: usize = 12;

/// One that is split, its two halves, and what they are merged to.
fn resharded(scope: StateScope) -> World {
    let world = World { scope, ..World::new() };
    let low = (0, u128::from(b'b'));
    let high = (u128::from(b'b') + 1, u128::MAX);
    let all = (0, u128::MAX);
    let partitions: [(&str, _, &[&str]); 4] = [
        // In the order of names, in which they would begin if they did not wait.
        ("z", all, &[]),
        ("y-low", low, &["z"]),
        ("y-high", high, &["z"]),
        ("x", all, &["y-low", "y-high"]),
    ];
    for (partition, range, parents) in partitions {
        world.source.owns(partition, range);
        world.source.follows(partition, parents);
        for _ in 0..EACH {
            for key in KEYS {
                let hash = u128::from(key.as_bytes()[0]);
                if (range.0..=range.1).contains(&hash) {
                    let text = format!("{{\"number\":0,\"key\":\"{key}\"}}");
                    let key = Some(key.as_bytes().to_vec());
                    let record = MemoryRecord { key, ..MemoryRecord::from(text) };
                    world.source.push(partition, record);
                }
            }
        }
        world.source.end(partition);
    }
    world
}

/// The counts that were delivered, by partition and key, in order.
fn counts(world: &World) -> BTreeMap<(String, String), Vec<u64>> {
    let mut counts: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (name, content) in world.archive.objects() {
        let partitions = ["z", "y-low", "y-high", "x"];
        let partition = partitions.into_iter().find(|it| name.starts_with(&format!("{it}-")));
        for line in String::from_utf8(content.to_vec()).expect("objects are text").lines() {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record is JSON");
            let key = record["key"].as_str().expect("a key").to_owned();
            let partition = partition.unwrap_or(&name).to_owned();
            let count = record["count"].as_u64().expect("a count");
            counts.entry((partition, key)).or_default().push(count);
        }
    }
    counts
}

fn assert_counts_go_on(world: &World, what: &str) {
    let counts = counts(world);
    for key in KEYS {
        let half = if key < "c" { "y-low" } else { "y-high" };
        let generations =
            ["z", half, "x"].map(|it| counts[&(it.to_owned(), key.to_owned())].clone());
        let expected: Vec<u64> = (1..=3 * EACH as u64).collect();
        assert_eq!(generations.concat(), expected, "{what}: key {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_goes_with_its_key_through_splits_and_merges() {
    let world = resharded(StateScope::Follows);
    assert!(world.run().await.is_complete());
    assert_counts_go_on(&world, "undisturbed");
    let left = ["z", "y-low", "y-high"].map(|it| world.store.states_of(it).len());
    assert_eq!(left, [0; 3], "each state is in one place");
    assert_eq!(world.store.states_of("x").len(), KEYS.len());
}

#[tokio::test(start_paused = true)]
async fn a_state_of_a_partition_stays_with_it() {
    let world = resharded(StateScope::Partition);
    assert!(world.run().await.is_complete());
    for ((partition, key), counts) in counts(&world) {
        assert_eq!(counts, (1..=EACH as u64).collect::<Vec<_>>(), "{partition}, {key}");
    }
    assert_eq!(world.store.states_of("z").len(), KEYS.len());
}

#[tokio::test(start_paused = true)]
async fn no_state_is_lost_or_doubled_wherever_it_dies() {
    let undisturbed = resharded(StateScope::Follows);
    undisturbed.run().await;
    let mut deaths = 0;
    for failpoint in Failpoint::all() {
        for nth in 1..=8 {
            let world = resharded(StateScope::Follows);
            let what = format!("{failpoint}, visit {nth}");
            deaths += u32::from(world.run_until(failpoint, nth).await.is_none());
            assert!(world.run().await.is_complete(), "{what}");
            assert_counts_go_on(&world, &what);
            assert_eq!(world.output(), undisturbed.output(), "{what}");
            assert_eq!(world.store.states_of("x"), undisturbed.store.states_of("x"), "{what}");
        }
    }
    assert!(deaths > 80, "it died {deaths} times");
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_store_that_are_lost_take_no_state_along() {
    for lost in 1..=24 {
        let world = resharded(StateScope::Follows);
        world.store.lose_next_response(lost);
        assert!(world.run().await.is_complete(), "{lost}");
        assert_counts_go_on(&world, &format!("{lost} lost answers"));
    }
}
