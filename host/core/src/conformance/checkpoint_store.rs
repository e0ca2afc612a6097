//! What a checkpoint store promises: fences, write ids, one atomic write a step.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    checkpoint::{
        Acquired, Checkpoint, CheckpointStore, Counts, DestinationCounts, Exclusion, Lease,
        Manifest, ManifestObject, Outcome, OwnerId, RecordOutcome, StateChange, StateRow,
        StoreError, StoreErrorKind, WriteId,
    },
    digest::{Digest, ObjectDigest},
    position::Position,
    source::{PartitionId, Resume},
    time::Timestamp,
};

/// Runs the suite. `open` opens the store over the same data each time; the suite never holds
/// two of them, so a store may lock its data.
///
/// # Panics
/// At the first promise that the store breaks.
pub async fn checkpoint_store<F, S>(mut open: F)
where
    F: AsyncFnMut() -> S,
    S: CheckpointStore,
{
    let suite = Suite { writes: AtomicU64::new(1) };
    let store = open().await;
    suite.a_new_partition_has_nothing(&store).await;
    suite.commit_moves_the_checkpoint_and_the_states(&store).await;
    suite.an_intent_must_follow_the_checkpoint(&store).await;
    suite.a_larger_revision_replaces_an_intent(&store).await;
    suite.a_repeated_write_is_done_once(&store).await;
    suite.who_was_fenced_writes_nothing(&store).await;
    suite.a_lost_write_of_a_fenced_owner_is_not_confirmed(&store).await;
    suite.a_partition_that_was_handed_over_is_free(&store).await;
    suite.a_finished_partition_stays_finished(&store).await;
    suite.partitions_do_not_touch_each_other(&store).await;
    suite.states_are_replaced_and_removed(&store).await;
    suite.states_go_to_the_child_that_owns_their_hashes(&store).await;
    suite.prepare_for_another_process(&store).await;
    drop(store);
    let store = open().await;
    suite.everything_survives_the_process(&store).await;
}

struct Suite {
    writes: AtomicU64,
}

fn owner(name: &str) -> OwnerId {
    OwnerId(name.to_owned())
}

fn resume(offset: u64) -> Resume {
    Resume { position: Position::from_offset(offset), token: format!("token at {offset}") }
}

/// A manifest with something in every field, for the range that follows `start`.
fn manifest(range: u64, revision: u32, start: Option<u64>, end: u64) -> Manifest {
    let object = |key: &str| ManifestObject {
        sink: "archive".to_owned(),
        key: format!("{key}-{range}-{revision}"),
        bytes: 12,
        digest: ObjectDigest::of(key.as_bytes()),
        records: 3,
    };
    let mut counts = Counts::default();
    counts.read.add(u128::MAX - 5);
    counts.delivered.add(u128::MAX - 5);
    Manifest {
        range,
        revision,
        start: start.map(resume),
        end: resume(end),
        finishes: false,
        opened_at: Timestamp(1_700_000_000_123_456),
        generation: Digest::of(b"generation"),
        exclusions: vec![Exclusion {
            position: Position([1, 2, 3, 4]),
            stage: "enrich".to_owned(),
            code: "plugin-time".to_owned(),
            message: "it ran past its deadline".to_owned(),
        }],
        objects: vec![object("a"), object("b")],
        superseded: vec![object("c")],
        counts,
        destinations: vec![DestinationCounts {
            sink: "archive".to_owned(),
            shares: 6,
            delivered: 5,
            dead_lettered: 1,
        }],
        states: Digest::of(b"states"),
        outcomes: vec![RecordOutcome {
            position: Position([1, 2, 3, 4]),
            outcome: Outcome::DeadLettered,
        }],
    }
}

fn state(stage: &str, key: u128, text: Option<&str>) -> StateChange {
    let row = |text: &str| StateRow {
        version: 3,
        // Far ahead: a store may remove what has expired at a range's batch time.
        expires_at: key.is_multiple_of(2).then_some(Timestamp(4_000_000_000_000_000)),
        hash_key: (key > 2).then_some(key << 64),
        bytes: text.as_bytes().to_vec(),
    };
    StateChange { stage: Arc::from(stage), key, state: text.map(row) }
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(
    answer: Result<T, StoreError>,
    kind: StoreErrorKind,
    promise: &str,
) {
    match answer {
        Err(error) if error.kind == kind => {}
        other => panic!("{promise}: expected {kind:?}, got {other:?}"),
    }
}

impl Suite {
    fn write(&self) -> WriteId {
        WriteId(u128::from(self.writes.fetch_add(1, Ordering::Relaxed)) << 64 | 0x7469_6465)
    }

    async fn acquire(&self, store: &dyn CheckpointStore, partition: &str, who: &str) -> Acquired {
        let partition = PartitionId::from(partition);
        let acquired = store.acquire(&partition, &owner(who), self.write()).await;
        acquired.expect("a partition can always be acquired")
    }

    async fn texts(
        &self,
        store: &dyn CheckpointStore,
        lease: &Lease,
        stage: &str,
        keys: &[u128],
    ) -> Vec<Option<String>> {
        let rows = store.states(lease, stage, keys).await.expect("the owner may read states");
        let text = |row: StateRow| String::from_utf8(row.bytes).expect("states are kept as given");
        rows.into_iter().map(|row| row.map(text)).collect()
    }

    async fn a_new_partition_has_nothing(&self, store: &dyn CheckpointStore) {
        let acquired = self.acquire(store, "new", "a").await;
        let nothing = Checkpoint { resume: None, next_range: 0, finished: false };
        assert_eq!(acquired.checkpoint, nothing);
        assert_eq!(acquired.pending, None);
        assert_eq!(acquired.lease.partition, PartitionId::from("new"));
        assert_eq!(acquired.lease.owner, owner("a"));
        let states = self.texts(store, &acquired.lease, "stage", &[1, 2]).await;
        assert_eq!(states, [None, None]);
        store.renew(&acquired.lease, self.write()).await.expect("the owner may renew");
    }

    async fn commit_moves_the_checkpoint_and_the_states(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "commit", "a").await.lease;
        let intent = manifest(0, 0, None, 100);
        let states = [state("sum", 1, Some("one")), state("sum", 2, Some("two"))];
        store.intend(&lease, self.write(), &intent, &states).await.expect("intent");
        let seen = self.texts(store, &lease, "sum", &[1, 2]).await;
        assert_eq!(seen, [None, None], "states of an intent are not current before COMMIT");

        let again = self.acquire(store, "commit", "b").await;
        assert_eq!(again.pending, Some(intent), "an intent is found as it was stored");
        assert_eq!(again.checkpoint.resume, None, "an intent does not move the checkpoint");
        let lease = again.lease;
        let wrong = store.commit(&lease, self.write(), 1).await;
        assert_kind(wrong, StoreErrorKind::Conflict, "COMMIT names the range that pends");
        store.commit(&lease, self.write(), 0).await.expect("commit");
        let seen = self.texts(store, &lease, "sum", &[2, 3, 1]).await;
        assert_eq!(seen, [Some("two".into()), None, Some("one".into())], "in the keys' order");

        let after = self.acquire(store, "commit", "b").await;
        let moved = Checkpoint { resume: Some(resume(100)), next_range: 1, finished: false };
        assert_eq!(after.checkpoint, moved);
        assert_eq!(after.pending, None, "COMMIT removes the intent");
        let rows = store.states(&after.lease, "sum", &[2]).await.expect("states");
        let expected = state("sum", 2, Some("two")).state;
        assert_eq!(rows, [expected], "version and expiry are kept with a state");
    }

    async fn an_intent_must_follow_the_checkpoint(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "follow", "a").await.lease;
        let commit = store.commit(&lease, self.write(), 0).await;
        assert_kind(commit, StoreErrorKind::Conflict, "there is no COMMIT without an intent");
        let skips = store.intend(&lease, self.write(), &manifest(1, 0, None, 9), &[]).await;
        assert_kind(skips, StoreErrorKind::Conflict, "no range is left out");
        let elsewhere = store.intend(&lease, self.write(), &manifest(0, 0, Some(4), 9), &[]).await;
        assert_kind(elsewhere, StoreErrorKind::Conflict, "a range starts at the checkpoint");
        store.intend(&lease, self.write(), &manifest(0, 0, None, 9), &[]).await.expect("intent");
        store.commit(&lease, self.write(), 0).await.expect("commit");
        let again = store.intend(&lease, self.write(), &manifest(0, 1, None, 9), &[]).await;
        assert_kind(again, StoreErrorKind::Conflict, "what is committed is not intended again");
        let next = manifest(1, 0, Some(9), 12);
        store.intend(&lease, self.write(), &next, &[]).await.expect("the next range");
        let finish = store.finish(&lease, self.write()).await;
        assert_kind(finish, StoreErrorKind::Conflict, "a pending range is committed first");
    }

    async fn a_larger_revision_replaces_an_intent(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "revision", "a").await.lease;
        let first = [state("sum", 1, Some("first")), state("sum", 2, Some("only in the first"))];
        store.intend(&lease, self.write(), &manifest(0, 0, None, 9), &first).await.expect("r0");
        let same = store.intend(&lease, self.write(), &manifest(0, 0, None, 9), &[]).await;
        assert_kind(same, StoreErrorKind::Conflict, "an intent is replaced by a larger revision");
        let second = manifest(0, 1, None, 9);
        let states = [state("sum", 1, Some("second"))];
        store.intend(&lease, self.write(), &second, &states).await.expect("r1");
        let smaller = store.intend(&lease, self.write(), &manifest(0, 0, None, 9), &[]).await;
        assert_kind(smaller, StoreErrorKind::Conflict, "never by a smaller one");
        let lease = {
            let acquired = self.acquire(store, "revision", "a").await;
            assert_eq!(acquired.pending, Some(second));
            acquired.lease
        };
        store.commit(&lease, self.write(), 0).await.expect("commit");
        let seen = self.texts(store, &lease, "sum", &[1, 2]).await;
        assert_eq!(seen, [Some("second".into()), None], "a replaced intent takes its states along");
    }

    async fn a_repeated_write_is_done_once(&self, store: &dyn CheckpointStore) {
        let partition = PartitionId::from("repeated");
        let write = self.write();
        let first = store.acquire(&partition, &owner("a"), write).await.expect("acquire");
        let second = store.acquire(&partition, &owner("a"), write).await.expect("acquire again");
        assert_eq!(first.lease, second.lease, "an acquisition sent twice is one acquisition");
        let lease = first.lease;
        let intent = manifest(0, 0, None, 9);
        let write = self.write();
        for _ in 0..2 {
            store.intend(&lease, write, &intent, &[]).await.expect("an intent sent twice");
        }
        let write = self.write();
        for _ in 0..2 {
            store.commit(&lease, write, 0).await.expect("a COMMIT sent twice");
        }
        let other = store.commit(&lease, self.write(), 0).await;
        assert_kind(other, StoreErrorKind::Conflict, "another COMMIT of the same range");
        let write = self.write();
        for _ in 0..2 {
            store.renew(&lease, write).await.expect("a renewal sent twice");
        }
        let write = self.write();
        for _ in 0..2 {
            store.finish(&lease, write).await.expect("a finish sent twice");
        }
        let write = self.write();
        for _ in 0..2 {
            store.hand_over(&lease, write).await.expect("a hand-over sent twice");
        }
        let after = self.acquire(store, "repeated", "a").await.checkpoint;
        assert_eq!((after.next_range, after.finished), (1, true));
    }

    async fn who_was_fenced_writes_nothing(&self, store: &dyn CheckpointStore) {
        let old = self.acquire(store, "fence", "a").await.lease;
        let new = self.acquire(store, "fence", "b").await.lease;
        assert!(new.counter > old.counter, "the fence grows");
        self.assert_fenced(store, &old).await;
        store.intend(&new, self.write(), &manifest(0, 0, None, 9), &[]).await.expect("intent");
        self.assert_fenced(store, &old).await;

        // The same name is not the same owner: a restarted host has a lease of its own.
        let third = self.acquire(store, "fence", "b").await.lease;
        assert!(third.counter > new.counter, "the fence grows with each acquisition");
        self.assert_fenced(store, &new).await;
        let forged = Lease { counter: third.counter + 1, ..third.clone() };
        self.assert_fenced(store, &forged).await;
        store.commit(&third, self.write(), 0).await.expect("the owner may commit");
    }

    async fn assert_fenced(&self, store: &dyn CheckpointStore, lease: &Lease) {
        let fenced = StoreErrorKind::Fenced;
        assert_kind(store.renew(lease, self.write()).await, fenced, "renew");
        let next = manifest(0, 7, None, 9);
        assert_kind(store.intend(lease, self.write(), &next, &[]).await, fenced, "intend");
        assert_kind(store.commit(lease, self.write(), 0).await, fenced, "commit");
        assert_kind(store.finish(lease, self.write()).await, fenced, "finish");
        assert_kind(store.hand_over(lease, self.write()).await, fenced, "hand over");
    }

    async fn a_lost_write_of_a_fenced_owner_is_not_confirmed(&self, store: &dyn CheckpointStore) {
        let old = self.acquire(store, "lost", "a").await.lease;
        let (intent, write) = (manifest(0, 0, None, 9), self.write());
        store.intend(&old, write, &intent, &[]).await.expect("intent");
        let new = self.acquire(store, "lost", "b").await;
        assert_eq!(new.pending, Some(intent.clone()));
        let again = store.intend(&old, write, &intent, &[]).await;
        assert_kind(again, StoreErrorKind::Fenced, "its new owner decides what becomes of it");
    }

    async fn a_partition_that_was_handed_over_is_free(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "handed", "a").await.lease;
        store.intend(&lease, self.write(), &manifest(0, 0, None, 9), &[]).await.expect("intent");
        store.hand_over(&lease, self.write()).await.expect("hand over");
        self.assert_fenced(store, &lease).await;
        let next = self.acquire(store, "handed", "b").await;
        assert_eq!(next.pending, Some(manifest(0, 0, None, 9)), "what pends is handed over, too");
    }

    async fn a_finished_partition_stays_finished(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "finished", "a").await.lease;
        store.finish(&lease, self.write()).await.expect("finish");
        let acquired = self.acquire(store, "finished", "b").await;
        assert!(acquired.checkpoint.finished);

        let lease = self.acquire(store, "finishing", "a").await.lease;
        let last = Manifest { finishes: true, ..manifest(0, 0, None, 9) };
        store.intend(&lease, self.write(), &last, &[]).await.expect("intent");
        let found = self.acquire(store, "finishing", "a").await;
        assert!(!found.checkpoint.finished, "an intent finishes nothing");
        store.commit(&found.lease, self.write(), 0).await.expect("commit");
        let finished = self.acquire(store, "finishing", "a").await.checkpoint;
        assert!(finished.finished, "the last range finishes its partition");
        assert_eq!(finished.resume, Some(resume(9)));
    }

    async fn partitions_do_not_touch_each_other(&self, store: &dyn CheckpointStore) {
        let one = self.acquire(store, "one", "a").await.lease;
        let two = self.acquire(store, "two", "b").await.lease;
        for (lease, text) in [(&one, "of one"), (&two, "of two")] {
            let states = [state("sum", 5, Some(text))];
            let intent = manifest(0, 0, None, 9);
            store.intend(lease, self.write(), &intent, &states).await.expect("intent");
        }
        store.commit(&one, self.write(), 0).await.expect("commit");
        assert_eq!(self.texts(store, &two, "sum", &[5]).await, [None]);
        store.commit(&two, self.write(), 0).await.expect("commit");
        assert_eq!(self.texts(store, &one, "sum", &[5]).await, [Some("of one".into())]);
        assert_eq!(self.texts(store, &two, "sum", &[5]).await, [Some("of two".into())]);
    }

    async fn states_are_replaced_and_removed(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "states", "a").await.lease;
        let steps = [
            [state("a", 0, Some("")), state("a", u128::MAX, Some("old")), state("b", 0, Some("b"))],
            [state("a", 0, None), state("a", u128::MAX, Some("new")), state("c", 1, None)],
        ];
        for (range, states) in steps.iter().enumerate() {
            let (range, start) = (range as u64, (range > 0).then_some(range as u64 * 10));
            let intent = manifest(range, 0, start, (range + 1) * 10);
            store.intend(&lease, self.write(), &intent, states).await.expect("intent");
            store.commit(&lease, self.write(), range).await.expect("commit");
            if range == 0 {
                let seen = self.texts(store, &lease, "a", &[0]).await;
                assert_eq!(seen, [Some(String::new())], "an empty state is a state");
            }
        }
        let seen = self.texts(store, &lease, "a", &[0, u128::MAX]).await;
        assert_eq!(seen, [None, Some("new".into())]);
        assert_eq!(self.texts(store, &lease, "b", &[0]).await, [Some("b".into())], "by stage");
        let many = (0..2_000).collect::<Vec<u128>>();
        let seen = self.texts(store, &lease, "b", &many).await;
        assert_eq!(seen.iter().flatten().count(), 1, "as many keys as a batch may have");
        assert_eq!(seen.len(), many.len());
    }

    async fn states_go_to_the_child_that_owns_their_hashes(&self, store: &dyn CheckpointStore) {
        let texts = async |lease: &Lease, stage: &str| {
            let keys = [1, 4, 5, 6, 7];
            let found = self.texts(store, lease, stage, &keys).await.into_iter();
            found.zip(keys).filter_map(|(text, key)| text.map(|it| (key, it))).collect::<Vec<_>>()
        };
        let was =
            |keys: &[u128]| keys.iter().map(|it| (*it, format!("of {it}"))).collect::<Vec<_>>();
        let parent = self.acquire(store, "parent", "a").await.lease;
        // The hash key of 4 is `4 << 64`, and so on; 1 has none.
        let states = ["sum", "mean"].into_iter().flat_map(|stage| {
            [1, 4, 5, 6, 7].map(|key| state(stage, key, Some(&format!("of {key}"))))
        });
        let states = states.collect::<Vec<_>>();
        store.intend(&parent, self.write(), &manifest(0, 0, None, 9), &states).await.expect("r0");
        store.commit(&parent, self.write(), 0).await.expect("commit");
        store.finish(&parent, self.write()).await.expect("finish");

        let parents = [PartitionId::from("parent"), PartitionId::from("nobody")];
        let (left, right) = ((0, 5 << 64), ((5 << 64) + 1, u128::MAX));
        let stale = self.acquire(store, "left", "a").await.lease;
        let child = self.acquire(store, "left", "a").await.lease;
        let fenced = store.inherit(&stale, self.write(), &parents, left).await;
        assert_kind(fenced, StoreErrorKind::Fenced, "inherit");
        let write = self.write();
        for _ in 0..2 {
            store.inherit(&child, write, &parents, left).await.expect("an inheritance sent twice");
        }
        for stage in ["sum", "mean"] {
            assert_eq!(texts(&child, stage).await, was(&[4, 5]), "both ends are included");
        }
        let rows = store.states(&child, "sum", &[4]).await.expect("states");
        assert_eq!(rows, [state("sum", 4, Some("of 4")).state], "they come as they were");
        let parent = self.acquire(store, "parent", "a").await.lease;
        assert_eq!(texts(&parent, "sum").await, was(&[1, 6, 7]), "the others wait");

        let intent = manifest(0, 0, None, 9);
        let states = [state("sum", 4, None), state("sum", 5, Some("newer"))];
        store.intend(&child, self.write(), &intent, &states).await.expect("r0");
        store.commit(&child, self.write(), 0).await.expect("commit");
        store.finish(&child, self.write()).await.expect("finish");
        let other = self.acquire(store, "right", "a").await.lease;
        store.inherit(&other, self.write(), &parents, right).await.expect("inherit");
        assert_eq!(texts(&other, "sum").await, was(&[6, 7]));

        // Both are merged again.
        let merged = self.acquire(store, "merged", "a").await.lease;
        let parents = [PartitionId::from("left"), PartitionId::from("right")];
        store.inherit(&merged, self.write(), &parents, (0, u128::MAX)).await.expect("inherit");
        let all = [vec![(5, "newer".to_owned())], was(&[6, 7])].concat();
        assert_eq!(texts(&merged, "sum").await, all, "what was removed stays so");
        let left = self.acquire(store, "left", "a").await.lease;
        assert_eq!(texts(&left, "sum").await, []);
        assert_eq!(texts(&parent, "sum").await, was(&[1]), "without a hash key it stays");
    }

    async fn prepare_for_another_process(&self, store: &dyn CheckpointStore) {
        let lease = self.acquire(store, "durable", "a").await.lease;
        let states = [state("sum", 1, Some("committed"))];
        store.intend(&lease, self.write(), &manifest(0, 0, None, 9), &states).await.expect("r0");
        store.commit(&lease, self.write(), 0).await.expect("commit");
        let states = [state("sum", 1, Some("intended"))];
        let next = manifest(1, 0, Some(9), 20);
        store.intend(&lease, self.write(), &next, &states).await.expect("r1");
    }

    async fn everything_survives_the_process(&self, store: &dyn CheckpointStore) {
        let before = Lease { partition: "durable".into(), owner: owner("a"), counter: 1 };
        let found = self.acquire(store, "durable", "b").await;
        assert!(found.lease.counter > before.counter, "the fence survives the process");
        let checkpoint = Checkpoint { resume: Some(resume(9)), next_range: 1, finished: false };
        assert_eq!(found.checkpoint, checkpoint);
        assert_eq!(found.pending, Some(manifest(1, 0, Some(9), 20)));
        let seen = self.texts(store, &found.lease, "sum", &[1]).await;
        assert_eq!(seen, [Some("committed".into())]);
        store.commit(&found.lease, self.write(), 1).await.expect("commit of the pending range");
        let seen = self.texts(store, &found.lease, "sum", &[1]).await;
        assert_eq!(seen, [Some("intended".into())]);
    }
}
