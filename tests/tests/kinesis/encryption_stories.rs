//! The story of a stream whose producers encrypt: with the program killed, KMS away for a while, and
//! records that can't be decrypted until the operator allows their key.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_tests::{
    kms::{Fault, Kms},
    program::{Program, lines},
    s3::{BUCKET, S3},
    server::with_credentials,
};

use super::{
    encryption::{encrypted, gzip, servers},
    server::{Kinesis, REGION, put_all},
    stories::{PATIENCE, Run},
};

fn pipeline(folder: &Path, kinesis: &Kinesis, kms: &Kms, s3: &S3, keys: &[&str]) -> Program {
    let text = format!(
        r#"
pipeline: encrypted
data_dir: data
source:
  kinesis:
    stream: {}
    region: {REGION}
    endpoint: {}
    poll_every: 200ms
    compression: gzip
    encryption:
      keys: {}
      context: {{ purpose: orders }}
      endpoint: {}
sinks:
  - name: out
    s3: {{ bucket: {BUCKET}, prefix: out, region: {REGION}, endpoint: "{}", path_style: true }}
dead_letters: {{ directory: dead }}
range: {{ age: 200ms, records: 100 }}
retry: {{ delay_first: 10ms, delay_max: 200ms }}
"#,
        kinesis.stream,
        kinesis.endpoint(),
        json!(keys),
        kms.endpoint(),
        s3.endpoint(),
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    with_credentials(Program::new(&file))
}

/// How often each number lies in the bucket.
fn delivered(s3: &S3) -> BTreeMap<u64, u64> {
    let mut times = BTreeMap::new();
    for content in s3.tree("out").into_values() {
        for line in content.split(|byte| *byte == b'\n').filter(|it| !it.is_empty()) {
            let record: Value = serde_json::from_slice(line).expect("a record is JSON");
            *times.entry(record["n"].as_u64().expect("a number")).or_default() += 1;
        }
    }
    times
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The letters, by the payload of each.
fn letters(folder: &Path) -> BTreeMap<Vec<u8>, Vec<Value>> {
    let mut letters: BTreeMap<Vec<u8>, Vec<Value>> = BTreeMap::new();
    for line in lines(&folder.join("dead")) {
        let letter: Value = serde_json::from_slice(&line).expect("a letter is JSON");
        let data = letter.pointer("/payload/Records/0/kinesis/data").and_then(Value::as_str);
        let payload = STANDARD.decode(data.expect("it has a payload")).expect("it is base64");
        letters.entry(payload).or_default().push(letter["etl"].clone());
    }
    letters
}

#[test]
fn what_producers_encrypt_arrives_once_whatever_happens() {
    let Some((kms, producer)) = servers("what_producers_encrypt_arrives_once_whatever_happens")
    else {
        return;
    };
    let (kinesis, s3) = (Kinesis::start(2), S3::start());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (key, other) = (kms.create_key(), kms.create_key());
    let text = |n: u64| gzip(format!("{{\"n\":{n},\"secret\":\"of record {n}\"}}").as_bytes());
    // Each hundred by a producer with a data key of its own.
    let some = |from: u64| {
        let payload = |n: u64| encrypted(&key, &text(n));
        producer.encrypt(&(from..from + 100).map(payload).collect::<Vec<_>>())
    };
    // What can't be decrypted, or not yet.
    let plain = gzip(b"{\"n\":9001}");
    let mut tampered = some(9_100).remove(0);
    // A letter of the ciphertext is another one.
    let place = tampered.len() - 20;
    tampered[place] = if tampered[place] == b'A' { b'B' } else { b'A' };
    let not_allowed = producer.encrypt(&[encrypted(&other, &text(9_200))]).remove(0);
    let dead = [plain.clone(), tampered.clone(), not_allowed.clone()];
    let put = |payloads: Vec<Vec<u8>>| {
        let (handle, client, stream) = kinesis.client();
        let keyed = payloads.into_iter().enumerate().map(|(i, it)| (format!("k{}", i % 16), it));
        handle.block_on(put_all(&client, &stream, keyed.collect()));
    };

    let program = pipeline(folder.path(), &kinesis, &kms, &s3, &[&key]);
    let mut run = Some(Run(program.start("run", &[])));
    put(some(0));
    put(dead.to_vec());
    wait_for("the first ones come", || delivered(&s3).len() == 100);
    // The tampered record has a data key too.
    assert!(kms.proxy.calls() <= 2, "a call for each data key, and not for each record");

    kms.proxy.fail(Fault::Reset);
    put(some(100));
    wait_for("it asks again and again", || kms.proxy.faults() > 3);
    // `kill -9`, and KMS is away still.
    drop(run.take());
    run = Some(Run(program.start("run", &[])));
    let faults = kms.proxy.faults();
    wait_for("it asks again and again", || kms.proxy.faults() > faults + 3);
    assert_eq!(delivered(&s3).len(), 100);
    kms.proxy.forgive();
    put(some(200));
    wait_for("everything comes", || delivered(&s3).len() == 300);
    wait_for("the letters are written", || letters(folder.path()).len() == dead.len());
    // And once more, with records on their way.
    put(some(300));
    drop(run.take());
    run = Some(Run(program.start("run", &[])));
    put(some(400));
    wait_for("everything comes", || delivered(&s3).len() == 500);
    run.take().expect("it runs").terminate();

    let expected: BTreeMap<u64, u64> = (0..500).map(|n| (n, 1)).collect();
    assert_eq!(delivered(&s3), expected);
    let found = letters(folder.path());
    for payload in &dead {
        let [etl] = &found[payload][..] else { panic!("one letter: {:?}", found[payload]) };
        assert_eq!(etl["errorCode"], "not-decryptable", "{etl:#}");
        let said = etl["errorMessage"].to_string();
        assert!(!said.contains("secret"), "{said}");
    }
    assert!(found[&not_allowed][0].to_string().contains(&other), "the letter names the key");
    let verified = program.data("verify", &["--replay"]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["replayed"], verified["ranges"], "{verified:#}");

    // The operator allows the key, and what was dead for want of it is a record.
    let program = pipeline(folder.path(), &kinesis, &kms, &s3, &[&key, &other]);
    let redriven = program.data("dlq redrive", &["--execute"]);
    assert_eq!(redriven["delivered"], 1, "{redriven:#}");
    assert_eq!(redriven["dead_lettered"], 2, "{redriven:#}");
    assert_eq!(delivered(&s3).get(&9_200), Some(&1));
    let found = letters(folder.path());
    let of = |payload: &Vec<u8>| {
        let counts = found[payload].iter().map(|it| it["redriveCount"].as_u64());
        let mut counts: Vec<_> = counts.collect();
        counts.sort();
        counts
    };
    let times = dead.each_ref().map(of);
    assert_eq!(times, [vec![Some(0), Some(1)], vec![Some(0), Some(1)], vec![Some(0)]]);
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
}
