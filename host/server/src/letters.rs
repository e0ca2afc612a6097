//! Dead letters as they lie in their directory.

use std::path::Path;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tidegate_core::Position;

use crate::objects;

/// A dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Letter(Value);

impl Letter {
    /// Reads one out of its line.
    pub(crate) fn parse(line: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(line).map(Letter).context("a dead letter is no JSON")
    }

    /// Names the record: its partition and its position.
    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.etl("partition"), self.etl("position"))
    }

    /// A member of the letter's `etl` block, as text.
    pub(crate) fn etl(&self, name: &str) -> &str {
        self.0["etl"][name].as_str().unwrap_or_default()
    }

    /// Where its record lies.
    pub(crate) fn position(&self) -> anyhow::Result<Position> {
        self.etl("position").parse().context("a dead letter has no position")
    }

    /// When it was written.
    pub(crate) fn time(&self) -> &str {
        self.0["timestamp"].as_str().unwrap_or_default()
    }

    /// The record, byte for byte.
    pub(crate) fn payload(&self) -> anyhow::Result<Vec<u8>> {
        let data = self.0.pointer("/payload/Records/0/kinesis/data").and_then(Value::as_str);
        STANDARD.decode(data.unwrap_or_default()).context("the payload is not base64")
    }

    /// All of it but the payload.
    pub(crate) fn without_payload(mut self) -> Value {
        if let Some(letter) = self.0.as_object_mut() {
            letter.remove("payload");
        }
        self.0
    }
}

/// Calls `visit` with every letter below a directory, in the order of the files' names.
pub(crate) async fn each(
    directory: &Path,
    mut visit: impl FnMut(Letter) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for file in objects::files(directory)? {
        objects::each_record(&file, |batch| {
            (0..batch.len()).try_for_each(|row| visit(Letter::parse(batch.record(row))?))
        })
        .await
        .with_context(|| format!("failed to read dead letters of `{}`", file.display()))?;
    }
    Ok(())
}
