//! A call of a plugin with one row, written down: what a crash capsule runs again.
//!
//! A record that is poison was found to be so by a call with it alone, on a fresh instance. The
//! columns of that call are not in the record (earlier stages wrote some of them, and the host made
//! others), and neither is the state of its key. So its dead letter carries the call.
//!
//! Invariant: a call is a function of what the plugin was called with, so a replay of the range
//! writes the same one.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{
    Column, Digest, Kind, Presence, Timestamp, Values,
    description::{Description, Read},
    transform::{Batch, Plugin, States, TransformError},
};

use crate::{chain::cells, dead_letter};

/// A call that holds more than this is not written down: its letter says how large it was.
const CALL_BYTES_MAX: usize = 1 << 20;

/// A call with one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordedCall {
    /// The digest of the plugin's config.
    pub config: Digest,
    /// The batch time.
    pub batch_time: Timestamp,
    /// One cell for each column that the plugin reads, in its order.
    pub columns: Vec<RecordedCell>,
    /// The state of the row's key, in base64: empty where the key had none; absent for a plugin
    /// without state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How much it was, where it was too much: then there are no columns and no state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted_bytes: Option<u64>,
}

/// What stood in one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordedCell {
    /// The path, the host value or the look-up.
    pub read: String,
    /// The column's kind.
    pub kind: String,
    /// What was found there.
    pub presence: RecordedPresence,
    /// The value, where there is one. A float is a text, so that it is the same one when it is
    /// read again; an enumeration is its word, and a timestamp microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
}

/// What was found at a path, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the contract's terms")]
pub enum RecordedPresence {
    Value,
    Missing,
    Null,
    OtherType,
    OutOfRange,
    Malformed,
}

impl From<Presence> for RecordedPresence {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Value => RecordedPresence::Value,
            Presence::Missing => RecordedPresence::Missing,
            Presence::Null => RecordedPresence::Null,
            Presence::OtherType => RecordedPresence::OtherType,
            Presence::OutOfRange => RecordedPresence::OutOfRange,
            Presence::Malformed => RecordedPresence::Malformed,
        }
    }
}

impl From<RecordedPresence> for Presence {
    fn from(presence: RecordedPresence) -> Self {
        match presence {
            RecordedPresence::Value => Presence::Value,
            RecordedPresence::Missing => Presence::Missing,
            RecordedPresence::Null => Presence::Null,
            RecordedPresence::OtherType => Presence::OtherType,
            RecordedPresence::OutOfRange => Presence::OutOfRange,
            RecordedPresence::Malformed => Presence::Malformed,
        }
    }
}

/// How a call failed, in the words of its dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The reason code, such as `plugin-trap`.
    pub code: String,
    /// What the guest or the host says about it.
    pub message: String,
    /// The guest's stack, a frame a line, innermost first.
    pub backtrace: String,
}

impl Failure {
    /// What a dead letter would say of an error.
    pub fn of(error: &TransformError) -> Self {
        Failure {
            code: error.breach.code().to_owned(),
            message: dead_letter::scrub(&error.message),
            backtrace: dead_letter::frames(&error.backtrace),
        }
    }
}

/// A recorded call can't be made.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnusableCall {
    /// It was too large to be written down.
    #[error("the call held {0} bytes, which is more than a dead letter carries")]
    Omitted(u64),
    /// The plugin reads something that the one that failed did not.
    #[error("the plugin reads `{read}` as {kind}, which the plugin that failed did not")]
    Unread {
        /// What it reads.
        read: String,
        /// As which kind.
        kind: &'static str,
    },
    /// A value is none of its kind.
    #[error("the value of `{read}` is no {kind}")]
    Value {
        /// Whose value.
        read: String,
        /// The kind.
        kind: &'static str,
    },
    /// The state is not base64.
    #[error("the state is not base64")]
    State,
    /// The plugin keeps a state, and the one that failed did not.
    #[error("the plugin keeps a state, and the plugin that failed did not")]
    Stateless,
}

impl RecordedCall {
    /// Writes down a call with one row.
    pub(crate) fn of(plugin: &Plugin, batch: &Batch<'_>) -> Self {
        debug_assert_eq!(batch.rows, 1, "a record is judged alone");
        let Plugin { description, config, .. } = plugin;
        let config = *config;
        let cells = description.reads.iter().zip(batch.columns);
        let state = description.state.as_ref().map(|_| match batch.states.values.is_empty() {
            true => &[][..],
            false => batch.states.values.get(0),
        });
        let texts = batch.columns.iter().map(|column| match &column.values {
            Values::Utf8(texts) | Values::Json(texts) => texts.bytes.len(),
            _ => 8,
        });
        let bytes = texts.sum::<usize>() + state.map_or(0, <[u8]>::len);
        let batch_time = batch.batch_time;
        if bytes > CALL_BYTES_MAX {
            let omitted_bytes = Some(bytes as u64);
            let columns = Vec::new();
            return RecordedCall { config, batch_time, columns, state: None, omitted_bytes };
        }
        RecordedCall {
            config,
            batch_time,
            columns: cells.map(|(read, column)| RecordedCell::of(read, column)).collect(),
            state: state.map(|state| STANDARD.encode(state)),
            omitted_bytes: None,
        }
    }

    /// The columns and the states of the call, for a plugin that reads what the one that failed
    /// read; the order does not matter.
    pub fn arguments(
        &self,
        description: &Description,
    ) -> Result<(Vec<Column>, States), UnusableCall> {
        if let Some(bytes) = self.omitted_bytes {
            return Err(UnusableCall::Omitted(bytes));
        }
        let columns = description.reads.iter().map(|read| {
            let from = read.from.to_string();
            let cell =
                self.columns.iter().find(|it| it.read == from && it.kind == read.kind.name());
            let unread = || UnusableCall::Unread { read: from.clone(), kind: read.kind.name() };
            cell.ok_or_else(unread)?.column(read)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut states = States::default();
        if description.state.is_some() {
            let state = self.state.as_ref().ok_or(UnusableCall::Stateless)?;
            let state = STANDARD.decode(state).map_err(|_| UnusableCall::State)?;
            states.rows.push(0);
            states.values.push(&state);
        }
        Ok((columns, states))
    }
}

impl RecordedCell {
    fn of(read: &Read, column: &Column) -> Self {
        let presence = Presence::from_byte(column.presence_of(0)).unwrap_or(Presence::Malformed);
        let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
        let value = match (&column.values, &read.kind) {
            _ if presence != Presence::Value => Value::Null,
            (Values::Boolean(values), _) => (values[0] != 0).into(),
            (Values::Int64(values) | Values::Timestamp(values), _) => values[0].into(),
            (Values::Float64(values), _) => values[0].to_string().into(),
            (Values::Date(values), _) => values[0].into(),
            (Values::Utf8(values) | Values::Json(values), _) => text(values.get(0)),
            (Values::Enumeration(codes), Kind::Enumeration(words)) => {
                words.get(codes[0] as usize).cloned().into()
            }
            (Values::Enumeration(_), _) => Value::Null,
        };
        RecordedCell {
            read: read.from.to_string(),
            kind: read.kind.name().to_owned(),
            presence: presence.into(),
            value,
        }
    }

    /// One row of a column.
    fn column(&self, read: &Read) -> Result<Column, UnusableCall> {
        let mut column = Column::empty(&read.kind);
        if self.presence != RecordedPresence::Value {
            cells::push_absent(&mut column, Presence::from(self.presence) as u8);
            return Ok(column);
        }
        let invalid = || UnusableCall::Value { read: self.read.clone(), kind: read.kind.name() };
        let text = || self.value.as_str().ok_or_else(invalid);
        let whole = || self.value.as_i64().ok_or_else(invalid);
        match (&mut column.values, &read.kind) {
            (Values::Boolean(values), _) => {
                values.push(self.value.as_bool().ok_or_else(invalid)?.into());
            }
            (Values::Int64(values) | Values::Timestamp(values), _) => values.push(whole()?),
            (Values::Float64(values), _) => {
                values.push(text()?.parse().map_err(|_| invalid())?);
            }
            (Values::Date(values), _) => {
                values.push(i32::try_from(whole()?).map_err(|_| invalid())?);
            }
            (Values::Utf8(values) | Values::Json(values), _) => values.push(text()?.as_bytes()),
            (Values::Enumeration(codes), Kind::Enumeration(words)) => {
                let word = text()?;
                match words.iter().position(|it| it == word) {
                    Some(code) => codes.push(code as u32),
                    // Another dictionary: what the host would have found for it.
                    None => cells::push_absent(&mut column, Presence::OutOfRange as u8),
                }
            }
            (Values::Enumeration(_), _) => return Err(invalid()),
        }
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{About, Origin, column::Binary, description::KeyedState};

    use super::*;

    fn read(path: &str, kind: Kind) -> Read {
        let path = path.parse().expect("a path");
        Read { from: Origin::Field(path), kind, required: false }
    }

    fn column(values: Values) -> Column {
        Column { values, presence: Vec::new() }
    }

    fn plugin(description: Description) -> Plugin {
        let about = About {
            name: "scripted".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            config_schema: "{}".to_owned(),
            capabilities: Vec::new(),
            state_version: 1,
            may_be_passed_by: false,
        };
        let digest = Digest::of(b"scripted");
        Plugin { about, description, component: digest, config: digest }
    }

    #[test]
    fn a_call_comes_back_as_it_was() {
        let words = vec!["low".to_owned(), "high".to_owned()];
        let plugin = plugin(Description {
            reads: vec![
                read("b", Kind::Boolean),
                read("i", Kind::Int64),
                read("f", Kind::Float64),
                read("d", Kind::Date),
                read("u", Kind::Utf8),
                read("e", Kind::Enumeration(words)),
                read("j", Kind::Json),
                read("m", Kind::Int64),
            ],
            state: Some(KeyedState { key: vec![4] }),
            ..Description::default()
        });
        let mut missing = Column::empty(&Kind::Int64);
        cells::push_absent(&mut missing, Presence::Missing as u8);
        let columns = [
            column(Values::Boolean(vec![1])),
            column(Values::Int64(vec![i64::MIN])),
            // A float that a careless reader of JSON gets wrong in its last bit.
            column(Values::Float64(vec![5.0e-324])),
            column(Values::Date(vec![-1])),
            column(Values::Utf8(Binary::from_iter(["größe\n"]))),
            column(Values::Enumeration(vec![1])),
            column(Values::Json(Binary::from_iter(["{ \"a\": 1.50 }"]))),
            missing,
        ];
        let lent: Vec<&Column> = columns.iter().collect();
        let states = States { rows: vec![0], values: Binary::from_iter([[0u8, 255, 7]]) };
        let batch_time = Timestamp(1_772_366_400_000_000);
        let batch = Batch { rows: 1, columns: &lent, states: &states, batch_time };
        let call = RecordedCall::of(&plugin, &batch);
        let text = serde_json::to_string(&call).expect("it is JSON");
        let read_again: RecordedCall = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(read_again, call);
        let (made, made_states) = read_again.arguments(&plugin.description).expect("it fits");
        assert_eq!((made.as_slice(), made_states), (columns.as_slice(), states));

        let other = Description { reads: vec![read("x", Kind::Int64)], ..Description::default() };
        let unread = UnusableCall::Unread { read: "x".to_owned(), kind: "int64" };
        assert_eq!(call.arguments(&other), Err(unread));
    }

    #[test]
    fn a_call_that_is_too_large_says_so() {
        let plugin =
            plugin(Description { reads: vec![read("u", Kind::Utf8)], ..Description::default() });
        let column = column(Values::Utf8(Binary::from_iter([vec![b'x'; CALL_BYTES_MAX + 1]])));
        let states = States::default();
        let batch_time = Timestamp(0);
        let batch = Batch { rows: 1, columns: &[&column], states: &states, batch_time };
        let call = RecordedCall::of(&plugin, &batch);
        assert!(call.columns.is_empty());
        let bytes = CALL_BYTES_MAX as u64 + 1;
        assert_eq!(call.arguments(&plugin.description), Err(UnusableCall::Omitted(bytes)));
    }
}
