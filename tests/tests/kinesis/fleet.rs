//! The stories of a fleet: several programs share one stream by leases, are started, stopped, killed
//! and resharded under, and every record is in the sink once, in its key's order.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_tests::{
    program::{Program, lines, tree},
    server::with_credentials,
};
use tokio::runtime::Runtime;

use super::{
    dynamodb::{DynamoDb, Item},
    server::{Kinesis, REGION},
    stories::{ONCE, PATIENCE, Run, Writers, wait_for},
};

/// A stream, a table and a folder that all hosts share.
pub(super) struct Fleet {
    pub(super) kinesis: Kinesis,
    pub(super) dynamodb: DynamoDb,
    pub(super) runtime: Runtime,
    pub(super) folder: tempfile::TempDir,
}

impl Fleet {
    fn start(test: &str, shards: i32, stages: &str) -> Option<Fleet> {
        Fleet::with(test, stages, || Some(Kinesis::start(shards)))
    }

    /// The same, over a server of another make.
    pub(super) fn with(
        test: &str,
        stages: &str,
        kinesis: impl FnOnce() -> Option<Kinesis>,
    ) -> Option<Fleet> {
        let runtime = Runtime::new().expect("threads can be started");
        let dynamodb = runtime.block_on(DynamoDb::start(test))?;
        let kinesis = kinesis()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            r#"
pipeline: fleet-story
data_dir: ${{OUT}}/data-${{HOST}}
leases:
  table: {table}
  region: {REGION}
  endpoint: {leases}
  failover: 3s
  look_every: 500ms
  directory: ${{OUT}}/leases
source:
  kinesis:
    stream: {stream}
    region: {REGION}
    endpoint: {endpoint}
    poll_every: 200ms
    partition_key: key
{stages}
sinks:
  - name: out
    directory: {{ path: "${{OUT}}/out" }}
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {{ age: 200ms, records: 500 }}
"#,
            table = dynamodb.table,
            leases = dynamodb.endpoint(),
            stream = kinesis.stream,
            endpoint = kinesis.endpoint(),
        );
        fs::write(folder.path().join("pipeline.yaml"), text).expect("room for the pipeline");
        Some(Fleet { kinesis, dynamodb, runtime, folder })
    }

    /// Changes the pipeline's file.
    pub(super) fn edit(&self, change: impl FnOnce(String) -> String) {
        let file = self.folder.path().join("pipeline.yaml");
        let before = fs::read_to_string(&file).expect("it was written");
        let after = change(before.clone());
        assert_ne!(before, after, "it is changed");
        fs::write(file, after).expect("there is room");
    }

    pub(super) fn program(&self, host: &str) -> Program {
        let program = Program::new(self.folder.path().join("pipeline.yaml"));
        with_credentials(program.with("OUT", self.folder.path()).with("HOST", host))
    }

    pub(super) fn host(&self, name: &str) -> Run {
        Run(self.program(name).start("run", &[]))
    }

    pub(super) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Two texts of each lease; none where there is no table yet.
    fn leases(&self, attributes: [&str; 2]) -> Vec<[String; 2]> {
        let scan = self.dynamodb.client.scan().table_name(&self.dynamodb.table);
        let scan = scan.consistent_read(true);
        let Ok(rows) = self.runtime.block_on(scan.send()) else { return Vec::new() };
        let text = |value: Option<&AttributeValue>| value.and_then(|it| it.as_s().ok()).cloned();
        let texts = |row: &Item| attributes.map(|it| text(row.get(it)).unwrap_or_default());
        rows.items().iter().map(texts).collect()
    }

    /// How many unfinished leases each owner has.
    fn owners(&self) -> BTreeMap<String, usize> {
        let mut owners = BTreeMap::new();
        for [checkpoint, owner] in self.leases(["checkpoint", "leaseOwner"]) {
            if checkpoint != "SHARD_END" {
                *owners.entry(owner).or_default() += 1;
            }
        }
        owners
    }

    /// How far each shard is done.
    pub(super) fn checkpoints(&self) -> BTreeMap<String, String> {
        let leases = self.leases(["leaseKey", "checkpoint"]).into_iter();
        leases.map(|[shard, checkpoint]| (shard, checkpoint)).collect()
    }

    /// Waits until leases are spread so, and says how long it took.
    pub(super) fn until(
        &self,
        what: &str,
        spread: impl Fn(&BTreeMap<String, usize>) -> bool,
    ) -> Duration {
        let started = Instant::now();
        loop {
            let owners = self.owners();
            if spread(&owners) {
                return started.elapsed();
            }
            assert!(started.elapsed() < PATIENCE, "{what}: {owners:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn nothing_is_dead(&self) {
        assert!(tree(&self.folder.path().join("dead")).is_empty(), "nothing is a dead letter");
    }
}

/// So many tenths of the records may be written by now.
fn allow(writers: &Writers, tenths: u64) {
    writers.allowed.store(writers.records * tenths / 10, Ordering::Relaxed);
}

/// Each of some owners has this many.
fn even(count: usize, each: usize) -> impl Fn(&BTreeMap<String, usize>) -> bool {
    move |owners| {
        owners.len() == count && owners.iter().all(|(name, it)| !name.is_empty() && *it == each)
    }
}

#[test]
fn three_hosts_share_a_stream_and_a_killed_and_a_stopped_one_are_not_missed() {
    let test = "three_hosts_share_a_stream";
    let Some(fleet) = Fleet::start(test, 6, "") else { return };
    let writers = Writers::new(6, 8, 150);
    let mut hosts: Vec<Option<Run>> = Vec::new();
    hosts.push(Some(fleet.host("a")));
    fleet.until("one host has everything", even(1, 6));
    hosts.push(Some(fleet.host("b")));
    hosts.push(Some(fleet.host("c")));
    let spread = fleet.until("six leases on three hosts", even(3, 2));
    allow(&writers, 2);
    writers.write(&fleet.kinesis, |_| {
        std::thread::sleep(Duration::from_millis(400));
        // `kill -9`, with records on their way before it and behind it.
        drop(hosts[0].take());
        allow(&writers, 4);
        let failover = fleet.until("a killed host's leases are taken over", even(2, 3));
        let open = fleet.kinesis.open_shards();
        fleet.kinesis.split(&open[0]);
        fleet.kinesis.merge(&open[2], &open[3]);
        allow(&writers, 7);
        fleet.until("the children are read", even(2, 3));
        // Stopped in order: what it read is committed, and the other goes on at once.
        hosts[1].take().expect("it runs").terminate();
        let handed = fleet.until("a stopped host's leases are taken", |owners| {
            owners.len() == 1 && !owners.contains_key("")
        });
        allow(&writers, 9);
        hosts.push(Some(fleet.host("a")));
        println!("spread {spread:?}, failed over {failover:?}, handed over {handed:?}");
        allow(&writers, 10);
    });
    wait_for(&fleet.out(), writers.total());
    for host in hosts.into_iter().flatten() {
        host.terminate();
    }
    writers.check(&fleet.out());
    fleet.nothing_is_dead();
}

#[test]
fn leases_are_stolen_back_and_forth_without_a_duplicate() {
    let Some(fleet) = Fleet::start("leases_are_stolen_back_and_forth", 4, "") else { return };
    let writers = Writers::new(4, 8, 200);
    let first = fleet.host("a");
    fleet.until("one host has everything", even(1, 4));
    writers.write(&fleet.kinesis, |_| {
        for round in 0..3 {
            allow(&writers, 3 * (round + 1));
            let other = fleet.host(&format!("b{round}"));
            fleet.until("two each", even(2, 2));
            match round % 2 {
                0 => other.terminate(),
                _ => drop(other),
            }
            // Not before: a killed host's leases still have its name for a while.
            fleet.until("one host has everything again", even(1, 4));
        }
        allow(&writers, 10);
    });
    wait_for(&fleet.out(), writers.total());
    first.terminate();
    writers.check(&fleet.out());
    fleet.nothing_is_dead();
}

/// The state of a key goes from host to host, and to the child shard that owns it.
#[test]
fn states_follow_their_keys_from_host_to_host_through_a_reshard() {
    let Some(fleet) = Fleet::start("states_follow_their_keys", 2, ONCE) else { return };
    let first = Writers::new(4, 8, 30);
    let mut hosts = vec![fleet.host("a"), fleet.host("b")];
    fleet.until("one each", even(2, 1));
    first.write(&fleet.kinesis, |_| {});
    wait_for(&fleet.out(), first.total());
    let again = Writers::new(4, 8, 50);
    for step in 0..4 {
        let open = fleet.kinesis.open_shards();
        match step {
            0 | 3 => fleet.kinesis.split(&open[0]),
            1 => fleet.kinesis.split(&open[open.len() - 1]),
            _ => fleet.kinesis.merge(&open[0], &open[1]),
        }
        // `kill -9`, with states on their way from parents to children.
        drop(hosts.remove(0));
        hosts.push(fleet.host(["a", "b"][step % 2]));
    }
    again.write(&fleet.kinesis, |_| {});
    wait_for(&fleet.out(), again.total());
    let leases = fleet.program("a").data("leases ls", &[]);
    let leases = leases["leases"].as_array().expect("a list");
    assert!(leases.iter().filter(|it| it["finished"] == true).count() >= 4, "{leases:#?}");
    let shards = fleet.program("a").data("shards ls", &[]);
    let shards = shards["shards"].as_array().expect("a list");
    assert_eq!(shards.len(), leases.len());
    assert!(shards.iter().any(|it| it["last_record_seconds"].is_number()), "{shards:#?}");
    for host in hosts {
        host.terminate();
    }
    again.check(&fleet.out());
    fleet.nothing_is_dead();
}

#[test]
fn a_shard_that_nobody_has_read_begins_where_the_first_host_saw_it() {
    let Some(fleet) = Fleet::start("a_shard_that_nobody_has_read", 1, "") else { return };
    let stream = format!("stream: {}", fleet.kinesis.stream);
    fleet.edit(|text| text.replace(&stream, &format!("{stream}\n    start: latest")));
    fleet.kinesis.put(&[("key", br#"{"key":"old"}"#)]);
    // Arrivals are told to the second.
    std::thread::sleep(Duration::from_millis(3_100));
    let first = fleet.host("a");
    fleet.until("it has the lease", even(1, 1));
    // Killed before it has committed anything: the next host begins at the same time, not at its own.
    drop(first);
    fleet.kinesis.put(&[("key", br#"{"key":"new"}"#)]);
    let second = fleet.host("b");
    wait_for(&fleet.out(), 1);
    second.terminate();
    assert_eq!(lines(&fleet.out()), [b"{\"key\":\"new\"}\n".to_vec()]);
}
