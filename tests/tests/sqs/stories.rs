//! The whole program, whose dead letters are copied to a queue that does not take everything, and
//! that loses answers.

use std::{fmt::Write as _, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tidegate_tests::program::{Program, tree};

use super::{
    proxy::Fault,
    server::{BUCKET, REGION, Received, Sqs},
};

const RECORDS: usize = 400;

/// Records of which every tenth is not JSON, and one of these is larger than a message.
fn write_records(folder: &Path) -> usize {
    let mut text = String::new();
    for i in 0..RECORDS {
        match (i % 10, i) {
            (7, 207) => writeln!(text, "{{\"id\":{i},\"text\":\"{}", "x".repeat(900_000)),
            (7, _) => writeln!(text, "{{\"id\":{i},"),
            _ => writeln!(text, "{{\"id\":{i}}}"),
        }
        .expect("a string");
    }
    fs::write(folder.join("input.ndjson"), text).expect("room");
    RECORDS / 10
}

fn pipeline(folder: &Path, sqs: &Sqs, queue: &str) -> Program {
    let text = format!(
        r#"
pipeline: sqs-story
data_dir: data
source: {{ ndjson: {{ paths: ["input.ndjson"] }} }}
sinks:
  - {{ name: out, directory: {{ path: out }} }}
dead_letters:
  directory: dead
  compression: zstd
  copy_to:
    sqs:
      queue: {queue}
      region: {REGION}
      endpoint: "{}"
      offload: {{ bucket: {BUCKET}, prefix: story, region: {REGION}, endpoint: "{}", path_style: true }}
range: {{ records: 100 }}
retry: {{ delay_first: 10ms, delay_max: 100ms }}
"#,
        sqs.endpoint(),
        sqs.server
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    Program::new(&file)
        .with("AWS_ACCESS_KEY_ID", "test")
        .with("AWS_SECRET_ACCESS_KEY", "test")
        .with("AWS_EC2_METADATA_DISABLED", "true")
}

/// The letters as they lie in their directory, in order.
fn letters(folder: &Path) -> Vec<String> {
    let mut letters = Vec::new();
    for (_, content) in tree(&folder.join("dead")) {
        let plain = zstd::decode_all(&content[..]).expect("it was compressed with it");
        let plain = String::from_utf8(plain).expect("letters are text");
        letters.extend(plain.lines().map(str::to_owned));
    }
    letters.sort_unstable();
    letters
}

/// The whole letters that messages are of, wherever they lie.
fn whole(sqs: &Sqs, messages: &[Received]) -> Vec<String> {
    let whole = messages.iter().map(|message| {
        let letter = message.letter();
        match letter["etl"]["payloadRef"].as_str() {
            Some(place) => sqs.fetch(place),
            None => message.body.clone(),
        }
    });
    let mut whole: Vec<String> = whole.collect();
    whole.sort_unstable();
    whole
}

#[test]
fn what_the_queue_does_not_take_is_sent_again_and_nothing_else_is() {
    let name = "what_the_queue_does_not_take_is_sent_again_and_nothing_else_is";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("throttled");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dead = write_records(folder.path());
    let program = pipeline(folder.path(), &sqs, &queue);
    sqs.proxy.withhold(300, 5);
    let refused = Fault::Refused(503, "ServiceUnavailable");
    sqs.proxy.fail_next([refused.clone(), Fault::Reset, Fault::PassedOver(0), refused]);
    let ran = program.data("run", &[]);
    assert_eq!(ran["dead_lettered"].as_u64(), Some(dead as u64), "{ran:#}");
    assert!(ran["balanced"] == true && ran["complete"] == true, "{ran:#}");
    assert!(sqs.proxy.withheld() > 10, "{}", sqs.proxy.withheld());
    let messages = sqs.receive(&queue);
    let large: Vec<_> =
        messages.iter().filter(|it| it.letter()["etl"]["payloadRef"].is_string()).collect();
    assert_eq!(large.len(), 1);
    assert!(whole(&sqs, &messages) == letters(folder.path()), "each once, and whole");
    let id = |letter: &String| {
        let letter: Value = serde_json::from_str(letter).expect("JSON");
        let data = letter["payload"]["Records"][0]["kinesis"]["data"].as_str().expect("text");
        STANDARD.decode(data).expect("base64").len()
    };
    assert!(letters(folder.path()).iter().any(|letter| id(letter) > 900_000));

    let verified = program.data("verify", &[]);
    assert!(verified["conserved"] == true && verified["complete"] == true, "{verified:#}");
    assert_eq!(verified["sinks_not_looked_into"], serde_json::json!([]));
}

#[test]
fn where_an_answer_is_lost_or_the_program_killed_copies_come_twice_and_none_is_missing() {
    let name =
        "where_an_answer_is_lost_or_the_program_killed_copies_come_twice_and_none_is_missing";
    let Some(sqs) = Sqs::start(name) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dead = write_records(folder.path());
    let ten_each = dead / 4;
    for (place, faults, repeated) in [
        (None, vec![Fault::LostResponse], ten_each),
        (Some("before-emit:2"), vec![], 0),
        (Some("after-emit:2"), vec![], ten_each),
        // The letters can be seen: they say that they were copied.
        (Some("after-publish:2"), vec![], 0),
    ] {
        let queue = sqs.create(&format!("q{}", place.unwrap_or("lost").replace(':', "-")));
        let program = pipeline(folder.path(), &sqs, &queue);
        for part in ["data", "dead", "out"] {
            let _ = fs::remove_dir_all(folder.path().join(part));
        }
        sqs.proxy.fail_next(faults);
        if let Some(place) = place {
            let mut died = program.clone().with("TIDEGATE_FAILPOINT", place).start("run", &[]);
            assert!(!died.wait().expect("it can be waited for").success(), "{place}");
        }
        let ran = program.data("run", &[]);
        assert!(ran["balanced"] == true && ran["complete"] == true, "{place:?}: {ran:#}");
        let mut copied = whole(&sqs, &sqs.receive(&queue));
        let sent = copied.len();
        copied.dedup();
        assert!(copied == letters(folder.path()), "{place:?}: none is missing");
        assert_eq!(sent - copied.len(), repeated, "{place:?}");
    }
}

#[test]
fn a_queue_that_is_not_there_stops_the_pipeline_before_anything_is_visible() {
    let name = "a_queue_that_is_not_there_stops_the_pipeline_before_anything_is_visible";
    let Some(sqs) = Sqs::start(name) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_records(folder.path());
    let program = pipeline(folder.path(), &sqs, &format!("{}/000000000000/nowhere", sqs.server));
    let ran = program.run("run", &[]);
    assert_ne!(ran.code, 0);
    let said = format!("{:#}{}", ran.json, ran.stderr);
    assert!(said.contains("correct `queue` and `region`"), "{said}");
    assert!(tree(&folder.path().join("out")).is_empty() && letters(folder.path()).is_empty());
}
