//! A client of Amazon S3.

use std::time::Duration;

use aws_sdk_s3::{Client, config::ResponseChecksumValidation};

use super::{AwsConfig, service_config};

/// A client whose calls take no longer than this.
pub(crate) async fn client(aws: &AwsConfig, path_style: bool, call_max: Duration) -> Client {
    let config = service_config!(aws_sdk_s3, aws, call_max)
        .force_path_style(path_style)
        // There is none for a part of an object, and that of an object in parts can't be validated.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Client::from_conf(config.build())
}
