//! The story: events come in, shards are split and merged, a rule is changed, and the program is
//! killed and started again. Then the acknowledged events are looked for in the bucket.

use std::{
    fs,
    path::PathBuf,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tidegate_tests::{
    kinesis::{Kinesis, REGION},
    program::{Program, root},
    running::{replace, start, stop},
    s3::{BUCKET, S3},
    server::with_credentials,
};

use super::{bucket::Bucket, producer::Producer, say, tables::Tables};

/// Shards that the stream begins with.
const SHARDS: i32 = 4;

/// How long the last events may take to arrive.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the program's data, config and log are.
    folder: PathBuf,
    /// How many events are produced.
    #[arg(long, default_value_t = 40_000)]
    records: u64,
    /// How many a second.
    #[arg(long, default_value_t = 4_000)]
    rate: u64,
    /// What they are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

/// What is done on the way, when so much of the events is in.
const EVENTS: [(u64, Event); 5] = [
    (20, Event::Split),
    (40, Event::Swap),
    (55, Event::Refused),
    (65, Event::Kill),
    (80, Event::Merge),
];

#[derive(Clone, Copy, Debug)]
enum Event {
    Split,
    Swap,
    Refused,
    Kill,
    Merge,
}

/// Everything that stands on the road.
struct Road {
    kinesis: Kinesis,
    s3: S3,
    /// None where there is no DynamoDB.
    tables: Option<Tables>,
    program: Program,
    folder: PathBuf,
    run: Option<Child>,
    done: Done,
}

/// What was done on the way.
#[derive(Default)]
struct Done {
    resharded: u64,
    swapped: u64,
    refused: u64,
    failovers: u64,
    /// From a crash to the next object.
    recovered_after: Option<Duration>,
    records_per_second: f64,
}

impl Drop for Road {
    fn drop(&mut self) {
        if let Some(run) = &mut self.run {
            let _ = run.kill();
            let _ = run.wait();
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    say("start Kinesis with four shards, and S3, on this machine");
    let (kinesis, s3) = (Kinesis::start(SHARDS), S3::start());
    let tables = Tables::start()?;
    let folder = fs::canonicalize(&args.folder).context("find the folder")?;
    let example = root().join("examples/kinesis-to-s3");
    for file in ["pipeline.yaml", "categorize.yaml"] {
        fs::copy(example.join(file), folder.join(file)).context("copy the example")?;
    }
    if let Some(tables) = &tables {
        say("and DynamoDB, for leases and the ledger");
        tables.add_to(&folder.join("pipeline.yaml"))?;
    }
    let program = with_credentials(Program::new(folder.join("pipeline.yaml")))
        .with("KINESIS_STREAM", &kinesis.stream)
        .with("KINESIS_POLL", "200ms")
        .with("S3_BUCKET", BUCKET)
        .with("S3_PATH_STYLE", "true")
        .with("RANGE_AGE", "1s")
        .with("AWS_REGION", REGION)
        .with("AWS_ENDPOINT_URL_KINESIS", kinesis.endpoint())
        .with("AWS_ENDPOINT_URL_S3", s3.endpoint());
    say("start the pipeline of examples/kinesis-to-s3");
    let run = Some(start(&program, &folder, &[]));
    let mut road = Road { kinesis, s3, tables, program, folder, run, done: Done::default() };
    let began = Instant::now();
    let producer = Producer::start(&road.kinesis, args.records, args.rate, args.seed);
    for (percent, event) in EVENTS {
        while producer.acknowledged() * 100 < args.records * percent {
            thread::sleep(Duration::from_millis(20));
        }
        road.meet(event)?;
    }
    let acknowledged = producer.join()?;
    say(&format!("all {acknowledged} events are in: wait for the last to arrive"));
    let bucket = road.arrived(acknowledged)?;
    // From the first event's way into the stream to the last one's arrival, the crash among it.
    road.done.records_per_second = acknowledged as f64 / began.elapsed().as_secs_f64();
    stop(road.run.take().context("it runs")?);
    let verified = road.program.data("verify", &[]);
    let generations = road.program.data("generations", &[]);
    tell(args, &road, acknowledged, &bucket, &verified, &generations)
}

impl Road {
    fn meet(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Split => {
                say("split a shard in two");
                let shards = self.kinesis.open_shards();
                self.kinesis.split(shards.first().context("an open shard")?);
                self.done.resharded += 1;
            }
            Event::Merge => {
                say("merge two shards into one");
                let shards = self.kinesis.open_shards();
                let [.., left, right] = &shards[..] else { anyhow::bail!("two open shards") };
                self.kinesis.merge(left, right);
                self.done.resharded += 1;
            }
            Event::Swap => {
                say("change a rule of the running pipeline");
                let rules = self.rules()?.replace("above: 1000 }", "above: 500 }");
                let swap = self.change(&rules)?;
                ensure!(swap["state"] == "serving", "the change was refused: {swap}");
                println!("  it serves: generation {}", short(&swap["generation"]));
                self.done.swapped += 1;
            }
            Event::Refused => {
                say("change a rule so that it makes no sense");
                let rules = self.rules()?;
                let swap = self.change(&rules.replace("below: 100 ", "above: 100 "))?;
                ensure!(swap["state"] == "refused", "it was not refused: {swap}");
                println!("  refused, and the old one runs on: {}", text(&swap["reason"]));
                replace(&self.folder.join("categorize.yaml"), rules);
                self.done.refused += 1;
            }
            Event::Kill => {
                say("kill the pipeline, and start it again");
                let began = Instant::now();
                let mut run = self.run.take().context("it runs")?;
                run.kill().context("kill it")?;
                run.wait().context("wait for its end")?;
                let before = Bucket::keys(&self.s3, "processed");
                self.run = Some(start(&self.program, &self.folder, &[]));
                while Bucket::keys(&self.s3, "processed") <= before {
                    ensure!(began.elapsed() < PATIENCE, "it does not go on");
                    thread::sleep(Duration::from_millis(50));
                }
                self.done.recovered_after = Some(began.elapsed());
                self.done.failovers += 1;
            }
        }
        Ok(())
    }

    /// Changes the rules under the running pipeline, and waits until it has decided on that.
    fn change(&self, rules: &str) -> anyhow::Result<Value> {
        let swaps = || -> Vec<Value> {
            let generations = self.program.data("generations", &[]);
            generations["swaps"].as_array().cloned().unwrap_or_default()
        };
        let (before, began) = (swaps().len(), Instant::now());
        replace(&self.folder.join("categorize.yaml"), rules);
        loop {
            let decided = swaps().into_iter().nth(before);
            let decided = decided.filter(|it| it["state"] == "serving" || it["state"] == "refused");
            if let Some(swap) = decided {
                return Ok(swap);
            }
            ensure!(began.elapsed() < PATIENCE, "nothing becomes of the change");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn rules(&self) -> anyhow::Result<String> {
        fs::read_to_string(self.folder.join("categorize.yaml")).context("read the rules")
    }

    /// Waits until every event has come to its end, and looks at the bucket.
    fn arrived(&self, acknowledged: u64) -> anyhow::Result<Bucket> {
        let began = Instant::now();
        let mut bucket = Bucket::default();
        loop {
            bucket.look(&self.s3)?;
            // What does not arrive is told, and not waited for any longer.
            if (0..acknowledged).all(|event| bucket.has(event)) || began.elapsed() > PATIENCE {
                return Ok(bucket);
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

fn tell(
    args: &Args,
    road: &Road,
    acknowledged: u64,
    bucket: &Bucket,
    verified: &Value,
    generations: &Value,
) -> anyhow::Result<()> {
    let missing = (0..acknowledged).filter(|id| !bucket.has(*id)).count();
    let duplicated = bucket.doubled();
    let conserved = verified["conserved"] == true;
    let count = |name: &str| verified[name].as_u64().unwrap_or_default();
    let Done { resharded, swapped, refused, failovers, recovered_after, .. } = road.done;
    println!("\n  produced        {acknowledged:>10}  events, acknowledged by Kinesis");
    println!("  read            {:>10}", count("read"));
    println!("  = dropped       {:>10}", count("dropped"));
    println!("  + filtered      {:>10}", count("filtered"));
    println!("  + delivered     {:>10}  in {} objects", count("delivered"), count("objects"));
    println!("  + dead-lettered {:>10}", count("dead_lettered"));
    println!("  raw zone        {:>10}", bucket.raw.len());
    println!("  missing         {missing:>10}");
    println!("  duplicated      {duplicated:>10}");
    let after = recovered_after.unwrap_or_default().as_secs_f64();
    println!(
        "  {resharded} reshards, {swapped} swap and {refused} refused, {failovers} crash (next \
         object after {after:.1} s), {}",
        if conserved { "conserved" } else { "NOT conserved" }
    );
    let ledger = road.tables.as_ref().map(Tables::sum).transpose()?;
    match &ledger {
        Some(it) => println!(
            "  ledger          {:>10}  in {} ranges, {} failed",
            it.read, it.ranges, it.failed
        ),
        None => println!("  leases and ledger: left out, for there is no DynamoDB here"),
    }
    if args.json {
        println!(
            "{}",
            json!({
                "read": count("read"), "filtered": count("filtered"),
                "delivered": count("delivered"), "dropped": count("dropped"),
                "dead_lettered": count("dead_lettered"),
                "records_per_second": road.done.records_per_second, "conserved": conserved,
                "swaps": { "accepted": swapped, "refused": refused,
                           "pause_p99_microseconds": pause_p99(generations) },
                "produced": acknowledged, "missing": missing, "duplicated": duplicated,
                "resharded": resharded, "swapped": swapped, "failovers": failovers,
                "ledger": ledger.as_ref().map(|it| json!({
                    "ranges": it.ranges, "read": it.read, "failed": it.failed,
                })),
            })
        );
    }
    ensure!(
        missing == 0 && duplicated == 0,
        "{missing} events are missing, {duplicated} are there twice"
    );
    if let Some(ledger) = ledger {
        let (read, dead) = (count("read"), count("dead_lettered"));
        ensure!(
            (ledger.read, ledger.failed) == (read, dead),
            "the ledger says that {} were read and {} failed, and it were {read} and {dead}",
            ledger.read,
            ledger.failed
        );
    }
    ensure!(conserved, "what lies in the bucket does not add up to what was read: {verified:#}");
    Ok(())
}

/// The pause that one swap of a partition in a hundred exceeds.
fn pause_p99(generations: &Value) -> u64 {
    let swaps = generations["swaps"].as_array().into_iter().flatten();
    let effects = swaps.flat_map(|swap| swap["effects"].as_array().into_iter().flatten());
    let mut pauses: Vec<u64> = effects.filter_map(|it| it["pause_micros"].as_u64()).collect();
    pauses.sort_unstable();
    let place = (pauses.len() * 99).div_ceil(100).saturating_sub(1);
    pauses.get(place).copied().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn short(digest: &Value) -> &str {
    let digest = text(digest);
    digest.trim_start_matches("sha256:").get(..8).unwrap_or(digest)
}
