//! The same in Vector's remap language, in process.

use std::collections::BTreeMap;

use anyhow::anyhow;
use vrl::{
    compiler::{Program, TargetValue, TimeZone, compile, runtime::Runtime, state::RuntimeState},
    value::{Secrets, Value},
};

use crate::Work;

/// The time is formatted once and cut up: the way of the language that took least.
const PROGRAM: &str = r#"
message = string!(.message)
event = object!(parse_json!(message))

if !exists(event.event_id) || is_null(event.event_id) { abort }
amount = to_float!(float(event.amount) ?? int!(event.amount))
if amount <= 0.0 || amount > 10000000.0 { abort }
if !includes(["EUR", "USD", "GBP", "JPY", "CHF", "SEK"], event.currency) { abort }
if !match(string!(event.card_last4), r'^[0-9]{4}$') { abort }
time = parse_timestamp!(event.timestamp, "%+")

parts = format_timestamp!(time, "%F%H%u")
event.date = slice!(parts, 0, 10)
event.hour = to_int!(slice!(parts, 10, 12))
event.is_weekend = to_int!(slice!(parts, 12, 13)) >= 6
event.amount_with_fee = amount * 1.015

event.amount_category = if amount < 10.0 {
  "micro"
} else if amount < 100.0 {
  "small"
} else if amount < 1000.0 {
  "medium"
} else {
  "large"
}
event.is_high_value = amount > 1000.0

event.anomaly = if amount <= 5000.0 { "normal" } else { "anomalous" }
"#;

pub(crate) struct Remap {
    program: Program,
    runtime: Runtime,
}

impl Remap {
    pub(crate) fn new(record_id: bool) -> anyhow::Result<Self> {
        let id =
            if record_id { "event.record_id = sha2(message, variant: \"SHA-256\")\n" } else { "" };
        let source = format!("{PROGRAM}{id}encode_json(event)\n");
        let compiled = compile(&source, &vrl::stdlib::all())
            .map_err(|errors| anyhow!("the program does not compile: {errors:?}"))?;
        Ok(Remap { program: compiled.program, runtime: Runtime::new(RuntimeState::default()) })
    }
}

impl Work for Remap {
    fn record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let message = Value::from(record);
        let mut target = TargetValue {
            value: Value::Object(BTreeMap::from([("message".into(), message)])),
            metadata: Value::Object(BTreeMap::new()),
            secrets: Secrets::new(),
        };
        let result = self.runtime.resolve(&mut target, &self.program, &TimeZone::default());
        self.runtime.clear();
        // `encode_json` gives a text, and a program that ends in anything else gives nothing.
        out.extend_from_slice(result.ok()?.as_bytes()?);
        Some(())
    }
}
