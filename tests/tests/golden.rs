//! Golden cases: what `tidegate plugin test` says of components, and what `--accept` writes.

use std::{fs, path::PathBuf};

use tidegate_tests::{
    guests,
    program::{Program, plugins, root},
};

/// A first-party plugin's component in a folder of its own, with golden cases.
fn beside(folder: &tempfile::TempDir, plugin: &str, cases: &str) -> (Program, PathBuf) {
    let component = folder.path().join(format!("{plugin}.wasm"));
    fs::copy(plugins().join(format!("{plugin}.wasm")), &component).expect("a component");
    let golden = component.with_extension("golden.yaml");
    fs::write(&golden, cases).expect("room for cases");
    (Program::new(component), golden)
}

fn messages(printed: &tidegate_tests::program::Printed) -> Vec<String> {
    let failures = printed.json["data"]["failures"].as_array().expect("a list").iter();
    failures.map(|it| it["message"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn first_party_plugins_keep_their_golden_cases() {
    let mut tested = 0;
    for component in fs::read_dir(plugins()).expect("built plugins").flatten() {
        let path = component.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let plugin = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let golden = root().join("plugins").join(&plugin).join("golden.yaml");
        assert!(golden.is_file(), "{plugin} has no golden cases");
        let golden = golden.display().to_string();
        let result = Program::new(&path).data("plugin test", &["--golden", &golden]);
        assert!(result["passed"].as_u64() >= Some(2), "{plugin}: {result:#}");
        tested += 1;
    }
    assert_eq!(tested, 9);
}

#[test]
fn what_differs_is_named_by_field_and_accepted_on_demand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = "\
# Kept.
config: { bands: [{ write: size, field: amount, bands: [{ label: small, below: 100 }, { label: large }] }] }
cases:
  - name: sizes
    records:
      - given: { amount: 5 }
        emit: { size: large }
      - given: { amount: 500 }
      - given: '{\"amount\":'
        emit: {}
";
    let (component, golden) = beside(&folder, "categorize", cases);
    let tested = component.run("plugin test", &[]);
    assert_eq!(tested.code, 4, "{}", tested.stderr);
    let said = messages(&tested);
    assert_eq!(said[0], "`size` is \"small\", expected \"large\"");
    assert!(said[1].starts_with("1 record is emitted, and nothing is expected yet"), "{}", said[1]);
    assert!(said[2].starts_with("rejected by"), "{}", said[2]);
    assert_eq!(tested.json["data"]["failures"][0]["pointer"], "/size");

    let accepted = component.run("plugin test", &["--accept"]);
    assert_eq!(accepted.code, 0, "{}\n{:#}", accepted.stderr, accepted.json);
    let text = fs::read_to_string(&golden).expect("the cases");
    assert!(text.starts_with("# Kept.\n"), "{text}");
    assert!(text.contains("emit: {\"size\":\"small\"}"), "{text}");
    assert_eq!(component.run("plugin test", &[]).code, 0);
    component.data("plugin test", &["--accept"]);
    assert_eq!(fs::read_to_string(&golden).expect("the cases"), text, "accepted twice");
}

#[test]
fn a_file_that_says_two_things_of_a_record_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases =
        "cases:\n  - name: both\n    records:\n      - { given: {}, drop: [], reject: [] }\n";
    let (component, _) = beside(&folder, "categorize", cases);
    let tested = component.run("plugin test", &[]);
    assert_eq!(tested.code, 2, "{}", tested.stderr);
    assert_eq!(tested.json["findings"][0]["line"], 4);
}

#[test]
fn a_component_without_golden_cases_is_told_where_to_put_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (component, golden) = beside(&folder, "categorize", "");
    fs::remove_file(&golden).expect("the cases");
    let tested = component.run("plugin test", &[]);
    assert_eq!(tested.code, 3, "{}", tested.stderr);
    let error = tested.json["error"].as_str().expect("an error");
    assert!(error.contains("categorize.golden.yaml"), "{error}");
}

#[test]
fn a_plugin_that_remembers_batches_fails_cases_that_it_answers_rightly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let component = folder.path().join("hidden-state.wasm");
    fs::write(&component, guests::component("hidden-state")).expect("room for a component");
    let cases = "\
cases:
  - name: sums
    records:
      - given: { amount: 1 }
      - given: { amount: 2 }
";
    fs::write(component.with_extension("golden.yaml"), cases).expect("room for cases");
    let component = Program::new(component);
    let tested = component.run("plugin test", &[]);
    assert_eq!(tested.code, 4, "{}", tested.stderr);
    let said = messages(&tested);
    let impure = said.iter().find(|it| it.starts_with("the plugin is not pure"));
    assert!(impure.is_some(), "{said:?}");
    // Nor can it be accepted.
    let accepted = component.run("plugin test", &["--accept"]);
    assert_eq!(accepted.code, 4, "{}", accepted.stderr);
    let error = accepted.json["error"].as_str().expect("an error");
    assert!(error.starts_with("nothing is accepted"), "{error}");
}
