//! A source of objects: its queue is never received from, and its bucket is read where it has something.

use std::fs;

use tidegate_tests::{
    program::Program,
    s3::{BUCKET, REGION, S3},
    server::with_credentials,
    sqs::Sqs,
};

use super::{gate::Gate, world::Probes};

const SOURCE: &str = "s3 source `inbox`";

#[test]
fn a_queue_is_not_received_from_and_an_object_is_read_where_there_is_one() {
    let test = "a_queue_is_not_received_from_and_an_object_is_read_where_there_is_one";
    let Some(sqs) = Sqs::start(test) else { return };
    let s3 = S3::start();
    let address = sqs.server.trim_start_matches("http://").parse().expect("an address");
    let gate = s3.block_on(Gate::start(address));
    let queue = sqs.create("inbox");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        r#"
pipeline: inbox
data_dir: ${{OUT}}/data
source:
  name: inbox
  s3:
    queue: "{queue}"
    bucket: {BUCKET}
    prefix: in/
    suffix: .jsonl
    region: {REGION}
    endpoint: "{}"
    queue_endpoint: "{}"
    path_style: true
  ndjson: {{}}
sinks: [{{ name: out, directory: {{ path: "${{OUT}}/out" }} }}]
dead_letters: {{ directory: "${{OUT}}/dead" }}
"#,
        s3.endpoint(),
        gate.endpoint(),
    );
    let file = folder.path().join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    let program = with_credentials(Program::new(&file).with("OUT", folder.path()));
    sqs.send(&queue, "whatever it says");

    let empty = Probes::of(&program, "write", &[]);
    empty.nothing_failed();
    assert_eq!(empty.verified(SOURCE), ["credentials", "sqs:GetQueueAttributes", "s3:ListBucket"]);
    let get = empty.one(SOURCE, "s3:GetObject");
    assert!(get.why.contains("only an object proves it"), "{get:?}");
    for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"] {
        let left = empty.one(SOURCE, action);
        assert_eq!(left.outcome, "not_verified", "{left:?}");
    }

    s3.put("in/other.csv", b"a,b\n", &[]);
    s3.put("in/some.jsonl", b"{}\n", &[]);
    let probes = Probes::of(&program, "read", &[]);
    probes.nothing_failed();
    let get = probes.one(SOURCE, "s3:GetObject");
    assert_eq!(
        (get.outcome.as_str(), get.resource.as_str()),
        ("verified", "s3://zone/in/some.jsonl")
    );
    assert_eq!(probes.one(SOURCE, "s3:GetObjectVersion").outcome, "not_verified");

    let allowed = program.data("iam print", &[]).to_string();
    for probe in &probes.all {
        let is_named = allowed.contains(&format!("\"{}\"", probe.action));
        let is_aws = probe.action.starts_with("s3:") || probe.action.starts_with("sqs:");
        assert!(is_named || !is_aws || probe.action == "sqs:GetQueueAttributes", "{probe:?}");
    }
    assert_eq!(sqs.messages(&queue), (1, 0), "it is there, and nobody has hidden it");
    assert_eq!(gate.calls("ReceiveMessage"), 0);

    // A queue that can't be had says nothing of the bucket.
    gate.deny(&["GetQueueAttributes"]);
    let probes = Probes::of(&program, "read", &[]);
    probes.nothing_failed();
    assert_eq!(probes.one(SOURCE, "s3:GetObject").outcome, "verified");
}
