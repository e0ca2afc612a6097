//! What Firehose's refusals of a whole request mean.

use crate::aws::refusals::Refusals;

pub(super) const REFUSALS: Refusals = Refusals {
    passing: &[
        "ServiceUnavailableException",
        // The stream's quota, or the account's.
        "LimitExceededException",
    ],
    permission: "`firehose:PutRecordBatch` on the stream",
    advice,
};

/// What a person has to do.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
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
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_firehose::{
        config::http::HttpResponse,
        error::{ErrorMetadata, SdkError},
        operation::put_record_batch::PutRecordBatchError,
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
        let meta = ErrorMetadata::builder().code(code).message("as Firehose puts it").build();
        let error = SdkError::service_error(PutRecordBatchError::generic(meta), response);
        REFUSALS.failed("it failed".to_owned(), error)
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
