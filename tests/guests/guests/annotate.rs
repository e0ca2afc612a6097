//! Behaves: bands of amounts, a flag, a day, a finding where a currency is unknown.

use guests::{
    Batch, Behave, ConfigError, Description, Kind, Reply, TimestampFormat, Values, amounts, column,
    guest, read, reply, rule, write,
};

struct Annotate;

impl Behave for Annotate {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        let bands = ["micro", "small", "medium", "large"].map(String::from).to_vec();
        Ok(Description {
            reads: vec![
                read("amount", Kind::Float64),
                read("currency", Kind::Utf8),
                read("timestamp", Kind::Timestamp(TimestampFormat::Rfc3339)),
            ],
            writes: vec![
                write("amount_category", Kind::Enumeration(bands)),
                write("is_high_value", Kind::Boolean),
                write("day", Kind::Date),
            ],
            rules: vec![rule("currency-known")],
            state: None,
        })
    }

    fn transform(batch: Batch) -> Reply {
        let (Values::Utf8(currencies), Values::Timestamp(times)) =
            (&batch.columns[1].values, &batch.columns[2].values)
        else {
            unreachable!("the host gives what was asked for")
        };
        let band = |&amount: &f64| [10.0, 100.0, 1000.0].iter().filter(|&&b| amount >= b).count();
        let bands = amounts(&batch).iter().map(|amount| band(amount) as u32).collect();
        let high = amounts(&batch).iter().map(|&amount| u8::from(amount > 1000.0)).collect();
        let days = times.iter().map(|time| time.div_euclid(86_400_000_000) as i32).collect();
        let mut reply = reply(vec![
            column(Values::Enumeration(bands)),
            column(Values::Boolean(high)),
            column(Values::Date(days)),
        ]);
        for (row, ends) in currencies.offsets.windows(2).enumerate() {
            let currency = &currencies.bytes[ends[0] as usize..ends[1] as usize];
            if !matches!(currency, b"EUR" | b"USD" | b"GBP" | b"JPY") {
                reply.findings.rows.push(row as u32);
                reply.findings.rules.push(0);
            }
        }
        reply
    }
}

guest!(Annotate);
