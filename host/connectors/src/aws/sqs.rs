//! A client of Amazon SQS, what of its refusals passes, and what a queue says of itself.

use std::{collections::HashMap, time::Duration};

use aws_sdk_sqs::{Client, types::QueueAttributeName};

use super::{AwsConfig, probe::unproven, service_config};
use crate::probe::Unproven;

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
    Client::from_conf(service_config!(aws_sdk_sqs, aws, call_max).build())
}

/// The action that a probe asks a queue by.
pub(crate) const ATTRIBUTES: &str = "sqs:GetQueueAttributes";

/// What a queue says of itself, to a probe. It must be a standard queue.
pub(crate) async fn attributes(
    client: &Client,
    queue: &str,
) -> Result<HashMap<QueueAttributeName, String>, Unproven> {
    let ask = client.get_queue_attributes().queue_url(queue);
    let asked = ask.attribute_names(QueueAttributeName::All).send().await;
    let missing = "there is none of this address in this region: create it, or correct `queue` and \
                   its region";
    let asked = asked.map_err(|error| {
        let error = unproven(ATTRIBUTES, missing, error);
        error.or_without(
            "the pipeline does not need it, and whether the queue is there is not known",
        )
    })?;
    let attributes = asked.attributes.unwrap_or_default();
    match attributes.get(&QueueAttributeName::FifoQueue).map(String::as_str) {
        Some("true") => {
            Err(Unproven::failed("it is a FIFO queue", "it must be a standard queue").for_all())
        }
        _ => Ok(attributes),
    }
}
