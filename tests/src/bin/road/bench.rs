//! What a byte costs on its way from the stream through four plugins into the bucket, in CPU time of
//! the program: the servers are in another process, and are not counted.
//!
//! Beside it, in the same run: the calls of the two services alone, by the same SDK, with answers and
//! objects of the same size; and the same events out of a file into files. What is left is what the
//! source and the sink cost besides.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use serde_json::{Value, json};
use tidegate_tests::{
    kinesis::{Kinesis, REGION, put_all},
    program::Program,
    running::{start, stop},
    s3::{BUCKET, S3},
    server::with_credentials,
};
use tokio::task::JoinSet;

use super::{producer::events, say};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Linux counts CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

const MIB: f64 = (1 << 20) as f64;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the program's data, config and log are.
    folder: PathBuf,
    /// How many events there are.
    #[arg(long, default_value_t = 300_000)]
    records: u64,
    /// How many shards they lie on.
    #[arg(long, default_value_t = 64)]
    shards: i32,
    /// Ends with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

/// What a run took.
struct Taken {
    cpu_seconds: f64,
    wall_seconds: f64,
    resident_mib: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = fs::canonicalize(&args.folder).context("find the folder")?;
    say(&format!("put {} events on {} shards", args.records, args.shards));
    let (kinesis, s3) = (Kinesis::start(args.shards), S3::start());
    let all = events(args.records, 1)?;
    let mib = all.iter().map(|(_, event)| event.len()).sum::<usize>() as f64 / MIB;
    let mut lines = Vec::new();
    for (_, event) in &all {
        lines.extend_from_slice(event);
        lines.push(b'\n');
    }
    fs::write(folder.join("events.ndjson"), lines).context("write the events")?;
    let (io, client, stream) = kinesis.client();
    for batch in all.chunks(500) {
        io.block_on(put_all(&client, &stream, batch.to_vec()));
    }

    say("from the stream through four plugins into the bucket");
    let road = through_the_program(args, &folder, &kinesis, &s3)?;
    say("the calls of the services alone");
    let calls = calls_alone(&kinesis, &s3)?;
    say("the same events from a file through four plugins into files");
    let files = from_file_to_files(&folder, args.records)?;

    let rate = |taken: &Taken| mib / taken.cpu_seconds;
    let per_record = |taken: &Taken| taken.cpu_seconds * 1e9 / args.records as f64;
    let rest = (road.cpu_seconds - calls.cpu_seconds - files.cpu_seconds).max(0.0);
    // What the SDK takes is not ours to make quicker.
    let beyond = mib / (road.cpu_seconds - calls.cpu_seconds).max(f64::EPSILON);
    let share = |seconds: f64| seconds / road.cpu_seconds;
    println!("\n  {:<44}{:>10}{:>12}{:>12}", "", "CPU s", "ns/record", "MiB/s/core");
    let rows = [
        ("stream to bucket, four plugins", &road),
        ("the calls of Kinesis and S3 alone", &calls),
        ("file to files, four plugins", &files),
    ];
    for (name, taken) in rows {
        println!(
            "  {name:<44}{:>10.2}{:>12.0}{:>12.1}",
            taken.cpu_seconds,
            per_record(taken),
            rate(taken)
        );
    }
    println!("  {:<44}{:>34.1}", "beyond the calls", beyond);
    println!(
        "  {:.1} MiB, {} shards, {:.1} s, {:.0} MiB resident at most",
        mib, args.shards, road.wall_seconds, road.resident_mib
    );
    if args.json {
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let percent = |seconds| (share(seconds) * 1000.0).round() / 1000.0;
        println!(
            "{}",
            json!({
                "mib_per_second_per_core": rounded(beyond),
                "mib_per_second_per_core_with_calls": rounded(rate(&road)),
                "resident_mib": rounded(road.resident_mib),
                "shares": { "calls": percent(calls.cpu_seconds),
                            "file_to_files": percent(files.cpu_seconds),
                            "rest": percent(rest) },
                "records": args.records, "shards": args.shards, "mib": rounded(mib),
            })
        );
    }
    Ok(())
}

/// The pipeline with a source and a sink. The plugins are those of `cargo xtask bench`.
fn pipeline(folder: &Path, name: &str, source: &str, sink: &str) -> anyhow::Result<Program> {
    let stages = include_str!("stages.yaml");
    let text = format!(
        "pipeline: {name}\ndata_dir: {name}/data\nsource:\n  {source}\n{stages}sinks:\n  - name: \
         processed\n    {sink}\ndead_letters: {{ directory: {name}/dead-letters }}\nworkers: 1\n"
    );
    let file = folder.join(format!("{name}.yaml"));
    // Compiled plugins are kept where there is a data directory.
    fs::create_dir_all(folder.join(name).join("data")).context("make a folder")?;
    fs::write(&file, text).context("write a pipeline")?;
    Ok(with_credentials(Program::new(file)))
}

fn through_the_program(
    args: &Args,
    folder: &Path,
    kinesis: &Kinesis,
    s3: &S3,
) -> anyhow::Result<Taken> {
    let source = format!(
        "kinesis: {{ stream: {}, region: {REGION}, endpoint: \"{}\" }}",
        kinesis.stream,
        kinesis.endpoint()
    );
    let sink = format!(
        "s3: {{ bucket: {BUCKET}, prefix: bench, region: {REGION}, endpoint: \"{}\", path_style: true }}",
        s3.endpoint()
    );
    let program = pipeline(folder, "road", &source, &sink)?;
    // Plugins are compiled before anything is counted: the second run finds them in the cache.
    compile(&program);
    let mut run = start(&program, &folder.join("road"), &[]);
    match until_done(&run, &folder.join("road/data"), args.records) {
        Ok(taken) => {
            stop(run);
            Ok(taken)
        }
        Err(error) => {
            run.kill().context("stop what does not come to its end")?;
            run.wait().context("wait for its end")?;
            Err(error)
        }
    }
}

/// What a run has taken when all events are committed.
fn until_done(run: &Child, data_dir: &Path, records: u64) -> anyhow::Result<Taken> {
    let began = Instant::now();
    let mut taken = Taken { cpu_seconds: 0.0, wall_seconds: 0.0, resident_mib: 0.0 };
    loop {
        thread::sleep(Duration::from_millis(200));
        taken.cpu_seconds = cpu_seconds(run)?;
        taken.resident_mib = resident_mib(run)?;
        let done = committed(data_dir)?;
        if done >= records {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "{done} of {records} events arrived");
    }
    taken.wall_seconds = began.elapsed().as_secs_f64();
    Ok(taken)
}

/// Leaves the plugins compiled in the data directory.
fn compile(program: &Program) {
    let checked = program.run("check", &[]);
    assert_eq!(checked.code, 0, "{:#}", checked.json);
}

/// How many records lie in committed ranges.
fn committed(data_dir: &Path) -> anyhow::Result<u64> {
    let store = tidegate_connectors::store::StoreInspector::open(data_dir)?;
    let mut records = 0;
    for partition in store.partitions()? {
        store.manifests(&partition.id, |manifest| {
            records += manifest.counts.read.records;
            Ok(())
        })?;
    }
    Ok(records)
}

fn from_file_to_files(folder: &Path, records: u64) -> anyhow::Result<Taken> {
    let sink = "directory: { path: files/out }";
    let program = pipeline(folder, "files", "ndjson: { paths: [events.ndjson] }", sink)?;
    compile(&program);
    let before = children_cpu_seconds();
    let began = Instant::now();
    let summary = program.data("run", &[]);
    ensure!(summary["read"] == records, "not all events were read: {summary}");
    Ok(Taken {
        cpu_seconds: children_cpu_seconds() - before,
        wall_seconds: began.elapsed().as_secs_f64(),
        resident_mib: 0.0,
    })
}

/// What this process's children have used that have ended.
fn children_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(&stat, 15) + ticks(&stat, 16)
}

/// What a process has used up to now.
fn cpu_seconds(child: &Child) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).context("ask for it")?;
    Ok(ticks(&stat, 13) + ticks(&stat, 14))
}

/// A count of CPU time among what stands behind the process's name, in seconds.
fn ticks(stat: &str, field: usize) -> f64 {
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().nth(field - 2).and_then(|it| it.parse::<f64>().ok());
    ticks.unwrap_or_default() / TICKS_PER_SECOND
}

/// The most that a process has had in memory.
fn resident_mib(child: &Child) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{}/status", child.id())).context("ask for it")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no `VmHWM`")?;
    let kib = line.split_whitespace().nth(1).and_then(|it| it.parse::<f64>().ok());
    Ok(kib.context("no number")? / 1024.0)
}

/// The calls that it takes to read a stream and to put as many bytes into a bucket.
#[derive(clap::Args)]
pub(crate) struct Calls {
    kinesis: String,
    stream: String,
    s3: String,
}

fn calls_alone(kinesis: &Kinesis, s3: &S3) -> anyhow::Result<Taken> {
    let mut calls = Command::new(std::env::current_exe().context("find this program")?);
    calls.args(["calls", &kinesis.endpoint(), &kinesis.stream, &s3.endpoint()]);
    let output = calls.stderr(Stdio::inherit()).output().context("start the calls")?;
    ensure!(output.status.success(), "the calls failed: {}", output.status);
    let said: Value = serde_json::from_slice(&output.stdout).context("read what they took")?;
    let cpu_seconds = said["cpu_seconds"].as_f64().context("what they took")?;
    Ok(Taken { cpu_seconds, wall_seconds: 0.0, resident_mib: 0.0 })
}

/// As large as the objects of a range.
const OBJECT_BYTES: usize = 1 << 20;

impl Calls {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let bytes = io.context("start threads")?.block_on(self.make())?;
        let stat = fs::read_to_string("/proc/self/stat").context("ask for it")?;
        let cpu_seconds = ticks(&stat, 13) + ticks(&stat, 14);
        println!("{}", json!({ "cpu_seconds": cpu_seconds, "bytes": bytes }));
        Ok(())
    }

    async fn make(&self) -> anyhow::Result<usize> {
        let credentials = || Credentials::new("test", "test", None, None, "test");
        let kinesis = aws_sdk_kinesis::Client::from_conf(
            aws_sdk_kinesis::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(credentials())
                .endpoint_url(&self.kinesis)
                .build(),
        );
        let s3 = aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::Config::builder()
                .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(credentials())
                .endpoint_url(&self.s3)
                .force_path_style(true)
                .build(),
        );
        let listed = kinesis.list_shards().stream_name(&self.stream).send().await?;
        let mut shards = JoinSet::new();
        for shard in listed.shards() {
            let (kinesis, stream) = (kinesis.clone(), self.stream.clone());
            let (s3, shard) = (s3.clone(), shard.shard_id().to_owned());
            shards.spawn(async move { drain(&kinesis, &stream, &shard, &s3).await });
        }
        let mut bytes = 0;
        while let Some(drained) = shards.join_next().await {
            bytes += drained??;
        }
        Ok(bytes)
    }
}

/// Reads a shard to its tip, and puts as many bytes.
async fn drain(
    kinesis: &aws_sdk_kinesis::Client,
    stream: &str,
    shard: &str,
    s3: &aws_sdk_s3::Client,
) -> anyhow::Result<usize> {
    let begin = kinesis.get_shard_iterator().stream_name(stream).shard_id(shard);
    let begin = begin.shard_iterator_type("TRIM_HORIZON".into()).send().await?;
    let (mut iterator, mut read, mut put) = (begin.shard_iterator, 0, 0);
    while let Some(at) = iterator {
        let answer = kinesis.get_records().shard_iterator(at).limit(2_000).send().await?;
        read += answer.records().iter().map(|it| it.data().as_ref().len()).sum::<usize>();
        iterator = answer.next_shard_iterator.filter(|_| !answer.records.is_empty());
        while read - put >= OBJECT_BYTES || (iterator.is_none() && read > put) {
            let bytes = OBJECT_BYTES.min(read - put);
            let key = format!("calls/{shard}-{put}");
            let object = s3.put_object().bucket(BUCKET).key(key).if_none_match("*");
            object.body(vec![b'x'; bytes].into()).send().await?;
            put += bytes;
        }
    }
    Ok(read)
}
