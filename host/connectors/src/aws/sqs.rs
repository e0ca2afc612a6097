//! A client of Amazon SQS, and what of its refusals passes.

use std::time::Duration;

use aws_sdk_sqs::Client;

use super::{AwsConfig, TlsOnly, no_retries, timeouts};

/// What passes by itself.
pub(crate) const PASSING: &[&str] = &[
    "InternalError",
    "RequestThrottled",
    "AWS.SimpleQueueService.RequestThrottled",
    "ServiceUnavailable",
    "KmsThrottled",
    "KMS.ThrottlingException",
    "OverLimit",
    "AWS.SimpleQueueService.OverLimit",
];

/// A client whose calls take no longer than this.
pub(crate) async fn client(aws: &AwsConfig, call_max: Duration) -> Client {
    let mut config = aws_sdk_sqs::config::Builder::from(&aws.load().await);
    if let Some(endpoint) = &aws.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let config =
        config.timeout_config(timeouts(call_max)).retry_config(no_retries()).interceptor(TlsOnly);
    Client::from_conf(config.build())
}
