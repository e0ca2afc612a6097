//! The stories of two that read one stream by turns, by the same table of leases: the Kinesis Client
//! Library in Java, and a host of ours. Each goes on where the other has stopped, or was killed, while
//! the stream is resharded under them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use serde_json::Value;
use tidegate_tests::server::ServerProcess;

use super::{
    aggregates::Aggregates,
    dynamodb::Item,
    fleet::Fleet,
    local::KinesisLocal,
    stories::{PATIENCE, Run},
};

/// Of a process of the library, in milliseconds: when it takes another's leases, and how long it has
/// written records down before it checkpoints them.
const FAILOVER: &str = "3000";
const CHECKPOINT_EVERY: &str = "1200";

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Kcl,
    Ours,
}

/// What happens to the stream meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reshard {
    No,
    Split,
    Merge,
}

/// How a turn ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// `SIGTERM`.
    Stopped,
    /// `SIGKILL`, with records on their way.
    Killed,
}

/// One of them reads for a while.
type Turn = (Who, Reshard, End);

/// A record, by its key and its number.
type Id = (String, u64);
/// Where a record lies: its shard, its sequence number, and its place in its aggregate.
type Place = (String, Position);
/// Those two numbers. Sequence numbers of one server have one length.
type Position = (usize, String, u64);

/// Whoever reads now.
enum Reader {
    Kcl(Run),
    Ours(Run),
}

/// A stream, its leases, and whoever has read it.
struct Relay {
    fleet: Fleet,
    aggregates: Aggregates,
    classes: PathBuf,
    address: String,
    _server: ServerProcess,
    /// Everything that was acknowledged, and where.
    put: BTreeMap<Id, Place>,
    /// What the turns before have handled.
    handled: BTreeSet<Id>,
    next: u64,
}

/// A record that stands for a key's number.
fn record(key: &str, n: u64) -> Vec<u8> {
    format!(r#"{{"key":"{key}","n":{n}}}"#).into_bytes()
}

fn plain(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data));
    entry.build().expect("it has a key and data")
}

fn id(record: &[u8]) -> Id {
    let record: Value = serde_json::from_slice(record).expect("a record is JSON");
    (record["key"].as_str().expect("a key").to_owned(), record["n"].as_u64().expect("a number"))
}

fn position(sequence: &str, sub: u64) -> Position {
    (sequence.len(), sequence.to_owned(), sub)
}

fn text<'a>(row: &'a Item, attribute: &str) -> Option<&'a str> {
    let value = row.get(attribute)?;
    value.as_s().or(value.as_n()).ok().map(String::as_str)
}

/// What a row says is done: nothing, up to somewhere, or all.
fn checkpoint(row: &Item) -> Position {
    let sub = text(row, "checkpointSubSequenceNumber").and_then(|it| it.parse().ok());
    match text(row, "checkpoint").expect("a lease has a checkpoint") {
        "TRIM_HORIZON" => position("", 0),
        "SHARD_END" => (usize::MAX, String::new(), 0),
        sequence => position(sequence, sub.expect("a number")),
    }
}

fn is_lease(row: &Item) -> bool {
    text(row, "entityType").is_none_or(|it| it == "LEASE")
}

impl Relay {
    fn start(test: &str, version: &str) -> Option<Relay> {
        let Some(folder) = std::env::var_os("TIDEGATE_KCL").map(PathBuf::from) else {
            println!(
                "SKIPPED: {test}: the Kinesis Client Library is absent, which needs Java and Maven"
            );
            return None;
        };
        let aggregates = Aggregates::find(test)?;
        let mut server = None;
        let fleet = Fleet::with(test, "", || {
            let KinesisLocal { kinesis, address, process } = KinesisLocal::start(test, 2)?;
            server = Some((address, process));
            Some(kinesis)
        })?;
        let (address, process) = server?;
        Some(Relay {
            fleet,
            aggregates,
            classes: folder.join(version),
            address: format!("http://{address}"),
            _server: process,
            put: BTreeMap::new(),
            handled: BTreeSet::new(),
            next: 0,
        })
    }

    /// Writes some records of each key, half the time in aggregates of three.
    fn write(&mut self, rounds: u64) {
        for round in 0..rounds {
            let (next, width) = (self.next, if round.is_multiple_of(2) { 1 } else { 3 });
            let keys: Vec<String> = (0..8).map(|key| format!("key-{key}")).collect();
            let entries = match width {
                1 => keys.iter().map(|key| plain(key, &record(key, next))).collect(),
                _ => {
                    let of = |key: &String, n| (key.clone(), None, record(key, n));
                    let list = |key| (next..next + width).map(|n| of(key, n)).collect();
                    self.aggregates.make(&keys.iter().map(list).collect::<Vec<_>>())
                }
            };
            let answers = self.fleet.kinesis.run(async |client, stream| {
                let put = client.put_records().stream_name(stream);
                Ok(put.set_records(Some(entries)).send().await?.records)
            });
            for (key, answer) in keys.iter().zip(answers) {
                let shard = answer.shard_id.expect("it was put");
                let sequence = answer.sequence_number.expect("it was put");
                for sub in 0..width {
                    let place = (shard.clone(), position(&sequence, sub));
                    self.put.insert((key.clone(), next + sub), place);
                }
            }
            self.next += width;
        }
    }

    fn begin(&self, number: usize, who: Who) -> Reader {
        let log = |name: &str| {
            let log = self.fleet.folder.path().join(name);
            fs::File::create(log).expect("room for a log")
        };
        match who {
            Who::Ours => {
                let program = self.fleet.program("ours");
                Reader::Ours(Run(program.start_logged("run", &[], log(&format!("{number}.log")))))
            }
            Who::Kcl => {
                let classes = self.classes.display();
                let mut java = Command::new("java");
                java.args(["-Xmx200m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
                    .arg(format!("{classes}/classes:{classes}/*"))
                    .arg("Consumer")
                    .args([&self.fleet.dynamodb.table, &self.fleet.kinesis.stream])
                    .arg(format!("worker-{number}"))
                    .args([&self.address, &self.fleet.dynamodb.endpoint()])
                    .arg(self.written(number))
                    .args([FAILOVER, CHECKPOINT_EVERY])
                    .stdin(Stdio::null())
                    .stdout(log(&format!("{number}.log")))
                    .stderr(Stdio::null());
                Reader::Kcl(Run(java.spawn().expect("Java can be started")))
            }
        }
    }

    /// What a worker of the library writes.
    fn written(&self, number: usize) -> PathBuf {
        self.fleet.folder.path().join(format!("{number}.records"))
    }

    fn log(&self, number: usize) -> String {
        fs::read_to_string(self.fleet.folder.path().join(format!("{number}.log")))
            .unwrap_or_default()
    }

    /// What a turn has handled by now, in order; `before` are the objects of turns before it.
    fn output(&self, number: usize, who: Who, before: &BTreeSet<String>) -> Vec<Id> {
        match who {
            Who::Ours => {
                let objects = self.objects().into_iter().filter(|it| !before.contains(it));
                let content = |name| fs::read(self.fleet.out().join(name)).expect("an object");
                objects
                    .flat_map(content)
                    .collect::<Vec<u8>>()
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .map(id)
                    .collect()
            }
            Who::Kcl => {
                let written = fs::read_to_string(self.written(number)).unwrap_or_default();
                // One that is killed may have been about to write.
                let whole = written.rfind('\n').map_or("", |end| &written[..end]);
                let handled = whole.lines().map(|line| {
                    let mut parts = line.splitn(4, '\t');
                    let mut part = || parts.next().expect("four parts").to_owned();
                    let (shard, sequence, sub) = (part(), part(), part());
                    let id = id(part().as_bytes());
                    let place = (shard, position(&sequence, sub.parse().expect("a number")));
                    assert_eq!(self.put[&id], place, "it is what was put there");
                    id
                });
                handled.collect()
            }
        }
    }

    /// The names of whole objects, in their order: that of shards, and of ranges in a shard.
    fn objects(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.fleet.out()).into_iter().flatten();
        let names =
            entries.map(|it| it.expect("a folder").file_name().to_string_lossy().into_owned());
        names.filter(|it| it.ends_with(".jsonl")).collect()
    }

    /// All rows, by their keys; none where there is no table yet.
    fn rows(&self) -> BTreeMap<String, Item> {
        let scan = self.fleet.dynamodb.client.scan().table_name(&self.fleet.dynamodb.table);
        let Ok(rows) = self.fleet.runtime.block_on(scan.consistent_read(true).send()) else {
            return BTreeMap::new();
        };
        let key = |row: &Item| text(row, "leaseKey").expect("the table's key").to_owned();
        rows.items().iter().map(|row| (key(row), row.clone())).collect()
    }

    fn checkpoints(&self) -> BTreeMap<String, Position> {
        let leases = self.rows().into_iter().filter(|(_, row)| is_lease(row));
        leases.map(|(key, row)| (key, checkpoint(&row))).collect()
    }

    /// Waits until everything that was put is handled, and sees that no checkpoint goes back.
    fn until_all_is_handled(&self, number: usize, who: Who, before: &BTreeSet<String>) {
        let (started, mut last) = (Instant::now(), self.checkpoints());
        loop {
            let now = self.checkpoints();
            for (shard, before) in &last {
                assert!(now[shard] >= *before, "{shard} goes back: {before:?}, {:?}", now[shard]);
            }
            last = now;
            let mut all: BTreeSet<Id> = self.output(number, who, before).into_iter().collect();
            all.extend(self.handled.iter().cloned());
            if all.len() == self.put.len() {
                return;
            }
            let log = self.log(number);
            assert!(
                started.elapsed() < PATIENCE,
                "{who:?} has handled {} of {}\n{log}",
                all.len(),
                self.put.len()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn turn(&mut self, number: usize, turn: Turn, before: Option<End>, is_last: bool) {
        let (who, reshard, end) = turn;
        let started = Instant::now();
        let (rows, found) = (self.rows(), self.checkpoints());
        let objects = self.objects();
        self.write(3);
        let reader = self.begin(number, who);
        self.until_all_is_handled(number, who, &objects);
        let took = started.elapsed();
        let open = self.fleet.kinesis.open_shards();
        match reshard {
            Reshard::No => {}
            Reshard::Split => self.fleet.kinesis.split(&open[0]),
            Reshard::Merge => self.fleet.kinesis.merge(&open[0], &open[1]),
        }
        self.write(6);
        self.until_all_is_handled(number, who, &objects);
        if reshard != Reshard::No {
            self.until_parents_are_finished();
        }
        self.write(4);
        if is_last {
            self.until_all_is_handled(number, who, &objects);
        }
        match (reader, end) {
            (Reader::Kcl(run) | Reader::Ours(run), End::Killed) => {
                // Until something was handled that is most likely not checkpointed.
                thread::sleep(Duration::from_millis(700));
                drop(run);
            }
            (Reader::Ours(run), End::Stopped) => run.terminate(),
            (Reader::Kcl(run), End::Stopped) => stop(run),
        }
        let output = self.output(number, who, &objects);
        let (left, log) = (self.rows(), self.log(number));
        println!(
            "turn {number}: {who:?}, {} records, the first after {took:?}, {:?} in all",
            output.len(),
            started.elapsed()
        );

        self.check_output(&output, &found, before, end, &log);
        self.check_rows(who, &rows, &left);
        if who == Who::Ours && before.is_some() {
            assert!(
                log.contains("exactly once ends there"),
                "it tells of the other's word:\n{log}"
            );
        }
        self.handled.extend(output);
    }

    /// Every shard that has children says so, and that it ended, and they know it.
    fn until_parents_are_finished(&self) {
        let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for shard in self.fleet.kinesis.shards() {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            for parent in parents.into_iter().flatten() {
                let child = shard.shard_id().to_owned();
                children.entry(parent.to_owned()).or_default().insert(child);
            }
        }
        let set = |row: &Item, attribute: &str| -> BTreeSet<String> {
            let set = row.get(attribute).and_then(|it| it.as_ss().ok());
            set.into_iter().flatten().cloned().collect()
        };
        let started = Instant::now();
        loop {
            let rows = self.rows();
            let done = children.iter().all(|(parent, children)| {
                let row = &rows[parent];
                // Its children's rows are there before it says that it ended.
                let ended = text(row, "checkpoint") == Some("SHARD_END");
                let known = children.iter().all(|child| {
                    rows.get(child).is_some_and(|row| set(row, "parentShardId").contains(parent))
                });
                assert!(!ended || known, "{parent} ended before its children were there");
                assert!(!ended || set(row, "childShardIds") == *children, "{row:?}");
                ended
            });
            if done {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{rows:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn check_output(
        &self,
        output: &[Id],
        found: &BTreeMap<String, Position>,
        before: Option<End>,
        end: End,
        log: &str,
    ) {
        let mut order: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, n) in output {
            let (shard, position) = &self.put[&(key.clone(), *n)];
            let done = found.get(shard);
            assert!(done.is_none_or(|it| position > it), "{key} {n} was checkpointed by {done:?}");
            // In order. A worker of the library that was too slow to renew a lease takes it again, and
            // reads from its checkpoint on; then it has begun with the shard twice.
            let last = order.get(key.as_str()).copied();
            let is_next = last.is_none_or(|last| *n == last + 1);
            let again = last.is_some_and(|last| *n <= last)
                && log.matches(&format!("begins {shard} ")).count() > 1;
            assert!(is_next || again, "{key}: {n} of {shard} after {last:?}\n{log}");
            order.insert(key, last.map_or(*n, |last| last.max(*n)));
            // What comes twice comes from the one who was killed.
            if self.handled.contains(&(key.clone(), *n)) {
                assert_eq!(before, Some(End::Killed), "{key} {n} comes twice after a stop");
            }
        }
        if end == End::Killed {
            return;
        }
        // What was handled is checkpointed, all of it, and nothing else is.
        let left = self.checkpoints();
        let handled: BTreeSet<&Id> = output.iter().chain(&self.handled).collect();
        for (id, (shard, position)) in &self.put {
            let checkpointed = left.get(shard).is_some_and(|it| position <= it);
            assert_eq!(handled.contains(id), checkpointed, "{id:?} in {shard}");
        }
    }

    /// What a turn leaves alone of the rows that it found.
    fn check_rows(&self, who: Who, found: &BTreeMap<String, Item>, left: &BTreeMap<String, Item>) {
        for (key, found) in found {
            let left = left.get(key).unwrap_or_else(|| panic!("the row {key} is gone"));
            if who == Who::Ours && !is_lease(found) {
                assert_eq!(found, left, "it is no lease");
                continue;
            }
            for (attribute, value) in found {
                let theirs = attribute.starts_with("tg") == (who == Who::Kcl);
                let shared = [
                    "leaseOwner",
                    "leaseCounter",
                    "checkpoint",
                    "checkpointSubSequenceNumber",
                    "checkpointOwner",
                    "childShardIds",
                    "ownerSwitchesSinceCheckpoint",
                    "pendingCheckpoint",
                    "pendingCheckpointSubSequenceNumber",
                    "pendingCheckpointState",
                ];
                if theirs && !shared.contains(&attribute.as_str()) {
                    assert_eq!(left.get(attribute), Some(value), "`{attribute}` of {key}");
                }
            }
        }
    }
}

/// Stops a worker of the library in order.
fn stop(mut run: Run) {
    let child: &mut Child = &mut run.0;
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    let started = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        assert!(started.elapsed() < PATIENCE, "it does not stop");
        thread::sleep(Duration::from_millis(20));
    }
}

/// By turns, beginning with one of them: each kind of end, before and after a split and a merge.
fn relay(test: &str, version: &str, turns: &[Turn]) {
    let Some(mut relay) = Relay::start(test, version) else { return };
    let mut before = None;
    for (number, turn) in turns.iter().enumerate() {
        relay.turn(number, *turn, before, number + 1 == turns.len());
        before = Some(turn.2);
        if number == 0 {
            // Somebody else's, on a row of a lease.
            for key in relay.rows().into_iter().filter(|(_, row)| is_lease(row)).map(|it| it.0) {
                let values = [(":a", AttributeValue::S("of an application".to_owned()))];
                let change = relay.fleet.dynamodb.change(&key, "SET annotation = :a", &values);
                relay.fleet.runtime.block_on(change);
            }
        }
    }
    assert_eq!(relay.handled.len(), relay.put.len(), "everything that was put was handled");
    let rows = relay.rows();
    let annotated = rows.values().filter(|row| row.contains_key("annotation")).count();
    assert!(annotated >= 2, "attributes of others stay on the rows of leases");
    let others = rows.values().filter(|row| !is_lease(row)).count();
    assert_eq!(others > 0, version.starts_with('3'), "version 3 puts other rows into the table");
    relay.fleet.nothing_is_dead();
}

const KCL_FIRST: [Turn; 5] = [
    (Who::Kcl, Reshard::Split, End::Killed),
    (Who::Ours, Reshard::No, End::Stopped),
    (Who::Kcl, Reshard::Merge, End::Stopped),
    (Who::Ours, Reshard::No, End::Killed),
    (Who::Kcl, Reshard::No, End::Stopped),
];

const OURS_FIRST: [Turn; 5] = [
    (Who::Ours, Reshard::Split, End::Killed),
    (Who::Kcl, Reshard::No, End::Stopped),
    (Who::Ours, Reshard::Merge, End::Stopped),
    (Who::Kcl, Reshard::No, End::Killed),
    (Who::Ours, Reshard::Split, End::Stopped),
];

/// Whether the long stories are told as well: `cargo xtask test --full`.
fn is_full() -> bool {
    let kills = std::env::var("TIDEGATE_KILLS").ok().and_then(|it| it.parse::<u64>().ok());
    kills.is_some_and(|it| it >= 50)
}

#[test]
fn a_host_goes_on_where_version_2_of_the_library_has_stopped_and_the_other_way_round() {
    relay("kcl_2_ours_first", "2.7.2", &OURS_FIRST);
    if is_full() {
        relay("kcl_2_first", "2.7.2", &KCL_FIRST);
    }
}

#[test]
fn a_host_goes_on_where_version_3_of_the_library_has_stopped_and_the_other_way_round() {
    relay("kcl_3_first", "3.5.1", &KCL_FIRST);
    if is_full() {
        relay("kcl_3_ours_first", "3.5.1", &OURS_FIRST);
    }
}
