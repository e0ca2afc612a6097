//! The answer to Firehose: each record id once, and no more bytes than a function may answer with.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::Serialize;

/// What a function may answer with: 6 MiB. Lambda cuts nothing: a larger answer is an error, and the
/// whole batch with it.
const REPLY_BYTES_MAX: usize = 6 << 20;

const HEAD: &str = "{\"records\":[";
const TAIL: &str = "]}";

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on, as this.
    Ok { data: Vec<u8>, partition_keys: BTreeMap<String, String> },
    /// Nobody wants it.
    Dropped,
    /// Firehose writes it below its error prefix, as it came.
    Failed,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    record_id: &'a str,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

struct Data<'a>(&'a [u8]);

impl Serialize for Data<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    partition_keys: &'a BTreeMap<String, String>,
}

/// An answer, and how many records did not fit into it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) too_large: usize,
}

impl Reply {
    /// An answer of records in their order. One that does not fit has failed, so that the answer as a
    /// whole is one.
    pub(super) fn new(records: &[(Cow<'_, str>, Verdict)]) -> Self {
        Reply::within(REPLY_BYTES_MAX, records)
    }

    fn within(bytes_max: usize, records: &[(Cow<'_, str>, Verdict)]) -> Self {
        let mut entries: Vec<String> =
            records.iter().map(|(id, verdict)| entry(id, verdict)).collect();
        let frame = HEAD.len() + TAIL.len() + entries.len();
        let mut too_large = 0;
        if entries.iter().map(String::len).sum::<usize>() + frame > bytes_max {
            // There is room for each that has failed. What is left is for the others, in order.
            let failed: Vec<Option<String>> = records
                .iter()
                .map(|(id, verdict)| {
                    matches!(verdict, Verdict::Ok { .. }).then(|| entry(id, &Verdict::Failed))
                })
                .collect();
            let least = entries.iter().zip(&failed);
            let least = least.map(|(entry, failed)| failed.as_ref().unwrap_or(entry).len());
            let mut bytes = least.sum::<usize>() + frame;
            for (entry, failed) in entries.iter_mut().zip(failed) {
                let Some(failed) = failed else { continue };
                let with_it = bytes - failed.len() + entry.len();
                if with_it <= bytes_max {
                    bytes = with_it;
                } else {
                    *entry = failed;
                    too_large += 1;
                }
            }
        }
        Reply { text: format!("{HEAD}{}{TAIL}", entries.join(",")), too_large }
    }
}

fn entry(record_id: &str, verdict: &Verdict) -> String {
    let (result, data, metadata) = match verdict {
        Verdict::Ok { data, partition_keys } => {
            let metadata = (!partition_keys.is_empty()).then_some(Metadata { partition_keys });
            ("Ok", Some(Data(data)), metadata)
        }
        Verdict::Dropped => ("Dropped", None, None),
        Verdict::Failed => ("ProcessingFailed", None, None),
    };
    let entry = Entry { record_id, result, data, metadata };
    serde_json::to_string(&entry).expect("texts have a form in JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ok(data: &[u8]) -> Verdict {
        Verdict::Ok { data: data.to_vec(), partition_keys: BTreeMap::new() }
    }

    fn results(reply: &Reply) -> Vec<(String, String)> {
        let json: Value = serde_json::from_str(&reply.text).expect("an answer is JSON");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let records = json["records"].as_array().unwrap().iter();
        records.map(|it| (text(&it["recordId"]), text(&it["result"]))).collect()
    }

    #[test]
    fn an_answer_is_as_firehose_wants_it() {
        let keys = [("type".to_owned(), "a b".to_owned())];
        let records = [
            ("1".into(), ok(b"{}\n")),
            ("\"2\"".into(), Verdict::Dropped),
            ("3".into(), Verdict::Failed),
            ("4".into(), Verdict::Ok { data: b"x".to_vec(), partition_keys: keys.into() }),
        ];
        let reply = Reply::new(&records);
        let expected = json!({ "records": [
            { "recordId": "1", "result": "Ok", "data": "e30K" },
            { "recordId": "\"2\"", "result": "Dropped" },
            { "recordId": "3", "result": "ProcessingFailed" },
            { "recordId": "4", "result": "Ok", "data": "eA==",
              "metadata": { "partitionKeys": { "type": "a b" } } },
        ] });
        assert_eq!(serde_json::from_str::<Value>(&reply.text).unwrap(), expected);
        assert_eq!(reply.too_large, 0);
        assert_eq!(Reply::new(&[]).text, "{\"records\":[]}");
    }

    #[test]
    fn what_does_not_fit_has_failed_and_every_id_is_there_once() {
        let records: Vec<(Cow<'_, str>, Verdict)> = (0..50)
            .map(|i| {
                let verdict = match i % 5 {
                    0 => Verdict::Dropped,
                    1 => Verdict::Failed,
                    _ => ok(&vec![b'x'; i * 20]),
                };
                (format!("record-{i:03}").into(), verdict)
            })
            .collect();
        let whole = Reply::within(usize::MAX, &records);
        let failed: usize = Reply::within(0, &records).text.len();
        for bytes_max in (failed..whole.text.len() + 200).step_by(97) {
            let reply = Reply::within(bytes_max, &records);
            assert!(reply.text.len() <= bytes_max, "{} of {bytes_max}", reply.text.len());
            let ids: Vec<String> = results(&reply).into_iter().map(|(id, _)| id).collect();
            assert!(ids.iter().zip(&records).all(|(id, (expected, _))| id == expected));
            assert_eq!(ids.len(), records.len());
            let fit = results(&reply).iter().filter(|(_, result)| result == "Ok").count();
            assert_eq!(fit + reply.too_large, 30);
            // A large one that is left out does not take those behind it along.
            assert!(reply.too_large == 0 || reply.text.len() + 2000 > bytes_max);
        }
    }
}
