//! What SQS's refusals of a whole request mean.

use crate::aws::{refusals::Refusals, sqs::PASSING};

pub(super) const REFUSALS: Refusals =
    Refusals { passing: PASSING, permission: "`sqs:SendMessage` on the queue", advice };

/// What a person has to do.
pub(super) fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "InvalidAddress" => {
            "there is none of this address in this region: create it, or correct `queue` and \
             `region`"
        }
        "BatchRequestTooLong"
        | "AWS.SimpleQueueService.BatchRequestTooLong"
        | "InvalidParameterValue"
        | "InvalidParameterValueException" => {
            "it takes less than the config says: make `message_size` as small as the queue's \
             `MaximumMessageSize`, or that larger"
        }
        "KmsAccessDenied" | "KmsDisabled" | "KmsInvalidState" | "KmsNotFound"
        | "KmsOptInRequired" | "KmsInvalidKeyUsage" => {
            "the key of KMS that it is encrypted with can't be used: it must be enabled, and the \
             credentials need `kms:GenerateDataKey` and `kms:Decrypt` on it"
        }
        "UnsupportedOperation" | "AWS.SimpleQueueService.UnsupportedOperation" => {
            "it must be a standard queue"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::{
        config::http::HttpResponse,
        error::{ErrorMetadata, SdkError},
        operation::send_message_batch::SendMessageBatchError,
    };
    use aws_smithy_types::body::SdkBody;
    use tidegate_core::sink::{SinkError, SinkErrorKind};

    use super::*;

    fn refusal(status: u16, code: &str) -> SinkError {
        let status = status.try_into().expect("a status");
        let response = HttpResponse::new(status, SdkBody::empty());
        let meta = ErrorMetadata::builder().code(code).message("as SQS puts it").build();
        let error = SdkError::service_error(SendMessageBatchError::generic(meta), response);
        REFUSALS.failed("it failed".to_owned(), error)
    }

    #[test]
    fn what_passes_is_told_from_what_needs_a_person() {
        for (status, code) in [
            (403, "RequestThrottled"),
            (400, "KmsThrottled"),
            (400, "ThrottlingException"),
            (400, "ExpiredToken"),
            (500, "InternalError"),
            (503, "ServiceUnavailable"),
        ] {
            let kind = refusal(status, code).kind;
            assert_eq!(kind, SinkErrorKind::Unavailable { after: None }, "{code}");
        }
        for (status, code, advised) in [
            (400, "QueueDoesNotExist", "correct `queue`"),
            (400, "AWS.SimpleQueueService.NonExistentQueue", "correct `queue`"),
            (400, "BatchRequestTooLong", "`message_size`"),
            (400, "KmsDisabled", "key of KMS"),
            (403, "AccessDenied", "`sqs:SendMessage`"),
            (400, "AccessDeniedException", "`sqs:SendMessage`"),
            (403, "InvalidClientTokenId", "credentials"),
        ] {
            let error = refusal(status, code);
            assert_eq!(error.kind, SinkErrorKind::Broken, "{code}");
            assert!(error.message.contains(advised), "{error}");
        }
    }
}
