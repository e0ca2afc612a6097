//! Cases through the plan, and how what comes out differs from what was expected.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use serde_json::{Value, json};
use tidegate_core::{
    Path, Position, RecordBatch, Timestamp, TransformFactory, checkpoint::StateKeys,
    source::PartitionId,
};
use tidegate_engine::{Component, ConfigureOptions, Factory};
use tidegate_pipeline::{
    Plan, PlanSpec, RangeContext, RangeOutput, RangeProcessor,
    plan::{Purity, SinkSpec, StageSpec, StateScope, StateSpec},
    states::NoStates,
};

use super::format::{Case, Cases, Expected, Given, Rules};
use crate::{
    DEAD_LETTERS,
    diff::{self, Extent},
    letters::Letter,
};

const STAGE: &str = "plugin";
const SINK: &str = "emitted";
/// Replays are the same at any time, so one is taken that people recognize.
const BATCH_TIME: Timestamp = Timestamp(1_767_225_600_000_000);

/// How all cases came out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many came out as expected.
    pub passed: usize,
    /// What did not, in the file's order.
    pub failures: Vec<Failure>,
    /// What was seen, one entry for each case.
    pub cases: Vec<CaseReport>,
}

/// Something that came out otherwise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case's name.
    pub case: String,
    /// The record's number in the case, from 1; none where all of it failed.
    pub record: Option<usize>,
    /// The fields that differ, as JSON Pointers into the record, where fields do.
    pub pointer: Option<String>,
    /// What differs, with both values.
    pub message: String,
}

/// What became of a case's records; nothing where it could not be run.
#[derive(Clone, Debug, Default)]
pub struct CaseReport {
    /// One entry for each record.
    pub observed: Vec<Observed>,
    /// What the plugin says that it writes, under the case's config.
    pub writes: Vec<Path>,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Where it went.
    pub verdict: Verdict,
    /// The rules that it was found to break, in the order of the plugin's description.
    pub findings: Vec<String>,
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// On, as these records.
    Emit(Vec<Value>),
    /// Nowhere.
    Drop,
    /// To the dead letters, by the plugin's rules or a code of the host's.
    Reject {
        /// The rules' ids, or the code.
        rules: Vec<String>,
        /// Why, for people.
        message: String,
        /// The plugin failed on it, rather than to judge it.
        poison: bool,
    },
}

pub(super) fn run(component: &Component, options: &ConfigureOptions, cases: &Cases) -> Report {
    let mut report = Report::default();
    for case in &cases.cases {
        let (seen, failures) = match run_case(component, options, cases, case) {
            Ok((seen, impure)) => {
                let mut failures = compare(case, &seen.observed);
                failures.extend(impure.map(|message| failure(case, None, message)));
                (seen, failures)
            }
            Err(error) => (CaseReport::default(), vec![failure(case, None, format!("{error:#}"))]),
        };
        report.passed += usize::from(failures.is_empty());
        report.failures.extend(failures);
        report.cases.push(seen);
    }
    report
}

fn failure(case: &Case, record: Option<usize>, message: String) -> Failure {
    Failure { case: case.name.clone(), record, pointer: None, message }
}

/// What became of a case's records, and how the plugin is impure, if it is.
fn run_case(
    component: &Component,
    options: &ConfigureOptions,
    cases: &Cases,
    case: &Case,
) -> anyhow::Result<(CaseReport, Option<String>)> {
    let config = case.config.as_ref().or(cases.config.as_ref());
    let options = ConfigureOptions {
        config_json: config.map_or_else(|| options.config_json.clone(), Value::to_string),
        ..options.clone()
    };
    let factory = component.configure(options)?;
    let plan = plan(&factory)?;
    let records: Vec<String> = case.records.iter().map(|record| text(&record.given)).collect();
    let whole = batch(&records, 0);
    let mut processor = open(&plan, case)?;
    process(&mut processor, &whole)?;
    let together = processor.cut()?;

    let mut processor = open(&plan, case)?;
    let mut steps = Vec::new();
    for (place, record) in records.iter().enumerate() {
        process(&mut processor, &batch(std::slice::from_ref(record), place))?;
        let (stages, destinations) = processor.so_far();
        steps.push((stages[0].findings.clone(), destinations[0].delivered));
    }
    let apart = processor.cut()?;

    let impure = impurity(&together, &apart);
    let description = &factory.plugin().description;
    let rules: Vec<&str> = description.rules.iter().map(|rule| rule.id.as_str()).collect();
    let observed = observe(&apart, &plan, &steps, &rules)?;
    let writes = description.writes.iter().map(|write| write.path.clone()).collect();
    Ok((CaseReport { observed, writes }, impure))
}

fn plan(factory: &Factory) -> anyhow::Result<Arc<Plan>> {
    let stage = StageSpec {
        purity: Purity::Always,
        // There is one partition, so whatever a state is kept by lies on it.
        state: StateSpec { scope: StateScope::Partition, ..StateSpec::default() },
        ..StageSpec::new(STAGE, Arc::new(factory.clone()))
    };
    let spec = PlanSpec {
        stages: vec![stage],
        sinks: vec![SinkSpec { part_bytes_max: u64::MAX, ..SinkSpec::new(SINK) }],
        ..PlanSpec::new("golden", "given")
    };
    Plan::build(spec).map_err(|found| {
        let messages: Vec<&str> = found.0.iter().map(|it| it.message.as_str()).collect();
        anyhow::anyhow!("{}", messages.join("; "))
    })
}

fn open(plan: &Arc<Plan>, case: &Case) -> anyhow::Result<RangeProcessor> {
    Ok(plan.open_range(RangeContext {
        partition: PartitionId::from("given"),
        origin: None,
        range: 0,
        revision: 0,
        start: None,
        opened_at: case.at.unwrap_or(BATCH_TIME),
        exclusions: Vec::new(),
        state_keys: StateKeys::new(),
        hash_key: None,
    })?)
}

/// A range awaits nothing but states, and there are none to wait for: it is driven by hand, so
/// that this can be called from anywhere, a runtime's own thread included.
fn process(processor: &mut RangeProcessor, batch: &RecordBatch) -> anyhow::Result<()> {
    let work = pin!(processor.process(batch, &NoStates));
    match work.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result?),
        Poll::Pending => anyhow::bail!("a range waits for something other than states"),
    }
}

fn text(given: &Value) -> String {
    match given {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

/// Records back to back. The position of each is its number in the case, from 1.
fn batch(records: &[String], before: usize) -> RecordBatch {
    let mut batch = RecordBatch::default();
    let mut bytes = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(record.as_bytes());
        batch.spans.push((start, bytes.len() as u32));
        batch.positions.push(Position::from_offset((before + place) as u64 + 1));
    }
    batch.bytes = bytes.into();
    batch
}

/// How the same records came out otherwise when they were cut otherwise.
fn impurity(together: &RangeOutput, apart: &RangeOutput) -> Option<String> {
    if let Some(impurity) = [together, apart].iter().find_map(|it| it.stages[0].impurity.as_ref()) {
        return Some(format!("the plugin is not pure: {impurity}"));
    }
    // How a failing record is told from its neighbours shows in its letter.
    if apart.stages[0].poison > 0 {
        return None;
    }
    let contents = |output: &RangeOutput| -> Vec<_> {
        output.objects.iter().map(|it| (it.destination, it.object.content.to_vec())).collect()
    };
    let same = contents(together) == contents(apart)
        && together.stages[0].findings == apart.stages[0].findings;
    (!same).then(|| {
        "the plugin is not pure: record by record it replies otherwise than to all records in one \
         batch"
            .to_owned()
    })
}

/// What became of each record, out of the objects of a range that was fed record by record: how
/// many findings and rows there were after each says which are whose.
fn observe(
    output: &RangeOutput,
    plan: &Plan,
    steps: &[(Vec<u64>, u64)],
    rules: &[&str],
) -> anyhow::Result<Vec<Observed>> {
    let mut emitted: Vec<Value> = Vec::new();
    let mut letters: Vec<(u64, Letter)> = Vec::new();
    for object in &output.objects {
        let is_letters = plan.destinations()[object.destination].name == DEAD_LETTERS;
        let lines = object.object.content.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match is_letters {
                true => {
                    let letter = Letter::parse(line)?;
                    letters.push((letter.position()?.offset(), letter));
                }
                false => emitted.push(serde_json::from_slice(line)?),
            }
        }
    }
    let mut emitted = emitted.into_iter();
    let mut findings_before = vec![0; rules.len()];
    let mut rows_before = 0;
    let mut observed = Vec::new();
    for (place, (findings, rows)) in steps.iter().enumerate() {
        let mut found = Vec::new();
        for ((rule, before), after) in rules.iter().zip(&findings_before).zip(findings) {
            found.extend((*before..*after).map(|_| (*rule).to_owned()));
        }
        let records: Vec<Value> = emitted.by_ref().take((rows - rows_before) as usize).collect();
        let letter = letters.iter().find(|(number, _)| *number == place as u64 + 1);
        let verdict = match letter {
            Some((_, letter)) => rejection(letter, &found),
            None if records.is_empty() => Verdict::Drop,
            None => Verdict::Emit(records),
        };
        observed.push(Observed { verdict, findings: found });
        findings_before.clone_from(findings);
        rows_before = *rows;
    }
    Ok(observed)
}

fn rejection(letter: &Letter, found: &[String]) -> Verdict {
    let class = letter.etl("errorClass");
    let rules = match found {
        [] => vec![letter.etl("errorCode").to_owned()],
        found => found.to_vec(),
    };
    let message = letter.etl("errorMessage").to_owned();
    Verdict::Reject { rules, message, poison: class != "reject" && class != "permanent" }
}

fn compare(case: &Case, observed: &[Observed]) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (place, (record, observed)) in case.records.iter().zip(observed).enumerate() {
        let number = Some(place + 1);
        let Given { expected, findings, .. } = record;
        match expected {
            None => {
                let message = format!(
                    "{}, and nothing is expected yet: fill it in with `--accept`",
                    observed.verdict
                );
                failures.push(failure(case, number, message));
            }
            Some(Expected::Emit { records, exactly }) => match &observed.verdict {
                Verdict::Emit(found) if found.len() == records.len() => {
                    let extent = if *exactly { Extent::Whole } else { Extent::Part };
                    for (expected, found) in records.iter().zip(found) {
                        for difference in diff::differences(expected, found, extent) {
                            failures.push(Failure {
                                pointer: Some(difference.pointer()),
                                ..failure(case, number, difference.to_string())
                            });
                        }
                    }
                }
                verdict => {
                    let message =
                        format!("{verdict}, expected {} emitted", plural(records.len(), "record"));
                    failures.push(failure(case, number, message));
                }
            },
            Some(Expected::Drop(rules)) => match &observed.verdict {
                Verdict::Drop if rules.same(&observed.findings) => {}
                Verdict::Drop => {
                    let message = format!(
                        "dropped by {}, expected by {rules}",
                        Rules(observed.findings.clone())
                    );
                    failures.push(failure(case, number, message));
                }
                verdict => {
                    let message = format!("{verdict}, expected to be dropped by {rules}");
                    failures.push(failure(case, number, message));
                }
            },
            Some(Expected::Reject(rules)) => match &observed.verdict {
                Verdict::Reject { rules: found, .. } if rules.same(found) => {}
                verdict => {
                    let message = format!("{verdict}, expected to be rejected by {rules}");
                    failures.push(failure(case, number, message));
                }
            },
        }
        if let Some(expected) = findings
            && !expected.same(&observed.findings)
        {
            let found = Rules(observed.findings.clone());
            let message = format!("the findings are {found}, expected {expected}");
            failures.push(failure(case, number, message));
        }
    }
    failures
}

impl Rules {
    fn same(&self, found: &[String]) -> bool {
        let sorted = |rules: &[String]| {
            let mut rules = rules.to_vec();
            rules.sort();
            rules
        };
        sorted(&self.0) == sorted(found)
    }
}

impl std::fmt::Display for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0[..] {
            [] => f.write_str("no rule"),
            rules => write!(f, "`{}`", rules.join("`, `")),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Emit(records) => write!(f, "{} emitted", plural(records.len(), "record")),
            Verdict::Drop => f.write_str("dropped"),
            Verdict::Reject { rules, message, poison } => {
                let how = if *poison { "poison" } else { "rejected" };
                write!(f, "{how} by {} ({message})", Rules(rules.clone()))
            }
        }
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun} is") } else { format!("{count} {noun}s are") }
}

impl Failure {
    /// Which record, and what differs.
    pub fn place_and_message(&self) -> String {
        match self.record {
            Some(number) => format!("record {number}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.case, self.place_and_message())
    }
}

impl Report {
    /// Why what came out is nothing to expect from now on, if so: a case could not be run, the
    /// plugin failed on a record, or it is not pure.
    pub fn unacceptable(&self) -> Option<String> {
        let whole = self.failures.iter().find(|failure| failure.record.is_none());
        let poison = || {
            self.cases.iter().flat_map(|case| &case.observed).find_map(|it| match &it.verdict {
                verdict @ Verdict::Reject { poison: true, .. } => {
                    Some(format!("a record is {verdict}"))
                }
                _ => None,
            })
        };
        whole.map(ToString::to_string).or_else(poison)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let failures = self.failures.iter().map(|Failure { case, record, pointer, message }| {
            json!({ "case": case, "record": record, "pointer": pointer, "message": message })
        });
        json!({
            "passed": self.passed,
            "failed": self.cases.len() - self.passed,
            "failures": failures.collect::<Vec<_>>(),
        })
    }
}
