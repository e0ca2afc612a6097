//! The anomaly plugin over the Numenta Anomaly Benchmark, natively and in seconds, with the config
//! of `examples/nab`. `cargo xtask nab` does the same through the host.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anomaly::Anomaly;
use serde_json::Value;
use tidegate_plugin::{
    Batch, Plugin,
    batch::{Column, States, Text, Values as Read},
    reply::Values as Written,
};

/// The groups that the example's constants were chosen on; the others were only looked at to
/// confirm them.
const CHOSEN_ON: [&str; 3] = ["artificialWithAnomaly", "realAWSCloudwatch", "realTraffic"];

/// For each profile, in the scorer's order: standard, reward low FP rate, reward low FN rate.
type Profiles = [f64; 3];

/// What is to be reached on all series.
const AIM: Profiles = [58.2, 46.2, 63.9];

/// What a standard score must not be below, on either half.
const LEAST: f64 = 54.6;

#[test]
fn the_benchmark_is_passed_on_series_that_no_constant_was_chosen_on_too() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/nab");
    if !data.exists() {
        println!("SKIPPED: the Numenta Anomaly Benchmark: shared/data is absent");
        return;
    }
    let labels = fs::read_to_string(data.join("combined_windows.json")).expect("there are labels");
    let labels: BTreeMap<String, Value> = serde_json::from_str(&labels).expect("they are JSON");
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nab");
    let (plugin, _) =
        tidegate_plugin::configure::<Anomaly>(&config()).expect("the config is accepted");
    for name in labels.keys() {
        let csv = fs::read_to_string(data.join("data").join(name)).expect("there is the series");
        let (times, numbers): (Vec<&str>, Vec<f64>) = csv
            .lines()
            .skip(1)
            .map(|line| line.split_once(',').expect("a time and a number"))
            .map(|(time, number)| (time, number.trim().parse::<f64>().expect("a number")))
            .unzip();
        write(&results, name, &times, &stream(&plugin, &numbers));
    }

    let was_chosen_on = |name: &str| CHOSEN_ON.iter().any(|group| name.starts_with(group));
    for (half, has) in
        [("all", [true, false].as_slice()), ("chosen-on", &[true]), ("confirmed-on", &[false])]
    {
        let is_in = |(name, _): &(&String, &Value)| has.contains(&was_chosen_on(name));
        let labels: BTreeMap<_, _> = labels.iter().filter(is_in).collect();
        let path = results.join(format!("{half}.json"));
        fs::write(&path, serde_json::to_string(&labels).expect("it was JSON")).expect("written");
        for detector in ["score", "alerts"] {
            let Some(scores) = score(&data, &path, &results, detector) else { return };
            println!("{half:<12} {detector:<6} {scores:?}");
            assert!(scores[0] >= LEAST, "{half}, {detector}: {scores:?}");
            let reaches_aim = scores.iter().zip(AIM).all(|(score, aim)| *score >= aim);
            assert!(half != "all" || reaches_aim, "{detector}: {scores:?} is not {AIM:?}");
        }
    }
}

/// The config of the example's one stage.
fn config() -> String {
    let pipeline = include_str!("../../../examples/nab/pipeline.yaml");
    let pipeline: Value = serde_saphyr::from_str(pipeline).expect("a pipeline is YAML");
    pipeline["stages"][0]["config"].to_string()
}

/// The score of each number of a key, and whether it is an alert. The state is carried from batch
/// to batch as a host does.
fn stream(plugin: &Anomaly, numbers: &[f64]) -> Vec<(f64, bool)> {
    let mut state = Vec::new();
    let mut said = Vec::with_capacity(numbers.len());
    for batch in numbers.chunks(500) {
        let number = Column { values: Read::Float64(batch), presence: &[] };
        // The host alone looks at a key.
        let offsets = vec![0; batch.len() + 1];
        let key = Text { offsets: &offsets, bytes: "" };
        let key = Column { values: Read::Json(key), presence: &[] };
        let rows = vec![0; batch.len()];
        let offsets = [0, state.len() as u32];
        let states = States { rows: &rows, offsets: &offsets, bytes: &state };
        let reply = plugin.transform(&Batch { rows: batch.len(), columns: &[number, key], states });
        let [Written::Float64(scores), Written::Enumeration(verdicts)] =
            [&reply.columns[0].values, &reply.columns[1].values]
        else {
            panic!("a score and a verdict are written");
        };
        let is_alert = verdicts.iter().map(|verdict| *verdict == 1);
        said.extend(scores.iter().copied().zip(is_alert));
        if !reply.states.keys.is_empty() {
            state = reply.states.values.bytes;
        }
        assert!(state.len() <= 4096);
    }
    said
}

/// Writes what was said of a series as the scorer reads it.
fn write(results: &Path, name: &str, times: &[&str], said: &[(f64, bool)]) {
    let (group, file) = name.split_once('/').expect("a series is in a group");
    fs::create_dir_all(results.join(group)).expect("a folder of our own");
    let table = |of: &dyn Fn(&(f64, bool)) -> f64| {
        times
            .iter()
            .zip(said)
            .fold("timestamp,anomaly_score\n".to_owned(), |table, (time, said)| {
                table + &format!("{time},{}\n", of(said))
            })
    };
    let path =
        |detector: &str| -> PathBuf { results.join(group).join(format!("{detector}_{file}")) };
    fs::write(path("score"), table(&|said| said.0)).expect("written");
    fs::write(path("alerts"), table(&|said| said.1.into())).expect("written");
}

/// What the scorer says of a detector's results, unless there is nothing to run it with.
fn score(data: &Path, labels: &Path, results: &Path, detector: &str) -> Option<Profiles> {
    let mut scorer = Command::new("python3");
    scorer.arg(data.join("nab_score.py")).arg(data.join("data")).arg(labels).arg(results);
    let Ok(output) = scorer.arg(detector).output() else {
        println!("SKIPPED: the Numenta Anomaly Benchmark: python3 is absent");
        return None;
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    // One line of counts, then one a profile: its name, then its score.
    let mut scores = printed.lines().skip(1).map(|line| {
        line.split_whitespace().nth(1).and_then(|score| score.parse().ok()).expect("a score")
    });
    let mut next = || scores.next().expect("a line for each profile");
    Some([next(), next(), next()])
}
