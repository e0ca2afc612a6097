//! What `work::rules` asks of a transaction, as somebody who knows Rust would write it.

use tidegate_plugin::{Reads, Reject, Writes, plugin};

#[derive(Reads)]
pub(crate) struct Payment<'a> {
    amount: Option<f64>,
    currency: Option<&'a str>,
}

#[derive(Writes)]
pub(crate) struct Rated {
    amount_with_fee: f64,
    is_high_value: bool,
}

/// Refuses amounts and currencies that are none, and adds a fee.
#[plugin]
pub(crate) fn rate(payment: Payment) -> Result<Rated, Reject> {
    let amount = payment.amount.filter(|it| *it > 0.0 && *it <= 10_000_000.0);
    let amount = amount.ok_or_else(|| Reject::because("the amount is not valid"))?;
    match payment.currency {
        Some("EUR" | "USD" | "GBP" | "JPY" | "CHF" | "SEK") => {}
        _ => return Err(Reject::because("the currency is not known")),
    }
    Ok(Rated { amount_with_fee: amount * 1.015, is_high_value: amount > 1_000.0 })
}
