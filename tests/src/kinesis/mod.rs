//! Kinesis on this machine: a server in this process, behind a proxy.
//!
//! What a server does not do as it is told to ends the test.

pub mod proxy;

use std::{collections::BTreeMap, future::Future, time::Duration};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    primitives::Blob,
    types::{ConsumerStatus, PutRecordsRequestEntry, Shard},
};
use ferrokinesis::store::StoreOptions;
use tidegate_connectors::{
    aws::AwsConfig,
    sinks::kinesis::{KinesisSink, KinesisSinkConfig},
};
use tokio::{net::TcpListener, runtime::Runtime};

use self::proxy::Proxy;

/// Where the servers pretend to be.
pub const REGION: &str = "us-east-1";

/// A server with one stream.
pub struct Kinesis {
    runtime: Runtime,
    /// What stands before it.
    pub proxy: Proxy,
    client: Client,
    /// The stream's name.
    pub stream: String,
}

impl Kinesis {
    /// The embedded server, with a stream of some shards.
    pub fn start(shards: i32) -> Kinesis {
        Kinesis::start_with(shards, 300)
    }

    /// The same, whose iterators live so many seconds.
    pub fn start_with(shards: i32, iterator_seconds: u64) -> Kinesis {
        let runtime = Runtime::new().expect("threads can be started");
        let address = runtime.block_on(async {
            let options = StoreOptions {
                create_stream_ms: 0,
                delete_stream_ms: 0,
                update_stream_ms: 0,
                shard_limit: 500,
                iterator_ttl_seconds: iterator_seconds,
                // Subscriptions are not ended: the server would begin the next one at the shard's
                // beginning, for what checks its requests drops the number to begin at.
                subscribe_to_shard_event_record_limit: 40,
                ..StoreOptions::default()
            };
            let (app, _store) = ferrokinesis::create_app(options);
            // Five megabytes in base64, and what stands around them.
            let app = app.layer(axum::extract::DefaultBodyLimit::max(8 << 20));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            tokio::spawn(async move { axum::serve(listener, app).await });
            address
        });
        Kinesis::before(runtime, address, shards)
    }

    /// A server that runs already.
    pub fn before(runtime: Runtime, address: std::net::SocketAddr, shards: i32) -> Kinesis {
        let proxy = runtime.block_on(Proxy::start(address)).expect("a free port");
        let client = Client::from_conf(
            aws_sdk_kinesis::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .endpoint_url(format!("http://{}", proxy.address))
                .build(),
        );
        let kinesis = Kinesis { runtime, proxy, client, stream: "events".to_owned() };
        kinesis.run(async |client, stream| {
            client.create_stream().stream_name(stream).shard_count(shards).send().await?;
            until_active(client, stream).await
        });
        kinesis
    }

    /// Where a program finds it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// Runs something with the client.
    pub fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Client, &str) -> Result<T, aws_sdk_kinesis::Error>,
    ) -> T {
        self.block_on(work(&self.client, &self.stream)).expect("the server does as it is told")
    }

    /// Runs something beside the server.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// For writers of their own threads.
    pub fn client(&self) -> (tokio::runtime::Handle, Client, String) {
        (self.runtime.handle().clone(), self.client.clone(), self.stream.clone())
    }

    /// Puts records, in order, and gives their sequence numbers.
    pub fn put(&self, records: &[(&str, &[u8])]) -> Vec<String> {
        self.run(async |client, stream| {
            let mut sequences = Vec::new();
            for (key, data) in records {
                let put = client.put_record().stream_name(stream).partition_key(*key);
                let put = put.data(Blob::new(*data)).send().await?;
                sequences.push(put.sequence_number);
            }
            Ok(sequences)
        })
    }

    /// Puts a record into the shard that owns a hash.
    pub fn put_at(&self, hash: u128, key: &str, data: &[u8]) -> String {
        self.run(async |client, stream| {
            let put = client.put_record().stream_name(stream).partition_key(key);
            let put = put.explicit_hash_key(hash.to_string()).data(Blob::new(data)).send().await?;
            Ok(put.sequence_number)
        })
    }

    /// All shards, closed ones too.
    pub fn shards(&self) -> Vec<Shard> {
        self.run(async |client, stream| {
            let mut shards = Vec::new();
            let mut page = client.list_shards().stream_name(stream).send().await?;
            loop {
                shards.extend(page.shards().iter().cloned());
                let Some(token) = page.next_token() else { return Ok(shards) };
                page = client.list_shards().next_token(token).send().await?;
            }
        })
    }

    /// Shards that take records.
    pub fn open_shards(&self) -> Vec<Shard> {
        let open = |shard: &Shard| {
            shard.sequence_number_range().is_none_or(|it| it.ending_sequence_number().is_none())
        };
        let mut shards = self.shards();
        shards.retain(open);
        shards.sort_by_key(|shard| hash_range(shard).0);
        shards
    }

    /// Splits a shard in the middle.
    pub fn split(&self, shard: &Shard) {
        let (start, end) = hash_range(shard);
        let middle = start + (end - start) / 2 + 1;
        self.run(async |client, stream| {
            let split = client.split_shard().stream_name(stream).shard_to_split(shard.shard_id());
            split.new_starting_hash_key(middle.to_string()).send().await?;
            until_active(client, stream).await
        });
    }

    /// Merges two neighbours.
    pub fn merge(&self, left: &Shard, right: &Shard) {
        self.run(async |client, stream| {
            let merge = client.merge_shards().stream_name(stream).shard_to_merge(left.shard_id());
            merge.adjacent_shard_to_merge(right.shard_id()).send().await?;
            until_active(client, stream).await
        });
    }
}

impl Kinesis {
    /// Registers a consumer, and waits until it can be subscribed with.
    pub fn register(&self, consumer: &str) {
        self.run(async |client, stream| {
            let described = client.describe_stream_summary().stream_name(stream).send().await?;
            let summary = described.stream_description_summary().expect("the stream is there");
            let arn = summary.stream_arn();
            client
                .register_stream_consumer()
                .stream_arn(arn)
                .consumer_name(consumer)
                .send()
                .await?;
            loop {
                let call = client.describe_stream_consumer().stream_arn(arn);
                let described = call.consumer_name(consumer).send().await?;
                let status = described.consumer_description().map(|it| it.consumer_status());
                if status == Some(&ConsumerStatus::Active) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
}

/// The hashes that a shard owns.
pub fn hash_range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().expect("a shard has a range");
    let number = |text: &str| text.parse().expect("a 128-bit number");
    (number(range.starting_hash_key()), number(range.ending_hash_key()))
}

/// Waits until the stream takes orders.
async fn until_active(client: &Client, stream: &str) -> Result<(), aws_sdk_kinesis::Error> {
    loop {
        let described = client.describe_stream_summary().stream_name(stream).send().await?;
        let summary = described.stream_description_summary();
        if summary.is_some_and(|it| it.stream_status().as_str() == "ACTIVE") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Puts a batch until all of it is in.
pub async fn put_all(client: &Client, stream: &str, records: Vec<(String, Vec<u8>)>) {
    let entry = |(key, data): (String, Vec<u8>)| {
        let entry = PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data));
        entry.build().expect("it has a key and data")
    };
    let mut left: Vec<_> = records.into_iter().map(entry).collect();
    while !left.is_empty() {
        let put = client.put_records().stream_name(stream).set_records(Some(left.clone()));
        let Ok(put) = put.send().await else { continue };
        let failed = put.records().iter().map(|it| it.error_code().is_some());
        let mut failed = failed.collect::<Vec<_>>().into_iter();
        left.retain(|_| failed.next().unwrap_or(true));
    }
}

impl Kinesis {
    /// A sink that writes to the stream, by way of the proxy.
    pub fn sink(&self) -> KinesisSink {
        self.sink_of(KinesisSinkConfig::new("out", &self.stream))
    }

    /// The same, as a config has it.
    pub fn sink_of(&self, config: KinesisSinkConfig) -> KinesisSink {
        let aws = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new(REGION))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"));
        let aws = AwsConfig {
            endpoint: Some(self.endpoint()),
            given: Some(self.block_on(aws.load())),
            ..AwsConfig::default()
        };
        self.block_on(async { KinesisSink::new(KinesisSinkConfig { aws, ..config }) })
    }

    /// The records of the stream, each key's in their order, read without the program. An aggregate
    /// is one record.
    pub fn by_key(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for records in self.records().into_values() {
            for (key, data) in records {
                let data = String::from_utf8_lossy(&data).into_owned();
                by_key.entry(key).or_default().push(data);
            }
        }
        by_key
    }

    /// Everything that each shard holds, a line a record, read without the program.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let lines = |records: Vec<(String, Vec<u8>)>| {
            records.into_iter().flat_map(|(_, data)| [data, b"\n".to_vec()]).flatten().collect()
        };
        self.records().into_iter().map(|(shard, records)| (shard, lines(records))).collect()
    }

    /// The data of all records, in the order of their shards.
    pub fn raw(&self) -> Vec<Vec<u8>> {
        self.records().into_values().flatten().map(|(_, data)| data).collect()
    }

    /// The keys and payloads that each shard holds.
    pub fn records(&self) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
        let shards = self.shards();
        self.run(async |client, stream| {
            let mut contents = BTreeMap::new();
            for shard in &shards {
                let mut records = Vec::new();
                let begin = client.get_shard_iterator().stream_name(stream);
                let begin = begin.shard_id(shard.shard_id());
                let begin = begin.shard_iterator_type("TRIM_HORIZON".into()).send().await?;
                let mut iterator = begin.shard_iterator;
                let mut empty = 0;
                while let Some(at) = iterator.filter(|_| empty < 3) {
                    let answer = client.get_records().shard_iterator(at).send().await?;
                    empty = if answer.records().is_empty() { empty + 1 } else { 0 };
                    records.extend(answer.records().iter().map(|record| {
                        let key = record.partition_key().unwrap_or_default();
                        (key.to_owned(), record.data().as_ref().to_vec())
                    }));
                    iterator = answer.next_shard_iterator;
                }
                contents.insert(shard.shard_id().to_owned(), records);
            }
            Ok(contents)
        })
    }
}
