//! What was observed, as a file of golden cases: `--accept`.
//!
//! Records and expectations are written as JSON, which is YAML, one line each: a change shows as
//! one changed line.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tidegate_core::{Path, path::Segment};

use super::{
    format::{Cases, Expected},
    run::{CaseReport, Observed, Report, Verdict},
};

pub(super) fn accepted(old_text: &str, cases: &Cases, report: &Report) -> String {
    let mut text = String::new();
    for line in old_text.lines().take_while(|line| line.starts_with('#') || line.is_empty()) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(config) = &cases.config {
        let _ = writeln!(text, "config: {config}");
    }
    let _ = writeln!(text, "cases:");
    for (case, CaseReport { observed, writes }) in cases.cases.iter().zip(&report.cases) {
        let _ = writeln!(text, "  - name: {}", json!(case.name));
        if let Some(config) = &case.config {
            let _ = writeln!(text, "    config: {config}");
        }
        if let Some(at) = &case.at {
            let _ = writeln!(text, "    at: {at}");
        }
        let _ = writeln!(text, "    records:");
        for (record, Observed { verdict, findings }) in case.records.iter().zip(observed) {
            let _ = writeln!(text, "      - given: {}", record.given);
            let was_exact = matches!(&record.expected, Some(Expected::Emit { exactly: true, .. }));
            match verdict {
                Verdict::Emit(records) => {
                    let exactly = was_exact
                        || records.iter().any(|it| lost_a_field(&record.given, it, writes));
                    let shown = |it: &Value| if exactly { it.clone() } else { written(it, writes) };
                    let shown: Vec<Value> = records.iter().map(shown).collect();
                    let shown = match &shown[..] {
                        [record] => record.clone(),
                        _ => shown.into(),
                    };
                    let _ = writeln!(text, "        emit: {shown}");
                    if exactly {
                        let _ = writeln!(text, "        exactly: true");
                    }
                    if !findings.is_empty() || record.findings.is_some() {
                        let _ = writeln!(text, "        findings: {}", json!(findings));
                    }
                }
                Verdict::Drop => {
                    let _ = writeln!(text, "        drop: {}", json!(findings));
                }
                Verdict::Reject { rules, .. } => {
                    let _ = writeln!(text, "        reject: {}", json!(rules));
                }
            }
        }
    }
    text
}

/// What a plugin wrote into a record, at its paths; all of it where a path is the record or goes
/// through a list, which a part of a record can't show.
fn written(record: &Value, writes: &[Path]) -> Value {
    let mut shown = Value::Object(Map::new());
    for path in writes {
        let mut keys = Vec::new();
        for segment in &path.0 {
            match segment {
                Segment::Key(key) => keys.push(key.as_str()),
                Segment::Index(_) => return record.clone(),
            }
        }
        let Some((last, parents)) = keys.split_last() else { return record.clone() };
        let Some(value) = keys.iter().try_fold(record, |at, key| at.get(*key)) else { continue };
        let mut at = &mut shown;
        for key in parents {
            at = &mut at[*key];
        }
        at[*last] = value.clone();
    }
    shown
}

/// Whether a field that the plugin writes was there before and is gone: only a whole record says.
fn lost_a_field(given: &Value, record: &Value, writes: &[Path]) -> bool {
    let has = |value: &Value, path: &Path| {
        path.0
            .iter()
            .try_fold(value, |at, segment| match segment {
                Segment::Key(key) => at.get(key.as_str()),
                Segment::Index(index) => at.get(*index as usize),
            })
            .is_some()
    };
    writes.iter().any(|path| has(given, path) && !has(record, path))
}
