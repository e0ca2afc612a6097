//! The author's path: `plugin new`, `plugin build`, `plugin test` and what follows, in every language
//! that can be built here.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

use serde_json::{Value, json};
use tidegate_tests::program::Program;

const LANGUAGES: [&str; 5] = ["rust", "go", "js", "python", "c"];

#[test]
fn a_new_project_is_built_and_keeps_its_golden_cases() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let project = Program::new(folder.path().join("size-up"));
        let made = project.data("plugin new", &["--lang", language]);
        assert_eq!(made["next"].as_array().map(Vec::len), Some(3), "{made:#}");
        let built = project.run("plugin build", &[]);
        if built.code == 3 {
            println!("SKIPPED: plugins in {language}: {}", built.json["error"]);
            continue;
        }
        assert_eq!(built.code, 0, "{language}: {}\n{:#}", built.stderr, built.json);
        assert!(built.stderr.contains("$ "), "{language} was built silently: {}", built.stderr);
        let tested = project.data("plugin test", &[]);
        assert_eq!((&tested["passed"], &tested["failed"]), (&2.into(), &0.into()), "{language}");
    }
}

#[test]
fn no_file_of_a_project_names_the_place_where_it_was_made() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("size-up");
        Program::new(&path).data("plugin new", &["--lang", language]);
        let place = folder.path().display().to_string();
        let files = tidegate_tests::program::tree(&path);
        assert!(files.len() > 8, "{language} has {} files", files.len());
        for (name, content) in files {
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains(&place), "{language}: {name} names {place}");
            for placeholder in ["{{name}}", "{{sdk}}"] {
                assert!(!text.contains(placeholder), "{language}: {name} has {placeholder}");
                assert!(!name.contains(placeholder), "{language}: {name}");
            }
        }
    }
}

#[test]
fn what_is_there_is_not_written_over_and_a_name_is_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine"), "").expect("room for a file");
    let refused = Program::new(folder.path()).run("plugin new", &["--lang", "c"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    let refused = Program::new(folder.path().join("Size Up")).run("plugin new", &["--lang", "c"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn an_unknown_key_of_a_manifest_is_refused_with_its_place_and_the_nearest_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("size-up");
    let project = Program::new(&path);
    project.data("plugin new", &["--lang", "c"]);
    let manifest = "name = \"size-up\"\nlanguage = \"c\"\n[build]\n  componet = \"x\"\n";
    fs::write(path.join("tidegate.toml"), manifest).expect("room for a manifest");
    let refused = project.run("plugin build", &[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let finding = &refused.json["findings"][0];
    assert_eq!((&finding["line"], &finding["column"]), (&4.into(), &3.into()), "{finding:#}");
    assert_eq!(finding["suggestion"], "did you mean `component`?");
}

/// Records with every kind of field, of which some are optional.
const SAMPLE: &str = r#"{"id":"t1","amount":250,"note":"a","merchant":{"id":"m1","countryCode":"US"},"at":"2026-03-01T12:00:00Z","tags":["a"],"nothing":null,"type":"x"}
{"id":"t2","amount":9.5,"merchant":{"id":"m2"},"at":"2026-03-01T13:00:00Z","day":"2026-03-01","ok":true,"type":"y","n":3}

{"id":"t3","amount":31,"note":"","merchant":{"id":"m3","countryCode":"DE"},"at":"2026-03-01T12:00:00+01:00","type":"z"}
"#;

/// A project that was made of the sample.
fn from_sample(folder: &Path, language: &str) -> (Program, Value) {
    let sample = folder.join("given.ndjson");
    fs::write(&sample, SAMPLE).expect("room for a sample");
    let project = Program::new(folder.join("size-up"));
    let from = sample.display().to_string();
    let made = project.data("plugin new", &["--lang", language, "--from", &from]);
    (project, made)
}

/// Builds it, if that can be done here.
fn is_built(project: &Program, language: &str) -> bool {
    let built = project.run("plugin build", &[]);
    if built.code == 3 {
        println!("SKIPPED: plugins in {language}: {}", built.json["error"]);
        return false;
    }
    assert_eq!(built.code, 0, "{language}: {}\n{:#}", built.stderr, built.json);
    true
}

#[test]
fn a_project_from_a_sample_reads_what_the_sample_has_and_keeps_its_golden_cases() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (project, made) = from_sample(folder.path(), language);
        assert_eq!(made["sample"]["records"], 3, "{made:#}");
        if !is_built(&project, language) {
            continue;
        }
        let tested = project.data("plugin test", &[]);
        assert_eq!((&tested["passed"], &tested["failed"]), (&1.into(), &0.into()), "{language}");
        let about = project.data("plugin inspect", &[]);
        let reads = about["description"]["reads"].as_array().expect("reads").iter();
        let of = |name: &str| {
            let mut reads = reads.clone().map(|it| (&it["from"], &it["kind"], &it["required"]));
            let (_, kind, required) = reads.find(|it| it.0 == name).expect(name);
            format!("{} {}", kind.as_str().unwrap_or_default(), required)
        };
        let expected = [
            ("amount", "float64 true"),
            ("at", "timestamp true"),
            ("id", "utf8 true"),
            ("note", "utf8 false"),
            ("merchant.id", "utf8 true"),
            ("merchant.countryCode", "utf8 false"),
            ("tags", "json false"),
            ("day", "date false"),
            ("ok", "boolean false"),
            ("n", "int64 false"),
            ("type", "utf8 true"),
        ];
        assert_eq!(reads.len(), expected.len(), "{language}: {about:#}");
        for (path, what) in expected {
            assert_eq!(of(path), what, "{language}: {path}");
        }
        assert_eq!(
            about["description"]["writes"],
            json!([{ "path": "amount_is_large", "kind": "boolean" }])
        );
    }
}

#[test]
fn a_sample_that_is_none_makes_no_project() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = folder.path().join("given.ndjson");
    let from = sample.display().to_string();
    let project = Program::new(folder.path().join("size-up"));
    let absent = project.run("plugin new", &["--lang", "c", "--from", &from]);
    assert_eq!(absent.code, 3, "{}", absent.json);
    fs::write(&sample, "{\"secret\":1}\n{\"secret\":\n").expect("room for a sample");
    let refused = project.run("plugin new", &["--lang", "c", "--from", &from]);
    assert_eq!(refused.code, 2, "{}", refused.json);
    let error = refused.json["error"].as_str().expect("an error");
    assert!(error.contains("line 2: it is no JSON") && !error.contains("secret"), "{error}");
    assert!(!folder.path().join("size-up").exists(), "a project is made of nothing");
}

#[test]
fn a_project_that_is_not_built_says_what_to_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let project = Program::new(folder.path().join("size-up"));
    project.data("plugin new", &["--lang", "c"]);
    for command in ["plugin test", "plugin inspect", "plugin bench"] {
        let unbuilt = project.run(command, &[]);
        assert_eq!(unbuilt.code, 3, "{command}: {}", unbuilt.json);
        let error = unbuilt.json["error"].as_str().expect("an error");
        assert!(error.contains("run `tidegate plugin build"), "{command}: {error}");
    }
}

/// A project of the first language that can be built here: the commands behind `build` are the same
/// for all.
fn built(folder: &Path) -> Option<(Program, Value)> {
    ["go", "c", "python", "js"].into_iter().find_map(|language| {
        let (project, made) = from_sample(folder, language);
        let is_built = is_built(&project, language);
        if !is_built {
            fs::remove_dir_all(folder.join("size-up")).expect("the project can be removed");
        }
        is_built.then_some((project, made))
    })
}

#[test]
fn a_run_says_what_became_of_the_records_and_what_was_used_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some((project, _)) = built(folder.path()) else { return };
    let mut records = String::from(SAMPLE).repeat(400);
    records.push_str("{\"id\":\"u\"}\n{\"id\":\n");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("records.ndjson"), records).expect("room for records");
    let (out, letters) = (at("out.ndjson"), at("letters.ndjson"));
    let arguments = ["--in", &at("records.ndjson"), "--out", &out, "--dead-letters", &letters];
    let ran = project.data("plugin run", &arguments);
    let count = |name: &str| ran[name].as_u64().unwrap_or_default();
    assert_eq!(count("records"), 1_202, "{ran:#}");
    assert_eq!(count("records"), count("emitted") + count("dropped") + count("rejected"));
    assert_eq!((count("emitted"), count("rejected"), count("poison")), (1_200, 2, 0));
    let causes = ran["causes"].as_array().expect("causes");
    assert!(causes.iter().any(|it| it["code"] == "json-unexpected-end"), "{causes:#?}");
    let missing = causes.iter().find(|it| it["code"] == "required-missing").expect("a cause");
    assert!(missing["message"].to_string().contains('`'), "{missing:#}");
    for (limit, of) in ran["limits"].as_object().expect("limits") {
        let share = of["share"].as_f64().expect("a share");
        assert!((0.0..1.0).contains(&share), "{limit}: {of}");
    }
    assert!(ran["limits"]["fuel"]["used"].as_u64() > Some(0), "{ran:#}");
    let lines = |path: &str| fs::read_to_string(path).expect("a file").lines().count();
    assert_eq!((lines(&out), lines(&letters)), (1_200, 2));
    let first = fs::read_to_string(&out).expect("a file");
    assert!(first.starts_with("{\"id\":\"t1\",\"amount\":250,"), "the record's own bytes stay");
    assert_eq!(project.run("plugin run", &["--in", &at("absent")]).code, 3);
}

#[test]
fn a_bench_is_compared_with_the_one_before() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some((project, _)) = built(folder.path()) else { return };
    let baseline = folder.path().join("baseline.json").display().to_string();
    let without = project.run("plugin bench", &["--baseline", &baseline, "--rows", "10"]);
    assert_eq!(without.code, 3, "{}", without.json);
    let arguments = ["--baseline", &baseline, "--rows", "10,100"];
    let first = project.data("plugin bench", &[&arguments[..], &["--save"]].concat());
    assert!(first["batches"]["10"]["ns_per_row"].as_f64() > Some(0.0), "{first:#}");
    assert!(first.get("baseline").is_none(), "{first:#}");
    let second = project.data("plugin bench", &arguments);
    let fuel = second["baseline"]["batches"]["100"]["fuel_per_row"].as_f64().expect("a ratio");
    assert!((0.99..1.01).contains(&fuel), "the same component burns the same fuel: {second:#}");
}

/// `plugin dev`, and what it prints.
struct Dev {
    process: Child,
    rounds: Lines<BufReader<ChildStdout>>,
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Dev {
    fn round(&mut self) -> Value {
        let line = self.rounds.next().expect("it runs on").expect("it writes UTF-8");
        serde_json::from_str(&line).expect("a round is a line of JSON")
    }
}

#[test]
fn dev_builds_again_and_says_which_records_come_out_otherwise() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let project = Program::new(folder.path().join("size-up"));
    project.data("plugin new", &["--lang", "go"]);
    if !is_built(&project, "go") {
        return;
    }
    let source = folder.path().join("size-up/main.go");
    let change = |from: &str, to: &str| {
        let text = fs::read_to_string(&source).expect("a source");
        assert!(text.contains(from), "{text}");
        fs::write(&source, text.replace(from, to)).expect("room for a source");
    };
    let mut process = project.start_piped("plugin dev", &["--json"], Stdio::piped());
    let stdout = process.stdout.take().expect("stdout was asked for");
    let mut dev = Dev { process, rounds: BufReader::new(stdout).lines() };
    let first = dev.round();
    assert_eq!((&first["state"], &first["golden"]["passed"]), (&"good".into(), &2.into()));
    assert!(first.get("changes").is_none(), "there is nothing to compare with: {first:#}");

    change("currency != \"EUR\"", "currency == \"EUR\"");
    let second = dev.round();
    assert_eq!((&second["since"], &second["compared"]), (&1.into(), &4.into()), "{second:#}");
    let changes = second["changes"].as_array().expect("changes");
    assert_eq!(changes.len(), 1, "{second:#}");
    assert_eq!(changes[0]["record"], 1);
    assert_eq!(changes[0]["what"], json!(["`is_foreign`: true → false"]));

    change("in.Amount >=", "in.Amounts >=");
    let broken = dev.round();
    assert_eq!(broken["state"], "failed");
    let error = broken["error"].as_str().expect("an error");
    assert!(error.contains("Amounts"), "{error}");
    let place = folder.path().display().to_string();
    assert!(!error.contains(&place), "a command is told as one types it: {error}");

    change("in.Amounts >=", "in.Amount <");
    let last = dev.round();
    // What was broken is not compared with.
    assert_eq!(last["since"], 2, "{last:#}");
    assert_eq!(last["changes"].as_array().map(Vec::len), Some(2), "{last:#}");
}
