//! S3 on this machine: a server in this process, or one of another make, behind a proxy.
//!
//! What a server does not do as it is told to ends the test.

pub mod proxy;

use std::{collections::BTreeMap, future::Future, net::SocketAddr};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use hyper_util::rt::TokioIo;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tidegate_connectors::{aws::AwsConfig, sinks::s3::S3Config};
use tokio::{net::TcpListener, runtime::Runtime};

use self::proxy::Proxy;

/// Where the servers pretend to be.
pub const REGION: &str = "us-east-1";

/// The bucket that there is.
pub const BUCKET: &str = "zone";

/// A server with one bucket.
pub struct S3 {
    runtime: Runtime,
    /// What stands before it.
    pub proxy: Proxy,
    client: Client,
    _root: Option<tempfile::TempDir>,
}

impl S3 {
    /// The embedded server.
    pub fn start() -> S3 {
        let runtime = Runtime::new().expect("threads can be started");
        let root = tempfile::tempdir().expect("a temporary folder");
        let files = FileSystem::new(root.path()).expect("a folder that is there");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single("test", "test"));
        let service = service.build();
        let address = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            tokio::spawn(async move {
                while let Ok((connection, _)) = listener.accept().await {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service.clone());
                    tokio::spawn(connection);
                }
            });
            address
        });
        let s3 = S3::before(runtime, address, false);
        S3 { _root: Some(root), ..s3 }
    }

    /// A server that runs already.
    pub fn before(runtime: Runtime, address: SocketAddr, lists_uploads: bool) -> S3 {
        let proxy = runtime.block_on(Proxy::start(address, lists_uploads)).expect("a free port");
        let client = Client::from_conf(
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .retry_config(RetryConfig::disabled())
                .force_path_style(true)
                .endpoint_url(format!("http://{}", proxy.address))
                .build(),
        );
        let s3 = S3 { runtime, proxy, client, _root: None };
        s3.block_on(s3.client.create_bucket().bucket(BUCKET).send()).expect("a fresh server");
        s3
    }

    /// Where a program finds it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// A client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs something beside the server.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A sink below a prefix.
    pub fn config(&self, prefix: &str) -> S3Config {
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        S3Config {
            aws: AwsConfig {
                endpoint: Some(self.endpoint()),
                given: Some(self.block_on(aws.load())),
                ..AwsConfig::default()
            },
            path_style: true,
            part_bytes: 5 << 20,
            ..S3Config::new("out", BUCKET, prefix)
        }
    }

    /// What lies under a key, as whoever reads the bucket would see it.
    pub async fn read(&self, key: &str) -> Option<bytes::Bytes> {
        let got = self.client.get_object().bucket(BUCKET).key(key).send().await.ok()?;
        Some(got.body.collect().await.expect("all of it comes").into_bytes())
    }

    /// Puts something there that is none of the sink's.
    pub fn put(&self, key: &str, content: &[u8], metadata: &[(&str, &str)]) {
        let mut put = self.client.put_object().bucket(BUCKET).key(key);
        for (name, value) in metadata {
            put = put.metadata(*name, *value);
        }
        self.block_on(put.body(content.to_vec().into()).send()).expect("nothing forbids it");
    }

    /// The keys below a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{prefix}/");
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let page = self.client.list_objects_v2().bucket(BUCKET).prefix(&prefix);
            let page = page.set_continuation_token(token).send().await.expect("a list");
            keys.extend(page.contents().iter().filter_map(|it| it.key()).map(str::to_owned));
            token = page.next_continuation_token;
            if token.is_none() {
                return keys;
            }
        }
    }

    /// Everything below a prefix, by the keys without it.
    pub fn tree(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        self.block_on(async {
            let mut tree = BTreeMap::new();
            for key in self.keys(prefix).await {
                let content = self.read(&key).await.expect("what is listed is there");
                let name = key.strip_prefix(&format!("{prefix}/")).expect("it was asked for");
                tree.insert(name.to_owned(), content.to_vec());
            }
            tree
        })
    }
}
