//! Firehose on this machine: ministack, where Python is to be had, behind the proxy. It writes each
//! record into an S3 object of its own.

use std::future::Future;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_firehose::types::ExtendedS3DestinationConfiguration;
use aws_sdk_s3::config::Credentials;
use tidegate_connectors::{
    aws::AwsConfig,
    sinks::firehose::{FirehoseConfig, FirehoseSink},
};
use tidegate_tests::server::{ServerProcess, ministack};
use tokio::runtime::Runtime;

use super::proxy::Proxy;

/// Where the server pretends to be.
pub(crate) const REGION: &str = "us-east-1";

/// A server, its process and the proxy before it.
pub(crate) struct Firehose {
    runtime: Runtime,
    pub(crate) proxy: Proxy,
    config: SdkConfig,
    server: String,
    _process: ServerProcess,
}

impl Firehose {
    /// Starts one. A test that can't have it says so.
    pub(crate) fn start(test: &str) -> Option<Firehose> {
        let (process, address) = ministack(test)?;
        let runtime = Runtime::new().expect("threads can be started");
        let proxy = runtime.block_on(Proxy::start(address)).expect("a free port");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        let config = runtime.block_on(config.load());
        let server = format!("http://{address}");
        Some(Firehose { runtime, proxy, config, server, _process: process })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config);
        let config = config.endpoint_url(&self.server).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Makes a stream, and a bucket of its name that it delivers to.
    pub(crate) fn create(&self, stream: &str) {
        let config = aws_sdk_firehose::config::Builder::from(&self.config);
        let client = aws_sdk_firehose::Client::from_conf(config.endpoint_url(&self.server).build());
        let destination = ExtendedS3DestinationConfiguration::builder()
            .role_arn("arn:aws:iam::000000000000:role/firehose")
            .bucket_arn(format!("arn:aws:s3:::{stream}"))
            .build()
            .expect("it says what it has to");
        self.block_on(async {
            self.s3().create_bucket().bucket(stream).send().await.expect("a fresh server");
            let create = client.create_delivery_stream().delivery_stream_name(stream);
            let create = create.extended_s3_destination_configuration(destination);
            create.send().await.expect("a fresh server");
        });
    }

    /// A sink that writes to a stream, by way of the proxy.
    pub(crate) fn sink(&self, stream: &str) -> FirehoseSink {
        self.sink_of(FirehoseConfig::new("out", stream))
    }

    /// The same, as a config has it.
    pub(crate) fn sink_of(&self, config: FirehoseConfig) -> FirehoseSink {
        let aws = AwsConfig {
            endpoint: Some(self.endpoint()),
            given: Some(self.config.clone()),
            ..AwsConfig::default()
        };
        self.block_on(async { FirehoseSink::new(FirehoseConfig { aws, ..config }) })
    }

    /// What a stream has delivered: its records, in any order.
    pub(crate) fn delivered(&self, stream: &str) -> Vec<String> {
        let s3 = self.s3();
        self.block_on(async {
            let mut records = Vec::new();
            let mut token = None;
            loop {
                let page = s3.list_objects_v2().bucket(stream).set_continuation_token(token);
                let page = page.send().await.expect("a list");
                for key in page.contents().iter().filter_map(|it| it.key()) {
                    let object = s3.get_object().bucket(stream).key(key).send().await;
                    let body = object.expect("what is listed is there").body;
                    let content = body.collect().await.expect("all of it comes").to_vec();
                    records.push(String::from_utf8(content).expect("lines are text"));
                }
                token = page.next_continuation_token;
                if token.is_none() {
                    records.sort_unstable();
                    return records;
                }
            }
        })
    }
}
