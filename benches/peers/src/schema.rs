//! A JSON Schema by the crate that everybody takes, in process.

use anyhow::Context;
use jsonschema::Validator;
use serde_json::Value;

use crate::Work;

pub(crate) struct Schema(Validator);

impl Schema {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let schema = serde_json::from_str(include_str!("transaction.schema.json"))
            .context("read the schema")?;
        Ok(Schema(jsonschema::validator_for(&schema).context("compile the schema")?))
    }
}

impl Work for Schema {
    fn record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let value: Value = serde_json::from_slice(record).ok()?;
        self.0.is_valid(&value).then_some(())?;
        out.extend_from_slice(record);
        Some(())
    }
}
