//! A queue that gets copies of dead letters, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    aws::{Aws, AwsRole},
    s3::S3,
    units::ByteSize,
};

/// Who gets a copy of each dead letter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CopyTo {
    /// A queue of Amazon SQS.
    Sqs(Box<Sqs>),
}

/// A standard queue of Amazon SQS: each letter is a message, at least once and in no order, before
/// its range is committed. What consumers filter by stands in the message's attributes. Credentials
/// come by AWS's usual chain: the environment, a profile, a web identity, the container's or the
/// instance's role. `docs/dead-letters.md` says what a message holds, and what the credentials must
/// be allowed to do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sqs {
    /// The queue's URL, such as `https://sqs.eu-west-1.amazonaws.com/111122223333/dead-letters`.
    pub queue: String,
    /// The queue's region; without it what the environment or the profile says.
    pub region: Option<String>,
    /// The service's address, such as `http://127.0.0.1:4566`; without it the region's. Without TLS
    /// only on this machine.
    pub endpoint: Option<String>,
    /// A role to assume; without it the credentials are used as they are.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
    /// What a message may have, attributes included, and all messages of a request together: no more
    /// than the queue's `MaximumMessageSize`.
    pub message_size: ByteSize,
    /// Where letters lie that are larger than a message: whole, one an object, under the digest of
    /// their bytes. The message says where, in `etl.payloadRef`.
    pub offload: Option<S3>,
}

impl Default for Sqs {
    fn default() -> Self {
        Sqs {
            queue: String::new(),
            region: None,
            endpoint: None,
            role: None,
            fips: false,
            dual_stack: false,
            // What SQS takes since 2025, and new queues unless they are told otherwise.
            message_size: ByteSize::mib(1),
            offload: None,
        }
    }
}

impl Sqs {
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
