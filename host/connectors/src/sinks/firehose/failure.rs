//! What Firehose's refusals of a whole request mean.

use std::error::Error;

use aws_sdk_firehose::error::{ProvideErrorMetadata, SdkError};
use tidegate_core::sink::{SinkError, SinkErrorKind};

use crate::aws::answer::{Said, after, not_answered};

/// What passes by itself, although some of it is answered as if the request were wrong.
const PASSING: [&str; 9] = [
    "ServiceUnavailableException",
    "InternalFailure",
    // The stream's quota, or the account's.
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    // New credentials are got for the next request.
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
];

/// What a request that failed as a whole means for the sink.
pub(super) fn failed<E>(stream: &str, error: SdkError<E>) -> SinkError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let what = format!("failed to put records into Firehose stream `{stream}`");
    let SdkError::ServiceError(refused) = &error else { return not_answered(what, error) };
    let said = Said::new(refused.raw(), error.meta());
    if said.status >= 500 || said.status == 429 || PASSING.contains(&said.code.as_str()) {
        let kind = SinkErrorKind::Unavailable { after: after(refused.raw()) };
        return SinkError::new(kind, what, said);
    }
    let message = format!("{what}{}", advice(&said));
    SinkError::new(SinkErrorKind::Broken, message, said)
}

/// What a person has to do.
fn advice(said: &Said) -> String {
    let advice = match said.code.as_str() {
        "ResourceNotFoundException" => {
            "there is none of this name in this account and region: create it, or correct `stream` \
             and `region`"
        }
        "InvalidArgumentException" | "InvalidSourceException" => {
            "its source must be `Direct PUT`, and not another stream or CloudWatch Logs"
        }
        "InvalidKMSResourceException" => {
            "the key of KMS that it is encrypted with can't be used: it must be enabled, and \
             Firehose must be allowed to use it"
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignatureException" => {
            "AWS does not know the credentials, their secret is another, or this machine's clock \
             is wrong: correct them"
        }
        "AccessDeniedException" => {
            "the credentials may not do it: they need `firehose:PutRecordBatch` on the stream"
        }
        _ if said.status == 403 => {
            "the credentials may not do it: they need `firehose:PutRecordBatch` on the stream"
        }
        _ => return String::new(),
    };
    format!(": {advice}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_firehose::{
        config::http::HttpResponse, error::ErrorMetadata,
        operation::put_record_batch::PutRecordBatchError,
    };
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn refusal(status: u16, code: &str, headers: &[(&'static str, &'static str)]) -> SinkError {
        let status = status.try_into().expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::empty());
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        let meta = ErrorMetadata::builder().code(code).message("as Firehose puts it").build();
        failed("s", SdkError::service_error(PutRecordBatchError::generic(meta), response))
    }

    #[test]
    fn what_passes_is_told_from_what_needs_a_person() {
        for (status, code) in [
            (503, "ServiceUnavailableException"),
            (500, "InternalFailure"),
            (400, "ThrottlingException"),
            (400, "LimitExceededException"),
            (400, "ExpiredTokenException"),
            (429, "TooManyRequestsException"),
        ] {
            let kind = refusal(status, code, &[]).kind;
            assert_eq!(kind, SinkErrorKind::Unavailable { after: None }, "{code}");
        }
        let asked = refusal(503, "ServiceUnavailableException", &[("retry-after", "7")]).kind;
        assert_eq!(asked, SinkErrorKind::Unavailable { after: Some(Duration::from_secs(7)) });
        for (status, code, advised) in [
            (400, "ResourceNotFoundException", "correct `stream`"),
            (400, "InvalidArgumentException", "`Direct PUT`"),
            (400, "InvalidSourceException", "`Direct PUT`"),
            (400, "InvalidKMSResourceException", "key of KMS"),
            (400, "AccessDeniedException", "`firehose:PutRecordBatch`"),
            (403, "Forbidden", "`firehose:PutRecordBatch`"),
            (400, "UnrecognizedClientException", "credentials"),
        ] {
            let error = refusal(status, code, &[]);
            assert_eq!(error.kind, SinkErrorKind::Broken, "{code}");
            assert!(error.message.contains(advised), "{error}");
            let cause = error.cause.expect("Firehose's own words").to_string();
            assert!(cause.contains(code) && cause.contains("as Firehose puts it"), "{cause}");
        }
    }
}
