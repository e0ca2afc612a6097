//! A Kinesis stream to write to, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Origin, description::HostValue};

use super::{
    aws::{Aws, AwsRole},
    units::ByteSize,
};
use crate::lineage::named;

/// Records of an Amazon Kinesis data stream: each JSON line is one, without its line break, at least
/// once, and those of a partition key in their order. What Kinesis has taken can't be looked up. A
/// larger record than `record_size` is a dead letter, `record-too-large`. Credentials come by AWS's
/// usual chain: the environment, a profile, a web identity, the container's or the instance's role.
/// `docs/delivery.md` says what is guaranteed, and what the credentials must be allowed to do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KinesisSink {
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
    /// What a record is partitioned by: a field, as the plugins have left it, or `@partition-key`,
    /// what the source had; also `@record-id`, where no two records need an order, `@partition` and
    /// `@source`. A record without a value is a dead letter, `partition-key-missing`, and one with
    /// more than 256 characters is another, `partition-key-too-long`.
    pub partition_key: String,
    /// What a record may have, its key included. More than 1 MiB, up to 10 MiB, only where the stream
    /// was told so (`UpdateMaxRecordSize`).
    pub record_size: ByteSize,
    /// What a request may have: at most 10 MiB.
    pub request_size: ByteSize,
    /// Records of one key become aggregates of the Kinesis Producer Library, of up to 50 KiB. Whoever
    /// reads the stream must take them apart, as AWS's client library, Lambda with its library, and
    /// Tidegate do.
    pub aggregate: bool,
}

impl Default for KinesisSink {
    fn default() -> Self {
        KinesisSink {
            stream: String::new(),
            region: None,
            endpoint: None,
            role: None,
            fips: false,
            dual_stack: false,
            partition_key: HostValue::PartitionKey.name().to_owned(),
            // What a stream takes that was told nothing else.
            record_size: ByteSize::mib(1),
            // What every Kinesis takes; AWS's own takes twice as much by now.
            request_size: ByteSize::mib(5),
            aggregate: false,
        }
    }
}

impl KinesisSink {
    /// How many characters a partition key may have.
    pub(crate) const KEY_CHARS_MAX: usize = 256;

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

    /// Where the partition key comes from, if it can.
    pub(crate) fn partition_key(&self) -> Option<Origin> {
        match named(&self.partition_key)? {
            Origin::Host(HostValue::ArrivalTime | HostValue::BatchTime) => None,
            origin => Some(origin),
        }
    }

    /// How long a line may be with its key: its line break is not sent.
    pub(crate) fn row_bytes_max(&self) -> usize {
        usize::try_from(self.record_size.0).unwrap_or(usize::MAX).saturating_add(1)
    }
}
