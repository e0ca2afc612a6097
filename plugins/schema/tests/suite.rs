//! The official test suite of JSON Schema, through the plugin.
//!
//! Its required tests must all come out as it says, and so must the optional ones, but for
//! domains in other scripts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use schema::Schema;
use serde_json::{Map, Value, json};
use tidegate_plugin::{Verdict, testing::Harness};

/// The suite's name for a draft, and the plugin's.
const DRAFTS: [(&str, &str); 5] = [
    ("draft4", "draft-04"),
    ("draft6", "draft-06"),
    ("draft7", "draft-07"),
    ("draft2019-09", "2019-09"),
    ("draft2020-12", "2020-12"),
];

#[derive(Default)]
struct Count {
    cases: usize,
    failed: Vec<String>,
}

fn suite() -> Option<PathBuf> {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/json-schema-test-suite");
    Some(PathBuf::from(suite)).filter(|suite| suite.is_dir())
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("the file is read");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The JSON files of a folder and the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is read") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// What the suite expects at `http://localhost:1234`, but for drafts that the plugin does not know.
fn remotes(suite: &Path) -> Value {
    let folder = suite.join("remotes");
    let mut documents = Map::new();
    for path in files(&folder) {
        let below = path.strip_prefix(&folder).expect("it lies below").to_string_lossy();
        if !below.starts_with("draft3") && !below.starts_with("v1") {
            documents.insert(format!("http://localhost:1234/{below}"), read(&path));
        }
    }
    Value::Object(documents)
}

fn run(file: &Path, draft: &str, formats: bool, documents: &Value, count: &mut Count) {
    for group in read(file).as_array().expect("a file is a list of groups") {
        let tests = group["tests"].as_array().expect("a group has tests");
        let check =
            json!({"id": "s", "schema": group["schema"], "draft": draft, "formats": formats});
        let config = json!({"checks": [check], "documents": documents});
        let place = |test: &Value| {
            format!("{}: {}: {}", file.display(), group["description"], test["description"])
        };
        count.cases += tests.len();
        let mut harness = match Harness::<Schema>::new(config) {
            Ok(harness) => harness,
            Err(error) => {
                count.failed.extend(tests.iter().map(|test| format!("{}: {error}", place(test))));
                continue;
            }
        };
        let records = tests.iter().map(|test| test["data"].clone()).collect();
        for (test, outcome) in tests.iter().zip(harness.run(records)) {
            if (outcome.verdict == Verdict::Emit) != test["valid"] {
                count.failed.push(format!("{}: {:?}", place(test), outcome.findings));
            }
        }
    }
}

#[test]
fn all_drafts_come_out_as_the_suite_says() {
    let Some(suite) = suite() else {
        eprintln!("SKIPPED: all_drafts_come_out_as_the_suite_says: shared/data is absent");
        return;
    };
    let documents = remotes(&suite);
    let mut failed = Vec::new();
    for (folder, draft) in DRAFTS {
        let (mut required, mut optional) = (Count::default(), Count::default());
        for file in files(&suite.join("tests").join(folder)) {
            let name = file.to_string_lossy();
            match name.contains("/optional/") {
                false => run(&file, draft, false, &documents, &mut required),
                true => run(&file, draft, name.contains("/format/"), &documents, &mut optional),
            }
        }
        println!(
            "{folder}: {} required tests, {} failed; {} optional ones, {} failed",
            required.cases,
            required.failed.len(),
            optional.cases,
            optional.failed.len()
        );
        // The library's tables for domains in other scripts are left out.
        optional.failed.retain(|test| !test.contains("/format/idn-"));
        failed.extend(optional.failed);
        assert!(required.cases > 600, "{folder} has its tests");
        failed.extend(required.failed);
    }
    assert!(failed.is_empty(), "{} tests failed:\n{}", failed.len(), failed.join("\n"));
}
