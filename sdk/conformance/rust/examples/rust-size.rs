//! What the templates of the other SDKs do, in Rust: what languages are measured by.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{Date, Enumeration, Field, Reads, Reject, Rules, Timestamp, Writes, plugin};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Amounts from here on are large.
    large: f64,
}

#[derive(Reads)]
struct Transaction<'a> {
    amount: f64,
    currency: Option<&'a str>,
    #[read(path = "time.utc")]
    at: Timestamp,
}

#[derive(Clone, Copy, Enumeration)]
enum Size {
    Small,
    Large,
}

#[derive(Writes)]
struct Sized {
    size: Size,
    is_foreign: Field<bool>,
    day: Date,
}

#[derive(Clone, Copy, Rules)]
enum Rule {
    /// The amount is not negative.
    #[rule(field = "amount")]
    NegativeAmount,
}

/// Sizes transactions up.
#[plugin(name = "size", version = "0.1.0", may_be_passed_by = true)]
fn size(config: &Config, row: Transaction) -> Result<Sized, Reject<Rule>> {
    if row.amount < 0.0 {
        return Err(Reject::by(Rule::NegativeAmount));
    }
    Ok(Sized {
        size: if row.amount >= config.large { Size::Large } else { Size::Small },
        is_foreign: row.currency.map(|currency| currency != "EUR").into(),
        day: row.at.date(),
    })
}
