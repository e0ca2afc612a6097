//! What lies in the bucket: which events, and how often.

use std::collections::{BTreeSet, HashMap};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tidegate_tests::s3::S3;

use super::producer::number;

/// The events of each zone, by number, with how often they are there.
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) raw: HashMap<u64, u32>,
    processed: HashMap<u64, u32>,
    dead: HashMap<u64, u32>,
    seen: BTreeSet<String>,
}

impl Bucket {
    /// How many objects there are below a prefix.
    pub(crate) fn keys(s3: &S3, prefix: &str) -> usize {
        s3.block_on(s3.keys(prefix)).len()
    }

    /// Reads the objects that have come since the last look.
    pub(crate) fn look(&mut self, s3: &S3) -> anyhow::Result<()> {
        for prefix in ["raw", "processed", "dead-letters"] {
            for key in s3.block_on(s3.keys(prefix)) {
                if !self.seen.insert(key.clone()) {
                    continue;
                }
                let content = s3.block_on(s3.read(&key)).context("read what is listed")?;
                let content = match key.ends_with(".zst") {
                    true => zstd::decode_all(&content[..]).context("expand an object")?,
                    false => content.to_vec(),
                };
                for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    self.take(prefix, line)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, prefix: &str, line: &[u8]) -> anyhow::Result<()> {
        let (zone, found) = match prefix {
            "raw" => (&mut self.raw, number(line)),
            "processed" => (&mut self.processed, number(line)),
            _ => {
                let letter: Value = serde_json::from_slice(line).context("read a dead letter")?;
                let data = letter["payload"]["Records"][0]["kinesis"]["data"].as_str();
                let record = STANDARD.decode(data.unwrap_or_default()).context("read a record")?;
                (&mut self.dead, number(&record))
            }
        };
        let found = found.with_context(|| format!("an event below `{prefix}` has no number"))?;
        *zone.entry(found).or_default() += 1;
        Ok(())
    }

    /// Whether an event has come to its end, and lies in the raw zone unless it is no JSON.
    pub(crate) fn has(&self, event: u64) -> bool {
        let is_dead = self.dead.contains_key(&event);
        let is_there = self.processed.contains_key(&event);
        is_dead || is_there && self.raw.contains_key(&event)
    }

    /// How many events are in a zone twice, or were delivered and are dead.
    pub(crate) fn doubled(&self) -> usize {
        let zones = [&self.raw, &self.processed, &self.dead];
        let twice = zones.iter().flat_map(|zone| zone.values()).filter(|times| **times > 1).count();
        twice + self.dead.keys().filter(|event| self.processed.contains_key(event)).count()
    }
}
