//! A place in an S3 bucket, as an operator writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    aws::{Aws, AwsRole},
    sink::Level,
    units::ByteSize,
};

/// Objects below a prefix of an Amazon S3 bucket, each created once (`If-None-Match: *`) under a key
/// derived from its range. Credentials come by AWS's usual chain: the environment, a profile, a web
/// identity, the container's or the instance's role. `docs/delivery.md` says what is guaranteed, and
/// what the credentials must be allowed to do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// The bucket's name, or the ARN of an access point.
    pub bucket: String,
    /// What all keys begin with, such as `events/raw`; a `/` follows. Nothing else may write there:
    /// unfinished uploads below it are aborted at each start.
    pub prefix: String,
    /// What keys are sorted by below it, from the outermost, such as
    /// `event_type=transaction/year=2026/`. A record without the value lies in `__missing__`.
    pub tree: Vec<Level>,
    /// The region; without it what the environment or the profile says.
    pub region: Option<String>,
    /// The service's address, such as `http://127.0.0.1:9000`; without it the region's. Without TLS
    /// only on this machine. The server must know conditional writes.
    pub endpoint: Option<String>,
    /// The bucket stands in the path of a request and not in the server's name: for servers other
    /// than Amazon's.
    pub path_style: bool,
    /// A role to assume; without it the credentials are used as they are.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
    /// How objects are encrypted at rest.
    pub encryption: Encryption,
    /// The storage class; without it the bucket's.
    pub storage_class: Option<StorageClass>,
    /// Tags of each object, at most ten.
    pub tags: BTreeMap<String, String>,
    /// What S3 checks the bytes of each request by before it keeps them.
    pub checksum: Checksum,
    /// Larger objects are uploaded in parts of this size, several at once.
    pub part_size: ByteSize,
    /// How many objects and parts are uploaded at once, over all partitions.
    #[schemars(range(min = 1, max = 1000))]
    pub uploads: u32,
    /// How many bytes of them.
    pub upload_memory: ByteSize,
}

impl Default for S3 {
    fn default() -> Self {
        S3 {
            bucket: String::new(),
            prefix: String::new(),
            tree: Vec::new(),
            region: None,
            endpoint: None,
            path_style: false,
            role: None,
            fips: false,
            dual_stack: false,
            encryption: Encryption::default(),
            storage_class: None,
            tags: BTreeMap::new(),
            checksum: Checksum::default(),
            // Some tenths of a second of one connection.
            part_size: ByteSize::mib(16),
            // S3 takes 3,500 writes a second below a prefix: no bucket minds.
            uploads: 32,
            // Eight parts.
            upload_memory: ByteSize::mib(128),
        }
    }
}

impl S3 {
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

    /// The prefix, with its `/`.
    pub(crate) fn below(&self) -> String {
        format!("{}/", self.prefix.trim_end_matches('/'))
    }
}

/// How objects are encrypted at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    Bucket,
    /// With keys of S3's own: SSE-S3.
    S3,
    /// With a key of KMS: SSE-KMS.
    Kms(KmsEncryption),
}

/// Encryption with a key of KMS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KmsEncryption {
    /// The key's ARN or id; without it AWS's own for S3.
    pub key: Option<String>,
    /// One key of KMS serves many objects, which saves calls to it; without it the bucket decides.
    pub bucket_key: Option<bool>,
}

/// Storage classes whose objects can be read at once. For archives use a lifecycle rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageClass {
    /// For what is read often.
    Standard,
    /// For what is read rarely.
    StandardIa,
    /// The same, in one zone only.
    OnezoneIa,
    /// S3 finds out how often it is read.
    IntelligentTiering,
    /// For what is read once in some months.
    GlacierIr,
}

impl StorageClass {
    /// As S3 calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            StorageClass::Standard => "STANDARD",
            StorageClass::StandardIa => "STANDARD_IA",
            StorageClass::OnezoneIa => "ONEZONE_IA",
            StorageClass::IntelligentTiering => "INTELLIGENT_TIERING",
            StorageClass::GlacierIr => "GLACIER_IR",
        }
    }
}

/// What S3 checks bytes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// What S3 itself would take.
    #[default]
    Crc64nvme,
    /// Known to most servers that are compatible with S3.
    Crc32,
    /// Slow, where the processor has no instructions for it.
    Sha256,
}
