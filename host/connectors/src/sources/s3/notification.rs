//! What a message says: which objects were created.
//!
//! | shape | what it is known by | a key is |
//! |---|---|---|
//! | S3's own | `Records`, each of `aws:s3` | encoded as in a form: `+` is a space |
//! | EventBridge's | `detail-type` and `detail`, from `aws.s3` | as it is |
//! | either, by SNS | `Type: Notification`, and it stands in `Message` as text | |
//! | S3's test | `Event: s3:TestEvent` | |

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::name::{ObjectVersion, Version};
use crate::probe::PROBE_NAME;

/// What S3 takes for a key.
const KEY_BYTES_MAX: usize = 1_024;

/// What a table of leases takes for the key of a row.
const NAME_BYTES_MAX: usize = 2_048;

/// An error's text may quote the message.
const FAULT_CHARS_MAX: usize = 200;

/// What a message says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notification {
    /// Objects that were created.
    pub(super) created: Vec<ObjectVersion>,
    /// How many things it tells of that are none: that the queue works, that an object is deleted.
    pub(super) others: usize,
    /// What in it can't be understood, where and why.
    pub(super) faults: Vec<String>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "eventSource")]
    source: String,
    #[serde(rename = "eventName")]
    name: String,
    s3: Entity,
}

#[derive(Deserialize)]
struct Entity {
    bucket: Bucket,
    object: EventObject,
}

#[derive(Deserialize)]
struct EventObject {
    key: String,
    size: Option<u64>,
    #[serde(rename = "eTag")]
    tag: Option<String>,
    #[serde(rename = "versionId")]
    version: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: DetailObject,
}

#[derive(Deserialize)]
struct DetailObject {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    #[serde(rename = "version-id")]
    version: Option<String>,
}

impl Notification {
    pub(super) fn parse(body: &str) -> Notification {
        let mut notification = Notification::default();
        match serde_json::from_str(body) {
            Ok(message) => notification.read(message, true),
            Err(error) => notification.fault("the message", format!("is no JSON: {error}")),
        }
        notification
    }

    fn fault(&mut self, place: &str, why: impl std::fmt::Display) {
        let mut fault = format!("{place} {why}");
        if let Some((end, _)) = fault.char_indices().nth(FAULT_CHARS_MAX) {
            fault.truncate(end);
            fault.push('…');
        }
        self.faults.push(fault);
    }

    fn read(&mut self, mut message: Value, may_be_wrapped: bool) {
        let said = |name: &str| message.get(name).and_then(Value::as_str);
        if said("Event") == Some("s3:TestEvent") {
            self.others += 1;
        } else if said("source") == Some("aws.s3") && message.get("detail").is_some() {
            if said("detail-type") != Some("Object Created") {
                self.others += 1;
                return;
            }
            self.detail(message["detail"].take());
        } else if said("Type") == Some("Notification") && may_be_wrapped {
            match said("Message").map(serde_json::from_str) {
                Some(Ok(inner)) => self.read(inner, false),
                Some(Err(error)) => self.fault("`Message`", format!("is no JSON: {error}")),
                None => self.fault("`Message`", "is missing"),
            }
        } else if let Some(Value::Array(records)) = message.get_mut("Records").map(Value::take) {
            if records.is_empty() {
                self.fault("`Records`", "is empty");
            }
            for (place, record) in records.into_iter().enumerate() {
                self.record(&format!("`Records[{place}]`"), record);
            }
        } else {
            self.fault(
                "the message",
                "is no notification of S3, of EventBridge about S3, or of SNS with one of these in it",
            );
        }
    }

    fn record(&mut self, place: &str, record: Value) {
        let event: Event = match serde_json::from_value(record) {
            Ok(event) => event,
            Err(error) => return self.fault(place, format!("is no event of S3: {error}")),
        };
        if event.source != "aws:s3" {
            return self.fault(place, "is of another service than S3");
        }
        if !event.name.starts_with("ObjectCreated:") {
            self.others += 1;
            return;
        }
        let EventObject { key, size, tag, version } = event.s3.object;
        // As forms are encoded: by percent signs, and a space is a plus.
        let spaced = key.replace('+', " ");
        match percent_decode_str(&spaced).decode_utf8() {
            Ok(key) => self.object(place, event.s3.bucket, &key, size, (version, tag)),
            Err(_) => self.fault(place, "has a key that is not UTF-8"),
        }
    }

    fn detail(&mut self, detail: Value) {
        match serde_json::from_value(detail) {
            Ok(Detail { bucket, object: DetailObject { key, size, etag, version } }) => {
                self.object("`detail`", bucket, &key, size, (version, etag));
            }
            Err(error) => self.fault("`detail`", format!("is no event of S3: {error}")),
        }
    }

    fn object(
        &mut self,
        place: &str,
        bucket: Bucket,
        key: &str,
        size: Option<u64>,
        (version, tag): (Option<String>, Option<String>),
    ) {
        // What consoles make where somebody wants a folder, and what a probe writes.
        let name = key.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | PROBE_NAME) && !key.is_empty() && size == Some(0) {
            self.others += 1;
            return;
        }
        // Where a bucket does not keep versions any more, an object without one is replaced in place.
        let id = version.filter(|it| !it.is_empty() && it != "null").map(Version::Id);
        let tag = tag.map(|it| it.trim_matches('"').to_owned()).filter(|it| !it.is_empty());
        match id.or(tag.map(Version::Tag)) {
            _ if key.is_empty() => self.fault(place, "has no key"),
            None => {
                self.fault(place, "says neither which version of the object it is nor its ETag")
            }
            Some(version) => {
                let object = ObjectVersion { bucket: bucket.name, key: key.to_owned(), version };
                if key.len() > KEY_BYTES_MAX || object.partition().0.len() > NAME_BYTES_MAX {
                    return self
                        .fault(place, "has a key or a version that is longer than S3 gives any");
                }
                // A message may say it twice.
                if !self.created.contains(&object) {
                    self.created.push(object);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(key: &str, version: Version) -> ObjectVersion {
        ObjectVersion { bucket: "inbox".to_owned(), key: key.to_owned(), version }
    }

    fn tag(text: &str) -> Version {
        Version::Tag(text.to_owned())
    }

    fn record(name: &str, key: &str) -> Value {
        json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name, "s3": {
            "s3SchemaVersion": "1.0", "bucket": { "name": "inbox", "arn": "arn:aws:s3:::inbox" },
            "object": { "key": key, "size": 7, "eTag": "abc", "sequencer": "0055AED6DCD90281E5" } } })
    }

    #[test]
    fn a_version_that_is_none_and_a_name_that_is_too_long_are_not_taken_for_more() {
        let mut unversioned = record("ObjectCreated:Put", "k");
        unversioned["s3"]["object"]["versionId"] = json!("null");
        let message = json!({ "Records": [unversioned] }).to_string();
        assert_eq!(Notification::parse(&message).created, [object("k", tag("abc"))]);
        let long = json!({ "Records": [record("ObjectCreated:Put", &"k".repeat(1_025))] });
        let long = Notification::parse(&long.to_string());
        assert_eq!((long.created.len(), long.faults.len()), (0, 1), "{:?}", long.faults);
        let quoted = json!({ "Records": ["secret ".repeat(1_000)] }).to_string();
        let fault = Notification::parse(&quoted).faults.remove(0);
        assert!(fault.chars().count() <= FAULT_CHARS_MAX + 1, "{fault}");
    }

    #[test]
    fn the_shapes_say_the_same() {
        let standard = json!({ "Records": [record("ObjectCreated:Put", "a+b/%C3%A9%2B1.jsonl")] });
        let topic = json!({ "Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:::t",
                            "Subject": "Amazon S3 Notification", "Message": standard.to_string() });
        let bridge = json!({ "version": "0", "detail-type": "Object Created", "source": "aws.s3",
            "detail": { "bucket": { "name": "inbox" }, "object": {
                "key": "a b/é+1.jsonl", "size": 7, "etag": "abc", "sequencer": "1" } } });
        let by_topic = json!({ "Type": "Notification", "Message": bridge.to_string() });
        for message in [standard, topic, bridge, by_topic] {
            let found = Notification::parse(&message.to_string());
            let created = vec![object("a b/é+1.jsonl", tag("abc"))];
            assert_eq!(found, Notification { created, ..Notification::default() });
        }
    }

    #[test]
    fn a_version_is_known_by_its_id_where_the_bucket_keeps_versions() {
        let mut standard = record("ObjectCreated:CompleteMultipartUpload", "k");
        standard["s3"]["object"]["versionId"] = json!("v1");
        let found = Notification::parse(&json!({ "Records": [standard] }).to_string());
        assert_eq!(found.created, [object("k", Version::Id("v1".to_owned()))]);
        let bridge = json!({ "detail-type": "Object Created", "source": "aws.s3", "detail": {
            "bucket": { "name": "inbox" }, "object": { "key": "k", "etag": "a", "version-id": "v2" } } });
        let found = Notification::parse(&bridge.to_string());
        assert_eq!(found.created, [object("k", Version::Id("v2".to_owned()))]);
    }

    #[test]
    fn a_message_may_tell_of_many_objects_and_of_other_things() {
        let mut folder = record("ObjectCreated:Put", "folder/");
        folder["s3"]["object"]["size"] = json!(0);
        let mut probe = record("ObjectCreated:Put", "folder/_tidegate-probe");
        probe["s3"]["object"]["size"] = json!(0);
        let records = [
            record("ObjectCreated:Put", "a"),
            record("ObjectRemoved:Delete", "b"),
            record("ObjectCreated:Copy", "c"),
            record("ObjectCreated:Put", "a"),
            folder,
            probe,
        ];
        let found = Notification::parse(&json!({ "Records": records }).to_string());
        assert_eq!(found.created, [object("a", tag("abc")), object("c", tag("abc"))]);
        assert_eq!((found.others, found.faults.len()), (3, 0));
        let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "inbox" });
        let topic = json!({ "Type": "Notification", "Message": test.to_string() });
        let gone = json!({ "source": "aws.s3", "detail-type": "Object Deleted", "detail": {} });
        for message in [test, topic, gone] {
            let found = Notification::parse(&message.to_string());
            assert_eq!(found, Notification { others: 1, ..Notification::default() });
        }
    }

    #[test]
    fn what_can_not_be_understood_is_said_and_what_can_is_kept() {
        let mut nameless = record("ObjectCreated:Put", "x");
        nameless["s3"]["object"]["eTag"] = Value::Null;
        let mut queue = record("ObjectCreated:Put", "x");
        queue["eventSource"] = json!("aws:sqs");
        let wrapped = json!({ "Type": "Notification", "Message": "{\"Type\":\"Notification\"}" });
        for (message, said) in [
            ("hello".to_owned(), "is no JSON"),
            ("{}".to_owned(), "is no notification of S3"),
            ("[]".to_owned(), "is no notification of S3"),
            (r#"{"Records":[]}"#.to_owned(), "`Records` is empty"),
            (r#"{"Records":[{}]}"#.to_owned(), "`Records[0]` is no event of S3: missing field"),
            (json!({ "Records": [nameless] }).to_string(), "nor its ETag"),
            (json!({ "Records": [queue] }).to_string(), "another service"),
            (json!({ "Records": [record("ObjectCreated:Put", "%FF")] }).to_string(), "not UTF-8"),
            (r#"{"Type":"Notification"}"#.to_owned(), "`Message` is missing"),
            (wrapped.to_string(), "is no notification of S3"),
            (
                r#"{"source":"aws.s3","detail-type":"Object Created","detail":7}"#.to_owned(),
                "`detail`",
            ),
        ] {
            let found = Notification::parse(&message);
            assert!(found.created.is_empty(), "{message}");
            assert!(found.faults[0].contains(said), "{message}: {:?}", found.faults);
        }
        let half = json!({ "Records": [record("ObjectCreated:Put", "good"), 7] });
        let found = Notification::parse(&half.to_string());
        assert_eq!(found.created, [object("good", tag("abc"))]);
        assert!(found.faults[0].contains("`Records[1]`"), "{:?}", found.faults);
    }
}
