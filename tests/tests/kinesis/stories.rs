//! The stories of a stream that is written, resharded and read, by a program that is stopped and
//! killed: nothing is lost, nothing doubled, and each key's order is kept.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate_tests::{
    program::{Program, lines, tree},
    running::{replace, start, wait_for as happened},
    server::with_credentials,
};

use super::{
    local::KinesisLocal,
    proxy::Fault,
    server::{Kinesis, REGION, put_all},
};

/// Longer than anything here takes, even on a machine that is busy with other things.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A run that does not outlive the test, however that ends.
pub(super) struct Run(pub(super) Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Run {
    pub(super) fn terminate(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                assert_eq!(status.code(), Some(0), "a stop that was asked for is no failure");
                return;
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn pipeline(folder: &Path, kinesis: &Kinesis, range: &str) -> Program {
    pipeline_with(folder, kinesis, range, "", "")
}

fn pipeline_with(
    folder: &Path,
    kinesis: &Kinesis,
    range: &str,
    source: &str,
    stages: &str,
) -> Program {
    let text = format!(
        r#"
pipeline: kinesis-story
data_dir: ${{OUT}}/data
source:
  kinesis:
    stream: {}
    region: {REGION}
    endpoint: {}
    poll_every: 200ms
    partition_key: key
    {source}
{stages}
sinks:
  - name: out
    directory: {{ path: "${{OUT}}/out" }}
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {range}
"#,
        kinesis.stream,
        kinesis.endpoint(),
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    with_credentials(Program::new(&file).with("OUT", folder))
}

/// How many records lie in whole objects by now.
fn delivered(out: &Path) -> u64 {
    let entries = fs::read_dir(out).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let whole = paths.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    let contents = whole.map(|path| fs::read(path).expect("an object is there for good"));
    contents.map(|content| content.iter().filter(|byte| **byte == b'\n').count() as u64).sum()
}

pub(super) fn wait_for(out: &Path, count: u64) {
    came(out, count).expect("all records come");
}

/// Waits for records. Says how many came, where others don't.
fn came(out: &Path, count: u64) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let found = delivered(out);
        if found >= count {
            return Ok(());
        }
        if started.elapsed() >= PATIENCE {
            return Err(format!("{found} of {count} records came"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lets the writers write everything once it is dropped.
struct Released<'a>(&'a AtomicU64);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}

/// Writers of their own threads. Each has keys that nobody else has, and numbers its records.
pub(super) struct Writers {
    count: u64,
    keys: u64,
    /// Records of each key.
    pub(super) records: u64,
    /// How many of them may be written by now.
    pub(super) allowed: AtomicU64,
}

impl Writers {
    pub(super) fn new(count: u64, keys: u64, records: u64) -> Self {
        Writers { count, keys, records, allowed: AtomicU64::new(u64::MAX) }
    }

    pub(super) fn total(&self) -> u64 {
        self.count * self.keys * self.records
    }

    /// Writes everything, and does something else meanwhile, which is told how much is written.
    pub(super) fn write(
        &self,
        kinesis: &Kinesis,
        meanwhile: impl FnOnce(&dyn Fn() -> Option<u64>),
    ) {
        let (written, over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..self.count)
                .map(|writer| {
                    let (handle, client, stream) = kinesis.client();
                    let written = &written;
                    scope.spawn(move || {
                        for n in 0..self.records {
                            while n >= self.allowed.load(Ordering::Relaxed) {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                            // One record a key in a batch: order within a batch is not promised.
                            let record = |key| {
                                let text = format!(
                                    r#"{{"key":"{writer}-{key}","n":{n},"text":"record {n} of writer {writer}"}}"#
                                );
                                (format!("{writer}-{key}"), text.into_bytes())
                            };
                            let batch = (0..self.keys).map(record).collect();
                            handle.block_on(put_all(&client, &stream, batch));
                            written.fetch_add(self.keys, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let progress = || {
                let written = written.load(Ordering::Relaxed);
                (!over.load(Ordering::Relaxed) && written < self.total()).then_some(written)
            };
            // What panics must not leave the writers waiting for ever.
            let released = Released(&self.allowed);
            meanwhile(&progress);
            drop(released);
            over.store(true, Ordering::Relaxed);
            for writer in writers {
                writer.join().expect("a writer writes");
            }
        });
    }

    /// Every record is there once, and those of a key in order. Objects are named by their shards,
    /// and children have larger numbers than their parents.
    pub(super) fn check(&self, out: &Path) {
        self.check_lines(&lines(out));
    }

    /// The same, of the lines of all objects, in the order of their names.
    pub(super) fn check_lines(&self, lines: &[Vec<u8>]) {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in lines {
            let record: Value = serde_json::from_slice(line).expect("a record is JSON");
            let key = record["key"].as_str().expect("a key").to_owned();
            found.entry(key).or_default().push(record["n"].as_u64().expect("a number"));
        }
        assert_eq!(found.len() as u64, self.count * self.keys, "all keys are there");
        let expected: Vec<u64> = (0..self.records).collect();
        for (key, numbers) in found {
            assert_eq!(numbers, expected, "key {key}: lost, doubled or out of order");
        }
    }
}

fn verify(program: &Program, records: u64) {
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["read"].as_u64(), Some(records), "{verified:#}");
}

#[test]
fn what_eight_writers_put_comes_out_once_and_in_order() {
    let kinesis = Kinesis::start(4);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let program = pipeline(folder.path(), &kinesis, "{ age: 300ms, records: 1000 }");
    let writers = Writers::new(8, 10, 150);
    let run = Run(program.start("run", &[]));
    writers.write(&kinesis, |_| {});
    wait_for(&out, writers.total());
    run.terminate();
    writers.check(&out);
    assert!(tree(&folder.path().join("dead")).is_empty(), "nothing is a dead letter");
    verify(&program, writers.total());
}

#[test]
fn shards_that_there_is_no_memory_for_at_once_do_not_wait_for_each_others_age() {
    let kinesis = Kinesis::start(32);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    // There is room for five ranges to begin. If each held it for as long as it may live, the last
    // shards would begin when the patience of this test has ended.
    let range = "{ age: 30s, spool: 1MiB }\nmemory: 4MiB";
    let program = pipeline(folder.path(), &kinesis, range);
    let writers = Writers::new(2, 200, 3);
    writers.write(&kinesis, |_| {});
    let run = Run(program.start("run", &[]));
    wait_for(&out, writers.total());
    run.terminate();
    writers.check(&out);
    verify(&program, writers.total());
}

#[test]
fn a_storm_of_splits_and_merges_keeps_the_order_of_each_key() {
    storm(&Kinesis::start(2), &Writers::new(8, 8, 120), "", 12);
}

#[test]
fn a_storm_on_a_server_of_another_make() {
    let Some(server) = KinesisLocal::start("a_storm_on_a_server_of_another_make", 2) else {
        return;
    };
    storm(&server.kinesis, &Writers::new(4, 8, 60), "", 12);
}

const CONSUMER: &str = "consumer: tidegate";

#[test]
fn a_storm_by_fan_out() {
    let kinesis = Kinesis::start(2);
    kinesis.register("tidegate");
    let asked = storm(&kinesis, &Writers::new(8, 8, 120), CONSUMER, 12);
    assert_eq!(asked, 0, "nobody asked");
}

#[test]
fn a_storm_while_the_way_of_reading_changes() {
    let kinesis = Kinesis::start(2);
    let writers = Writers::new(8, 8, 120);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let range = "{ age: 200ms, records: 500 }";
    // Looked at when it is told to.
    let told_to = "reload: { watch: false }";
    let program = pipeline_with(folder.path(), &kinesis, range, "", told_to);
    let file = folder.path().join("pipeline.yaml");
    let polled = fs::read_to_string(&file).expect("it was written");
    let pushed =
        polled.replace("partition_key: key", &format!("partition_key: key\n    {CONSUMER}"));
    kinesis.register("tidegate");
    let run = Run(start(&program, folder.path(), &[]));
    let changes = 8;
    writers.allowed.store(0, Ordering::Relaxed);
    writers.write(&kinesis, |_| {
        // Some of the records are written before a change, and some while it is under way.
        for told in 0..changes {
            writers.allowed.store(writers.records * (told + 1) / changes, Ordering::Relaxed);
            let (text, says, call) = match told % 2 {
                0 => {
                    let says = "shards are read by the consumer `tidegate` from now on";
                    (&pushed, says, "SubscribeToShard")
                }
                _ => (&polled, "shards are polled from now on", "GetRecords"),
            };
            let calls = kinesis.proxy.calls(call);
            replace(&file, text);
            let receipt = program.data("reload", &[]);
            assert_eq!(receipt["state"], "unchanged", "no other generation: {receipt:#}");
            assert_eq!(receipt["source"], says, "{receipt:#}");
            happened(call, || kinesis.proxy.calls(call) > calls);
            let open = kinesis.open_shards();
            match told % 3 {
                0 => kinesis.split(&open[0]),
                1 => kinesis.merge(&open[0], &open[1]),
                _ => {}
            }
        }
    });
    wait_for(&out, writers.total());
    run.terminate();
    writers.check(&out);
    verify(&program, writers.total());
}

/// This server never says that a shard has ended, and has a connection that is gone for a subscription
/// for some seconds more.
#[test]
fn subscriptions_that_are_cut_go_on_where_they_were_and_miss_no_end() {
    let test = "subscriptions_that_are_cut_go_on_where_they_were_and_miss_no_end";
    let Some(server) = KinesisLocal::start(test, 2) else { return };
    server.kinesis.proxy.cut_subscriptions(Duration::from_secs(3));
    storm(&server.kinesis, &Writers::new(4, 8, 60), CONSUMER, 3);
    let subscribed = server.kinesis.proxy.calls("SubscribeToShard");
    assert!(subscribed > 5, "each shard once, and after each cut: {subscribed}");
}

/// Says how often the program has asked for records: who verifies asks in any case.
fn storm(kinesis: &Kinesis, writers: &Writers, source: &str, steps: u64) -> u64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let range = "{ age: 200ms, records: 500 }";
    let program = pipeline_with(folder.path(), kinesis, range, source, "");
    let mut run = Some(Run(program.start("run", &[])));
    writers.allowed.store(0, Ordering::Relaxed);
    writers.write(kinesis, |progress| {
        for reshard in 0..steps {
            // In the middle of what may be written until the next one.
            writers.allowed.store(writers.records * (reshard + 1) / steps, Ordering::Relaxed);
            let middle = writers.total() * (2 * reshard + 1) / (2 * steps);
            happened("the writing", || progress().is_none_or(|written| written >= middle));
            let open = kinesis.open_shards();
            match reshard % 3 {
                // Two splits, then a merge of two neighbours.
                0 => kinesis.split(&open[0]),
                1 => kinesis.split(&open[open.len() - 1]),
                _ => kinesis.merge(&open[0], &open[1]),
            }
            if reshard % 4 == 1 {
                // And a reader that starts again in the middle of it, with more to come.
                drop(run.take());
                run = Some(Run(program.start("run", &[])));
            }
        }
    });
    let came = came(&out, writers.total());
    assert!(came.is_ok(), "{came:?}, and the stream holds {}", kinesis.raw().len());
    run.expect("it runs").terminate();
    writers.check(&out);
    assert!(tree(&folder.path().join("dead")).is_empty(), "nothing is a dead letter");
    let asked = kinesis.proxy.calls("GetRecords");
    verify(&program, writers.total());
    asked
}

/// All lines of each shard, in the order of its objects.
fn by_shard(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut shards: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, content) in tree(out) {
        let start = name.find("shardId-").expect("an object names its shard");
        let shard = name[start..start + "shardId-000000000000".len()].to_owned();
        shards.entry(shard).or_default().extend(content);
    }
    shards
}

#[test]
fn a_killed_program_leaves_byte_for_byte_what_the_stream_held() {
    let kinesis = Kinesis::start(3);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let program = pipeline(folder.path(), &kinesis, "{ age: 100ms, records: 200 }");
    let writers = Writers::new(8, 6, 250);
    let kills = 8;
    let mut run = Some(Run(program.start("run", &[])));
    writers.write(&kinesis, |_| {
        // Each of them finds records that were just written, however fast writers are.
        for kill in 0..kills {
            let allowed = writers.records * (kill + 1) / (kills + 1);
            writers.allowed.store(allowed, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(150 + 53 * (kill % 7)));
            // Dropping it is `kill -9`.
            drop(run.take());
            if kill == 2 {
                kinesis.split(&kinesis.open_shards()[1]);
            }
            run = Some(Run(program.start("run", &[])));
        }
        writers.allowed.store(u64::MAX, Ordering::Relaxed);
    });
    kinesis.proxy.fail_next(
        "GetRecords",
        &[Fault::Throttled, Fault::LostResponse, Fault::Reset, Fault::Internal],
    );
    wait_for(&out, writers.total());
    run.expect("it runs").terminate();
    writers.check(&out);
    let expected = kinesis.contents();
    let found = by_shard(&out);
    let held: BTreeMap<_, _> = expected.into_iter().filter(|it| !it.1.is_empty()).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), held.keys().collect::<Vec<_>>());
    for (shard, bytes) in &held {
        assert!(found[shard] == *bytes, "{shard}: {} bytes of {}", found[shard].len(), bytes.len());
    }
    verify(&program, writers.total());
}

/// Drops records that came before: for each key and number a state says that it did.
pub(super) const ONCE: &str = r#"
stages:
  - name: once
    plugin: ${TIDEGATE_PLUGINS}/dedupe.wasm
    grants: [state]
    config: { key: [key, n] }
"#;

/// The state of a key follows it to the child shard that owns it, whatever happens on the way.
#[test]
fn what_is_sent_again_after_a_reshard_is_still_a_duplicate() {
    let kinesis = Kinesis::start(2);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let range = "{ age: 200ms, records: 500 }";
    let program = pipeline_with(folder.path(), &kinesis, range, "", ONCE);
    let mut run = Some(Run(program.start("run", &[])));
    let first = Writers::new(4, 8, 40);
    first.write(&kinesis, |_| {});
    wait_for(&out, first.total());
    let again = Writers::new(4, 8, 60);
    for step in 0..5 {
        let open = kinesis.open_shards();
        match step {
            0 | 3 => kinesis.split(&open[0]),
            1 => kinesis.split(&open[open.len() - 1]),
            _ => kinesis.merge(&open[0], &open[1]),
        }
        // `kill -9`, with states on their way from parents to children.
        drop(run.take());
        run = Some(Run(program.start("run", &[])));
    }
    again.write(&kinesis, |progress| {
        while progress().is_some_and(|written| written < again.total() / 2) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let open = kinesis.open_shards();
        kinesis.merge(&open[0], &open[1]);
        kinesis.split(&open[2]);
    });
    wait_for(&out, again.total());
    run.expect("it runs").terminate();
    again.check(&out);
    let verified = program.data("verify", &["--replay"]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["dropped"].as_u64(), Some(first.total()), "{verified:#}");
    assert_eq!(verified["replayed"], verified["ranges"], "{verified:#}");
}

#[test]
fn a_stream_that_is_not_there_ends_the_program_with_a_reason() {
    let kinesis = Kinesis::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = pipeline(folder.path(), &kinesis, "{ age: 100ms }");
    let file = folder.path().join("pipeline.yaml");
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, text.replace("stream: events", "stream: no-such")).expect("there is room");
    let printed = program.run("run", &[]);
    assert_eq!(printed.code, 3, "the environment is to blame: {}", printed.stderr);
    let text = printed.json.to_string();
    assert!(text.contains("no-such") && text.contains("ResourceNotFoundException"), "{text}");
}
