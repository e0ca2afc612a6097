//! The whole program over a bucket: killed, on a line that loses answers, with dead letters.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, time::Duration};

use serde_json::Value;
use tidegate_tests::{program::Program, server::with_credentials};

use super::server::{BUCKET, REGION, S3};

/// A plain linear congruential generator, so that a seed gives the same moments again.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Events of a few files, some of them broken. Each has a text of some length.
fn write_events(folder: &Path, files: u64, events: u64, length: usize) {
    let text_of = "x".repeat(length);
    fs::create_dir_all(folder).expect("a fresh folder");
    for file in 0..files {
        let mut text = String::new();
        for event in 0..events {
            let (kind, amount) = (["click", "order"][event as usize % 2], event % 900);
            match event % 50 {
                0 => writeln!(text, r#"{{"kind":"{kind}","amount":"#),
                _ => {
                    writeln!(text, r#"{{"id":"{file}-{event}","kind":"{kind}","amount":{amount},"text":"{text_of}"}}"#)
                }
            }
            .expect("a string");
        }
        fs::write(folder.join(format!("events-{file}.ndjson")), text).expect("room");
    }
}

/// A pipeline with some sinks and its dead letters below one prefix.
fn pipeline(folder: &Path, s3: &S3, prefix: &str, range: &str) -> Program {
    let range = format!("{range}\nretry: {{ delay_first: 10ms, delay_max: 200ms }}");
    let place = |name: &str| {
        format!(
            "bucket: {BUCKET}, prefix: {prefix}/{name}, region: {REGION}, endpoint: \"{}\", \
             path_style: true",
            s3.endpoint()
        )
    };
    let text = format!(
        r#"
pipeline: s3-story
data_dir: data-{prefix}
source: {{ ndjson: {{ paths: ["input/*.ndjson"] }} }}
sinks:
  - name: tree
    s3: {{ {}, tree: [{{ field: kind }}] }}
  - name: packed
    s3: {{ {} }}
    layout: envelope
    compression: zstd
  - name: whole
    s3: {{ {}, part_size: 5MiB }}
dead_letters: {{ s3: {{ {} }} }}
range: {range}
"#,
        place("tree"),
        place("packed"),
        place("whole"),
        place("dead"),
    );
    let file = folder.join(format!("{prefix}.yaml"));
    fs::write(&file, text).expect("room for the pipeline");
    with_credentials(Program::new(&file))
}

fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(Vec::from_iter(found.keys()), Vec::from_iter(expected.keys()));
    for (key, content) in found {
        assert!(content == &expected[key], "{key} differs");
    }
}

fn verify(program: &Program, records: u64) {
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["complete"], true, "{verified:#}");
    assert_eq!(verified["read"].as_u64(), Some(records), "{verified:#}");
    assert!(verified["objects"].as_u64() > Some(10), "{verified:#}");
}

/// Runs a pipeline undisturbed and another that is killed over and over, and compares what they
/// leave.
fn killed_and_undisturbed(s3: &S3, kills: u64, events: u64, length: usize, range: &str) {
    let files = 2;
    let seed = setting("TIDEGATE_SEED", 5);
    println!("seed {seed}, {kills} kills");
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("input"), files, events * kills, length);
    let clock = ["--clock", "2026-03-04T00:00:00Z"];
    pipeline(folder.path(), s3, "undisturbed", range).data("run", &clock);
    let expected = s3.tree("undisturbed");

    // So that a moment is likely to be one of an upload.
    s3.proxy.slow(Duration::from_millis(15));
    let program = pipeline(folder.path(), s3, "killed", range);
    let mut random = Seeded(seed);
    let mut killed = 0;
    while killed < kills {
        let mut run = program.start("run", &clock);
        std::thread::sleep(Duration::from_millis(150 + random.next(450)));
        run.kill().expect("it can be killed");
        match run.wait().expect("it can be waited for").code() {
            Some(0) => break,
            Some(code) => panic!("a run ended with exit code {code}"),
            None => killed += 1,
        }
    }
    assert_eq!(killed, kills, "the input was too small: it was done after {killed} kills");
    program.data("run", &clock);
    assert_same(&s3.tree("killed"), &expected);
    verify(&program, files * events * kills);
    assert_eq!(s3.proxy.uploads(), 0, "no upload is left");
}

#[test]
fn a_killed_process_leaves_in_the_bucket_what_an_undisturbed_one_leaves() {
    let kills = setting("TIDEGATE_KILLS", 6);
    killed_and_undisturbed(&S3::start(), kills, 9_000, 10, "{ records: 300 }");
}

#[test]
fn so_does_one_that_is_killed_while_it_uploads_in_parts() {
    let s3 = S3::start();
    // Each costs tens of megabytes, so that a few must do.
    let kills = setting("TIDEGATE_KILLS", 4).min(4);
    killed_and_undisturbed(&s3, kills, 18_000, 400, "{ records: 15000, spool: 64MiB }");
    assert!(s3.proxy.calls("UploadPart") > 20);
}

#[test]
fn over_a_line_that_loses_answers_each_record_arrives_once() {
    let s3 = S3::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("input"), 2, 5_000, 10);
    let clock = ["--clock", "2026-03-04T00:00:00Z"];
    pipeline(folder.path(), &s3, "calm", "{ records: 200 }").data("run", &clock);
    let expected = s3.tree("calm");

    let program = pipeline(folder.path(), &s3, "unruly", "{ records: 200 }");
    s3.proxy.unruly(6, setting("TIDEGATE_SEED", 3));
    program.data("run", &clock);
    let faults = s3.proxy.calm();
    assert!(faults > 20, "{faults} requests went wrong");
    assert_same(&s3.tree("unruly"), &expected);
    verify(&program, 10_000);
}

#[test]
fn verify_sees_what_was_tampered_with_in_the_bucket() {
    let s3 = S3::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("input"), 1, 2_000, 10);
    let program = pipeline(folder.path(), &s3, "verified", "{ records: 500 }");
    program.data("run", &[]);
    verify(&program, 2_000);

    let tree = s3.tree("verified/tree");
    let keys: Vec<&String> = tree.keys().collect();
    let other = tree[keys[0]].iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    // The metadata stays as it was: only who reads the content can see it.
    let head = s3.client().head_object().bucket(BUCKET).key(format!("verified/tree/{}", keys[0]));
    let head = s3.block_on(head.send()).expect("it is there");
    let metadata = head.metadata().expect("it has some").iter();
    let metadata: Vec<_> = metadata.map(|(name, text)| (name.as_str(), text.as_str())).collect();
    s3.put(&format!("verified/tree/{}", keys[0]), &other, &metadata);
    let gone = s3.client().delete_object().bucket(BUCKET).key(format!("verified/tree/{}", keys[1]));
    s3.block_on(gone.send()).expect("nothing forbids it");
    s3.put("verified/packed/stray.jsonl.zst", b"", &[]);

    let printed = program.run("verify", &[]);
    assert_eq!(printed.json["data"]["conserved"], false);
    let problems = printed.json["data"]["problems"].as_array().expect("a list");
    let mut codes: Vec<_> = problems.iter().filter_map(|it| it["code"].as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["foreign-object", "object-differs", "object-missing"], "{problems:#?}");
}

#[test]
fn dead_letters_are_read_and_redriven_from_the_bucket() {
    let s3 = S3::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("input"), 2, 1_000, 10);
    let program = pipeline(folder.path(), &s3, "letters", "{ records: 300 }");
    program.data("run", &[]);
    let listed = program.data("dlq ls", &[]);
    assert_eq!(listed["total"].as_u64(), Some(40), "{listed:#}");
    let id = listed["letters"][0]["id"].as_str().expect("a letter has an id").to_owned();
    let shown = program.data("dlq show", &[&id, "--payload"]);
    assert!(shown.to_string().contains("errorCode"), "{shown:#}");

    let redriven = program.data("dlq redrive", &["--execute"]);
    assert_eq!(redriven["letters"].as_u64(), Some(40), "{redriven:#}");
    let verified: Value = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["redriven"].as_u64(), Some(40), "{verified:#}");
}
