//! What producers encrypt themselves, as an operator writes it, and what must hold for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    aws::{Aws, AwsRole},
    rules::Rules,
    tree::step,
    units::TimeSpan,
};

/// Payloads that producers encrypt by data keys of AWS KMS. Each is decrypted before it is
/// decompressed, and one that can't be is a dead letter, `not-decryptable`, with what the producer
/// sent. Nothing is decrypted by a key that is not named here. `docs/kinesis.md` says how producers
/// encrypt, and which error does what.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PayloadEncryption {
    /// How payloads are encrypted.
    pub format: EncryptionFormat,
    /// The keys that data keys may be encrypted under, by their ARNs. A multi-Region key stands for
    /// its replicas, and the one that is named is asked.
    pub keys: Vec<String>,
    /// All keys of some accounts, where producers choose them and they can't be listed.
    pub discovery: Option<Discovery>,
    /// Pairs of the encryption context that each payload must have. Others may be there too.
    pub context: BTreeMap<String, String>,
    /// What becomes of a payload whose data key KMS refuses to decrypt under one of `keys`: it is
    /// disabled, is not there, or the credentials may not use it. Under a key that was discovered it is
    /// a dead letter always, for the producer has chosen the key.
    pub on_refused_key: OnRefusedKey,
    /// How decrypted data keys are kept, so that KMS is not asked for each record.
    pub cache: DataKeyCache,
    /// KMS' address, such as `http://127.0.0.1:4566`; without it the one of the key's region.
    /// Without TLS only on this machine.
    pub endpoint: Option<String>,
    /// A role to assume; without it the credentials are used as they are.
    pub role: Option<AwsRole>,
    /// Addresses whose cryptography is validated by FIPS 140.
    pub fips: bool,
    /// Addresses that are reached by IPv6 too.
    pub dual_stack: bool,
}

impl PayloadEncryption {
    /// What decides which payloads are records.
    pub(crate) fn decisive(&self) -> serde_json::Value {
        let discovery =
            self.discovery.as_ref().map(|it| (&it.partition, &it.accounts, &it.regions));
        serde_json::json!({
            "format": self.format, "keys": self.keys, "discovery": discovery,
            "context": self.context, "on_refused_key": self.on_refused_key,
        })
    }

    /// The keys that all services have. The region is that of each key.
    pub(crate) fn aws(&self) -> Aws<'_> {
        Aws {
            region: None,
            endpoint: self.endpoint.as_deref(),
            role: self.role.as_ref(),
            fips: self.fips,
            dual_stack: self.dual_stack,
        }
    }
}

/// How payloads are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncryptionFormat {
    /// In an envelope of JSON: the data key as KMS encrypted it, and what AES-256-GCM has made of the
    /// payload.
    #[default]
    Envelope,
}

/// Accounts whose keys may all be used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// The part of AWS that they are in: `aws`, `aws-cn`, `aws-us-gov`.
    #[serde(default = "partition")]
    pub partition: String,
    /// The accounts, by their twelve digits.
    pub accounts: Vec<String>,
    /// The regions that their keys may lie in, such as `eu-west-1`. A payload names its key's, and no
    /// other is asked.
    pub regions: Vec<String>,
}

fn partition() -> String {
    "aws".to_owned()
}

/// What becomes of a payload whose key KMS refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRefusedKey {
    /// Its shard stops with an error. What lies before it is delivered.
    #[default]
    Fail,
    /// It is a dead letter, `not-decryptable`.
    DeadLetter,
}

/// How data keys are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataKeyCache {
    /// How many; the oldest goes first.
    pub entries: u32,
    /// For how long. A key that is disabled, or whose policy is changed, is in use for as long.
    pub age: TimeSpan,
    /// For how many records each.
    pub records: u64,
}

impl Default for DataKeyCache {
    fn default() -> Self {
        DataKeyCache {
            // Sixteen for each of hundreds of shards. An entry has some hundred bytes.
            entries: 10_000,
            // What Amazon's own examples have for producers is minutes.
            age: TimeSpan::seconds(300),
            // A call for so many records is not worth a thought.
            records: 1_000_000,
        }
    }
}

/// The parts of a key's ARN, where it is one: the part of AWS, the region, the account and the id.
fn key_arn(text: &str) -> Option<[&str; 4]> {
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts[..] else { return None };
    let id = resource.strip_prefix("key/")?;
    let whole = [partition, region, id].into_iter().all(is_word) && is_account(account);
    whole.then_some([partition, region, account, id])
}

/// Whether it is what parts of an ARN are made of.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit())
}

impl Rules<'_> {
    pub(super) fn payload_encryption(&mut self, encryption: &PayloadEncryption, pointer: &str) {
        if cfg!(not(feature = "kms")) {
            let message = "this program was built without the feature `kms`";
            self.find("one-of", pointer, message);
        }
        self.aws(encryption.aws(), pointer);
        if encryption.keys.is_empty() && encryption.discovery.is_none() {
            let message = "`keys` lists the ARNs of the keys that payloads may be encrypted under";
            self.find("missing-key", pointer, message);
        }
        for (index, key) in encryption.keys.iter().enumerate() {
            if key_arn(key).is_none() {
                let message = format!(
                    "`{key}` is no key's ARN (`arn:aws:kms:…:…:key/…`): payloads name their keys so, \
                     and never by an alias"
                );
                self.find("invalid-value", &format!("{pointer}/keys/{index}"), message);
            }
        }
        if let Some(discovery) = &encryption.discovery {
            let pointer = &step(pointer, "discovery");
            if discovery.accounts.is_empty() {
                let message = "an account at least: else a producer could have any key be used";
                self.find("empty", &step(pointer, "accounts"), message);
            }
            for (index, account) in discovery.accounts.iter().enumerate() {
                if !is_account(account) {
                    let message = format!("`{account}` is no account: they have twelve digits");
                    self.find("invalid-value", &format!("{pointer}/accounts/{index}"), message);
                }
            }
            if discovery.regions.is_empty() {
                let message = "a region at least: else a producer could have any address be asked";
                self.find("empty", &step(pointer, "regions"), message);
            }
            for (index, region) in discovery.regions.iter().enumerate() {
                if !is_word(region) {
                    let message = format!("`{region}` is no region, such as `eu-west-1`");
                    self.find("invalid-value", &format!("{pointer}/regions/{index}"), message);
                }
            }
            if !discovery.partition.starts_with("aws") {
                let message = format!(
                    "`{}` is no part of AWS, such as `aws`, `aws-cn` and `aws-us-gov`",
                    discovery.partition
                );
                self.find("invalid-value", &step(pointer, "partition"), message);
            }
        }
        let cache = &encryption.cache;
        let pointer = &step(pointer, "cache");
        if !(1_000..=1_000_000).contains(&cache.entries) {
            let message = "each shard asks for 16 at once, and all need room: from 1000 to 1000000";
            self.find("out-of-range", &step(pointer, "entries"), message);
        }
        if cache.age.0.as_secs() < 60 {
            let message = "at least 60s: a payload is decrypted after its key, and those that are asked \
                           for with it, have come";
            self.find("out-of-range", &step(pointer, "age"), message);
        }
        if cache.records == 0 {
            let message = "at least 1: a payload is decrypted after its key has come";
            self.find("out-of-range", &step(pointer, "records"), message);
        }
    }
}
