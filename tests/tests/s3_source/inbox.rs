//! A bucket, a queue that tells of its objects, and the program over them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::QueueAttributeName,
};
use serde_json::{Value, json};
use tidegate_tests::{
    program::Program,
    running,
    s3::{BUCKET, REGION, S3},
    server::{ServerProcess, ministack, with_credentials},
};

use super::proxy::Proxy;

/// How long something that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A bucket, a queue, and a folder for what comes out.
pub(crate) struct Inbox {
    pub(crate) s3: S3,
    pub(crate) proxy: Proxy,
    pub(crate) folder: tempfile::TempDir,
    queue: String,
    client: Client,
    _process: ServerProcess,
}

/// In which shape a message tells of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Standard,
    Bridge,
    Topic,
}

impl Inbox {
    /// Starts the servers. A test that can't have them says so.
    pub(crate) fn start(test: &str) -> Option<Inbox> {
        let (process, address) = ministack(test)?;
        let s3 = S3::start();
        let proxy = s3.block_on(Proxy::start(address)).expect("a free port");
        let client = Client::from_conf(
            aws_sdk_sqs::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .endpoint_url(format!("http://{address}"))
                .build(),
        );
        let create = client.create_queue().queue_name("inbox").send();
        let queue = s3.block_on(create).expect("a fresh server").queue_url.expect("it has a URL");
        let folder = tempfile::tempdir().expect("a temporary folder");
        Some(Inbox { s3, proxy, folder, queue, client, _process: process })
    }

    /// Writes the pipeline: `settings` stand in `source.s3`, `rest` beside `source`'s other keys.
    pub(crate) fn pipeline(&self, settings: &str, format: &str, rest: &str) -> Program {
        let text = format!(
            r#"
pipeline: inbox
data_dir: ${{OUT}}/data${{HOST:-}}
source:
  s3:
    queue: "{queue}"
    bucket: {BUCKET}
    prefix: in/
    region: {REGION}
    endpoint: "{s3}"
    queue_endpoint: "http://{sqs}"
    path_style: true
    {settings}
  {format}
sinks:
  - name: out
    directory: {{ path: "${{OUT}}/out" }}
dead_letters: {{ directory: "${{OUT}}/dead" }}
retry: {{ delay_first: 20ms, delay_max: 500ms }}
{rest}
"#,
            queue = self.queue,
            s3 = self.s3.endpoint(),
            sqs = self.proxy.address,
        );
        let file = self.path("pipeline.yaml");
        fs::write(&file, text).expect("room for the pipeline");
        with_credentials(Program::new(&file).with("OUT", self.folder.path()))
    }

    /// The queue's URL.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts an object, and gives its ETag.
    pub(crate) fn put(&self, key: &str, content: &[u8]) -> String {
        let put = self.s3.client().put_object().bucket(BUCKET).key(key);
        let put = self.s3.block_on(put.body(content.to_vec().into()).send());
        let tag = put.expect("nothing forbids it").e_tag.expect("it has a tag");
        tag.trim_matches('"').to_owned()
    }

    pub(crate) fn delete(&self, key: &str) {
        let delete = self.s3.client().delete_object().bucket(BUCKET).key(key).send();
        self.s3.block_on(delete).expect("nothing forbids it");
    }

    /// Sends a message.
    pub(crate) fn send(&self, body: &str) {
        let send = self.client.send_message().queue_url(&self.queue).message_body(body).send();
        self.s3.block_on(send).expect("the queue is there");
    }

    /// Puts an object, and tells of it as S3 does.
    pub(crate) fn arrive(&self, key: &str, content: &[u8]) {
        let tag = self.put(key, content);
        self.send(&notification(Shape::Standard, &[(key, &tag)]));
    }

    /// How many messages the queue has, hidden ones among them.
    pub(crate) fn messages(&self) -> usize {
        let (seen, hidden) = self.seen_and_hidden();
        seen + hidden
    }

    /// How many messages anybody may receive now, and how many are hidden.
    pub(crate) fn seen_and_hidden(&self) -> (usize, usize) {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Seen, ApproximateNumberOfMessagesNotVisible as Hidden,
        };
        let ask = self.client.get_queue_attributes().queue_url(&self.queue);
        let ask = ask.attribute_names(Seen).attribute_names(Hidden).send();
        let told = self.s3.block_on(ask).expect("the queue is there").attributes;
        let told = told.unwrap_or_default();
        let count = |name| told.get(&name).and_then(|it| it.parse().ok()).unwrap_or_default();
        (count(Seen), count(Hidden))
    }

    /// The records that came out, in any order.
    pub(crate) fn out(&self) -> Vec<String> {
        texts(&self.path("out"))
    }

    /// The dead letters.
    pub(crate) fn letters(&self) -> Vec<Value> {
        let letters = texts(&self.path("dead"));
        letters.iter().map(|it| serde_json::from_str(it).expect("a letter is JSON")).collect()
    }

    /// Runs until so many records have come out and the queue is empty, then stops.
    pub(crate) fn run_until(&self, program: &Program, records: usize) {
        let run = self.run(program);
        self.settles(records);
        running::stop(run);
    }

    pub(crate) fn run(&self, program: &Program) -> Child {
        running::start(program, self.folder.path(), &[])
    }

    /// Waits until so many records have come out and the queue is empty.
    pub(crate) fn settles(&self, records: usize) {
        let started = Instant::now();
        while self.out().len() + self.letters().len() < records || self.messages() > 0 {
            let (out, letters) = (self.out().len(), self.letters().len());
            let queue = self.seen_and_hidden();
            assert!(started.elapsed() < PATIENCE, "{out} + {letters} of {records}, {queue:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The lines of a folder's files, sorted. Others may be written meanwhile, under names of their own.
fn texts(directory: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            let text = fs::read_to_string(&path).expect("what has its name is whole");
            texts.extend(text.lines().map(str::to_owned));
        }
    }
    texts.sort_unstable();
    texts
}

/// A message about objects of the bucket, each with its ETag.
pub(crate) fn notification(shape: Shape, objects: &[(&str, &str)]) -> String {
    if shape == Shape::Bridge {
        let (key, tag) = objects[0];
        return json!({
            "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created", "source": "aws.s3", "account": "111122223333",
            "time": "2026-11-12T00:00:00Z", "region": REGION,
            "resources": [format!("arn:aws:s3:::{BUCKET}")],
            "detail": {
                "version": "0", "bucket": { "name": BUCKET },
                "object": { "key": key, "size": 5, "etag": tag, "sequencer": "617f08299329d189" },
                "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012",
                "source-ip-address": "1.2.3.4", "reason": "PutObject",
            },
        })
        .to_string();
    }
    let records: Vec<Value> = objects.iter().map(|(key, tag)| record(key, tag)).collect();
    let standard = json!({ "Records": records }).to_string();
    match shape {
        Shape::Topic => json!({
            "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": format!("arn:aws:sns:{REGION}:123456789012:MyTopic"),
            "Subject": "Amazon S3 Notification", "Message": standard,
            "Timestamp": "2026-05-02T00:54:06.655Z", "SignatureVersion": "1", "Signature": "x",
        })
        .to_string(),
        _ => standard,
    }
}

/// An event as S3 writes it.
fn record(key: &str, tag: &str) -> Value {
    let encoded: String = key
        .bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                (byte as char).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": REGION,
        "eventTime": "2026-01-01T00:00:00.000Z", "eventName": "ObjectCreated:Put",
        "userIdentity": { "principalId": "AIDAJDPLRKLG7UEXAMPLE" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "testConfigRule",
            "bucket": { "name": BUCKET, "arn": format!("arn:aws:s3:::{BUCKET}") },
            "object": { "key": encoded, "size": 1024, "eTag": tag, "sequencer": "0A1B2C3D4E5F678901" },
        },
    })
}

/// So many records of an object, one a line.
pub(crate) fn records(object: &str, count: usize) -> (String, Vec<String>) {
    let lines: Vec<String> = (0..count)
        .map(|n| format!(r#"{{"id":"{object}-{n}","text":"{}"}}"#, "x".repeat(20 + n % 90)))
        .collect();
    (lines.join("\n") + "\n", lines)
}

/// Each of these records once, and nothing else.
pub(crate) fn assert_each_once(found: &[String], expected: &[String]) {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    expected.iter().for_each(|it| counts.entry(it).or_default().0 += 1);
    found.iter().for_each(|it| counts.entry(it).or_default().1 += 1);
    let wrong: Vec<_> = counts.iter().filter(|(_, (wanted, got))| wanted != got).collect();
    assert!(wrong.is_empty(), "{} are wrong, as {:?}", wrong.len(), &wrong[..wrong.len().min(3)]);
}
