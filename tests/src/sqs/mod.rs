//! SQS on this machine: ministack, where Python is to be had, behind the proxy. It is the S3 for large
//! letters, too.

pub mod proxy;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use serde_json::Value;
use tidegate_connectors::{
    aws::AwsConfig,
    sinks::{
        s3::{S3Config, S3Sink},
        sqs::{Offload, SqsConfig, SqsSink},
    },
};
use tokio::runtime::Runtime;

use self::proxy::Proxy;
use crate::server::{ServerProcess, ministack};

/// Where the server pretends to be.
pub const REGION: &str = "us-east-1";
/// Where large letters go.
pub const BUCKET: &str = "large-letters";

/// A server, its process and the proxy before it.
pub struct Sqs {
    runtime: Runtime,
    /// What makes trouble.
    pub proxy: Proxy,
    config: SdkConfig,
    /// The server's own address, without the proxy.
    pub server: String,
    _process: ServerProcess,
}

/// A message as a consumer gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// What it says.
    pub body: String,
    /// What is said of it.
    pub attributes: BTreeMap<String, String>,
}

impl Received {
    /// The letter that its body is.
    pub fn letter(&self) -> Value {
        serde_json::from_str(&self.body).expect("a letter is JSON")
    }
}

impl Sqs {
    /// Starts one. A test that can't have it says so.
    pub fn start(test: &str) -> Option<Sqs> {
        let (process, address) = ministack(test)?;
        let runtime = Runtime::new().expect("threads can be started");
        let proxy = runtime.block_on(Proxy::start(address)).expect("a free port");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        let config = runtime.block_on(config.load());
        let server = format!("http://{address}");
        let sqs = Sqs { runtime, proxy, config, server, _process: process };
        let create = sqs.s3().create_bucket().bucket(BUCKET).send();
        sqs.block_on(create).expect("a fresh server");
        Some(sqs)
    }

    /// The proxy's address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// Waits for something.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn client(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::config::Builder::from(&self.config);
        aws_sdk_sqs::Client::from_conf(config.endpoint_url(&self.server).build())
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config);
        let config = config.endpoint_url(&self.server).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Makes a queue, and gives its URL.
    pub fn create(&self, name: &str) -> String {
        let create = self.client().create_queue().queue_name(name).send();
        self.block_on(create).expect("a fresh server").queue_url.expect("it has a URL")
    }

    /// How many messages a queue has, and how many of them are hidden. Receives none.
    pub fn messages(&self, queue: &str) -> (usize, usize) {
        use aws_sdk_sqs::types::QueueAttributeName::{
            ApproximateNumberOfMessages as Seen, ApproximateNumberOfMessagesNotVisible as Hidden,
        };
        let ask = self.client().get_queue_attributes().queue_url(queue);
        let ask = ask.attribute_names(Seen).attribute_names(Hidden).send();
        let told = self.block_on(ask).expect("the queue is there").attributes.unwrap_or_default();
        let count = |name| told.get(&name).and_then(|it| it.parse().ok()).unwrap_or_default();
        (count(Seen), count(Hidden))
    }

    /// Sends a message to a queue.
    pub fn send(&self, queue: &str, body: &str) {
        let send = self.client().send_message().queue_url(queue).message_body(body).send();
        self.block_on(send).expect("the queue is there");
    }

    /// A sink that sends to a queue, by way of the proxy.
    pub fn sink(&self, queue: &str) -> SqsSink {
        self.sink_with(queue, 1 << 20)
    }

    /// The same, of messages that are no larger.
    pub fn sink_with(&self, queue: &str, message_bytes_max: usize) -> SqsSink {
        let aws = |endpoint| AwsConfig {
            endpoint: Some(endpoint),
            given: Some(self.config.clone()),
            ..AwsConfig::default()
        };
        let bucket = S3Config {
            aws: aws(self.server.clone()),
            path_style: true,
            ..S3Config::new("offload", BUCKET, queue_name(queue))
        };
        self.block_on(async {
            let bucket = S3Sink::open(bucket).await.expect("the bucket is there");
            SqsSink::new(SqsConfig {
                name: "copies".to_owned(),
                pipeline: "p".to_owned(),
                queue: queue.to_owned(),
                aws: aws(self.endpoint()),
                message_bytes_max,
                offload: Offload {
                    sink: Arc::new(bucket),
                    place: format!("s3://{BUCKET}/{}/", queue_name(queue)),
                },
            })
        })
    }

    /// Everything that is in a queue, taken out of it, in any order.
    pub fn receive(&self, queue: &str) -> Vec<Received> {
        let client = self.client();
        self.block_on(async {
            let mut all = Vec::new();
            loop {
                let receive = client.receive_message().queue_url(queue).max_number_of_messages(10);
                let got = receive.message_attribute_names("All").send().await.expect("messages");
                if got.messages().is_empty() {
                    all.sort_by(|a: &Received, b| a.body.cmp(&b.body));
                    return all;
                }
                for message in got.messages() {
                    let attributes = message.message_attributes().into_iter().flatten();
                    let attributes = attributes.map(|(name, value)| {
                        (name.clone(), value.string_value().unwrap_or_default().to_owned())
                    });
                    all.push(Received {
                        body: message.body().expect("a message has one").to_owned(),
                        attributes: attributes.collect(),
                    });
                    let handle = message.receipt_handle().expect("it was received");
                    let delete = client.delete_message().queue_url(queue).receipt_handle(handle);
                    delete.send().await.expect("it is there");
                }
            }
        })
    }

    /// What lies where a message says.
    pub fn fetch(&self, place: &str) -> String {
        let key = place.strip_prefix(&format!("s3://{BUCKET}/")).expect("it is in the bucket");
        let get = self.s3().get_object().bucket(BUCKET).key(key);
        self.block_on(async {
            let got = get.send().await.expect("what a message points to is there");
            let content = got.body.collect().await.expect("all of it comes").to_vec();
            String::from_utf8(content).expect("a letter is text")
        })
    }
}

fn queue_name(queue: &str) -> &str {
    queue.rsplit('/').next().unwrap_or(queue)
}
