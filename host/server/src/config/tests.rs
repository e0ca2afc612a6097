//! Tests of a pipeline as an operator writes them: records, and what is expected of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_core::{Timestamp, checkpoint::Outcome};

use super::{
    ConfigError, Variables, in_order, interpolate, read,
    shape::{Shape, nearest},
    tree::{Node, step},
    typed,
};
use crate::finding::{Finding, SourceFile, has_errors};

/// The JSON Schema of test files, made from their types.
pub(super) static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| schemars::schema_for!(TestFile).to_value());

/// Tests of a pipeline: what it makes of given records.
///
/// Every text may hold variables, as in the pipeline's file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// The batch time of all cases that don't say another, as an RFC 3339 time.
    #[serde(default = "batch_time")]
    pub batch_time: String,
    /// The cases. Each is a range of its own: no state is left by the one before.
    pub cases: Vec<TestCase>,
}

fn batch_time() -> String {
    // Any time that never changes.
    "2026-01-01T00:00:00Z".to_owned()
}

/// Some records, and what is expected of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// What the case shows.
    pub name: String,
    /// The batch time, as an RFC 3339 time.
    #[serde(default)]
    pub batch_time: Option<String>,
    /// Records, as the source would hand them over. A text is a record byte for byte, whether or
    /// not it is JSON; anything else is written as JSON.
    #[serde(default)]
    pub given: Vec<Value>,
    /// More records, behind those of `given`: a file with one a line, relative to this one.
    #[serde(default)]
    pub given_file: Option<PathBuf>,
    /// What is expected. What is left out is not looked at.
    pub expect: Expected,
}

/// What is expected of a case's records.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// What becomes of each record, in order.
    pub verdicts: Option<Vec<ExpectedVerdict>>,
    /// The records of each sink, by its name, in the order of the records that they come from.
    pub sinks: BTreeMap<String, Vec<Value>>,
    /// The sinks' records have the fields that are given here and no others. Where this is left
    /// out, they may have more.
    pub exactly: bool,
    /// The dead letters, in the order of their records: all of them.
    pub dead_letters: Option<Vec<ExpectedLetter>>,
    /// How many findings each stage has, by rule. Of the stages that are named, all rules: one that
    /// is left out has none.
    pub findings: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedVerdict {
    /// It, or what was made of it, goes to a sink.
    Delivered,
    /// A plugin drops it.
    Dropped,
    /// The pipeline's filter does not take it, or no sink does and `unrouted` is `drop`.
    Filtered,
    /// It, or a part of it, is a dead letter.
    DeadLettered,
}

impl From<ExpectedVerdict> for Outcome {
    fn from(verdict: ExpectedVerdict) -> Self {
        match verdict {
            ExpectedVerdict::Delivered => Outcome::Delivered,
            ExpectedVerdict::Dropped => Outcome::Dropped,
            ExpectedVerdict::Filtered => Outcome::Filtered,
            ExpectedVerdict::DeadLettered => Outcome::DeadLettered,
        }
    }
}

/// What is expected of a dead letter. What is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedLetter {
    /// Its record: 1 is the first.
    #[schemars(range(min = 1))]
    pub record: Option<u64>,
    /// Where it died: `decode`, `transform:<stage>`, `route` or `encode`.
    pub stage: Option<String>,
    /// The error code, such as `rejected` or `plugin-trap`.
    pub code: Option<String>,
    /// The error class, such as `reject`, `review` or `trap`.
    pub class: Option<String>,
    /// The rule that it broke.
    pub rule: Option<String>,
    /// The error message.
    pub message: Option<String>,
}

/// Tests and the file that they were read from, so that what fails can point into it.
#[derive(Clone, Debug)]
pub struct LoadedTests {
    /// The tests.
    pub tests: TestFile,
    /// The directory that the file lies in.
    pub base: PathBuf,
    /// The text.
    pub file: SourceFile,
    tree: Node,
}

impl LoadedTests {
    /// A finding about a place in the file.
    pub fn finding(&self, code: &'static str, pointer: &str, message: String) -> Finding {
        Finding::error(code, &self.file, self.tree.place_of(pointer), pointer, message)
    }

    /// A finding about a name that there is not.
    pub fn unknown(&self, pointer: &str, what: &str, name: &str, known: &[&str]) -> Finding {
        let message = format!("the pipeline has no {what} `{name}`");
        let finding = self.finding("unknown-name", pointer, message);
        match nearest(name, known.iter().copied()) {
            Some(near) => finding.suggest(format!("did you mean `{near}`?")),
            None if known.is_empty() => finding,
            None => finding.suggest(format!("known here: `{}`", known.join("`, `"))),
        }
    }

    /// The batch time of a case.
    pub fn batch_time(&self, case: &TestCase) -> Timestamp {
        let text = case.batch_time.as_ref().unwrap_or(&self.tests.batch_time);
        // The rules have refused what is none.
        Timestamp::parse(text).unwrap_or_default()
    }
}

/// Reads and checks a file of tests.
pub fn load_tests(path: &Path, variables: Variables<'_>) -> Result<LoadedTests, ConfigError> {
    let file = read(path)?;
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    parse(file, base, variables).map_err(|findings| ConfigError::Invalid(in_order(findings)))
}

fn parse(
    file: SourceFile,
    base: PathBuf,
    variables: Variables<'_>,
) -> Result<LoadedTests, Vec<Finding>> {
    let mut tree = Node::parse(&file).map_err(|finding| vec![*finding])?;
    let mut findings = Vec::new();
    interpolate::interpolate(&mut tree, &file, variables, &mut findings);
    findings.extend(Shape::check(&SCHEMA, &file, &mut tree));
    if has_errors(&findings) {
        return Err(findings);
    }
    let tests: TestFile = typed(tree.to_json(), &tree, &file)?;
    let loaded = LoadedTests { tests, base, file, tree };
    let findings = rules(&loaded);
    if findings.is_empty() { Ok(loaded) } else { Err(findings) }
}

/// What the types can't say.
fn rules(loaded: &LoadedTests) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, pointer: &str, message: &str| {
        findings.push(loaded.finding(code, pointer, message.to_owned()));
    };
    let tests = &loaded.tests;
    let no_time = "it is not a time by RFC 3339";
    if Timestamp::parse(&tests.batch_time).is_none() {
        find("invalid-value", "/batch_time", no_time);
    }
    if tests.cases.is_empty() {
        find("empty", "/cases", "there is no case");
    }
    for (i, case) in tests.cases.iter().enumerate() {
        let pointer = step("/cases", i);
        if case.batch_time.as_ref().is_some_and(|time| Timestamp::parse(time).is_none()) {
            find("invalid-value", &step(&pointer, "batch_time"), no_time);
        }
        if tests.cases[..i].iter().any(|other| other.name == case.name) {
            let message = "another case has this name";
            find("duplicate-name", &step(&pointer, "name"), message);
        }
        if case.given.is_empty() && case.given_file.is_none() {
            let message = "no record is given: say `given` or `given_file`";
            find("missing-key", &pointer, message);
        }
        let Expected { verdicts, sinks, dead_letters, findings, .. } = &case.expect;
        if verdicts.is_none() && sinks.is_empty() && dead_letters.is_none() && findings.is_empty() {
            find("empty", &step(&pointer, "expect"), "nothing is expected");
        }
    }
    findings
}
