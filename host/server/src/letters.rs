//! Dead letters as they lie in their directory, or in their bucket.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Position, Timestamp, source::PartitionId};

use crate::objects::{self, Objects};

/// A dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Letter(Value);

/// What names a letter: its record, and how often that had been redriven.
pub(crate) type LetterKey = (PartitionId, Position, u32);

/// Why a record is dead: what letters are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Reason {
    pub(crate) stage: String,
    pub(crate) code: String,
    /// The rule of the plugin, where one was broken.
    pub(crate) rule: Option<String>,
}

/// Which letters are wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) stage: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) partition: Option<String>,
    /// How the component's digest begins, with or without `sha256:`.
    pub(crate) digest: Option<String>,
    /// Written at this time or later.
    pub(crate) since: Option<Timestamp>,
    /// Written before this time.
    pub(crate) until: Option<Timestamp>,
}

impl Wanted {
    /// Whether a letter is.
    pub(crate) fn takes(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == letter.etl(name))
        };
        let digest = letter.etl("componentDigest");
        let begins = |wanted: &String| {
            let bare = |text: &str| text.trim_start_matches("sha256:").to_ascii_lowercase();
            !digest.is_empty() && bare(digest).starts_with(&bare(wanted))
        };
        let time = Timestamp::parse(letter.time());
        is(&self.stage, "stage")
            && is(&self.code, "errorCode")
            && is(&self.class, "errorClass")
            && is(&self.rule, "rule")
            && is(&self.partition, "partition")
            && self.digest.as_ref().is_none_or(begins)
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time < until))
    }
}

impl Letter {
    /// Reads one out of its line.
    pub(crate) fn parse(line: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(line).map(Letter).context("a dead letter is no JSON")
    }

    /// One that stands in a capsule.
    pub(crate) fn from_json(json: Value) -> Self {
        Letter(json)
    }

    /// Names the record: its partition and its position.
    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.etl("partition"), self.etl("position"))
    }

    /// Names the letter.
    pub(crate) fn key(&self) -> anyhow::Result<LetterKey> {
        Ok((PartitionId::from(self.etl("partition")), self.position()?, self.redrives()))
    }

    /// Why its record is dead.
    pub(crate) fn reason(&self) -> Reason {
        let rule = Some(self.etl("rule").to_owned()).filter(|rule| !rule.is_empty());
        let text = |name: &str| self.etl(name).to_owned();
        Reason { stage: text("stage"), code: text("errorCode"), rule }
    }

    /// A member of the letter's `etl` block, as text.
    pub(crate) fn etl(&self, name: &str) -> &str {
        self.0["etl"][name].as_str().unwrap_or_default()
    }

    /// Where its record lies.
    pub(crate) fn position(&self) -> anyhow::Result<Position> {
        self.etl("position").parse().context("a dead letter has no position")
    }

    /// How often its record had been redriven before.
    pub(crate) fn redrives(&self) -> u32 {
        let count = self.0["etl"]["redriveCount"].as_u64().unwrap_or_default();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether its payload is not a record, but what the source could not take one out of.
    pub(crate) fn payload_is_raw(&self) -> bool {
        self.0["etl"]["payloadIsRaw"].as_bool().unwrap_or_default()
    }

    /// The call that failed with the record alone.
    pub(crate) fn call(&self) -> Option<&Value> {
        self.0["etl"].get("call")
    }

    /// When it was written.
    pub(crate) fn time(&self) -> &str {
        self.0["timestamp"].as_str().unwrap_or_default()
    }

    /// When the source received its record, where it said so.
    pub(crate) fn arrival(&self) -> Option<Timestamp> {
        let pointer = "/payload/Records/0/kinesis/approximateArrivalTimestamp";
        let seconds = self.0.pointer(pointer)?.as_f64()?;
        // Seconds with six places: a float holds them for some hundred years.
        Some(Timestamp((seconds * 1e6).round() as i64))
    }

    /// The record, byte for byte.
    pub(crate) fn payload(&self) -> anyhow::Result<Vec<u8>> {
        let data = self.0.pointer("/payload/Records/0/kinesis/data").and_then(Value::as_str);
        STANDARD.decode(data.unwrap_or_default()).context("the payload is not base64")
    }

    /// All of it.
    pub(crate) fn json(&self) -> &Value {
        &self.0
    }

    /// All of it but the payload, and what a plugin was called with of it.
    pub(crate) fn without_payload(mut self) -> Value {
        if let Some(letter) = self.0.as_object_mut() {
            letter.remove("payload");
            if let Some(etl) = letter.get_mut("etl").and_then(Value::as_object_mut) {
                etl.remove("call");
            }
        }
        self.0
    }
}

/// Calls `visit` with every letter that there is, in the order of the objects' names.
pub(crate) async fn each(
    objects: &Objects,
    mut visit: impl FnMut(Letter) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for key in objects.keys().await? {
        in_object(objects, &key, &mut visit).await?;
    }
    Ok(())
}

/// Calls `visit` with every letter of one object.
pub(crate) async fn in_object(
    objects: &Objects,
    key: &str,
    mut visit: impl FnMut(Letter) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let context = || format!("failed to read dead letters of `{}`", objects.place(key));
    let file = objects.file(key).await.with_context(context)?;
    objects::each_record(file.path(), |batch| {
        (0..batch.len()).try_for_each(|row| visit(Letter::parse(batch.record(row))?))
    })
    .await
    .with_context(context)
}
