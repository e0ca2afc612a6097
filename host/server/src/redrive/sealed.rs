//! Letters whose payload its source could not decrypt: it is what the producer sent, and a record as soon
//! as the key may be used.

use tidegate_core::source::SourceError;

use crate::{config::Config, letters::Letter};

/// The code of such a letter.
const NOT_DECRYPTABLE: &str = "not-decryptable";

/// Decrypts what letters hold, as their source would have.
#[derive(Clone, Default)]
pub(crate) struct Sealed {
    #[cfg(feature = "kms")]
    opening: Option<Opening>,
}

#[cfg(feature = "kms")]
#[derive(Clone)]
struct Opening {
    decryption: tidegate_connectors::sources::kinesis::encryption::Decryption,
    compression: tidegate_connectors::sources::kinesis::PayloadCompression,
    record_bytes_max: usize,
}

impl Sealed {
    /// By what the config says of the source.
    #[cfg(feature = "kms")]
    pub(crate) fn of(config: &Config) -> Self {
        let compression = config.source.kinesis.as_ref().map(|it| it.compression);
        let opening = crate::edges::decryption(config).map(|decryption| Opening {
            decryption,
            compression: crate::edges::payload_compression(compression.unwrap_or_default()),
            record_bytes_max: usize::try_from(config.source.record_bytes_max.0)
                .unwrap_or(usize::MAX),
        });
        Sealed { opening }
    }

    /// By what the config says of the source: nothing, in this program.
    #[cfg(not(feature = "kms"))]
    pub(crate) fn of(_: &Config) -> Self {
        Sealed::default()
    }

    /// Whether a letter whose payload is no record may be one now.
    pub(crate) fn takes(config: &Config, letter: &Letter) -> bool {
        let encryption = config.source.kinesis.as_ref().and_then(|it| it.encryption.as_ref());
        encryption.is_some() && letter.etl("errorCode") == NOT_DECRYPTABLE
    }

    /// Appends the record, or the payload as it is, with a code and the reason.
    #[cfg(feature = "kms")]
    pub(super) async fn fill(
        &self,
        payload: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<Option<(&'static str, String)>, SourceError> {
        if let Some(Opening { decryption, compression, record_bytes_max }) = &self.opening {
            return decryption.fill(payload, *compression, *record_bytes_max, into).await;
        }
        Ok(not_opened(payload, into))
    }

    /// Appends the payload as it is, with a code and the reason.
    #[cfg(not(feature = "kms"))]
    pub(super) async fn fill(
        &self,
        payload: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<Option<(&'static str, String)>, SourceError> {
        Ok(not_opened(payload, into))
    }
}

/// The config has changed since the letter was chosen.
fn not_opened(payload: &[u8], into: &mut Vec<u8>) -> Option<(&'static str, String)> {
    into.extend_from_slice(payload);
    let message = "its payload is encrypted, and the source is not said to be: `encryption` is \
                   missing in the config";
    Some((NOT_DECRYPTABLE, message.to_owned()))
}
