//! The conformance plugin in Rust: sdk/conformance/README.md says what it does.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};
use tidegate_plugin::{
    Absence, Date, Dropped, Enumeration, Field, Json, JsonText, Reads, Refused, Reject, Rules,
    State, Timestamp, Writes, plugin, typed::Found,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What floats are multiplied by; above zero.
    #[serde(deserialize_with = "above_zero")]
    factor: f64,
    /// Nothing is done with them.
    #[serde(default)]
    #[expect(dead_code, reason = "it is there to be refused")]
    bands: Option<Vec<Band>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is there to be refused")]
struct Band {
    label: String,
    below: Option<f64>,
}

fn above_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let factor = f64::deserialize(deserializer)?;
    if factor > 0.0 { Ok(factor) } else { Err(D::Error::custom("it is not above zero")) }
}

#[derive(Clone, Copy, Enumeration)]
enum Size {
    Small,
    Medium,
    Large,
}

#[derive(Reads)]
struct Row<'a> {
    #[read(key)]
    #[expect(dead_code, reason = "it is only the key")]
    key: &'a str,
    action: &'a str,
    #[read(path = "kinds.boolean")]
    boolean: Result<bool, Absence>,
    #[read(path = "kinds.int64")]
    int64: Result<i64, Absence>,
    #[read(path = "kinds.float64")]
    float64: Result<f64, Absence>,
    #[read(path = "kinds.timestamp")]
    timestamp: Result<Timestamp, Absence>,
    #[read(path = "kinds.unix", format = "unix-milliseconds")]
    unix: Result<Timestamp, Absence>,
    #[read(path = "kinds.date")]
    date: Result<Date, Absence>,
    #[read(path = "['a.b'][0].text")]
    text: Result<&'a str, Absence>,
    #[read(path = "kinds.size")]
    size: Result<Size, Absence>,
    #[read(path = "kinds.json")]
    json: Result<Json<'a>, Absence>,
    #[read(host = "@batch-time")]
    batch_time: Option<Timestamp>,
    #[lookup(table = "merchants", key = "merchant.id", column = "risk")]
    risk: Result<f64, Absence>,
}

#[derive(Clone, Writes)]
struct Written {
    #[write(path = "out.boolean")]
    boolean: Field<bool>,
    #[write(path = "out.int64")]
    int64: Field<i64>,
    #[write(path = "out.float64")]
    float64: Field<f64>,
    #[write(path = "out.timestamp")]
    timestamp: Field<Timestamp>,
    #[write(path = "out.unix", format = "unix-milliseconds")]
    unix: Field<Timestamp>,
    #[write(path = "out.date")]
    date: Field<Date>,
    #[write(path = "out.text")]
    text: Field<String>,
    #[write(path = "out.size")]
    size: Field<Size>,
    #[write(path = "out.json")]
    json: Field<JsonText>,
    #[write(path = "out.risk")]
    risk: Field<f64>,
    #[write(path = "out.absent")]
    absent: String,
    #[write(path = "out.count")]
    count: i64,
    #[write(path = "out.child")]
    child: i64,
    #[write(path = "out.at")]
    at: Timestamp,
}

#[derive(Default, State)]
struct History {
    count: u32,
    total: f64,
    last: Option<String>,
    seen: Vec<i64>,
}

#[derive(Clone, Copy, Rules)]
enum Rule {
    /// The action is not to refuse.
    #[rule(field = "action")]
    Refused,
    /// The row is wanted.
    #[rule(completeness, info)]
    Gone,
    /// There is nothing to note.
    #[rule(consistency, warn, field = "['a.b'][0].text")]
    Noted,
}

/// Answers the conformance cases.
#[plugin(name = "conformance", state_version = 3, may_be_passed_by = true)]
fn answer(
    config: &Config,
    row: Row,
    state: &mut History,
    found: &mut Found<Rule>,
) -> Result<Vec<Written>, Refused<Rule>> {
    let mut children = 1;
    match row.action {
        "reject" => return Err(Reject::by(Rule::Refused).into()),
        "reject-with-detail" => {
            found.add_with(Rule::Noted, "before it");
            return Err(Reject::by(Rule::Refused).detail("größer als gedacht").into());
        }
        "drop" => return Err(Dropped::by(Rule::Gone).into()),
        "note" => found.add(Rule::Noted),
        "note-with-detail" => {
            found.add_with(Rule::Noted, "zwölf");
            found.add(Rule::Noted);
        }
        "split" => {
            children = row.int64.unwrap_or(0);
            if children == 0 {
                found.add_with(Rule::Gone, "without children");
            }
        }
        "panic" => panic!("asked to panic"),
        "peek" => {}
        _ => state.count(&row),
    }
    let written = row.written(config.factor, state.count.into());
    Ok((0..children).map(|child| Written { child, ..written.clone() }).collect())
}

impl History {
    fn count(&mut self, row: &Row<'_>) {
        self.count += 1;
        self.total += row.float64.unwrap_or(0.0);
        if let Ok(text) = row.text {
            self.last = Some(text.to_owned());
        }
        if let Ok(integer) = row.int64 {
            self.seen.push(integer);
            self.seen.drain(..self.seen.len().saturating_sub(3));
        }
    }
}

impl Row<'_> {
    fn written(&self, factor: f64, count: i64) -> Written {
        let mut absent = Vec::new();
        let mut absent = |name: &str, why: Absence| {
            absent.push(format!("{name} {why}"));
            absent.join(", ")
        };
        let mut said = String::new();
        macro_rules! to {
            ($field:ident, $value:ident => $change:expr) => {
                match self.$field {
                    Ok($value) => Field::Set($change),
                    Err(why) => {
                        said = absent(stringify!($field), why);
                        // A null is written as one, another type is removed; what is missing, out
                        // of range or malformed is left as it is.
                        match why {
                            Absence::Null => Field::Null,
                            Absence::OtherType => Field::Remove,
                            _ => Field::Leave,
                        }
                    }
                }
            };
        }
        let boolean = to!(boolean, value => !value);
        let int64 = to!(int64, value => value);
        let float64 = to!(float64, value => value * factor);
        let timestamp = to!(timestamp, value => Timestamp(value.0 + 1));
        let unix = to!(unix, value => value);
        let date = to!(date, value => Date(value.0 + 1));
        let text = to!(text, value => format!("{value}!"));
        let size = to!(size, value => match value {
            Size::Small => Size::Medium,
            Size::Medium => Size::Large,
            Size::Large => Size::Small,
        });
        let json = to!(json, value => JsonText(format!("[{}]", value.0)));
        let risk = to!(risk, value => value);
        let at = self.batch_time.expect("the host always knows it");
        Written {
            boolean,
            int64,
            float64,
            timestamp,
            unix,
            date,
            text,
            size,
            json,
            risk,
            absent: said,
            count,
            child: 0,
            at,
        }
    }
}
