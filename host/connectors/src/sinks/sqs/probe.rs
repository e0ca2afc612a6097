//! Probes of a queue that gets copies of dead letters. That messages can be sent is only proven by a
//! message, which whoever receives it would take for a letter.

use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::SqsSink;
use crate::{
    aws::{
        self, AwsConfig,
        probe::credentials,
        sqs::{ATTRIBUTES, attributes},
    },
    probe::{
        ProbeLevel::{Connect, Write},
        Probed, Probes, Probing, Unproven,
    },
};

impl SqsSink {
    /// What of a queue works from here, to which messages of a size are sent.
    pub async fn probe(
        queue: &str,
        aws: &AwsConfig,
        message_bytes_max: usize,
        probing: Probing,
    ) -> Vec<Probed> {
        let mut probes = Probes::new(probing);
        credentials(&mut probes, aws).await;
        let client = aws::sqs::client(aws, probing.call_max()).await;
        let describe = async {
            let asked = attributes(&client, queue).await?;
            let largest: Option<usize> =
                asked.get(&Name::MaximumMessageSize).and_then(|it| it.parse().ok());
            match largest {
                Some(largest) if largest < message_bytes_max => Err(Unproven::failed(
                    format!(
                        "it takes messages of {largest} bytes, and the config sends up to \
                         {message_bytes_max}"
                    ),
                    "make `message_size` as small as the queue's `MaximumMessageSize`, or that larger",
                )),
                _ => Ok(((), "the queue is there".to_owned())),
            }
        };
        probes.ask(Connect, ATTRIBUTES, queue, describe).await;
        let why =
            "only a message proves it, and whoever receives it would take it for a dead letter";
        probes.leave(Write, "sqs:SendMessage", queue, why);
        probes.found()
    }
}
