//! What records have become against what was expected, as findings in the test's file.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_core::checkpoint::Outcome;

use super::{Pipeline, Produced};
use crate::{
    config::{Expected, ExpectedLetter, LoadedTests},
    diff::{self, Extent},
    finding::Finding,
    letters::Letter,
};

/// Finds names in the expectations that the pipeline does not have: a test that can't fail.
pub(crate) fn check_names(tests: &LoadedTests, pipeline: &Pipeline) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sinks: Vec<&str> = pipeline.sinks.iter().map(String::as_str).collect();
    let stages: Vec<&str> = pipeline.stages.iter().map(|(name, _)| name.as_str()).collect();
    for (i, case) in tests.tests.cases.iter().enumerate() {
        let pointer = format!("/cases/{i}/expect");
        for name in case.expect.sinks.keys().filter(|it| !sinks.contains(&it.as_str())) {
            findings.push(tests.unknown(&format!("{pointer}/sinks/{name}"), "sink", name, &sinks));
        }
        for (stage, counts) in &case.expect.findings {
            let pointer = format!("{pointer}/findings/{stage}");
            let Some((_, rules)) = pipeline.stages.iter().find(|(name, _)| name == stage) else {
                findings.push(tests.unknown(&pointer, "stage", stage, &stages));
                continue;
            };
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            for rule in counts.keys().filter(|it| !rules.contains(&it.as_str())) {
                let what = format!("stage `{stage}` with a rule");
                findings.push(tests.unknown(&format!("{pointer}/{rule}"), &what, rule, &rules));
            }
        }
    }
    findings
}

/// In what a case comes out other than expected.
pub(crate) fn compare(tests: &LoadedTests, place: usize, produced: &Produced) -> Vec<Finding> {
    let case = &tests.tests.cases[place];
    let mut comparison = Comparison {
        tests,
        pointer: format!("/cases/{place}/expect"),
        produced,
        findings: Vec::new(),
    };
    let Expected { verdicts, sinks, exactly, dead_letters, findings } = &case.expect;
    if let Some(verdicts) = verdicts {
        let expected: Vec<Outcome> = verdicts.iter().map(|verdict| (*verdict).into()).collect();
        comparison.verdicts(&expected);
    }
    let extent = if *exactly { Extent::Whole } else { Extent::Part };
    for (sink, expected) in sinks {
        comparison.sink(sink, expected, extent);
    }
    if let Some(letters) = dead_letters {
        comparison.letters(letters);
    }
    for (stage, counts) in findings {
        comparison.findings(stage, counts);
    }
    comparison.findings
}

struct Comparison<'a> {
    tests: &'a LoadedTests,
    /// The case's expectations.
    pointer: String,
    produced: &'a Produced,
    findings: Vec<Finding>,
}

impl Comparison<'_> {
    fn find(&mut self, code: &'static str, below: &str, message: String) {
        let pointer = format!("{}/{below}", self.pointer);
        self.findings.push(self.tests.finding(code, &pointer, message));
    }

    fn verdicts(&mut self, expected: &[Outcome]) {
        let found = &self.produced.outcomes;
        if expected.len() != found.len() {
            let message =
                format!("{} records were given, expected {}", found.len(), expected.len());
            self.find("verdicts-differ", "verdicts", message);
        }
        for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
            if expected != found {
                let number = i as u64 + 1;
                let message = format!(
                    "record {number} is {}{}, expected {}",
                    found.name(),
                    self.why_dead(number),
                    expected.name()
                );
                self.find("verdict-differs", &format!("verdicts/{i}"), message);
            }
        }
    }

    /// Why a record is a dead letter, if it is.
    fn why_dead(&self, record: u64) -> String {
        let letters = &self.produced.letters;
        let letter = letters.iter().find(|(number, _)| *number == record);
        letter.map(|(_, letter)| format!(" ({})", reason(letter))).unwrap_or_default()
    }

    fn sink(&mut self, sink: &str, expected: &[Value], extent: Extent) {
        let none = Vec::new();
        let found = self.produced.sinks.get(sink).unwrap_or(&none);
        if expected.len() != found.len() {
            let mut message =
                format!("sink `{sink}` has {} records, expected {}", found.len(), expected.len());
            for (number, letter) in &self.produced.letters {
                message.push_str(&format!("; record {number} is dead: {}", reason(letter)));
            }
            self.find("records-differ", &format!("sinks/{sink}"), message);
        }
        for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
            for difference in diff::differences(expected, found, extent) {
                let below = format!("sinks/{sink}/{i}{}", difference.pointer());
                let message = format!("record {} of sink `{sink}`: {difference}", i + 1);
                self.find("field-differs", &below, message);
            }
        }
    }

    fn letters(&mut self, expected: &[ExpectedLetter]) {
        let found = &self.produced.letters;
        if expected.len() != found.len() {
            let mut message =
                format!("there are {} dead letters, expected {}", found.len(), expected.len());
            for (number, letter) in found {
                message.push_str(&format!("; record {number}: {}", reason(letter)));
            }
            self.find("dead-letters-differ", "dead_letters", message);
        }
        for (i, (expected, (number, letter))) in expected.iter().zip(found).enumerate() {
            let ExpectedLetter { record, stage, code, class, rule, message } = expected;
            let number = number.to_string();
            let parts = [
                ("record", record.map(|it| it.to_string()), number.as_str()),
                ("stage", stage.clone(), letter.etl("stage")),
                ("code", code.clone(), letter.etl("errorCode")),
                ("class", class.clone(), letter.etl("errorClass")),
                ("rule", rule.clone(), letter.etl("rule")),
                ("message", message.clone(), letter.etl("errorMessage")),
            ];
            for (name, expected, found) in parts {
                if let Some(expected) = expected.filter(|expected| expected != found) {
                    let message = format!(
                        "dead letter {}: `{name}` is `{found}`, expected `{expected}`",
                        i + 1
                    );
                    self.find("letter-differs", &format!("dead_letters/{i}/{name}"), message);
                }
            }
        }
    }

    fn findings(&mut self, stage: &str, expected: &BTreeMap<String, u64>) {
        let none = BTreeMap::new();
        let found = self.produced.findings.get(stage).unwrap_or(&none);
        let rules = expected.keys().chain(found.keys().filter(|it| !expected.contains_key(*it)));
        for rule in rules {
            let count = |counts: &BTreeMap<String, u64>| counts.get(rule).copied().unwrap_or(0);
            let (expected, found) = (count(expected), count(found));
            if expected != found {
                let message = format!(
                    "rule `{rule}` of stage `{stage}` has {found} findings, expected {expected}"
                );
                self.find("findings-differ", &format!("findings/{stage}/{rule}"), message);
            }
        }
    }
}

/// Why a record is a dead letter, in one line.
fn reason(letter: &Letter) -> String {
    let rule = match letter.etl("rule") {
        "" => String::new(),
        rule => format!(" by {rule}"),
    };
    format!(
        "{} in {}{rule}: {}",
        letter.etl("errorCode"),
        letter.etl("stage"),
        letter.etl("errorMessage")
    )
}
