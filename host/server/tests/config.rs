//! Configs that are wrong, and all that is said about each: a file a case in `tests/config/`.

use std::{fs, path::Path};

use tidegate_server::{
    config,
    finding::{Finding, SourceFile},
};

/// Variables of the cases; all others are unset.
fn variables(name: &str) -> Option<String> {
    match name {
        "WORKERS" => Some("4".to_owned()),
        "MANY" => Some("many".to_owned()),
        "INJECTION" => Some("x\nworkers: 9".to_owned()),
        _ => None,
    }
}

fn check(name: &str) -> Result<config::Loaded, Vec<Finding>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name);
    let text = fs::read_to_string(&path).expect("the case is there");
    config::parse(SourceFile { path: name.into(), text: text.into() }, &variables)
}

#[test]
fn every_wrong_config_gives_all_its_findings() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut names: Vec<String> = fs::read_dir(cases)
        .expect("there are cases")
        .map(|entry| entry.expect("a case").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() > 5, "the cases are gone");
    for name in names {
        let said = match check(&name) {
            Ok(_) => "valid".to_owned(),
            Err(findings) => findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"),
        };
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name.trim_end_matches(".yaml"), said);
        });
    }
}

/// A finding is drawn with the line that it is about.
#[test]
fn findings_are_drawn_with_their_lines() {
    let findings = check("misspelled.yaml").expect_err("it is wrong");
    insta::assert_snapshot!("drawn", tidegate_server::finding::render(&findings[..1], false));
}

/// A variable's value is the content of one text and never becomes structure.
#[test]
fn variables_cannot_inject_structure() {
    let loaded = check("valid.yaml").expect("it is right");
    assert_eq!(loaded.config.version, "x\nworkers: 9");
    assert_eq!(loaded.config.workers, Some(4));
}
