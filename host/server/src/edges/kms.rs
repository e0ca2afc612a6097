//! What decrypts the payloads of a stream.

use tidegate_connectors::sources::kinesis::encryption::{
    DataKeyLimits, Decryption, DecryptionConfig, KeyArn, KeyDiscovery,
};

use super::aws::aws;
use crate::config::{Config, OnRefusedKey};

/// What decrypts the payloads of the stream that is read, where producers encrypt them. Makes no call
/// yet.
pub(crate) fn decryption(config: &Config) -> Option<Decryption> {
    let written = config.source.kinesis.as_ref()?.encryption.as_ref()?;
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Some(Decryption::new(DecryptionConfig {
        pipeline: config.pipeline.clone(),
        // The rules have found each that is none.
        keys: written.keys.iter().filter_map(|it| KeyArn::parse(it)).collect(),
        discovery: written.discovery.as_ref().map(|it| KeyDiscovery {
            partition: it.partition.clone(),
            accounts: it.accounts.clone(),
            regions: it.regions.clone(),
        }),
        context: written.context.clone(),
        refused_key_fails: written.on_refused_key == OnRefusedKey::Fail,
        cache: DataKeyLimits {
            entries_max: count(written.cache.entries),
            age_max: written.cache.age.0,
            records_max: written.cache.records,
        },
        aws: aws(written.aws()),
    }))
}
