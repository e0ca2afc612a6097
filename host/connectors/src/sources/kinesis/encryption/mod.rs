//! What producers have encrypted, record by record, with data keys that AWS KMS decrypts.
//!
//! ```text
//! payload ─► envelope ─► keys: may it? ─► cache ─► plaintext
//!                                          │ ▲
//!                                   wanted ▼ │
//!                                           KMS
//! ```
//!
//! Decrypting a payload makes no call: where its data key is not there it says which one it wants, and
//! whoever reads asks for it, and for those that come after it, and tries again.

mod cache;
mod envelope;
mod keys;
mod kms;
mod meters;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::source::SourceError;
use tokio::{sync::OnceCell, task::JoinSet, time::Instant};

pub use self::{
    cache::DataKeyLimits,
    keys::{KeyArn, KeyDiscovery},
};
use self::{
    cache::{Answered, DataKeyId, DataKeys},
    envelope::Offer,
    keys::{AllowedKey, AllowedKeys},
    kms::{Kms, NotDecrypted},
    meters::Meters,
};
use super::{
    PayloadCompression,
    decode::{Fault, NOT_DECRYPTABLE, fill_decrypted},
};
use crate::aws::AwsConfig;

/// What KMS takes of something that it has encrypted.
const DATA_KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=6_144;

/// More than KMS takes of names and values.
const CONTEXT_BYTES_MAX: usize = 8_192;

/// By what payloads may be decrypted.
#[derive(Clone, Debug)]
pub struct DecryptionConfig {
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The keys that data keys may be encrypted under.
    pub keys: Vec<KeyArn>,
    /// Accounts whose keys may all be used.
    pub discovery: Option<KeyDiscovery>,
    /// Pairs of the encryption context that each payload must have.
    pub context: BTreeMap<String, String>,
    /// A payload whose data key is refused under one of `keys` stops its shard. Else it is a dead
    /// letter.
    pub refused_key_fails: bool,
    /// How decrypted data keys are kept.
    pub cache: DataKeyLimits,
    /// Which account and address. The region is that of each key.
    pub aws: AwsConfig,
}

/// Decrypts payloads.
#[derive(Clone)]
pub struct Decryption(Arc<Keyring>);

/// What has become of a payload.
pub(super) enum Opened {
    /// What was encrypted.
    Plaintext(Vec<u8>),
    /// It can't be decrypted: why, without anything of the payload.
    Refused(String),
    /// Nothing yet.
    Pending(Pending),
}

/// Why a payload is neither decrypted nor a dead letter.
pub(super) enum Pending {
    /// Its data key has to be asked for first.
    Wants(Box<Wanted>),
    /// Its key is refused, and nothing behind it is to be read: why, and what to do.
    Fails(String),
}

/// A data key as it was encrypted, under a key that is allowed.
#[derive(Debug)]
pub(super) struct Wanted {
    id: DataKeyId,
    key: AllowedKey,
    encrypted: Vec<u8>,
    context: HashMap<String, String>,
}

impl Decryption {
    /// Makes no call yet.
    pub fn new(config: DecryptionConfig) -> Self {
        Decryption(Arc::new(Keyring::new(config)))
    }

    /// What a policy calls the keys that may be asked.
    pub(super) fn key_resources(&self) -> impl Iterator<Item = String> {
        self.0.allowed.resources()
    }

    /// Decrypts a payload, if its data key is there.
    pub(super) fn open(&self, payload: &[u8]) -> Opened {
        let Decryption(keyring) = self;
        let opened = keyring.open(payload).unwrap_or_else(Opened::Refused);
        match &opened {
            Opened::Plaintext(_) => keyring.meters.decrypted(),
            Opened::Refused(_) => keyring.meters.not_decryptable(),
            Opened::Pending(_) => {}
        }
        opened
    }

    /// The data key that has to be asked for before a payload can be decrypted.
    pub(super) fn wanted(&self, payload: &[u8]) -> Option<Wanted> {
        let (offer, _) = envelope::parse(payload).ok()?;
        let wanted = self.0.wanted(offer).ok()?;
        let is_there = self.0.kept().has(&wanted.id, Instant::now());
        (!is_there).then_some(wanted)
    }

    /// Asks for data keys, that of the first payload above all. A failure that is not theirs is
    /// told of the first; the others are asked for again when they are come to.
    pub(super) async fn fetch(&self, wanted: Vec<Wanted>) -> Result<(), SourceError> {
        let mut wanted = wanted.into_iter();
        let Some(first) = wanted.next() else { return Ok(()) };
        let mut others = JoinSet::new();
        for wanted in wanted {
            let keyring = self.0.clone();
            others.spawn(async move { keyring.fetch(wanted).await });
        }
        let fetched = self.0.fetch(first).await;
        while others.join_next().await.is_some() {}
        fetched
    }

    /// Appends what a payload was before its producer compressed and encrypted it, or the payload as it
    /// is, with a code and the reason: also where its key is refused. Asks for its data key where it has
    /// to.
    pub async fn fill(
        &self,
        payload: &[u8],
        compression: PayloadCompression,
        bytes_max: usize,
        into: &mut Vec<u8>,
    ) -> Result<Option<Fault>, SourceError> {
        loop {
            match fill_decrypted(payload, self, compression, bytes_max, into) {
                Ok(fault) => return Ok(fault),
                Err(Pending::Wants(wanted)) => self.fetch(vec![*wanted]).await?,
                // Whoever tries one payload again is not stopped by it.
                Err(Pending::Fails(why)) => {
                    into.extend_from_slice(payload);
                    return Ok(Some((NOT_DECRYPTABLE, why)));
                }
            }
        }
    }
}

impl std::fmt::Debug for Decryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decryption").finish_non_exhaustive()
    }
}

/// The data keys that were decrypted, and KMS.
struct Keyring {
    allowed: AllowedKeys,
    context: BTreeMap<String, String>,
    refused_key_fails: bool,
    kept: Mutex<DataKeys>,
    /// What is being asked for: whoever wants the same waits for it.
    asked: Mutex<HashMap<DataKeyId, Arc<OnceCell<()>>>>,
    kms: Kms,
    meters: Meters,
}

impl Keyring {
    fn new(config: DecryptionConfig) -> Self {
        Keyring {
            allowed: AllowedKeys { named: config.keys, discovery: config.discovery },
            context: config.context,
            refused_key_fails: config.refused_key_fails,
            kept: Mutex::new(DataKeys::new(config.cache)),
            asked: Mutex::default(),
            kms: Kms::new(config.aws),
            meters: Meters::new(&config.pipeline),
        }
    }

    fn kept(&self) -> MutexGuard<'_, DataKeys> {
        // Nothing in it is ever half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<DataKeyId, Arc<OnceCell<()>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an error says is why the payload can't be decrypted.
    fn open(&self, payload: &[u8]) -> Result<Opened, String> {
        let (offer, sealed) = envelope::parse(payload)?;
        let wanted = self.wanted(offer)?;
        let answered = self.kept().take(&wanted.id, Instant::now());
        match answered {
            Some(Answered::Key(key)) => {
                self.meters.hit();
                Ok(Opened::Plaintext(sealed.open(&key)?))
            }
            Some(Answered::RefusedKey(why)) if wanted.key.is_named && self.refused_key_fails => {
                Ok(Opened::Pending(Pending::Fails(format!(
                    "its payload can't be decrypted: {why}; see to it that the key is enabled and \
                     that the credentials may use it (`kms:Decrypt`), or set \
                     `on_refused_key: dead_letter`"
                ))))
            }
            Some(Answered::Refused(why) | Answered::RefusedKey(why)) => Err(why),
            None => Ok(Opened::Pending(Pending::Wants(Box::new(wanted)))),
        }
    }

    /// The data key of a payload, if its key is allowed and its context is what it has to be.
    fn wanted(&self, offer: Offer) -> Result<Wanted, String> {
        let Offer { key, encrypted, context } = offer;
        let missing = self.context.iter().find(|(name, value)| context.get(*name) != Some(value));
        if let Some((name, _)) = missing {
            return Err(format!(
                "its encryption context has not the `{name}` that the config asks for"
            ));
        }
        if !DATA_KEY_BYTES.contains(&encrypted.len()) {
            return Err(format!("its data key has {} bytes, encrypted", encrypted.len()));
        }
        let length = |(name, value): (&String, &String)| name.len() + value.len();
        if context.iter().map(length).sum::<usize>() > CONTEXT_BYTES_MAX {
            return Err("its encryption context is longer than KMS takes".to_owned());
        }
        let key = KeyArn::parse(&key).ok_or("its envelope names no key of KMS by its ARN")?;
        let key = self.allowed.of(&key).ok_or_else(|| {
            format!("its data key is encrypted under `{key}`, and the config allows no such key")
        })?;
        let id = DataKeyId::of(&key.arn.to_string(), &encrypted, &context);
        Ok(Wanted { id, key, encrypted, context })
    }

    async fn fetch(&self, wanted: Wanted) -> Result<(), SourceError> {
        let id = wanted.id;
        let cell = self.asked().entry(id).or_default().clone();
        let fetched = cell.get_or_try_init(|| self.ask(wanted)).await.copied();
        self.asked().remove(&id);
        fetched
    }

    async fn ask(&self, wanted: Wanted) -> Result<(), SourceError> {
        let Wanted { id, key, encrypted, context } = wanted;
        if self.kept().has(&id, Instant::now()) {
            return Ok(());
        }
        self.meters.missed();
        let answered = match self.kms.decrypt(&key.arn, encrypted, context).await {
            Ok(plaintext) => {
                self.meters.called("done");
                Answered::Key(plaintext)
            }
            Err(NotDecrypted::Key(why)) => {
                self.meters.called("refused");
                Answered::RefusedKey(why)
            }
            Err(NotDecrypted::Payload(why)) => {
                self.meters.called("refused");
                Answered::Refused(why)
            }
            Err(NotDecrypted::Source(error)) => {
                self.meters.called("failed");
                return Err(error);
            }
        };
        self.kept().insert(id, answered, Instant::now());
        Ok(())
    }
}
