//! The events that a function is invoked with, by their shape.
//!
//! Texts stay where they stand in the event: a record's data is decoded once, into its batch.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use tidegate_core::Timestamp;

use crate::config::Contract;

/// An event of one of the contracts.
#[derive(Debug)]
pub(super) enum Event<'a> {
    Firehose(FirehoseEvent<'a>),
    Kinesis(KinesisEvent<'a>),
}

/// An event that is none, or not as it should be. Says nothing of what stands in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error(
        "the event is neither one of Firehose (`records`) nor one of Kinesis (`Records`, of \
         `aws:kinesis`): this function transforms records for a Firehose stream, or has an event \
         source mapping to a Kinesis stream, and nobody else invokes it"
    )]
    Unknown,
    #[error(
        "the event is of `{0}`, and this function takes those of Kinesis and Firehose: remove the \
         event source mapping"
    )]
    Foreign(String),
    #[error(
        "the event source mapping has a tumbling window, and states are kept nowhere in a function: \
         set `TumblingWindowInSeconds` to 0"
    )]
    Window,
    #[error("the event is not as {0} sends it: {1}")]
    Malformed(&'static str, String),
}

/// What tells the events apart.
#[derive(Deserialize)]
struct Shape {
    records: Option<IgnoredAny>,
    #[serde(rename = "Records")]
    of_mapping: Option<Vec<Origin>>,
    window: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Origin {
    #[serde(rename = "eventSource", alias = "EventSource")]
    event_source: Option<String>,
}

/// Firehose asks for records to be transformed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FirehoseEvent<'a> {
    #[serde(default)]
    pub(super) invocation_id: String,
    #[serde(default)]
    pub(super) delivery_stream_arn: String,
    #[serde(borrow)]
    pub(super) records: Vec<FirehoseRecord<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FirehoseRecord<'a> {
    #[serde(borrow)]
    pub(super) record_id: Cow<'a, str>,
    #[serde(default)]
    approximate_arrival_timestamp: Option<f64>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kinesis_record_metadata: Option<StreamMetadata<'a>>,
}

/// Where a record lay in the Kinesis stream that Firehose has it from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamMetadata<'a> {
    #[serde(borrow)]
    pub(super) shard_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) sequence_number: Cow<'a, str>,
    /// A number, or a text that may be empty.
    #[serde(default)]
    subsequence_number: Option<Number>,
    #[serde(borrow, default)]
    partition_key: Option<Cow<'a, str>>,
    #[serde(default)]
    approximate_arrival_timestamp: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

/// Lambda hands over records of a shard.
#[derive(Debug, Deserialize)]
pub(super) struct KinesisEvent<'a> {
    #[serde(rename = "Records", borrow)]
    pub(super) records: Vec<KinesisRecord<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct KinesisRecord<'a> {
    #[serde(rename = "eventID", borrow, default)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kinesis: StreamRecord<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamRecord<'a> {
    /// None where Kinesis distributes the records by itself.
    #[serde(borrow, default)]
    partition_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) sequence_number: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    /// In seconds.
    #[serde(default)]
    approximate_arrival_timestamp: Option<f64>,
}

impl<'a> Event<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, EventError> {
        let shape: Shape = serde_json::from_str(text).map_err(|_| EventError::Unknown)?;
        if shape.records.is_some() {
            return read("Firehose", text).map(Event::Firehose);
        }
        let origins = shape.of_mapping.ok_or(EventError::Unknown)?;
        for origin in origins {
            match origin.event_source.as_deref() {
                Some("aws:kinesis") => {}
                Some(other) => return Err(EventError::Foreign(other.to_owned())),
                None => return Err(EventError::Unknown),
            }
        }
        if shape.window.is_some() {
            return Err(EventError::Window);
        }
        read("Kinesis", text).map(Event::Kinesis)
    }

    pub(super) fn contract(&self) -> Contract {
        match self {
            Event::Firehose(_) => Contract::Firehose,
            Event::Kinesis(_) => Contract::Kinesis,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(whose: &'static str, text: &'a str) -> Result<T, EventError> {
    serde_json::from_str(text).map_err(|error| {
        // Other messages may tell what they found: somebody's data.
        let text = error.to_string();
        let what = match text.starts_with("missing field") {
            true => text,
            false => format!(
                "a value of another kind at line {}, column {}",
                error.line(),
                error.column()
            ),
        };
        EventError::Malformed(whose, what)
    })
}

impl FirehoseRecord<'_> {
    /// Appends the record's bytes. Where they can't be had, says so and appends what there is.
    pub(super) fn decode(&self, into: &mut Vec<u8>) -> Option<(&'static str, String)> {
        decode(&self.data, into)
    }

    /// When it arrived, where that is said.
    pub(super) fn arrival(&self) -> Option<Timestamp> {
        let of_stream = self.kinesis_record_metadata.as_ref();
        let of_stream = of_stream.and_then(|it| it.approximate_arrival_timestamp);
        let milliseconds = of_stream.or(self.approximate_arrival_timestamp)?;
        Some(Timestamp((milliseconds * 1e3) as i64))
    }
}

impl StreamMetadata<'_> {
    /// Empty where it has none.
    pub(super) fn partition_key(&self) -> &str {
        self.partition_key.as_deref().unwrap_or_default()
    }

    pub(super) fn subsequence_number(&self) -> u64 {
        match &self.subsequence_number {
            Some(Number::Number(number)) => *number,
            Some(Number::Text(text)) => text.parse().unwrap_or_default(),
            None => 0,
        }
    }
}

impl KinesisRecord<'_> {
    /// The shard, which the event's id begins with.
    pub(super) fn shard(&self) -> &str {
        self.event_id.split_once(':').map_or("", |(shard, _)| shard)
    }
}

impl StreamRecord<'_> {
    pub(super) fn decode(&self, into: &mut Vec<u8>) -> Option<(&'static str, String)> {
        decode(&self.data, into)
    }

    /// Empty where it has none.
    pub(super) fn partition_key(&self) -> &str {
        self.partition_key.as_deref().unwrap_or_default()
    }

    /// When it arrived, where that is said.
    pub(super) fn arrival(&self) -> Option<Timestamp> {
        Some(Timestamp((self.approximate_arrival_timestamp? * 1e6) as i64))
    }
}

fn decode(text: &str, into: &mut Vec<u8>) -> Option<(&'static str, String)> {
    let start = into.len();
    let error = STANDARD.decode_vec(text, into).err()?;
    into.truncate(start);
    into.extend_from_slice(text.as_bytes());
    // The library's message names a byte and where it stands.
    let message = match error {
        base64::DecodeError::InvalidByte(at, _) => {
            format!("its data is no base64 from byte {at} on")
        }
        _ => "its data is no base64".to_owned(),
    };
    Some(("not-base64", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_by_their_shape() {
        let firehose = r#"{"invocationId":"i","deliveryStreamArn":"a","region":"r","records":[
            {"recordId":"1","approximateArrivalTimestamp":1495072949453,"data":"YQ=="},
            {"recordId":"2","approximateArrivalTimestamp":2,"data":"YQ==","kinesisRecordMetadata":
             {"sequenceNumber":"7","subsequenceNumber":"","partitionKey":"k",
              "shardId":"shardId-000000000000","approximateArrivalTimestamp":1520603660111}},
            {"recordId":"3","data":"YQ==","kinesisRecordMetadata":
             {"sequenceNumber":"7","subsequenceNumber":2,"shardId":"s"}}]}"#;
        let Ok(Event::Firehose(event)) = Event::parse(firehose) else { panic!("it is one") };
        assert!(matches!(event.records[0].data, Cow::Borrowed("YQ==")), "nothing is copied");
        assert_eq!(event.records[0].arrival(), Some(Timestamp(1_495_072_949_453_000)));
        let metadata = |row: usize| event.records[row].kinesis_record_metadata.as_ref().unwrap();
        assert_eq!((metadata(1).subsequence_number(), metadata(2).subsequence_number()), (0, 2));
        let kinesis = r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"1",
            "sequenceNumber":"49590338271490256608559692538361571095921575989136588898",
            "data":"SGVsbG8=","approximateArrivalTimestamp":1545084650.987},
            "eventSource":"aws:kinesis","eventID":"shardId-000000000006:4959","awsRegion":"r"}]}"#;
        let Ok(Event::Kinesis(event)) = Event::parse(kinesis) else { panic!("it is one") };
        assert_eq!(event.records[0].shard(), "shardId-000000000006");
        assert_eq!(event.records[0].kinesis.arrival(), Some(Timestamp(1_545_084_650_987_000)));
    }

    #[test]
    fn other_events_are_named_and_their_data_is_not() {
        let error = |text: &str| Event::parse(text).unwrap_err().to_string();
        assert!(error("{}").contains("neither one of Firehose"));
        assert!(error("[1]").contains("neither one of Firehose"));
        let sqs = r#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#;
        assert!(error(sqs).contains("`aws:sqs`"));
        let window = r#"{"window":{},"state":{},"Records":[]}"#;
        assert!(error(window).contains("TumblingWindowInSeconds"));
        let no_id = r#"{"records":[{"data":"c2VjcmV0"}]}"#;
        assert!(error(no_id).contains("missing field `recordId`"));
        let secret = error(r#"{"records":[{"recordId":"1","data":{"secret":1}}]}"#);
        assert!(
            secret.contains("another kind at line 1") && !secret.contains("secret"),
            "{secret}"
        );
        let secret = error(r#"{"records":"secret"}"#);
        assert!(!secret.contains("secret"), "{secret}");
    }

    #[test]
    fn what_is_no_base64_is_kept_as_it_came() {
        let mut bytes = b"before".to_vec();
        assert!(decode("YQ==", &mut bytes).is_none());
        let (code, message) = decode("YQ!!", &mut bytes).unwrap();
        assert_eq!((code, &*message), ("not-base64", "its data is no base64 from byte 2 on"));
        assert_eq!(bytes, b"beforeaYQ!!");
    }
}
