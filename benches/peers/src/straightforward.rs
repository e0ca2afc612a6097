//! What most people would write: parse, look, insert, serialize.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Work;

pub(crate) struct Straightforward {
    pub(crate) record_id: bool,
}

const CURRENCIES: [&str; 6] = ["EUR", "USD", "GBP", "JPY", "CHF", "SEK"];

impl Work for Straightforward {
    fn record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut value: Value = serde_json::from_slice(record).ok()?;
        let event = value.as_object_mut()?;

        event.get("event_id").filter(|id| !id.is_null())?;
        let amount = event.get("amount")?.as_f64().filter(|it| *it > 0.0 && *it <= 10_000_000.0)?;
        let currency = event.get("currency")?.as_str()?;
        CURRENCIES.contains(&currency).then_some(())?;
        let card = event.get("card_last4")?.as_str()?;
        (card.len() == 4 && card.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
        let time: Timestamp = event.get("timestamp")?.as_str()?.parse().ok()?;

        let time = time.to_zoned(TimeZone::UTC);
        let is_weekend = matches!(time.weekday(), Weekday::Saturday | Weekday::Sunday);
        event.insert("date".into(), time.date().to_string().into());
        event.insert("hour".into(), time.hour().into());
        event.insert("is_weekend".into(), is_weekend.into());
        event.insert("amount_with_fee".into(), (amount * 1.015).into());

        let category = match amount {
            amount if amount < 10.0 => "micro",
            amount if amount < 100.0 => "small",
            amount if amount < 1_000.0 => "medium",
            _ => "large",
        };
        event.insert("amount_category".into(), category.into());
        event.insert("is_high_value".into(), (amount > 1_000.0).into());

        let verdict = if amount <= 5_000.0 { "normal" } else { "anomalous" };
        event.insert("anomaly".into(), verdict.into());
        if self.record_id {
            event.insert("record_id".into(), hex::encode(Sha256::digest(record)).into());
        }
        serde_json::to_writer(out, &value).ok()
    }
}
