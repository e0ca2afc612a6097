//! A Kinesis stream, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    aws::{Aws, AwsRole},
    encryption::PayloadEncryption,
    field::FieldPath,
    units::{ByteSize, TimeSpan},
};

/// Records of an Amazon Kinesis data stream, aggregates of the Kinesis Producer Library taken apart.
/// Each shard is a partition, read until the pipeline is told to stop; children are read after
/// their parents. Credentials come by AWS's usual chain: the environment, a profile, a web
/// identity, the container's or the instance's role. `docs/kinesis.md` says what is guaranteed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kinesis {
    /// The stream's name, or its ARN, which may be of another account.
    pub stream: String,
    /// The region; without it what the environment or the profile says.
    pub region: Option<String>,
    /// The service's address, such as `http://127.0.0.1:4567`; without it the region's. Without TLS
    /// only on this machine.
    pub endpoint: Option<String>,
    /// A role to assume; without it the credentials are used as they are.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
    /// The consumer as which the stream is read by enhanced fan-out: its name, under which it is
    /// registered where it is not there, or its ARN. Each shard pushes its records to it, and no
    /// other reader slows it down. Without a consumer shards are polled.
    pub consumer: Option<String>,
    /// Where the shards begin that there are at the first start. Shards that appear later begin at
    /// their beginning, and a later start goes on from the checkpoint.
    pub start: KinesisStart,
    /// What becomes of a shard of which something is gone before it was read, since the stream
    /// retains no longer what the checkpoint points to.
    pub on_trimmed: OnTrimmed,
    /// What becomes of a record of an aggregate whose hash lies outside of its shard's range: the
    /// stream was resharded while the aggregate was on its way, or Kinesis itself distributes the
    /// records.
    pub out_of_range: OutOfRange,
    /// What becomes of a record whose producer chose the shard by an explicit hash key, so that the
    /// hash of its partition key lies outside of the shard's range. Only where a stage keeps states
    /// by key and not by partition: a key's state would be in parts on several shards.
    pub on_explicit_hash: OnExplicitHash,
    /// How producers encrypt the payload of each record themselves, under keys of AWS KMS. Of an
    /// aggregate it is the payload of each user record.
    pub encryption: Option<PayloadEncryption>,
    /// How producers compress the payload of each record, before they encrypt it. What expands to more than
    /// `record_bytes_max` is a dead letter, `record-too-large`, and what can't be decompressed is
    /// one too, `not-decompressible`.
    pub compression: PayloadCompression,
    /// A shard that has nothing more for now is asked again after this. A shard answers five calls
    /// a second, of all who poll it together.
    pub poll_every: TimeSpan,
    /// How much all shards together have fetched and not handed over. A shard that finds no room
    /// fetches little at a time.
    pub fetch_memory: ByteSize,
    /// The field that records have as their partition key. State that is kept by this field is
    /// whole: a key's records are on one shard, and after a reshard its state is where they are.
    pub partition_key: Option<FieldPath>,
}

impl Default for Kinesis {
    fn default() -> Self {
        Kinesis {
            stream: String::new(),
            region: None,
            endpoint: None,
            role: None,
            fips: false,
            dual_stack: false,
            consumer: None,
            start: KinesisStart::default(),
            on_trimmed: OnTrimmed::default(),
            out_of_range: OutOfRange::default(),
            on_explicit_hash: OnExplicitHash::default(),
            encryption: None,
            compression: PayloadCompression::default(),
            // As AWS Lambda does: five consumers may poll a shard so, and none is throttled.
            poll_every: TimeSpan::seconds(1),
            // Six answers of the largest size at once, or sixty of the usual one.
            fetch_memory: ByteSize::mib(32),
            partition_key: None,
        }
    }
}

impl Kinesis {
    /// The keys that all services have.
    pub(crate) fn aws(&self) -> Aws<'_> {
        Aws {
            region: self.region.as_deref(),
            endpoint: self.endpoint.as_deref(),
            role: self.role.as_ref(),
            fips: self.fips,
            dual_stack: self.dual_stack,
        }
    }
}

/// Where reading begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KinesisStart {
    /// With the oldest record that the stream holds.
    #[default]
    TrimHorizon,
    /// With what arrives from the first start on. That time, by the server's clock, is written
    /// down before anything is read.
    Latest,
    /// With what arrived at this time or later, by RFC 3339.
    AtTimestamp(String),
}

/// What becomes of a shard of which something is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnTrimmed {
    /// It stops with an error that says what is lost. The other shards go on.
    #[default]
    Fail,
    /// It goes on with the oldest record that there is. The log says what is lost, as an error.
    Continue,
}

/// What becomes of a record of an aggregate in the wrong shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutOfRange {
    /// It is a record like any other.
    #[default]
    Deliver,
    /// It is a dead letter, `out-of-range`.
    DeadLetter,
    /// It is passed over, and a metric counts it.
    Drop,
}

/// What becomes of a record whose producer chose the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExplicitHash {
    /// Its shard stops with an error.
    #[default]
    Fail,
    /// It is a dead letter, `explicit-hash-key`.
    DeadLetter,
}

/// How payloads are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PayloadCompression {
    /// Not at all.
    #[default]
    None,
    /// gzip, also several members back to back.
    Gzip,
    /// Zstandard, also several frames back to back, with a window of up to 8 MiB.
    Zstd,
}
