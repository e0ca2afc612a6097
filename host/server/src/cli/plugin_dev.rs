//! `tidegate plugin dev`: a project is built and run again whenever it changes, and what comes out
//! otherwise than before is shown, record by record.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use tidegate_core::Digest;
use tidegate_engine::Component;
use tokio::sync::mpsc;

use super::{PolicyArgs, block_on, environment, plugin_new, plugin_target, plugin_test};
use crate::{
    config,
    diff::{self, Extent},
    golden::{self, Case, Cases, Given, Observed, Report, Verdict},
    objects,
    output::{Failed, Outcome},
    project,
    supply::Supply,
    watch::{self, Watcher},
};

/// How often files are looked at where the file system has no events.
const POLL: Duration = Duration::from_secs(1);

/// Records of a file that are run in each round: an author waits for it.
const RECORDS_MAX: usize = 1_000;

/// Folders that hold what is made of the sources, and not the sources.
const MADE: [&str; 4] = ["build", "target", "node_modules", "__pycache__"];

/// What `plugin dev` takes.
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Run it over the first 1,000 records of this NDJSON file, and not over the golden cases.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// Its config, YAML or JSON; that of the golden cases where none is named.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Runs until it is interrupted. Each round is printed when it is over: with `--json` as a line of
/// its own.
pub(super) fn dev(args: &DevArgs, json: bool) -> Result<Outcome, Failed> {
    project::load(&args.folder)?;
    let supply = args.policy.supply()?;
    let mut session = Session { args, supply, rounds: 0, good: None, built: None, component: None };
    block_on(async {
        let (sender, mut looks) = mpsc::channel(1);
        let mut watcher = Watcher::start(session.paths(), POLL, sender, || ());
        let mut seen = None;
        loop {
            watch::settle(|| session.paths());
            let now = session.digest();
            if seen != Some(now) {
                seen = Some(now);
                let round = session.round().await;
                watcher.watch(session.paths());
                // Nobody reads any more.
                if round.print(json).is_err() {
                    return;
                }
            }
            if looks.recv().await.is_none() {
                return;
            }
        }
    })?;
    Ok(Outcome::ok(json!({ "rounds": session.rounds }), String::new()))
}

/// What has come of the project up to now.
struct Session<'a> {
    args: &'a DevArgs,
    supply: Supply,
    rounds: u64,
    good: Option<Good>,
    /// The digest of the sources that the component was built of.
    built: Option<Digest>,
    /// What it was built into, compiled.
    component: Option<Component>,
}

/// A round in which the project was built and the plugin failed on no record.
struct Good {
    round: u64,
    records: BTreeMap<RecordName, Seen>,
}

/// A case, and the record's number in it.
type RecordName = (String, usize);

/// A record, and what became of it.
struct Seen {
    given: Value,
    observed: Observed,
}

/// What came of a round.
struct Round {
    number: u64,
    /// None where it was not built again.
    built: Option<Duration>,
    ran: Result<Ran, Failed>,
}

/// What the plugin made of the records.
struct Ran {
    records: usize,
    /// Of golden cases: how they came out.
    report: Option<Report>,
    /// Why this round is none to compare with.
    unacceptable: Option<String>,
    changes: Option<Changes>,
}

/// What came out otherwise than in the last good round.
struct Changes {
    since: u64,
    compared: usize,
    changes: Vec<Change>,
}

/// A record that came out otherwise.
struct Change {
    record: RecordName,
    what: Vec<String>,
}

impl Session<'_> {
    /// What is watched: all that the project is made of, and the folders that it lies in, which
    /// change with what is in them.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let mut paths = sources(&self.args.folder);
        paths.extend(self.args.input.clone());
        paths.extend(self.args.config.clone());
        paths
    }

    fn digest(&self) -> Digest {
        digest(self.paths())
    }

    async fn round(&mut self) -> Round {
        self.rounds += 1;
        let mut built = None;
        let ran = match self.build(&mut built) {
            Ok(()) => self.run().await,
            Err(failed) => Err(failed),
        };
        Round { number: self.rounds, built, ran }
    }

    /// Builds it, where more has changed than the records or the config.
    fn build(&mut self, took: &mut Option<Duration>) -> Result<(), Failed> {
        let golden = project::load(&self.args.folder)?.golden;
        let others = [Some(&golden), self.args.input.as_ref(), self.args.config.as_ref()];
        let mut sources = sources(&self.args.folder);
        sources.retain(|path| !others.contains(&Some(path)));
        let now = digest(sources);
        if self.built == Some(now) {
            return Ok(());
        }
        let started = tokio::time::Instant::now();
        let built = plugin_new::build_project(&self.args.folder);
        *took = Some(started.elapsed());
        self.built = built.is_ok().then_some(now);
        self.component = None;
        built.map(drop)
    }

    async fn run(&mut self) -> Result<Ran, Failed> {
        let (component, golden) = plugin_target::place(&self.args.folder)?;
        let golden = golden::load(&golden)?;
        let config = match &self.args.config {
            Some(path) => config::load_plugin_config(path, &environment)?,
            None => plugin_target::default_config(golden.as_ref()),
        };
        let cases = match (&self.args.input, golden) {
            (Some(path), _) => records(path).await?,
            (None, Some(cases)) => cases,
            (None, None) => Cases { config: None, cases: Vec::new() },
        };
        let component = match self.component.take() {
            Some(component) => component,
            None => plugin_test::load(&component, &self.supply)?,
        };
        self.component = Some(component.clone());
        let options = plugin_test::options(&config, &self.supply);
        let report = golden::run(&component, options, &cases);
        let unacceptable = report.unacceptable();
        let records = seen(&cases, &report);
        let changes = self.good.as_ref().map(|good| good.compare(&records));
        let ran = Ran {
            records: records.len(),
            report: self.args.input.is_none().then_some(report),
            unacceptable,
            changes,
        };
        if ran.unacceptable.is_none() {
            self.good = Some(Good { round: self.rounds, records });
        }
        Ok(ran)
    }
}

fn digest(paths: BTreeSet<PathBuf>) -> Digest {
    let mut all = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        all.extend_from_slice(path.as_os_str().as_encoded_bytes());
        all.extend_from_slice(&Digest::of(&fs::read(&path).unwrap_or_default()).0);
    }
    Digest::of(&all)
}

/// The files and folders of a project but for those that are made, and for hidden ones: the SDK
/// does not change.
fn sources(project: &Path) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::from([project.to_owned()]);
    let mut folders = vec![project.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if name.starts_with('.') || is_folder && MADE.contains(&&*name) {
                continue;
            }
            paths.insert(entry.path());
            if is_folder {
                folders.push(entry.path());
            }
        }
    }
    paths
}

/// The first records of a file, as a case that expects nothing.
async fn records(path: &Path) -> Result<Cases, Failed> {
    let mut records = Vec::new();
    let read = objects::each_record(path, |batch| {
        let room = RECORDS_MAX.saturating_sub(records.len());
        records.extend((0..batch.len().min(room)).map(|row| Given {
            given: String::from_utf8_lossy(batch.record(row)).into_owned().into(),
            expected: None,
            findings: None,
        }));
        Ok(())
    });
    read.await.map_err(Failed::environment)?;
    let name = path.display().to_string();
    Ok(Cases { config: None, cases: vec![Case { name, config: None, at: None, records }] })
}

fn seen(cases: &Cases, report: &Report) -> BTreeMap<RecordName, Seen> {
    let mut all = BTreeMap::new();
    for (case, came) in cases.cases.iter().zip(&report.cases) {
        for (place, (record, observed)) in case.records.iter().zip(&came.observed).enumerate() {
            let seen = Seen { given: record.given.clone(), observed: observed.clone() };
            all.insert((case.name.clone(), place + 1), seen);
        }
    }
    all
}

impl Good {
    /// Of records that are the same as then.
    fn compare(&self, now: &BTreeMap<RecordName, Seen>) -> Changes {
        let mut changes = Changes { since: self.round, compared: 0, changes: Vec::new() };
        for (record, now) in now {
            let Some(before) = self.records.get(record).filter(|it| it.given == now.given) else {
                continue;
            };
            changes.compared += 1;
            let what = differences(&before.observed, &now.observed);
            if !what.is_empty() {
                changes.changes.push(Change { record: record.clone(), what });
            }
        }
        changes
    }
}

/// How a record comes out otherwise, field by field.
fn differences(before: &Observed, now: &Observed) -> Vec<String> {
    let mut what = Vec::new();
    match (&before.verdict, &now.verdict) {
        (Verdict::Emit(before), Verdict::Emit(now)) if before.len() == now.len() => {
            for (before, now) in before.iter().zip(now) {
                for it in diff::differences(before, now, Extent::Whole) {
                    let shown = |value: &Option<Value>| match value {
                        Some(value) => diff::short(value),
                        None => "nothing".to_owned(),
                    };
                    let (was, is) = (shown(&it.expected), shown(&it.found));
                    what.push(format!("`{}`: {was} → {is}", it.path));
                }
            }
        }
        (before, now) if before == now => {}
        (before, now) => what.push(format!("{before} → {now}")),
    }
    if before.findings != now.findings {
        let listed = |rules: &[String]| match rules {
            [] => "nothing".to_owned(),
            rules => rules.join(", "),
        };
        what.push(format!("found: {} → {}", listed(&before.findings), listed(&now.findings)));
    }
    what
}

impl Round {
    fn print(&self, json: bool) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let line = if json { format!("{}\n", self.json()) } else { self.text() };
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    }

    fn json(&self) -> Value {
        let mut line = json!({
            "round": self.number,
            "build_seconds": self.built.map(|it| it.as_secs_f64()),
        });
        match &self.ran {
            Err(failed) => {
                line["state"] = "failed".into();
                line["error"] = format!("{:#}", failed.error).into();
            }
            Ok(ran) => {
                line["state"] = if ran.unacceptable.is_none() { "good" } else { "bad" }.into();
                line["records"] = ran.records.into();
                line["golden"] = json!(ran.report.as_ref().map(Report::json));
                line["reason"] = json!(ran.unacceptable);
                if let Some(Changes { since, compared, changes }) = &ran.changes {
                    line["since"] = (*since).into();
                    line["compared"] = (*compared).into();
                    line["changes"] = changes
                        .iter()
                        .map(|Change { record: (case, record), what }| {
                            json!({ "case": case, "record": record, "what": what })
                        })
                        .collect();
                }
            }
        }
        line
    }

    fn text(&self) -> String {
        let mut text = format!("round {}", self.number);
        if let Some(took) = self.built {
            let _ = write!(text, ", built in {:.1} s", took.as_secs_f64());
        }
        let ran = match &self.ran {
            Ok(ran) => ran,
            Err(failed) => {
                let _ = writeln!(text, ": {:#}", failed.error);
                return text;
            }
        };
        let _ = match &ran.report {
            Some(report) => {
                let failed = report.cases.len() - report.passed;
                writeln!(text, ": {} passed, {failed} failed", report.passed)
            }
            None => writeln!(text, ": {} records", ran.records),
        };
        for failure in ran.report.iter().flat_map(|report| &report.failures) {
            let _ = writeln!(text, "  FAILED  {failure}");
        }
        if let (None, Some(why)) = (&ran.report, &ran.unacceptable) {
            let _ = writeln!(text, "  FAILED  {why}");
        }
        let Some(Changes { since, compared, changes }) = &ran.changes else { return text };
        let _ = writeln!(
            text,
            "  {} of {compared} records come out otherwise than in round {since}",
            changes.len()
        );
        for Change { record: (case, record), what } in changes {
            for what in what {
                let _ = writeln!(text, "  {case}, record {record}: {what}");
            }
        }
        text
    }
}
