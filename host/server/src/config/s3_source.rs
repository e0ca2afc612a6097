//! Objects of a bucket as they are created, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    aws::{Aws, AwsRole},
    units::{ByteSize, TimeSpan},
};

/// Where the source's files lie: objects of an Amazon S3 bucket, read as they are created. A queue of
/// Amazon SQS tells of them, by S3's own notifications, by EventBridge or by a topic of SNS. Beside it
/// stands what the objects hold: `ndjson`, which is also what holds where nothing is said, `csv`,
/// `parquet`, `avro`, `protobuf`, `text` or `whole_file`, without `paths`. Each version of an object is
/// a partition, read once; its message is deleted when all of it is committed. A message that is no
/// notification is a dead letter, `notification-malformed`. Credentials come by AWS's usual chain: the
/// environment, a profile, a web identity, the container's or the instance's role. `docs/s3-source.md`
/// says how it works, and what the credentials must be allowed to do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3Source {
    /// The queue's URL, such as `https://sqs.eu-west-1.amazonaws.com/111122223333/inbox`.
    pub queue: String,
    /// The bucket's name. A message about another bucket is a dead letter.
    pub bucket: String,
    /// Only objects whose keys begin so are read; of others the messages are deleted.
    pub prefix: String,
    /// Only objects whose keys end so are read; of others the messages are deleted.
    pub suffix: String,
    /// The region of the bucket and the queue; without it what the environment or the profile says.
    pub region: Option<String>,
    /// S3's address, such as `http://127.0.0.1:9000`; without it the region's. Without TLS only on
    /// this machine.
    pub endpoint: Option<String>,
    /// The queue's region, where it is another than the bucket's.
    pub queue_region: Option<String>,
    /// SQS's address; without it the region's. Without TLS only on this machine.
    pub queue_endpoint: Option<String>,
    /// A role to assume; without it the credentials are used as they are.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
    /// The bucket stands in the path of a request and not in the server's name: for servers other than
    /// Amazon's.
    pub path_style: bool,
    /// What becomes of an object that is gone, or in whose place another lies, before it was read to
    /// its end.
    pub on_gone: OnGone,
    /// How many objects are held at a time, those that wait for a worker among them. Messages are
    /// asked for while there are fewer.
    #[schemars(range(min = 1, max = 1000))]
    pub objects: u32,
    /// For so long a message is hidden from others; while its objects are worked on, again and again. A
    /// host that dies is waited for no longer.
    pub visibility: TimeSpan,
    /// For so long a finished object is remembered, so that a message that comes again is found to be
    /// done: no shorter than the queue keeps messages.
    pub remember: TimeSpan,
    /// Objects are read in chunks of this size.
    pub chunk_size: ByteSize,
    /// How many chunks of one object are fetched at a time.
    #[schemars(range(min = 1, max = 64))]
    pub chunks: u32,
    /// How much all objects together have fetched ahead of what is being read. Each has a chunk
    /// besides, or, of Parquet, up to 32 MiB of what it is made of.
    pub fetch_memory: ByteSize,
}

impl Default for S3Source {
    fn default() -> Self {
        S3Source {
            queue: String::new(),
            bucket: String::new(),
            prefix: String::new(),
            suffix: String::new(),
            region: None,
            endpoint: None,
            queue_region: None,
            queue_endpoint: None,
            role: None,
            fips: false,
            dual_stack: false,
            path_style: false,
            on_gone: OnGone::default(),
            // Enough that no worker waits for the queue, few enough that other hosts get some.
            objects: 16,
            // A host that dies is waited for no longer, and a message is hidden again after half of it.
            visibility: TimeSpan::seconds(60),
            // No queue keeps a message for longer than 14 days.
            remember: TimeSpan::seconds(15 * 24 * 3600),
            // What a connection transfers in some tenths of a second.
            chunk_size: ByteSize::mib(8),
            // As S3's guides say for a fast line.
            chunks: 4,
            // Eight chunks.
            fetch_memory: ByteSize::mib(64),
        }
    }
}

impl S3Source {
    /// The bucket's keys that all services have.
    pub(crate) fn aws(&self) -> Aws<'_> {
        Aws {
            region: self.region.as_deref(),
            endpoint: self.endpoint.as_deref(),
            role: self.role.as_ref(),
            fips: self.fips,
            dual_stack: self.dual_stack,
        }
    }

    /// The same of the queue.
    pub(crate) fn queue_aws(&self) -> Aws<'_> {
        Aws {
            region: self.queue_region.as_deref().or(self.region.as_deref()),
            endpoint: self.queue_endpoint.as_deref(),
            ..self.aws()
        }
    }
}

/// What becomes of an object that is gone before it was read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnGone {
    /// Its partition stops with an error, and its message is left to the queue: it comes again, until
    /// the queue's own rules put it elsewhere. The other objects go on.
    #[default]
    Fail,
    /// Its partition is finished where it stands, and the log says so as an error.
    Continue,
}
