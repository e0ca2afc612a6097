//! Calls to AWS KMS, by AWS's own library, and what their failures mean.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_kms::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::decrypt::DecryptError,
    primitives::Blob,
};
use tidegate_core::source::{SourceError, SourceErrorKind};
use tokio::sync::OnceCell;

use super::keys::KeyArn;
use crate::aws::{self, AwsConfig, Io, NotTls};

/// KMS answers within some milliseconds, and waits for a key store of somebody's own for a while.
const CALL_MAX: Duration = Duration::from_secs(10);

/// What passes by itself, although some of it is answered as if the request were wrong.
const PASSING: [&str; 12] = [
    "ThrottlingException",
    "Throttling",
    "LimitExceededException",
    "RequestLimitExceeded",
    "DependencyTimeoutException",
    "KeyUnavailableException",
    "KMSInternalException",
    "InternalFailure",
    "ServiceUnavailable",
    // New credentials are got for the next request.
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
];

/// The key can't be used, whatever is to be decrypted.
const OF_THE_KEY: [&str; 5] = [
    "AccessDeniedException",
    "DisabledException",
    "NotFoundException",
    "KMSInvalidStateException",
    "InvalidKeyUsageException",
];

/// What was to be decrypted is no data key of this key and this context.
const OF_THE_PAYLOAD: [&str; 3] =
    ["InvalidCiphertextException", "IncorrectKeyException", "ValidationException"];

/// Why there is no data key.
pub(super) enum NotDecrypted {
    /// The key refuses: what KMS says.
    Key(String),
    /// The payload is wrong: what KMS says.
    Payload(String),
    /// It may work later, or not without a person; whoever asks can do nothing.
    Source(SourceError),
}

/// Makes calls.
pub(super) struct Kms {
    aws: AwsConfig,
    clients: Mutex<HashMap<String, Arc<OnceCell<Client>>>>,
    io: Io,
}

impl Kms {
    pub(super) fn new(aws: AwsConfig) -> Self {
        Kms { aws, clients: Mutex::default(), io: Io::default() }
    }

    /// Decrypts a data key. Dropping the future ends the call.
    pub(super) async fn decrypt(
        &self,
        key: &KeyArn,
        encrypted: Vec<u8>,
        context: HashMap<String, String>,
    ) -> Result<Vec<u8>, NotDecrypted> {
        let client = self.client(key.region()).await;
        let arn = key.to_string();
        let called = self.io.run(async move {
            let call = client.decrypt().key_id(&arn).ciphertext_blob(Blob::new(encrypted));
            let answer = call.set_encryption_context(Some(context)).send().await;
            match answer {
                // Whoever answers for another key has not done what it was asked.
                Ok(answer) if answer.key_id.as_deref().is_some_and(|it| it != arn) => {
                    let message = format!("KMS has decrypted by another key than `{arn}`");
                    Err(NotDecrypted::Payload(message))
                }
                Ok(answer) => answer.plaintext.map(Blob::into_inner).ok_or_else(|| {
                    let message = format!("KMS has answered for `{arn}` without a data key");
                    let kind = SourceErrorKind::Unavailable;
                    NotDecrypted::Source(SourceError::plain(kind, message))
                }),
                Err(error) => Err(failed(&arn, error)),
            }
        });
        called.await.unwrap_or_else(|error| {
            let message = "a call to KMS was not finished";
            let error = SourceError::new(SourceErrorKind::Unavailable, message, error);
            Err(NotDecrypted::Source(error))
        })
    }

    /// The client of a region.
    async fn client(&self, region: &str) -> Client {
        let cell = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.entry(region.to_owned()).or_default().clone()
        };
        cell.get_or_init(|| self.connect(region)).await.clone()
    }

    async fn connect(&self, region: &str) -> Client {
        let aws = AwsConfig { region: Some(region.to_owned()), ..self.aws.clone() };
        Client::from_conf(aws::service_config!(aws_sdk_kms, &aws, CALL_MAX).build())
    }
}

fn failed(key: &str, error: SdkError<DecryptError>) -> NotDecrypted {
    let what = format!("failed to decrypt a data key by `{key}`");
    let source = |kind, error| NotDecrypted::Source(SourceError::new(kind, what.clone(), error));
    let refused = match &error {
        SdkError::ServiceError(refused) => refused,
        // There are no credentials, or no request can be made of the config.
        SdkError::ConstructionFailure(_) => return source(SourceErrorKind::Broken, error),
        other if is_not_tls(other) => return source(SourceErrorKind::Broken, error),
        _ => return source(SourceErrorKind::Unavailable, error),
    };
    let status = refused.raw().status().as_u16();
    let code = error.code().unwrap_or_default();
    if PASSING.contains(&code) || status >= 500 || status == 429 {
        return source(SourceErrorKind::Unavailable, error);
    }
    // The message may quote what was sent, and the code says it all.
    if OF_THE_KEY.contains(&code) {
        return NotDecrypted::Key(format!("KMS refuses `{key}` ({code})"));
    }
    if OF_THE_PAYLOAD.contains(&code) {
        return NotDecrypted::Payload(format!(
            "KMS can't decrypt its data key by `{key}` ({code})"
        ));
    }
    source(SourceErrorKind::Broken, error)
}

fn is_not_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(it) = cause {
        if it.is::<NotTls>() {
            return true;
        }
        cause = it.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::error::ErrorMetadata;
    use aws_smithy_runtime_api::{client::orchestrator::HttpResponse, http::StatusCode};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn answered(status: u16, code: &str) -> NotDecrypted {
        let status = StatusCode::try_from(status).expect("a status");
        let said = ErrorMetadata::builder().code(code).message("what was sent").build();
        let response = HttpResponse::new(status, SdkBody::empty());
        failed("the-key", SdkError::service_error(DecryptError::generic(said), response))
    }

    #[test]
    fn a_refusal_says_whether_it_is_of_the_key_the_payload_or_the_caller() {
        for code in ["AccessDeniedException", "DisabledException", "NotFoundException"] {
            let NotDecrypted::Key(said) = answered(400, code) else { panic!("{code}") };
            assert!(said.contains("the-key") && said.contains(code), "{said}");
            assert!(!said.contains("what was sent"), "{said}");
        }
        for code in ["InvalidCiphertextException", "IncorrectKeyException"] {
            let NotDecrypted::Payload(said) = answered(400, code) else { panic!("{code}") };
            assert!(said.contains(code) && !said.contains("what was sent"), "{said}");
        }
        for (status, code, kind) in [
            (400, "ThrottlingException", SourceErrorKind::Unavailable),
            (500, "KMSInternalException", SourceErrorKind::Unavailable),
            (500, "KeyUnavailableException", SourceErrorKind::Unavailable),
            (503, "DependencyTimeoutException", SourceErrorKind::Unavailable),
            (400, "ExpiredTokenException", SourceErrorKind::Unavailable),
            (502, "", SourceErrorKind::Unavailable),
            (400, "UnrecognizedClientException", SourceErrorKind::Broken),
            (400, "InvalidSignatureException", SourceErrorKind::Broken),
        ] {
            let NotDecrypted::Source(error) = answered(status, code) else { panic!("{code}") };
            assert_eq!(error.kind, kind, "{code}");
            assert!(error.to_string().contains("the-key"), "{error}");
        }
    }
}
