//! A Firehose stream, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aws::{Aws, AwsRole};

/// Records of an Amazon Data Firehose stream whose source is `Direct PUT`: each JSON line is one, at
/// least once. What Firehose has taken can't be looked up. A record may have 1,000 KiB; a larger
/// one is a dead letter, `record-too-large`. Credentials come by AWS's usual chain: the environment,
/// a profile, a web identity, the container's or the instance's role. `docs/delivery.md` says what
/// is guaranteed, and what the credentials must be allowed to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Firehose {
    /// The stream's name.
    pub stream: String,
    /// The region; without it what the environment or the profile says.
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
    /// What ends each record: Firehose puts one behind the other.
    pub delimiter: Delimiter,
}

impl Firehose {
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

    /// How long a line may be, with its line break: 1,000 KiB of it are sent at most.
    pub(crate) fn row_bytes_max(&self) -> usize {
        const RECORD_BYTES_MAX: usize = 1_024_000;
        match self.delimiter {
            Delimiter::Newline => RECORD_BYTES_MAX,
            Delimiter::None => RECORD_BYTES_MAX + 1,
        }
    }
}

/// What ends a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    /// A line break: what arrives at the destination is JSON Lines.
    #[default]
    Newline,
    /// Nothing: the stream adds one itself, or its destination needs none.
    None,
}
