//! The file of golden cases.
//!
//! ```yaml
//! config: { large: 100 }          # of cases that have none; else the stage's own
//! cases:
//!   - name: amounts from the limit on are large
//!     records:
//!       - given: { amount: 250 }
//!         emit: { size: large }   # these fields; other ones are not looked at
//!       - given: { amount: -1 }
//!         reject: negative-amount
//! ```

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use tidegate_core::Timestamp;

/// Golden cases of one plugin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The config of cases that have none of their own.
    pub config: Option<Value>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// Records that are given one after the other, with the states that the ones before left.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The plugin's config in this case.
    pub config: Option<Value>,
    /// The batch time, by RFC 3339; 2026-01-01T00:00:00Z where none is said.
    #[serde(default, deserialize_with = "time")]
    pub at: Option<Timestamp>,
    /// The records, in order.
    pub records: Vec<Given>,
}

/// A record and what becomes of it: one of `emit`, `drop` and `reject`, or nothing yet.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "GivenAsWritten")]
pub struct Given {
    /// The record. A text is taken as it is, so that it can be no JSON at all.
    pub given: Value,
    /// What is expected; none where `--accept` has yet to fill it in.
    pub expected: Option<Expected>,
    /// The rules that it is found to break, wherever it goes; not looked at where none are said.
    pub findings: Option<Rules>,
}

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// It goes on, as these records: one, unless the plugin fans out.
    Emit {
        /// Their fields.
        records: Vec<Value>,
        /// They have no others.
        exactly: bool,
    },
    /// It is dropped by these rules.
    Drop(Rules),
    /// It is a dead letter by these rules, or by a code of the host's: `required-missing`.
    Reject(Rules),
}

/// The ids of rules: one text or a list. Compared without regard to their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenAsWritten {
    given: Value,
    emit: Option<Value>,
    #[serde(default)]
    exactly: bool,
    drop: Option<Rules>,
    reject: Option<Rules>,
    findings: Option<Rules>,
}

impl TryFrom<GivenAsWritten> for Given {
    type Error = &'static str;

    fn try_from(written: GivenAsWritten) -> Result<Self, Self::Error> {
        let GivenAsWritten { given, emit, exactly, drop, reject, findings } = written;
        if exactly && emit.is_none() {
            return Err("`exactly` says how to compare what is emitted: it needs `emit`");
        }
        let expected = match (emit, drop, reject) {
            (None, None, None) => None,
            (Some(Value::Array(records)), None, None) => Some(Expected::Emit { records, exactly }),
            (Some(record), None, None) => Some(Expected::Emit { records: vec![record], exactly }),
            (None, Some(rules), None) => Some(Expected::Drop(rules)),
            (None, None, Some(rules)) => Some(Expected::Reject(rules)),
            _ => return Err("a record is one of `emit`, `drop` and `reject`"),
        };
        Ok(Given { given, expected, findings })
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(rule) => Ok(Rules(vec![rule])),
            list @ Value::Array(_) => {
                serde_json::from_value(list).map(Rules).map_err(D::Error::custom)
            }
            _ => Err(D::Error::custom("rules are one id or a list of them")),
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = Timestamp::parse(&text)
        .ok_or_else(|| D::Error::custom("a time is written as 2026-03-01T12:00:00Z"))?;
    Ok(Some(time))
}
