//! An SQS queue that gets copies of dead letters, each line of an object as a message, at least once
//! and in no order.
//!
//! What the queue has taken can't be looked up. It answers for each message of a request by itself:
//! those that it did not take are what is left. A letter that is larger than a message is put into a
//! bucket first, whole, under the digest of its bytes, and the message says where it lies.
//!
//! ```text
//! write ─► letters that are too large ─► bucket
//!      └─► requests, one behind the other ─► some messages not taken: what is left
//!                                         ─► no answer, or none taken: it, and all behind it
//! ```

mod failure;
mod message;
mod probe;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    operation::send_message_batch::SendMessageBatchOutput,
    types::{MessageAttributeValue, SendMessageBatchRequestEntry},
};
use metrics::{Counter, Label};
use tidegate_core::{
    Digest, ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};
use tokio::sync::OnceCell;

use self::{
    failure::REFUSALS,
    message::{Message, split},
};
use crate::{
    aws::{self, AwsConfig, Io},
    sinks::{
        lines::{lines, rest_of},
        meters::{Names, RequestMeters},
    },
};

/// A megabyte over a slow line takes some seconds.
const CALL_MAX: Duration = Duration::from_secs(30);

const METERS: Names = Names {
    requests: "tidegate_sqs_requests_total",
    taken: "tidegate_sqs_messages_total",
    refused: "tidegate_sqs_refused_messages_total",
};

/// A queue, and how letters are sent to it.
#[derive(Clone)]
pub struct SqsConfig {
    /// The sink's name.
    pub name: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The queue's URL.
    pub queue: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// What a message may have, and all messages of a request together, attributes included.
    pub message_bytes_max: usize,
    /// Where larger letters go.
    pub offload: Offload,
}

/// Where letters go that are larger than a message.
#[derive(Clone)]
pub struct Offload {
    /// A sink with named objects.
    pub sink: Arc<dyn Sink>,
    /// What its keys stand behind, for whoever reads a message: `s3://bucket/prefix/`.
    pub place: String,
}

/// Sends copies of dead letters to a queue.
///
/// A queue that is throttled or away is [`SinkErrorKind::Unavailable`], and so are credentials that
/// have expired. What SQS will not do without a person is [`SinkErrorKind::Broken`].
pub struct SqsSink {
    name: String,
    queue: Arc<Queue>,
    io: Io,
}

/// A queue, and the client that it is written to by.
struct Queue {
    config: SqsConfig,
    meters: RequestMeters,
    offloaded: Counter,
    client: OnceCell<Client>,
}

impl SqsSink {
    /// A sink that has made no call yet. Calls are made where this is called.
    pub fn new(config: SqsConfig) -> Self {
        let name = config.name.clone();
        let labels = vec![Label::new("pipeline", config.pipeline.clone())];
        let offloaded = metrics::counter!("tidegate_sqs_offloaded_letters_total", labels.iter());
        let meters = RequestMeters::new(&METERS, labels);
        let queue = Arc::new(Queue { config, meters, offloaded, client: OnceCell::new() });
        SqsSink { name, queue, io: Io::here() }
    }
}

#[async_trait]
impl Sink for SqsSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn naming(&self) -> Naming {
        Naming::Unnamed
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let (queue, objects) = (self.queue.clone(), objects.to_vec());
        let written = self.io.run(async move { queue.write(&objects).await });
        written.await.unwrap_or_else(|error| {
            let message = "requests to SQS were not finished";
            Err(SinkError::new(SinkErrorKind::Unavailable { after: None }, message, error))
        })
    }

    async fn find(&self, _key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}

impl Queue {
    /// Sends all letters, each once. What was not taken is in the error.
    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let lines = lines(objects);
        let messages = self.messages(objects).await?;
        let mut left = Vec::new();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut kind = SinkErrorKind::Unavailable { after: None };
        let mut advice = None;
        for request in split(&messages, self.config.message_bytes_max) {
            let refused = match self.send(&messages[request.clone()]).await {
                Ok(refused) => refused,
                Err(error) => {
                    left.extend(&lines[request.start..]);
                    return Err(error.with_rest(rest_of(objects, left)));
                }
            };
            // Nothing gets through: what is behind it waits too.
            let is_stuck = refused.len() == request.len();
            for Refused { place, code, is_for_good } in refused {
                left.push(&lines[request.start + place]);
                if is_for_good {
                    kind = SinkErrorKind::Broken;
                    advice = advice.or(failure::advice(&code));
                }
                *reasons.entry(code).or_default() += 1;
            }
            if is_stuck {
                left.extend(&lines[request.end..]);
                break;
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let reasons: Vec<_> =
            reasons.iter().map(|(code, messages)| format!("{code}: {messages}")).collect();
        let advice = advice.map(|advice| format!(": {advice}")).unwrap_or_default();
        let message = format!(
            "SQS queue `{}` did not take all dead letters ({}): {} are left{advice}",
            self.config.queue,
            reasons.join(", "),
            left.len()
        );
        Err(SinkError::plain(kind, message).with_rest(rest_of(objects, left)))
    }

    /// A message for each line. Letters that are larger than one lie in the bucket when this returns.
    async fn messages(&self, objects: &[Object]) -> Result<Vec<Message>, SinkError> {
        let Offload { sink, place } = &self.config.offload;
        let mut offloaded = Vec::new();
        let mut messages = Vec::new();
        for line in lines(objects) {
            let object = &objects[line.object];
            let letter = object.content.slice(line.bare(objects));
            // A letter is JSON, and so is text.
            let text = String::from_utf8_lossy(&letter);
            let message = Message::of(&text);
            if message.bytes() <= self.config.message_bytes_max {
                messages.push(message);
                continue;
            }
            let key = format!("{}.json", Digest::of(&letter).hex());
            messages.push(Message::without_payload(&text, &format!("{place}{key}")));
            let provenance = object.provenance.clone();
            offloaded.push(Object { provenance, ..Object::new(key, letter.clone()) });
        }
        if !offloaded.is_empty() {
            sink.write(&offloaded).await.map_err(|error| SinkError { rest: None, ..error })?;
            self.offloaded.increment(offloaded.len() as u64);
        }
        Ok(messages)
    }

    /// Sends one request. Returns the messages that were not taken.
    async fn send(&self, messages: &[Message]) -> Result<Vec<Refused>, SinkError> {
        let queue = &self.config.queue;
        let entries = messages.iter().enumerate().map(entry).collect();
        let send = self.client().await.send_message_batch().queue_url(queue);
        let answer = send.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| {
            REFUSALS.failed(format!("failed to send dead letters to SQS queue `{queue}`"), error)
        });
        let refused = answer.map(|answer| refused(&answer, messages.len()));
        self.meters.ended(messages.len(), refused.as_ref().ok().map(Vec::len));
        refused
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| aws::sqs::client(&self.config.aws, CALL_MAX)).await
    }
}

/// A message of a request that was not taken.
struct Refused {
    /// Its place in the request.
    place: usize,
    code: String,
    /// Sending it again changes nothing.
    is_for_good: bool,
}

/// Which messages an answer does not say were taken.
fn refused(answer: &SendMessageBatchOutput, messages: usize) -> Vec<Refused> {
    let place = |id: &str| id.parse::<usize>().ok();
    let taken: BTreeSet<_> = answer.successful().iter().filter_map(|it| place(it.id())).collect();
    let failed: BTreeMap<_, _> =
        answer.failed().iter().filter_map(|it| Some((place(it.id())?, it))).collect();
    let refused = (0..messages).filter_map(|place| match failed.get(&place) {
        Some(failed) => {
            let code = failed.code().to_owned();
            let is_for_good = failed.sender_fault() && !REFUSALS.passes(&code);
            Some(Refused { place, code, is_for_good })
        }
        None if taken.contains(&place) => None,
        None => Some(Refused { place, code: "not answered".to_owned(), is_for_good: false }),
    });
    refused.collect()
}

/// A message of a request, called by its place.
fn entry((place, message): (usize, &Message)) -> SendMessageBatchRequestEntry {
    let mut entry = SendMessageBatchRequestEntry::builder().id(place.to_string());
    for attribute in &message.attributes {
        let value = MessageAttributeValue::builder()
            .data_type(attribute.data_type())
            .string_value(&attribute.value)
            .build();
        entry = entry.message_attributes(attribute.name, value.expect("it has a type"));
    }
    entry.message_body(&message.body).build().expect("it has an id and a body")
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchResultEntry};

    use super::*;

    #[test]
    fn what_an_answer_does_not_say_is_taken_is_not() {
        let taken = |id: &str| {
            let entry = SendMessageBatchResultEntry::builder().id(id).message_id("m");
            entry.md5_of_message_body("x").build().expect("it has what it takes")
        };
        let failed = |id: &str, code: &str, sender: bool| {
            let entry = BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender);
            entry.build().expect("it has what it takes")
        };
        let answer = SendMessageBatchOutput::builder()
            .successful(taken("0"))
            .successful(taken("3"))
            .successful(taken("17"))
            .failed(failed("1", "InternalError", false))
            .failed(failed("3", "InvalidMessageContents", true))
            .failed(failed("4", "RequestThrottled", true))
            .build()
            .expect("it has both lists");
        let refused: Vec<_> =
            refused(&answer, 5).into_iter().map(|it| (it.place, it.code, it.is_for_good)).collect();
        let refusal = |place, code: &str, is_for_good| (place, code.to_owned(), is_for_good);
        assert_eq!(
            refused,
            [
                refusal(1, "InternalError", false),
                refusal(2, "not answered", false),
                refusal(3, "InvalidMessageContents", true),
                refusal(4, "RequestThrottled", false),
            ]
        );
    }
}
