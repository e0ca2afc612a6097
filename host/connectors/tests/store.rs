//! What the embedded store promises beyond the seam: one process a directory, a version that is
//! checked, shared transactions, expiry, and a history that can be looked at.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;
use tidegate_connectors::store::{
    Generation, RedriveOutcome, Redriven, SqliteStore, StoreInspector,
};
use tidegate_core::{
    CheckpointStore, Digest, Position, Timestamp,
    checkpoint::{
        Counts, Lease, Manifest, Outcome, OwnerId, RecordOutcome, StateChange, StateRow,
        StoreErrorKind, WriteId,
    },
    conformance,
    source::{PartitionId, Resume},
};

#[tokio::test]
async fn the_store_passes_the_suite_of_checkpoint_stores() {
    let directory = tempfile::tempdir().unwrap();
    conformance::checkpoint_store(async || SqliteStore::open(directory.path()).unwrap()).await;
}

fn resume(offset: u64) -> Resume {
    Resume { position: Position::from_offset(offset), token: "token".to_owned() }
}

fn manifest(range: u64, opened_at: i64) -> Manifest {
    Manifest {
        range,
        revision: 0,
        start: (range > 0).then(|| resume(range * 10)),
        end: resume(range * 10 + 10),
        finishes: false,
        opened_at: Timestamp(opened_at),
        generation: Digest::of(b"generation"),
        exclusions: Vec::new(),
        objects: Vec::new(),
        superseded: Vec::new(),
        counts: Counts::default(),
        destinations: Vec::new(),
        states: Digest::of(b""),
        state_keys: [].into(),
        outcomes: Vec::new(),
    }
}

/// Where partitions come and go, those that are long finished go with all that is known of them.
#[tokio::test]
async fn what_was_finished_long_ago_is_forgotten_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    for (partition, finishes) in [("done", true), ("open", false)] {
        let lease = acquire(&store, partition).await;
        let manifest = Manifest { finishes, ..manifest(0, 0) };
        let states = [state("stage", 7, None, partition)];
        store.intend(&lease, WriteId(1), &manifest, &states).await.unwrap();
        store.commit(&lease, WriteId(2), 0).await.unwrap();
    }
    let empty = acquire(&store, "empty").await;
    store.finish(&empty, WriteId(3)).await.unwrap();
    // What it stands for was gone when somebody came to read it; and one that is about to be read.
    let gone = acquire(&store, "gone").await;
    store.hand_over(&gone, WriteId(4)).await.unwrap();
    let held = acquire(&store, "held").await;
    assert_eq!(store.forget(Duration::from_secs(60)).await.unwrap(), 1, "not for a minute");
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(store.forget(Duration::from_secs(1)).await.unwrap(), 2);
    assert_eq!(store.forget(Duration::ZERO).await.unwrap(), 0);
    let inspector = StoreInspector::open(directory.path()).unwrap();
    let known = inspector.partitions().unwrap();
    assert_eq!(known.iter().map(|it| &*it.id.0).collect::<Vec<_>>(), ["held", "open"]);
    store.renew(&held, WriteId(5)).await.unwrap();
    assert_eq!(inspector.forgotten().unwrap(), 2);
    let lease = acquire(&store, "done").await;
    let states = store.states(&lease, "stage", &[7]).await.unwrap();
    assert_eq!(states, [None], "it begins anew, with nothing of before");
}

fn state(stage: &str, key: u128, expires_at: Option<i64>, text: &str) -> StateChange {
    let expires_at = expires_at.map(Timestamp);
    let bytes = text.as_bytes().to_vec();
    let row = StateRow { version: 1, expires_at, hash_key: None, bytes };
    StateChange { stage: stage.into(), key, state: Some(row) }
}

async fn acquire(store: &SqliteStore, partition: &str) -> Lease {
    let partition = PartitionId::from(partition);
    let write = WriteId(Digest::of(partition.0.as_bytes()).0[0].into());
    store.acquire(&partition, &OwnerId("test".to_owned()), write).await.unwrap().lease
}

/// One range, from intent to commit.
async fn pass(store: &SqliteStore, lease: &Lease, manifest: Manifest, states: &[StateChange]) {
    let id = u128::from(manifest.range) << 32 | 1 << 16;
    store.intend(lease, WriteId(id), &manifest, states).await.unwrap();
    store.commit(lease, WriteId(id + 1), manifest.range).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_process_and_the_error_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let error = SqliteStore::open(directory.path()).err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Broken);
    assert!(error.message.contains(&format!("process id {}", std::process::id())), "{error}");
    let clone = store.clone();
    drop(store);
    assert!(SqliteStore::open(directory.path()).is_err(), "a clone holds it, too");
    drop(clone);
    SqliteStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_child_inherits_more_states_than_are_moved_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let parent = acquire(&store, "parent").await;
    let states: Vec<_> = (0..12_000)
        .map(|key| {
            let mut change = state("sum", key, Some(i64::MAX), "a state");
            change.state.as_mut().unwrap().hash_key = Some(key % 3);
            change
        })
        .collect();
    store.intend(&parent, WriteId(1), &manifest(0, 0), &states).await.unwrap();
    store.commit(&parent, WriteId(2), 0).await.unwrap();
    let child = acquire(&store, "child").await;
    let parents = [parent.partition.clone()];
    store.inherit(&child, WriteId(3), &parents, (1, 2)).await.unwrap();
    let keys: Vec<u128> = (0..12_000).collect();
    let inherited = store.states(&child, "sum", &keys).await.unwrap();
    let left = store.states(&parent, "sum", &keys).await.unwrap();
    for (key, (inherited, left)) in inherited.iter().zip(&left).enumerate() {
        assert_eq!((inherited.is_some(), left.is_some()), (key % 3 > 0, key % 3 == 0), "{key}");
    }
}

fn sqlite(directory: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.path().join("tidegate.db")).unwrap()
}

#[tokio::test]
async fn a_file_of_another_version_or_of_somebody_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    sqlite(&directory).pragma_update(None, "user_version", 9).unwrap();
    let error = SqliteStore::open(directory.path()).err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Broken);
    assert!(error.message.contains("is of version 9, and this host reads 2 to 4"), "{error}");
    assert!(StoreInspector::open(directory.path()).is_err());

    let directory = tempfile::tempdir().unwrap();
    sqlite(&directory).execute_batch("CREATE TABLE somebody_elses (x)").unwrap();
    let error = SqliteStore::open(directory.path()).err().unwrap();
    assert!(error.message.contains("not a store of Tidegate"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tidegate.db"), "no database at all".repeat(100)).unwrap();
    let error = SqliteStore::open(directory.path()).err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Broken);
    assert!(StoreInspector::open(&directory.path().join("none")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_write_at_once_and_none_fails_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let mut tasks = Vec::new();
    for i in 0..100 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let lease = acquire(&store, &format!("p{i:03}")).await;
            for range in 0..5 {
                let states = [state("sum", range.into(), None, &format!("{i} {range}"))];
                pass(&store, &lease, manifest(range, 0), &states).await;
                // Every other one asks for what it can't have, in the same transactions.
                if i % 2 == 0 {
                    let error = store.commit(&lease, WriteId(9), 77).await.unwrap_err();
                    assert_eq!(error.kind, StoreErrorKind::Conflict);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    drop(store);

    let inspector = StoreInspector::open(directory.path()).unwrap();
    let partitions = inspector.partitions().unwrap();
    assert_eq!(partitions.len(), 100);
    for (i, partition) in partitions.iter().enumerate() {
        assert_eq!(&*partition.id.0, format!("p{i:03}"));
        assert_eq!(partition.checkpoint.next_range, 5);
        assert_eq!(partition.checkpoint.resume, Some(resume(50)));
        assert_eq!(partition.pending, None);
        let mut texts = Vec::new();
        let push = |change: StateChange| {
            texts.push(String::from_utf8(change.state.unwrap().bytes).unwrap());
            Ok(())
        };
        inspector.states(&partition.id, push).unwrap();
        assert_eq!(texts, (0..5).map(|range| format!("{i} {range}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn expired_states_go_with_a_commit_on_batch_time_but_not_those_that_it_writes() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let lease = acquire(&store, "p").await;
    let other = acquire(&store, "other").await;
    let first = [
        state("a", 1, Some(100), "goes"),
        state("a", 2, Some(101), "stays"),
        state("b", 3, None, "stays for ever"),
        state("b", 4, Some(50), "renewed"),
    ];
    pass(&store, &lease, manifest(0, 0), &first).await;
    pass(&store, &other, manifest(0, 0), &[state("a", 1, Some(1), "another partition's")]).await;

    pass(&store, &lease, manifest(1, 100), &[state("b", 4, Some(90), "renewed again")]).await;

    let find = async |lease: &Lease, stage: &str, key: u128| {
        let rows = store.states(lease, stage, &[key]).await.unwrap();
        rows.into_iter().flatten().map(|row| String::from_utf8(row.bytes).unwrap()).next()
    };
    assert_eq!(find(&lease, "a", 1).await, None);
    assert_eq!(find(&lease, "a", 2).await.as_deref(), Some("stays"));
    assert_eq!(find(&lease, "b", 3).await.as_deref(), Some("stays for ever"));
    assert_eq!(find(&lease, "b", 4).await.as_deref(), Some("renewed again"));
    assert_eq!(find(&other, "a", 1).await.as_deref(), Some("another partition's"));
}

#[tokio::test]
async fn what_was_done_can_be_looked_at_while_the_owner_runs() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let lease = acquire(&store, "p").await;
    for range in 0..3 {
        pass(&store, &lease, manifest(range, 7), &[]).await;
    }
    store.intend(&lease, WriteId(1), &manifest(3, 8), &[]).await.unwrap();
    let generation = Generation {
        digest: Digest::of(b"generation"),
        recorded_at: Timestamp(5),
        contents: r#"{"validate":"1.0.0"}"#.to_owned(),
    };
    store.record_generation(generation.clone()).await.unwrap();
    let again = Generation { recorded_at: Timestamp(6), ..generation.clone() };
    store.record_generation(again).await.unwrap();

    let inspector = StoreInspector::open(directory.path()).unwrap();
    let mut ranges = Vec::new();
    let visit = |manifest: Manifest| {
        ranges.push(manifest);
        Ok(())
    };
    inspector.manifests(&PartitionId::from("p"), visit).unwrap();
    assert_eq!(ranges, [manifest(0, 7), manifest(1, 7), manifest(2, 7)]);
    let partitions = inspector.partitions().unwrap();
    assert_eq!(partitions[0].pending, Some(manifest(3, 8)));
    assert_eq!(partitions[0].owner, Some(OwnerId("test".to_owned())));
    assert_eq!(inspector.generations().unwrap(), [generation]);
}

#[tokio::test]
async fn a_letter_is_redriven_once_and_its_outcome_comes_with_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let letter = |offset, redrives, redrive: u64| Redriven {
        origin: PartitionId::from("p"),
        position: Position::from_offset(offset),
        redrives,
        partition: PartitionId(format!("redrive:{redrive}:p").into()),
        redrive,
        object: "p-00000000.jsonl".to_owned(),
        bytes: 12,
        keyed: true,
        outcome: None,
    };
    store.begin_redrive(vec![letter(300, 0, 1), letter(7, 0, 1)]).await.unwrap();
    // All of a redrive or nothing.
    let again = store.begin_redrive(vec![letter(8, 0, 2), letter(7, 0, 2)]).await.unwrap_err();
    assert_eq!(again.kind, StoreErrorKind::Conflict);
    assert!(again.message.contains("`p:7` was redriven before"), "{again}");

    let lease = acquire(&store, "redrive:1:p").await;
    let outcome = RecordOutcome { position: Position::from_offset(7), outcome: Outcome::Dropped };
    let range = Manifest { outcomes: vec![outcome], ..manifest(0, 77) };
    store.intend(&lease, WriteId(1), &range, &[]).await.unwrap();
    let inspector = StoreInspector::open(directory.path()).unwrap();
    let outcomes = || {
        let mut found = Vec::new();
        let visit = |it: Redriven| {
            found.push(it);
            Ok(())
        };
        inspector.redriven(visit).unwrap();
        found
    };
    assert_eq!(outcomes(), [letter(7, 0, 1), letter(300, 0, 1)], "by position");
    store.commit(&lease, WriteId(2), 0).await.unwrap();
    let dropped = RedriveOutcome {
        outcome: Outcome::Dropped,
        generation: Digest::of(b"generation"),
        at: Timestamp(77),
    };
    let settled = Redriven { outcome: Some(dropped), ..letter(7, 0, 1) };
    assert_eq!(outcomes(), [settled, letter(300, 0, 1)]);
    // The letter of a second failure is another one; a partition of another is not taken.
    store.begin_redrive(vec![letter(7, 1, 2)]).await.unwrap();
    let taken = store.begin_redrive(vec![letter(9, 0, 1)]).await.unwrap_err();
    assert_eq!(taken.kind, StoreErrorKind::Conflict);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_still_a_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let lease = acquire(&store, "p").await;
    let (held, intent) = (lease.clone(), manifest(0, 0));
    let asking = store.clone();
    let task = tokio::spawn(async move { asking.intend(&held, WriteId(7), &intent, &[]).await });
    tokio::task::yield_now().await;
    task.abort();
    let _ = task.await;
    // Asked again under the same write id: done once, whether the first was or not.
    store.intend(&lease, WriteId(7), &manifest(0, 0), &[]).await.unwrap();
    store.commit(&lease, WriteId(8), 0).await.unwrap();
}
