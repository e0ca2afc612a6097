//! A dead letter as a message: its line, and what consumers filter by as attributes.

use std::{borrow::Cow, ops::Range};

use serde::Deserialize;
use serde_json::Value;

/// How many messages one request takes.
const MESSAGES_MAX: usize = 10;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) body: String,
    pub(super) attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) is_number: bool,
    pub(super) value: String,
}

impl Attribute {
    /// What SQS calls its type.
    pub(super) fn data_type(&self) -> &'static str {
        if self.is_number { "Number" } else { "String" }
    }
}

/// What the attributes are made of.
#[derive(Deserialize)]
struct Letter<'l> {
    #[serde(borrow)]
    etl: Etl<'l>,
    payload: Payload<'l>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Etl<'l> {
    #[serde(borrow)]
    stage: Cow<'l, str>,
    #[serde(borrow)]
    error_code: Cow<'l, str>,
    attempts: u64,
    #[serde(borrow)]
    pipeline: Cow<'l, str>,
    #[serde(borrow)]
    partition: Cow<'l, str>,
    component_digest: Option<Cow<'l, str>>,
    redrive_count: u64,
}

#[derive(Deserialize)]
struct Payload<'l> {
    #[serde(rename = "Records", borrow)]
    records: [Record<'l>; 1],
}

#[derive(Deserialize)]
struct Record<'l> {
    #[serde(borrow)]
    kinesis: Kinesis<'l>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'l> {
    #[serde(borrow)]
    sequence_number: Cow<'l, str>,
}

impl Message {
    /// The message of a letter's line, without its line break.
    pub(super) fn of(line: &str) -> Message {
        Message { body: allowed_in_json(line), attributes: attributes(line) }
    }

    /// The same without the record and what else may be large: all of it lies elsewhere. A line that
    /// is no letter is not to be told from one.
    pub(super) fn without_payload(line: &str, payload_ref: &str) -> Message {
        let mut letter: Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(letter) = letter.as_object_mut() {
            letter.remove("payload");
            let etl = letter.entry("etl").or_insert_with(|| Value::Object(Default::default()));
            if let Some(etl) = etl.as_object_mut() {
                for large in ["call", "findings", "backtrace"] {
                    etl.remove(large);
                }
                etl.insert("payloadRef".to_owned(), payload_ref.into());
            }
        }
        Message { body: allowed_in_json(&letter.to_string()), attributes: attributes(line) }
    }

    /// What it counts for: names, types and values of its attributes, too.
    pub(super) fn bytes(&self) -> usize {
        let attribute = |it: &Attribute| it.name.len() + it.data_type().len() + it.value.len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// What consumers filter by; nothing of a line that is no letter.
fn attributes(line: &str) -> Vec<Attribute> {
    let Ok(Letter { etl, payload: Payload { records: [record] } }) = serde_json::from_str(line)
    else {
        return Vec::new();
    };
    let text = |name, value: &str| Attribute { name, is_number: false, value: allowed(value) };
    let number = |name, value: u64| Attribute { name, is_number: true, value: value.to_string() };
    let mut attributes = vec![
        text("stage", &etl.stage),
        text("errorCode", &etl.error_code),
        number("attempts", etl.attempts),
        text("pipeline", &etl.pipeline),
        text("shardId", &etl.partition),
        text("sequenceNumber", &record.kinesis.sequence_number),
        text("componentDigest", &etl.component_digest.unwrap_or_default()),
        number("redriveCount", etl.redrive_count),
    ];
    // SQS takes no empty ones.
    attributes.retain(|attribute| !attribute.value.is_empty());
    attributes
}

/// Two characters that JSON may hold and SQS refuses, as escapes. They can only stand in texts.
fn allowed_in_json(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// A text without the characters that SQS refuses.
fn allowed(text: &str) -> String {
    let clean = |c: char| match c {
        '\t' | '\n' | '\r' => c,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(clean).collect()
}

/// Requests: each is as many consecutive messages as fit into one, and at least one.
pub(super) fn split(messages: &[Message], bytes_max: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |message: &&Message| {
            bytes += message.bytes();
            bytes <= bytes_max
        };
        let fitting = messages[start..].iter().take(MESSAGES_MAX).take_while(fits).count();
        let end = messages.len().min(start + fitting.max(1));
        let request = start..end;
        start = end;
        (!request.is_empty()).then_some(request)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter() -> Value {
        json!({
            "version": "1.0",
            "payload": { "Records": [{ "kinesis": { "sequenceNumber": "49", "data": "e30=" } }] },
            "etl": {
                "stage": "transform:validate", "errorCode": "rejected", "attempts": 2,
                "pipeline": "orders", "partition": "shardId-0", "componentDigest": "sha256:ab",
                "redriveCount": 1, "call": { "columns": [] }, "findings": [{ "rule": "r" }],
                "backtrace": "a\nb", "payloadSha256": "44", "errorMessage": "no amount",
            },
        })
    }

    fn attributes_of(message: &Message) -> Vec<(&str, &str, &str)> {
        let all = message.attributes.iter();
        all.map(|it| (it.name, it.data_type(), it.value.as_str())).collect()
    }

    #[test]
    fn a_letter_is_a_message_with_attributes() {
        let line = letter().to_string();
        let message = Message::of(&line);
        assert_eq!(message.body, line);
        let expected = [
            ("stage", "String", "transform:validate"),
            ("errorCode", "String", "rejected"),
            ("attempts", "Number", "2"),
            ("pipeline", "String", "orders"),
            ("shardId", "String", "shardId-0"),
            ("sequenceNumber", "String", "49"),
            ("componentDigest", "String", "sha256:ab"),
            ("redriveCount", "Number", "1"),
        ];
        assert_eq!(attributes_of(&message), expected);
        let attributes: usize =
            expected.iter().map(|(name, kind, value)| name.len() + kind.len() + value.len()).sum();
        assert_eq!(message.bytes(), line.len() + attributes);

        let mut without = letter();
        without["etl"]["componentDigest"] = Value::Null;
        without["etl"]["partition"] = "a\u{1}\u{ffff}b".into();
        let message = Message::of(&without.to_string());
        assert_eq!(message.attributes.len(), 7, "an empty one is left out");
        assert_eq!(message.attributes[4].value, "a\u{fffd}\u{fffd}b");
        assert!(!message.body.contains('\u{ffff}'), "SQS refuses it");
        assert_eq!(serde_json::from_str::<Value>(&message.body).expect("still JSON"), without);
    }

    #[test]
    fn what_is_no_letter_is_sent_as_it_is() {
        let message = Message::of("{\"position\":\"7\"}");
        assert_eq!((message.body.as_str(), message.attributes.len()), ("{\"position\":\"7\"}", 0));
    }

    #[test]
    fn a_letter_whose_payload_lies_elsewhere_says_where() {
        let message = Message::without_payload(&letter().to_string(), "s3://b/p/44.json");
        let mut expected = letter();
        expected.as_object_mut().expect("it is one").remove("payload");
        let etl = expected["etl"].as_object_mut().expect("it is one");
        for large in ["call", "findings", "backtrace"] {
            assert!(etl.remove(large).is_some());
        }
        etl.insert("payloadRef".to_owned(), "s3://b/p/44.json".into());
        assert_eq!(serde_json::from_str::<Value>(&message.body).expect("JSON"), expected);
        assert_eq!(message.attributes.len(), 8, "of the payload, too");
    }

    #[test]
    fn a_request_has_as_many_messages_as_it_may() {
        let sizes = |lengths: &[usize], bytes_max| {
            let message =
                |length: &usize| Message { body: "x".repeat(*length), attributes: vec![] };
            let messages: Vec<_> = lengths.iter().map(message).collect();
            split(&messages, bytes_max).map(|request| request.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[], 100), [0; 0]);
        assert_eq!(sizes(&[1; 23], 100), [10, 10, 3]);
        assert_eq!(sizes(&[50; 5], 100), [2, 2, 1]);
        assert_eq!(sizes(&[51, 50, 50], 100), [1, 2]);
        assert_eq!(sizes(&[101, 1], 100), [1, 1], "whether it is taken, SQS says");
    }
}
