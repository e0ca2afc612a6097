//! The store of a fleet, against DynamoDB: what every store promises, what KCL finds in a row and
//! leaves there, answers that are lost, and leases that change hands.

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use tidegate_connectors::leases::{LeaseConfig, LeaseStore, OnStateGap};
use tidegate_core::{
    CheckpointStore, Digest, Position, Timestamp,
    checkpoint::{
        Acquired, Counts, Lease, Manifest, MovedCheckpoint, OwnerId, StateChange, StateRow,
        StoreErrorKind, WriteId,
    },
    conformance,
    coordinator::{Coordinator, HostSituation, Share},
    source::{Partition, PartitionId, Resume},
};

use super::{dynamodb::DynamoDb, proxy::Fault};

const NUMBER: &str = "4959741145901228511193501762119403281922318565888963";

fn write() -> WriteId {
    static WRITES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    WriteId(WRITES.fetch_add(1, std::sync::atomic::Ordering::Relaxed).into())
}

/// A record of a shard.
fn position(record: u64, sub: u64) -> Position {
    format!("{NUMBER}{record:04}-{sub}").parse().expect("a position")
}

fn resume(record: u64) -> Resume {
    Resume { position: position(record, 3), token: "token".to_owned() }
}

/// One range after another, ten records each.
fn manifest(range: u64) -> Manifest {
    Manifest {
        range,
        revision: 0,
        start: (range > 0).then(|| resume(range * 10)),
        end: resume(range * 10 + 10),
        finishes: false,
        opened_at: Timestamp(i64::try_from(range).expect("a small number")),
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

fn state(key: u128, text: &str) -> StateChange {
    let bytes = text.as_bytes().to_vec();
    let row = StateRow { version: 1, expires_at: None, hash_key: Some(key), bytes };
    StateChange { stage: "sum".into(), key, state: Some(row) }
}

fn owner(name: &str) -> OwnerId {
    OwnerId(name.to_owned())
}

async fn acquire(store: &LeaseStore, partition: &str, who: &str) -> Acquired {
    let acquired = store.acquire(&partition.into(), &owner(who), write()).await;
    acquired.expect("a partition can be acquired")
}

/// One range, from intent to commit.
async fn pass(store: &LeaseStore, lease: &Lease, range: u64, states: &[StateChange]) {
    store.intend(lease, write(), &manifest(range), states).await.expect("intent");
    store.commit(lease, write(), range).await.expect("commit");
}

fn text(value: &AttributeValue) -> &str {
    value.as_s().or(value.as_n()).map(String::as_str).expect("a text or a number")
}

#[tokio::test]
async fn the_leases_pass_the_suite_of_checkpoint_stores() {
    let Some(server) = DynamoDb::start("the_leases_pass_the_suite_of_checkpoint_stores").await
    else {
        return;
    };
    conformance::checkpoint_store(async || server.store().await).await;
}

#[tokio::test]
async fn a_table_that_is_not_there_is_created_only_where_that_is_asked_for() {
    let Some(server) = DynamoDb::start("a_table_is_created_where_that_is_asked_for").await else {
        return;
    };
    let objects = tempfile::tempdir().expect("a temporary folder");
    let open = async |config| {
        let objects = tidegate_connectors::objects::SharedDirectory::new(objects.path(), "host");
        LeaseStore::open(config, std::sync::Arc::new(objects)).await
    };
    let config = server.config().await;
    let error = open(LeaseConfig { create_table: false, ..config.clone() }).await.err();
    let error = error.expect("there is no table");
    assert_eq!(error.kind, StoreErrorKind::Broken);
    assert!(error.message.contains("create_table"), "{error}");
    // Two hosts that start together.
    let (one, other) = tokio::join!(open(config.clone()), open(config));
    one.expect("it is created");
    other.expect("it is created once");
}

#[tokio::test]
async fn a_row_is_what_kcl_makes_of_it_and_what_others_wrote_stays() {
    let Some(server) = DynamoDb::start("a_row_is_what_kcl_makes_of_it").await else { return };
    let store = server.store().await;
    let child = Partition {
        id: "shardId-1".into(),
        parents: vec!["shardId-0".into()],
        hash_range: Some((0, u128::MAX)),
    };
    let parent = Partition { id: "shardId-0".into(), parents: Vec::new(), ..child.clone() };
    for partition in [&child, &parent] {
        assert!(store.announce(partition, Some("a note")).await.expect("announced"));
        assert!(!store.announce(partition, Some("another")).await.expect("it is there"));
    }
    let row = server.row("shardId-1").await;
    assert_eq!(text(&row["checkpoint"]), "TRIM_HORIZON");
    assert_eq!(row["parentShardId"].as_ss().expect("a set"), &["shardId-0"]);
    assert_eq!(text(&row["endingHashKey"]), u128::MAX.to_string());
    assert_eq!((text(&row["leaseCounter"]), row.get("leaseOwner")), ("0", None));

    let n = |number: &str| AttributeValue::N(number.to_owned());
    server.change("shardId-0", "SET throughputKBps = :t", &[(":t", n("7"))]).await;
    let lease = acquire(&store, "shardId-0", "me").await.lease;
    store.intend(&lease, write(), &manifest(0), &[]).await.expect("intent");
    let row = server.row("shardId-0").await;
    assert_eq!(text(&row["pendingCheckpoint"]), format!("{NUMBER}0010"));
    assert_eq!(text(&row["checkpoint"]), "TRIM_HORIZON", "an intent is no checkpoint");
    store.commit(&lease, write(), 0).await.expect("commit");
    store.renew(&lease, write()).await.expect("renewed");
    let row = server.row("shardId-0").await;
    assert_eq!(text(&row["checkpoint"]), format!("{NUMBER}0010"));
    assert_eq!(text(&row["checkpointSubSequenceNumber"]), "3", "the last of its aggregate");
    assert_eq!((text(&row["leaseOwner"]), text(&row["leaseCounter"])), ("me", "4"));
    assert_eq!(text(&row["ownerSwitchesSinceCheckpoint"]), "0");
    assert!(!row.contains_key("pendingCheckpoint") && !row.contains_key("pendingCheckpointState"));
    store.finish(&lease, write()).await.expect("finished");
    let row = server.row("shardId-0").await;
    assert_eq!(text(&row["checkpoint"]), "SHARD_END");
    assert_eq!(row["childShardIds"].as_ss().expect("a set"), &["shardId-1"]);
    assert_eq!(text(&row["throughputKBps"]), "7", "what others wrote stays");

    // A row that is no lease is neither counted nor touched.
    let kind = AttributeValue::S("LEADER".to_owned());
    server.change("Leader", "SET entityType = :k", &[(":k", kind)]).await;
    let leases = store.leases().await.expect("leases");
    let names: Vec<_> = leases.iter().map(|it| it.partition.to_string()).collect();
    assert_eq!(names, ["shardId-0", "shardId-1"]);
    assert_eq!((leases[0].checkpoint.finished, leases[0].checkpoint.next_range), (true, 1));
    assert_eq!(leases[1].note.as_deref(), Some("a note"));
    assert_eq!(server.row("Leader").await.len(), 2);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_was_done_once() {
    let Some(server) = DynamoDb::start("a_write_whose_answer_was_lost").await else { return };
    let store = server.store().await;
    let lose = || server.proxy.fail_next("UpdateItem", &[Fault::LostResponse]);
    let partition = PartitionId::from("p");
    store
        .announce(&Partition { id: partition.clone(), parents: Vec::new(), hash_range: None }, None)
        .await
        .expect("announced");

    // Each is sent until an answer comes, as the pipeline does.
    let id = write();
    lose();
    let lost = store.acquire(&partition, &owner("me"), id).await.expect_err("the answer is lost");
    assert_eq!(lost.kind, StoreErrorKind::Unavailable);
    let lease = store.acquire(&partition, &owner("me"), id).await.expect("it was done").lease;
    assert_eq!(lease.counter, 1, "once");
    for range in 0..3 {
        let intent = manifest(range);
        let states = [state(range.into(), "of a range")];
        let id = write();
        lose();
        store.intend(&lease, id, &intent, &states).await.expect_err("the answer is lost");
        store.intend(&lease, id, &intent, &states).await.expect("it was done");
        let id = write();
        lose();
        store.commit(&lease, id, range).await.expect_err("the answer is lost");
        let keys = store.commit(&lease, id, range).await.expect("it was done");
        assert_eq!(keys["sum"], range + 1);
        // One that nobody asks about again, and the next write goes on all the same.
        lose();
        store.renew(&lease, write()).await.expect_err("the answer is lost");
        server.proxy.fail_next("UpdateItem", &[Fault::Reset, Fault::Internal, Fault::Throttled]);
        for _ in 0..3 {
            let error = store.renew(&lease, write()).await.expect_err("it is in trouble");
            assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error:?}");
        }
    }
    // Another host asks for the lease while an answer is lost.
    lose();
    let id = write();
    store.intend(&lease, id, &manifest(3), &[]).await.expect_err("the answer is lost");
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let values = [(":other", s("other")), (":me", s("me"))];
    server.change("p", "SET leaseOwner = :other, checkpointOwner = :me", &values).await;
    store.intend(&lease, id, &manifest(3), &[]).await.expect("it was done");
    store.commit(&lease, write(), 3).await.expect("what was begun is finished");
    let id = write();
    lose();
    store.hand_over(&lease, id).await.expect_err("the answer is lost");
    store.hand_over(&lease, id).await.expect("it was done");
    store.hand_over(&lease, id).await.expect("and is done once");
    let row = server.row("p").await;
    assert_eq!((text(&row["leaseOwner"]), row.get("checkpointOwner")), ("other", None));
    let found = acquire(&server.store().await, "p", "other").await;
    assert_eq!((found.checkpoint.next_range, found.pending), (4, None));
    assert_eq!(found.state_keys["sum"], 3);
}

#[tokio::test]
async fn of_two_hosts_one_can_write() {
    let Some(server) = DynamoDb::start("of_two_hosts_one_can_write").await else { return };
    let (one, other) = (server.store().await, server.store().await);
    let old = acquire(&one, "p", "one").await.lease;
    one.intend(&old, write(), &manifest(0), &[state(1, "old")]).await.expect("intent");
    let found = acquire(&other, "p", "other").await;
    assert_eq!(found.pending, Some(manifest(0)), "whoever takes over finishes it");
    let fenced = |answer: Result<(), _>| {
        let error: tidegate_core::checkpoint::StoreError = answer.expect_err("it is too late");
        assert_eq!(error.kind, StoreErrorKind::Fenced, "{error:?}");
    };
    fenced(one.commit(&old, write(), 0).await.map(drop));
    fenced(one.renew(&old, write()).await);
    let keys = other.commit(&found.lease, write(), 0).await.expect("commit");
    assert_eq!(keys["sum"], 1);
    let rows = other.states(&found.lease, "sum", &[1]).await.expect("states");
    assert_eq!(rows, [state(1, "old").state]);
    // Somebody has moved the checkpoint under our hands, and has left the counter alone.
    let checkpoint = AttributeValue::S("17".to_owned());
    server.change("p", "SET checkpoint = :c", &[(":c", checkpoint)]).await;
    fenced(other.renew(&found.lease, write()).await);
}

#[tokio::test]
async fn a_checkpoint_that_somebody_else_moved_is_told_and_its_states_are_not_taken_for_its_own() {
    let Some(server) = DynamoDb::start("a_checkpoint_that_somebody_else_moved").await else {
        return;
    };
    let store = server.store().await;
    let moved = AttributeValue::S(format!("{NUMBER}0015"));
    let zero = AttributeValue::N("0".to_owned());
    let set = "SET checkpoint = :c, checkpointSubSequenceNumber = :s, leaseCounter = leaseCounter + :o
               REMOVE pendingCheckpoint, pendingCheckpointSubSequenceNumber, pendingCheckpointState";
    let one = AttributeValue::N("1".to_owned());
    let values = [(":c", moved), (":s", zero), (":o", one)];
    let expected = MovedCheckpoint { from: Some(position(10, 3)), to: Some(position(15, 0)) };

    let lease = acquire(&store, "without", "me").await.lease;
    pass(&store, &lease, 0, &[]).await;
    store.intend(&lease, write(), &manifest(1), &[]).await.expect("intent");
    server.change("without", set, &values).await;
    let found = acquire(&store, "without", "me").await;
    assert_eq!(found.moved, Some(expected));
    let resume = found.checkpoint.resume.expect("it goes on there");
    assert_eq!((resume.position, resume.token.as_str()), (position(15, 0), ""));
    assert_eq!(found.checkpoint.next_range, 2, "the number of an intent is not given again");
    let again = acquire(&store, "without", "me").await;
    assert_eq!((again.moved, again.checkpoint.next_range), (None, 2), "it is told once");

    let lease = acquire(&store, "with", "me").await.lease;
    pass(&store, &lease, 0, &[state(1, "kept")]).await;
    server.change("with", set, &values).await;
    let refused = store.acquire(&"with".into(), &owner("me"), write()).await;
    let error = refused.expect_err("its states are of another place");
    assert_eq!(error.kind, StoreErrorKind::Conflict);
    assert!(error.message.contains("on_state_gap"), "{error}");
    let config = LeaseConfig { on_state_gap: OnStateGap::Reset, ..server.config().await };
    let store = server.store_with(config).await;
    let found = acquire(&store, "with", "me").await;
    assert_eq!(found.moved, Some(expected));
    assert!(found.state_keys.is_empty());
    assert_eq!(store.states(&found.lease, "sum", &[1]).await.expect("states"), [None]);
}

#[tokio::test]
async fn what_another_application_has_prepared_is_left_alone() {
    let Some(server) = DynamoDb::start("what_another_application_has_prepared").await else {
        return;
    };
    let store = server.store().await;
    let lease = acquire(&store, "p", "me").await.lease;
    let theirs = AttributeValue::B(Blob::new(b"theirs"));
    let prepared = AttributeValue::S(format!("{NUMBER}0009"));
    let set = "SET pendingCheckpoint = :p, pendingCheckpointState = :s";
    server.change("p", set, &[(":p", prepared), (":s", theirs.clone())]).await;
    store.hand_over(&lease, write()).await.expect("handed over");
    let found = acquire(&store, "p", "me").await;
    assert_eq!(found.pending, None);
    let refused = store.intend(&found.lease, write(), &manifest(0), &[]).await;
    let error = refused.expect_err("it would be lost");
    assert_eq!(error.kind, StoreErrorKind::Conflict);
    assert!(error.message.contains("pendingCheckpointState"), "{error}");
    assert_eq!(server.row("p").await["pendingCheckpointState"], theirs);
}

#[tokio::test]
async fn changes_of_states_become_one_object_again_and_again() {
    let Some(server) = DynamoDb::start("changes_of_states_become_one_object").await else {
        return;
    };
    let store = server.store().await;
    let mut lease = acquire(&store, "p", "me").await.lease;
    for range in 0..100 {
        pass(&store, &lease, range, &[state(u128::from(range % 10), &format!("of {range}"))]).await;
        if range % 30 == 29 {
            // Another host goes on with what lies there.
            lease = acquire(&server.store().await, "p", "other").await.lease;
            lease = acquire(&store, &lease.partition.0, "me").await.lease;
        }
    }
    let objects = server.objects("states");
    assert!(objects.len() <= 33, "{} objects lie there", objects.len());
    let keys: Vec<u128> = (0..10).collect();
    let found = acquire(&server.store().await, "p", "other").await;
    assert_eq!(found.state_keys["sum"], 10);
    let store = server.store().await;
    let lease = acquire(&store, "p", "third").await.lease;
    let rows = store.states(&lease, "sum", &keys).await.expect("states");
    for (key, row) in keys.iter().zip(rows) {
        let expected = format!("of {}", 90 + key);
        assert_eq!(row.map(|it| it.bytes), Some(expected.into_bytes()));
    }
}

/// A host that does what it is told.
struct Host {
    store: LeaseStore,
    owner: OwnerId,
    leases: std::collections::BTreeMap<PartitionId, Lease>,
}

impl Host {
    async fn new(server: &DynamoDb, name: &str) -> Host {
        let failover = std::time::Duration::from_secs(2);
        let history_kept = std::time::Duration::from_millis(200);
        let config = LeaseConfig { failover, history_kept, ..server.config().await };
        let store = server.store_with(config).await;
        Host { store, owner: owner(name), leases: std::collections::BTreeMap::new() }
    }

    /// Looks, renews what it has, hands over what is asked for, takes what it may.
    async fn turn(&mut self, listed: &[Partition]) -> Share {
        let running = self.leases.keys().cloned().collect();
        let stopped = std::collections::BTreeSet::new();
        let situation =
            HostSituation { owner: &self.owner, listed, running: &running, stopped: &stopped };
        let share = self.store.look(situation).await.expect("the table can be read");
        for lease in self.leases.values() {
            self.store.renew(lease, write()).await.expect("renewed");
        }
        for id in &share.give_up {
            if let Some(lease) = self.leases.remove(id) {
                self.store.hand_over(&lease, write()).await.expect("handed over");
            }
        }
        for id in &share.take {
            // Another one may have been faster.
            if let Ok(acquired) = self.store.acquire(id, &self.owner, write()).await {
                self.leases.insert(id.clone(), acquired.lease);
            }
        }
        share
    }
}

fn shards(names: std::ops::Range<u32>) -> Vec<Partition> {
    let shard = |n| Partition {
        id: format!("shardId-{n:04}").as_str().into(),
        parents: Vec::new(),
        hash_range: None,
    };
    names.map(shard).collect()
}

#[tokio::test]
async fn leases_are_spread_evenly_handed_over_and_taken_over() {
    let Some(server) = DynamoDb::start("leases_are_spread_evenly").await else { return };
    let listed = shards(0..8);
    let mut hosts = vec![Host::new(&server, "a").await];
    hosts[0].turn(&listed).await;
    assert_eq!(hosts[0].leases.len(), 8, "one host has everything");
    hosts.push(Host::new(&server, "b").await);
    hosts.push(Host::new(&server, "c").await);
    let mut turns = 0;
    let counts = |hosts: &[Host]| hosts.iter().map(|it| it.leases.len()).collect::<Vec<_>>();
    while counts(&hosts) != [3, 3, 2] && counts(&hosts) != [3, 2, 3] && counts(&hosts) != [2, 3, 3]
    {
        turns += 1;
        assert!(turns < 40, "{:?}", counts(&hosts));
        for host in &mut hosts {
            host.turn(&listed).await;
        }
    }
    for _ in 0..4 {
        for host in &mut hosts {
            assert_eq!(host.turn(&listed).await.give_up, [].into(), "it stays as it is");
        }
    }

    // One hands everything over: whoever looks next may take it.
    let gone = hosts.remove(0);
    for lease in gone.leases.values() {
        gone.store.hand_over(lease, write()).await.expect("handed over");
    }
    for host in &mut hosts {
        host.turn(&listed).await;
    }
    assert_eq!(counts(&hosts), [4, 4]);

    // One dies: after `failover`, by the other's clock, its leases are taken.
    hosts.remove(0);
    let since = std::time::Instant::now();
    while hosts[0].leases.len() < 8 {
        hosts[0].turn(&listed).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(since.elapsed().as_secs() < 10, "{:?}", counts(&hosts));
    }
    assert!(since.elapsed().as_millis() >= 1_900, "not before: {:?}", since.elapsed());
}

#[tokio::test]
async fn children_wait_for_their_parents_on_whatever_host() {
    let Some(server) = DynamoDb::start("children_wait_for_their_parents").await else { return };
    let mut listed = shards(0..2);
    let (mut a, mut b) = (Host::new(&server, "a").await, Host::new(&server, "b").await);
    a.turn(&listed).await;
    b.turn(&listed).await;
    let parents = listed.iter().map(|it| it.id.clone()).collect();
    listed.push(Partition { id: "shardId-0002".into(), parents, hash_range: None });
    for _ in 0..3 {
        for host in [&mut a, &mut b] {
            let share = host.turn(&listed).await;
            assert!(!share.take.contains(&listed[2].id), "its parents are not finished");
        }
    }
    assert!(b.turn(&listed[..2]).await.lists_more, "the table knows of one more");
    assert!(!b.turn(&listed[..2]).await.lists_more, "it is said once");
    for lease in std::mem::take(&mut a.leases).into_values() {
        a.store.finish(&lease, write()).await.expect("finished");
        a.store.hand_over(&lease, write()).await.expect("handed over");
    }
    for lease in std::mem::take(&mut b.leases).into_values() {
        b.store.finish(&lease, write()).await.expect("finished");
        b.store.hand_over(&lease, write()).await.expect("handed over");
    }
    let share = b.turn(&listed).await;
    assert_eq!(share.finished.len(), 2);
    assert_eq!(b.leases.keys().collect::<Vec<_>>(), [&listed[2].id]);

    // The stream has dropped the parents. Their rows go when the child has begun.
    let rows = async || b.store.leases().await.expect("leases").len();
    let child = b.leases[&listed[2].id].clone();
    a.turn(&listed[2..]).await;
    assert_eq!(rows().await, 3, "the child may still ask for their states");
    pass(&b.store, &child, 0, &[]).await;
    a.turn(&listed[2..]).await;
    assert_eq!(rows().await, 3, "another host may have an old list");
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    a.turn(&listed[2..]).await;
    assert_eq!(rows().await, 1);
}

/// KCL clears what pends with each checkpoint of its own, also where that is no further.
#[tokio::test]
async fn an_intent_that_somebody_has_taken_away_is_told_and_its_number_is_not_given_again() {
    let Some(server) = DynamoDb::start("an_intent_that_was_taken_away").await else { return };
    let store = server.store().await;
    let lease = acquire(&store, "p", "me").await.lease;
    store.intend(&lease, write(), &manifest(0), &[]).await.expect("intent");
    let taken_away = "SET leaseCounter = leaseCounter + :o
        REMOVE pendingCheckpoint, pendingCheckpointSubSequenceNumber, pendingCheckpointState";
    let one = || [(":o", AttributeValue::N("1".to_owned()))];
    server.change("p", taken_away, &one()).await;
    let found = acquire(&store, "p", "me").await;
    assert_eq!(found.moved, Some(MovedCheckpoint { from: None, to: None }));
    assert_eq!((found.checkpoint.next_range, found.pending), (1, None));

    let first = Manifest { start: None, ..manifest(1) };
    store.intend(&found.lease, write(), &first, &[state(1, "kept")]).await.expect("intent");
    store.commit(&found.lease, write(), 1).await.expect("commit");
    store.intend(&found.lease, write(), &manifest(2), &[]).await.expect("intent");
    server.change("p", taken_away, &one()).await;
    let found = acquire(&store, "p", "me").await;
    let here = Some(position(20, 3));
    assert_eq!(found.moved, Some(MovedCheckpoint { from: here, to: here }));
    assert_eq!(found.checkpoint.resume, Some(resume(20)), "with its token");
    assert_eq!((found.checkpoint.next_range, found.state_keys["sum"]), (3, 1));
    assert_eq!(acquire(&store, "p", "me").await.moved, None, "it is told once");
}

/// Whoever else reads the end of a parent, or the beginning of its child, leaves a gap in the states.
#[tokio::test]
async fn a_child_does_not_take_states_of_where_somebody_else_has_read_on() {
    let Some(server) = DynamoDb::start("a_child_does_not_take_states").await else { return };
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let n = |number: &str| AttributeValue::N(number.to_owned());
    let parents = |name: &str| -> [PartitionId; 1] { [format!("{name}-parent").as_str().into()] };
    let inherit = async |store: &LeaseStore, name: &str| {
        let lease = acquire(store, name, "me").await.lease;
        store.inherit(&lease, write(), &parents(name), (0, u128::MAX)).await
    };
    for name in ["ours", "ended", "begun"] {
        let store = server.store().await;
        let lease = acquire(&store, &parents(name)[0].0, "me").await.lease;
        pass(&store, &lease, 0, &[state(1, "kept")]).await;
        let child = Partition {
            id: name.into(),
            parents: parents(name).to_vec(),
            hash_range: Some((0, u128::MAX)),
        };
        store.announce(&child, None).await.expect("announced");
        let counted = "leaseCounter = leaseCounter + :o";
        match name {
            "ended" => {
                let values = [(":c", s("SHARD_END")), (":o", n("1"))];
                let set = format!("SET checkpoint = :c, {counted}");
                server.change(&parents(name)[0].0, &set, &values).await;
            }
            _ => store.finish(&lease, write()).await.expect("finished"),
        }
        if name == "begun" {
            let values = [(":c", s(&format!("{NUMBER}0015"))), (":s", n("0")), (":o", n("1"))];
            let set = format!("SET checkpoint = :c, checkpointSubSequenceNumber = :s, {counted}");
            server.change(name, &set, &values).await;
        }
    }
    let store = server.store().await;
    assert_eq!(inherit(&store, "ours").await.expect("inherited")["sum"], 1);
    for name in ["ended", "begun"] {
        for _ in 0..2 {
            let error = inherit(&store, name).await.expect_err("they are of another place");
            assert_eq!(error.kind, StoreErrorKind::Conflict);
            assert!(error.message.contains("on_state_gap"), "{error}");
        }
        let config = LeaseConfig { on_state_gap: OnStateGap::Reset, ..server.config().await };
        let store = server.store_with(config).await;
        assert_eq!(inherit(&store, name).await.expect("it begins with none"), [].into());
    }
}

#[tokio::test]
async fn the_history_of_a_partition_is_what_was_committed_and_nothing_else() {
    let Some(server) = DynamoDb::start("the_history_of_a_partition").await else { return };
    let store = server.store().await;
    let lease = acquire(&store, "p", "me").await.lease;
    pass(&store, &lease, 0, &[]).await;
    // An intent that was described and never written, as by a host that was fenced just then.
    let other = server.store().await;
    let late = acquire(&other, "p", "other").await.lease;
    let lease = acquire(&store, "p", "me").await.lease;
    let described = Manifest { opened_at: Timestamp(77), ..manifest(1) };
    other.intend(&late, write(), &described, &[]).await.expect_err("it is too late");
    // One that was replaced by another revision.
    store.intend(&lease, write(), &manifest(1), &[]).await.expect("intent");
    let revised = Manifest { revision: 1, ..manifest(1) };
    store.intend(&lease, write(), &revised, &[]).await.expect("intent");
    store.commit(&lease, write(), 1).await.expect("commit");
    store.intend(&lease, write(), &manifest(2), &[]).await.expect("intent");
    assert_eq!(server.objects("manifests").len(), 5);
    let found = server.store().await.history(&"p".into()).await.expect("it can be read");
    let (record, history) = found.expect("there is a row");
    assert_eq!(history.committed, [manifest(0), revised]);
    assert_eq!((history.pending, record.pends), (Some(manifest(2)), true));
    assert_eq!(server.store().await.history(&"q".into()).await.expect("it can be read"), None);
}

/// Where a queue tells of partitions that come and go: what nobody needs expires, and nothing else does.
#[tokio::test]
async fn rows_expire_that_are_finished_or_of_which_nothing_was_begun() {
    let Some(server) = DynamoDb::start("rows_expire_that_nobody_needs").await else { return };
    let expires_after = Some(std::time::Duration::from_secs(60));
    let store = server.store_with(LeaseConfig { expires_after, ..server.config().await }).await;
    let expires = async || server.row("p").await.contains_key("tgExpires");
    let partition = Partition { id: "p".into(), parents: Vec::new(), hash_range: None };
    store.announce(&partition, None).await.expect("announced");
    assert!(expires().await, "nobody may ever come for it");
    let Acquired { lease, .. } = acquire(&store, "p", "one").await;
    store.hand_over(&lease, write()).await.expect("handed over");
    assert!(expires().await, "what it stands for was gone");
    let Acquired { lease, .. } = acquire(&store, "p", "one").await;
    store.intend(&lease, write(), &manifest(0), &[]).await.expect("intent");
    assert!(!expires().await, "a range pends");
    store.commit(&lease, write(), 0).await.expect("commit");
    store.hand_over(&lease, write()).await.expect("handed over");
    assert!(!expires().await, "it goes on from here");
    let Acquired { lease, .. } = acquire(&store, "p", "another").await;
    store.finish(&lease, write()).await.expect("finished");
    store.hand_over(&lease, write()).await.expect("handed over");
    assert!(expires().await);
}
