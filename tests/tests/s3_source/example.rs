//! The example of two stages runs as it stands.

use serde_json::Value;
use tidegate_tests::{
    program::{Program, root},
    running,
    s3::{BUCKET, REGION},
    server::with_credentials,
};

use super::inbox::Inbox;

#[test]
fn the_example_makes_of_each_object_what_it_says() {
    let Some(inbox) = Inbox::start("the_example_makes_of_each_object") else { return };
    let event = |n: usize, kind: &str| {
        format!(
            r#"{{"event_id":"e{n}","event_type":"{kind}","timestamp":"2026-03-0{}T04:05:06Z"}}"#,
            n % 3 + 1
        )
    };
    let kinds = ["user_action", "transaction", "nonsense"];
    let lines: Vec<String> = (0..300).map(|n| event(n, kinds[n % 3])).collect();
    for (part, lines) in lines.chunks(100).enumerate() {
        let content = lines.join("\n") + "\n";
        let content = zstd::encode_all(content.as_bytes(), 1).expect("memory");
        inbox.arrive(&format!("inbox/2026/03/0{part}/events.jsonl.zst"), &content);
    }
    let program = Program::new(root().join("examples/s3-to-s3/pipeline.yaml"))
        .with("S3_BUCKET", BUCKET)
        .with("S3_PATH_STYLE", "true")
        .with("QUEUE_URL", inbox.queue())
        .with("DATA_DIR", inbox.path("data"))
        .with("AWS_REGION", REGION)
        .with("AWS_ENDPOINT_URL_S3", inbox.s3.endpoint())
        .with("AWS_ENDPOINT_URL_SQS", format!("http://{}", inbox.proxy.address));
    let program = with_credentials(program);
    let run = running::start(&program, inbox.folder.path(), &[]);
    running::wait_for("the queue to be empty", || inbox.messages() == 0);
    running::stop(run);
    let processed = inbox.s3.tree("processed");
    let records: Vec<Value> = processed
        .values()
        .flat_map(|content| content.split(|byte| *byte == b'\n'))
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert_eq!(records.len(), 200);
    assert!(records.iter().all(|it| it["hour"] == 4 && it["date"].is_string()), "{records:#?}");
    assert!(
        processed.keys().all(|key| key.contains("event_type=") && key.contains("date=2026-03-0"))
    );
    let dead: usize = inbox
        .s3
        .tree("dead-letters")
        .values()
        .map(|it| it.iter().filter(|b| **b == b'\n').count())
        .sum();
    assert_eq!(dead, 100);
    let policy = program.data("iam print", &[]);
    let policy = policy.to_string();
    assert!(
        policy.contains("sqs:DeleteMessage") && policy.contains("s3:GetObjectVersion"),
        "{policy}"
    );
}
