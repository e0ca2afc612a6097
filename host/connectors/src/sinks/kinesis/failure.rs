//! What Kinesis's refusals of a whole request mean.

use crate::aws::refusals::Refusals;

pub(super) const REFUSALS: Refusals = Refusals {
    passing: &[
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "KMSThrottlingException",
        // The stream is being made, or changed.
        "ResourceInUseException",
    ],
    permission: "`kinesis:PutRecords` on the stream",
    advice,
};

/// What a person has to do.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "ResourceNotFoundException" => {
            "there is none of this name in this account and region: create it, or correct `stream` \
             and `region`"
        }
        "InvalidArgumentException" | "ValidationException" | "SerializationException" => {
            "it takes less than the config says: make `record_size` and `request_size` smaller, or \
             the stream's own largest record larger (`UpdateMaxRecordSize`)"
        }
        "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSAccessDeniedException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => {
            "the key of KMS that it is encrypted with can't be used: it must be enabled, and the \
             credentials need `kms:GenerateDataKey` on it"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_kinesis::{
        config::http::HttpResponse,
        error::{ErrorMetadata, SdkError},
        operation::put_records::PutRecordsError,
    };
    use aws_smithy_types::body::SdkBody;
    use tidegate_core::sink::{SinkError, SinkErrorKind};

    use super::*;

    fn refusal(status: u16, code: &str, headers: &[(&'static str, &'static str)]) -> SinkError {
        let status = status.try_into().expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::empty());
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        let meta = ErrorMetadata::builder().code(code).message("as Kinesis puts it").build();
        let error = SdkError::service_error(PutRecordsError::generic(meta), response);
        REFUSALS.failed("it failed".to_owned(), error)
    }

    #[test]
    fn what_passes_is_told_from_what_needs_a_person() {
        for (status, code) in [
            (400, "ProvisionedThroughputExceededException"),
            (400, "LimitExceededException"),
            (400, "KMSThrottlingException"),
            (400, "ResourceInUseException"),
            (400, "ExpiredTokenException"),
            (500, "InternalFailure"),
            (503, "ServiceUnavailable"),
            (429, "TooManyRequestsException"),
        ] {
            let kind = refusal(status, code, &[]).kind;
            assert_eq!(kind, SinkErrorKind::Unavailable { after: None }, "{code}");
        }
        let asked = refusal(503, "ServiceUnavailable", &[("retry-after", "7")]).kind;
        assert_eq!(asked, SinkErrorKind::Unavailable { after: Some(Duration::from_secs(7)) });
        for (status, code, advised) in [
            (400, "ResourceNotFoundException", "correct `stream`"),
            (400, "InvalidArgumentException", "`record_size`"),
            (400, "KMSDisabledException", "key of KMS"),
            (400, "AccessDeniedException", "`kinesis:PutRecords`"),
            (403, "Forbidden", "`kinesis:PutRecords`"),
            (400, "UnrecognizedClientException", "credentials"),
        ] {
            let error = refusal(status, code, &[]);
            assert_eq!(error.kind, SinkErrorKind::Broken, "{code}");
            assert!(error.message.contains(advised), "{error}");
            let cause = error.cause.expect("Kinesis's own words").to_string();
            assert!(cause.contains(code) && cause.contains("as Kinesis puts it"), "{cause}");
        }
    }
}
