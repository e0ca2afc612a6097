//! The anomaly plugin held against the Numenta Anomaly Benchmark: its series go through the host,
//! and what the plugin says of them to the benchmark's scorer.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use crate::shell;

/// What the benchmark takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ends with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

/// What is scored: the score at the threshold that is best for each profile, which is how the
/// benchmark compares detectors, and the alerts as they are.
const DETECTORS: [&str; 2] = ["score", "alerts"];

/// What the benchmark weighs differently, as it names them but for case.
const PROFILES: [&str; 3] = ["standard", "reward_low_fp_rate", "reward_low_fn_rate"];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = shell::root();
    let benchmark = root.parent().unwrap_or(&root).join("shared/data/nab");
    ensure!(
        benchmark.is_dir(),
        "shared/data/nab is absent: the benchmark's series, labels and scorer belong beside the \
         checkout, in {}",
        benchmark.display()
    );
    let tidegate = shell::tidegate()?;
    shell::plugins()?;

    let work = shell::target_dir().join("nab");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    let series = write_series(&benchmark, &work.join("series"))?;
    let summary = shell::output(
        Command::new(&tidegate)
            .current_dir(&root)
            .args(["run", "--json"])
            .arg(root.join("examples/nab/pipeline.yaml"))
            .env("TIDEGATE_PLUGINS", shell::plugins_dir())
            .env("SERIES", work.join("series"))
            .env("OUT", &work),
    )?;
    let summary: Value = serde_json::from_str(&summary).context("read what tidegate printed")?;
    let points: usize = series.values().map(Vec::len).sum();
    let delivered = &summary["data"]["delivered"];
    ensure!(delivered == points, "of {points} points {delivered} came out of the host");

    write_results(&series, &read_scored(&work.join("scored"))?, &work.join("results"))?;
    let [score, alerts] = DETECTORS.map(|detector| score(&benchmark, &work, detector));
    let (score, alerts) = (score?, alerts?);
    println!("\n  {} series, {points} points, through the host\n", series.len());
    println!("  {:<20} {:>7} {:>7}", "profile", "score", "alerts");
    for (profile, (score, alerts)) in PROFILES.iter().zip(score.into_iter().zip(alerts)) {
        println!("  {profile:<20} {score:>7.2} {alerts:>7.2}");
    }
    if args.json {
        let by_profile = |scores: [f64; 3]| -> Map<String, Value> {
            PROFILES.iter().zip(scores).map(|(it, score)| ((*it).into(), score.into())).collect()
        };
        println!("\n{}", json!({ "score": by_profile(score), "alerts": by_profile(alerts) }));
    }
    Ok(())
}

/// The times of the points of each series, as the benchmark writes them, by the path of the
/// series.
type Series = BTreeMap<String, Vec<String>>;

/// Writes each series as a file of records.
fn write_series(benchmark: &Path, folder: &Path) -> anyhow::Result<Series> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let labels = fs::read_to_string(benchmark.join("combined_windows.json"))
        .context("read combined_windows.json")?;
    let labels: Map<String, Value> =
        serde_json::from_str(&labels).context("read combined_windows.json")?;
    let mut series = Series::new();
    for name in labels.keys() {
        let path = benchmark.join("data").join(name);
        let csv = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut times = Vec::new();
        let mut records = String::new();
        for (row, line) in csv.lines().skip(1).enumerate() {
            let point = || format!("row {row} of {name}: `{line}`");
            let (time, value) = line.split_once(',').with_context(point)?;
            // Some have fractions of a second, which the labels lack.
            let time = time.get(..19).with_context(point)?;
            let value: f64 = value.trim().parse().with_context(point)?;
            let timestamp = format!("{}Z", time.replace(' ', "T"));
            let record =
                json!({ "series": name, "row": row, "timestamp": timestamp, "value": value });
            records.push_str(&format!("{record}\n"));
            times.push(time.to_owned());
        }
        let file = folder.join(name.replace('/', "-")).with_extension("ndjson");
        fs::write(&file, records).with_context(|| format!("write {}", file.display()))?;
        series.insert(name.clone(), times);
    }
    Ok(series)
}

/// What the plugin said of a point.
#[derive(Clone, Copy)]
struct Said {
    score: f64,
    is_alert: bool,
}

/// What the plugin said, by series and row.
fn read_scored(folder: &Path) -> anyhow::Result<BTreeMap<(String, u64), Said>> {
    let mut said = BTreeMap::new();
    for file in files(folder)? {
        let lines =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).context("read a scored point")?;
            let series = record["series"].as_str().context("`series` of a scored point")?;
            let row = record["row"].as_u64().context("`row` of a scored point")?;
            let score = record["score"].as_f64().context("`score` of a scored point")?;
            let is_alert = record["verdict"] == "anomalous";
            said.insert((series.to_owned(), row), Said { score, is_alert });
        }
    }
    Ok(said)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

/// Writes what the scorer takes: a file of times and scores for each series and detector.
fn write_results(
    series: &Series,
    said: &BTreeMap<(String, u64), Said>,
    folder: &Path,
) -> anyhow::Result<()> {
    for (name, times) in series {
        let (group, file) = name.split_once('/').with_context(|| format!("a group in {name}"))?;
        let folder = folder.join(group);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let mut tables = DETECTORS.map(|_| "timestamp,anomaly_score\n".to_owned());
        for (row, time) in (0..).zip(times) {
            let Some(Said { score, is_alert }) = said.get(&(name.clone(), row)) else {
                bail!("row {row} of {name} did not come out of the host");
            };
            tables[0].push_str(&format!("{time},{score}\n"));
            tables[1].push_str(&format!("{time},{}\n", u8::from(*is_alert)));
        }
        for (detector, table) in DETECTORS.iter().zip(tables) {
            let file = folder.join(format!("{detector}_{file}"));
            fs::write(&file, table).with_context(|| format!("write {}", file.display()))?;
        }
    }
    Ok(())
}

/// The score of each profile, as the benchmark's scorer prints it.
fn score(benchmark: &Path, work: &Path, detector: &str) -> anyhow::Result<[f64; 3]> {
    let printed = shell::output(
        Command::new("python3")
            .arg(benchmark.join("nab_score.py"))
            .arg(benchmark.join("data"))
            .arg(benchmark.join("combined_windows.json"))
            .arg(work.join("results"))
            .arg(detector),
    )?;
    let mut scores = [0.0; 3];
    for (score, profile) in scores.iter_mut().zip(PROFILES) {
        // `  reward_low_FP_rate   57.32  raw …  threshold …`
        let found = printed.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let is_it = words.next()?.eq_ignore_ascii_case(profile);
            is_it.then(|| words.next()?.parse().ok()).flatten()
        });
        *score = found.with_context(|| format!("no {profile} in what the scorer printed"))?;
    }
    Ok(scores)
}
