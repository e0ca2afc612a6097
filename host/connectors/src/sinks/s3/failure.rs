//! What S3's refusals mean.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use tidegate_core::sink::{SinkError, SinkErrorKind};

use crate::aws::answer::{Said, after, not_answered};

/// What passes by itself, although S3 answers as if the request were wrong.
const PASSING: [&str; 12] = [
    // The content was damaged on its way, or its end is missing.
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
    "RequestTimeout",
    // Others write to the same key: `409`, which says to begin again.
    "ConditionalRequestConflict",
    "OperationAborted",
    // Somebody has aborted the upload: it begins again.
    "NoSuchUpload",
    // New credentials are got for the next request.
    "ExpiredToken",
    "TokenRefreshRequired",
    "RequestExpired",
    "SlowDown",
    "KMS.ThrottlingException",
];

/// How a request ended that did not do what it should.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What lies under the key is not what the request asks for.
    Precondition,
    /// Nothing lies under the key.
    Absent,
    /// Anything else.
    Failed(SinkError),
}

impl Refusal {
    /// What `failed to …` it, and the error that says why.
    pub(super) fn of<E>(what: impl FnOnce() -> String, error: SdkError<E>) -> Refusal
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let SdkError::ServiceError(refused) = &error else {
            return Refusal::Failed(not_answered(format!("failed to {}", what()), error));
        };
        let response = refused.raw();
        let said = Said::new(response, error.meta());
        match (said.status, said.code.as_str()) {
            (412, _) => Refusal::Precondition,
            (404, "NoSuchKey" | "NotFound") => Refusal::Absent,
            (status, code) => {
                let passes = status >= 500 && status != 501 || matches!(status, 409 | 429);
                let kind = match passes || PASSING.contains(&code) {
                    true => SinkErrorKind::Unavailable { after: after(response) },
                    false => SinkErrorKind::Broken,
                };
                let advice = match kind {
                    SinkErrorKind::Broken => advice(status, code, response),
                    _ => String::new(),
                };
                let message = format!("failed to {}{advice}", what());
                Refusal::Failed(SinkError::new(kind, message, said))
            }
        }
    }

    /// The error, where nothing but success and failure was expected: the key has changed hands
    /// meanwhile, so another try finds out.
    pub(super) fn into_error(self, what: impl FnOnce() -> String) -> SinkError {
        match self {
            Refusal::Failed(error) => error,
            Refusal::Precondition | Refusal::Absent => SinkError::plain(
                SinkErrorKind::Unavailable { after: None },
                format!("failed to {}: somebody else writes to the same key", what()),
            ),
        }
    }
}

/// What a person has to do.
fn advice(status: u16, code: &str, response: &HttpResponse) -> String {
    let advice = match code {
        "NoSuchBucket" => "create the bucket, or correct `bucket`",
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => {
            "S3 does not know the credentials, or their secret is another: correct them"
        }
        "RequestTimeTooSkewed" => "set this machine's clock",
        "InvalidStorageClass" => "correct `storage_class`",
        _ if code.starts_with("KMS.") => {
            "the key of `encryption` can't be used: it must be enabled, in the bucket's region, and \
             the credentials need `kms:GenerateDataKey` and `kms:Decrypt`"
        }
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => {
            return match response.headers().get("x-amz-bucket-region") {
                Some(region) => format!(": the bucket lies in `{region}`: correct `region`"),
                None => ": the bucket lies in another region: correct `region`".to_owned(),
            };
        }
        _ if status == 301 => "the bucket lies in another region: correct `region`",
        _ if status == 403 => {
            "the credentials may not do it: the sink needs `s3:PutObject`, `s3:GetObject` and \
             `s3:ListBucket`, without the last of which S3 refuses to say that nothing lies there"
        }
        _ if status == 501 => "the server can't do what the sink needs",
        _ => return String::new(),
    };
    format!(": {advice}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::{
        config::http::HttpResponse, error::ErrorMetadata, operation::put_object::PutObjectError,
        primitives::SdkBody,
    };

    use super::*;

    fn refusal(status: u16, code: &str, headers: &[(&'static str, &'static str)]) -> Refusal {
        let status = status.try_into().expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::empty());
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        let meta = ErrorMetadata::builder().code(code).message("as S3 puts it").build();
        let error = SdkError::service_error(PutObjectError::generic(meta), response);
        Refusal::of(|| "write `k`".to_owned(), error)
    }

    #[track_caller]
    fn failed(status: u16, code: &str, headers: &[(&'static str, &'static str)]) -> SinkError {
        match refusal(status, code, headers) {
            Refusal::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_passes_is_told_from_what_needs_a_person() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (409, "ConditionalRequestConflict"),
            (400, "BadDigest"),
            (400, "ExpiredToken"),
            (404, "NoSuchUpload"),
            (429, "TooManyRequests"),
        ] {
            let kind = failed(status, code, &[]).kind;
            assert_eq!(kind, SinkErrorKind::Unavailable { after: None }, "{code}");
        }
        for (status, code, said) in [
            (403, "AccessDenied", "s3:PutObject"),
            (404, "NoSuchBucket", "create the bucket"),
            (400, "KMS.DisabledException", "kms:GenerateDataKey"),
            (400, "InvalidStorageClass", "storage_class"),
            (403, "RequestTimeTooSkewed", "clock"),
            (501, "NotImplemented", "can't do"),
        ] {
            let error = failed(status, code, &[]);
            assert_eq!(error.kind, SinkErrorKind::Broken, "{code}");
            assert!(error.message.contains(said), "{error}");
            let cause = error.cause.expect("S3's own words").to_string();
            assert!(cause.contains(code) && cause.contains("as S3 puts it"), "{cause}");
        }
    }

    #[test]
    fn what_s3_asks_for_is_taken_from_its_answer() {
        let asked = failed(503, "SlowDown", &[("retry-after", "7")]).kind;
        assert_eq!(asked, SinkErrorKind::Unavailable { after: Some(Duration::from_secs(7)) });
        let region = failed(301, "PermanentRedirect", &[("x-amz-bucket-region", "eu-west-1")]);
        assert!(region.message.contains("`eu-west-1`"), "{region}");
    }

    #[test]
    fn answers_about_what_lies_there_are_no_failures() {
        assert!(matches!(refusal(412, "PreconditionFailed", &[]), Refusal::Precondition));
        assert!(matches!(refusal(404, "NoSuchKey", &[]), Refusal::Absent));
    }
}
