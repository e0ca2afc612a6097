//! A client of Amazon S3.

use std::time::Duration;

use aws_sdk_s3::{Client, config::ResponseChecksumValidation};

use super::{AwsConfig, TlsOnly, no_retries, timeouts};

/// A client whose calls take no longer than this.
pub(crate) async fn client(aws: &AwsConfig, path_style: bool, call_max: Duration) -> Client {
    let mut config = aws_sdk_s3::config::Builder::from(&aws.load().await);
    if let Some(endpoint) = &aws.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let config = config
        .force_path_style(path_style)
        .timeout_config(timeouts(call_max))
        .retry_config(no_retries())
        // There is none for a part of an object, and that of an object in parts can't be validated.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(TlsOnly);
    Client::from_conf(config.build())
}
