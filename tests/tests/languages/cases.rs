//! The cases as data: from JSON to a batch, and to the one reply that follows.

use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_core::{
    Binary, Column, Reply, Timestamp, Values, Write,
    transform::{ChangedStates, Findings, States, Verdict},
};
use tidegate_tests::program;

/// When the range of every case was opened.
pub(crate) const BATCH_TIME: Timestamp = Timestamp(1_772_366_400_250_000);

/// The columns that are read, in the order of the description.
const READS: [(&str, Sort); 13] = [
    ("key", Sort::Utf8),
    ("action", Sort::Utf8),
    ("boolean", Sort::Boolean),
    ("int64", Sort::Int64),
    ("float64", Sort::Float64),
    ("timestamp", Sort::Timestamp),
    ("unix", Sort::Timestamp),
    ("date", Sort::Date),
    ("text", Sort::Utf8),
    ("size", Sort::Enumeration),
    ("json", Sort::Json),
    ("batch-time", Sort::Timestamp),
    ("risk", Sort::Float64),
];

/// The columns that are written, in the order of the description.
const WRITES: [(&str, Sort); 14] = [
    ("boolean", Sort::Boolean),
    ("int64", Sort::Int64),
    ("float64", Sort::Float64),
    ("timestamp", Sort::Timestamp),
    ("unix", Sort::Timestamp),
    ("date", Sort::Date),
    ("text", Sort::Utf8),
    ("size", Sort::Enumeration),
    ("json", Sort::Json),
    ("risk", Sort::Float64),
    ("absent", Sort::Utf8),
    ("count", Sort::Int64),
    ("child", Sort::Int64),
    ("at", Sort::Timestamp),
];

const SIZES: [&str; 3] = ["small", "medium", "large"];
const RULES: [&str; 3] = ["refused", "gone", "noted"];

/// How long the bytes of the plugin's first state are, all zero.
const FIRST_STATE_BYTES: usize = 4 + 8 + 1 + 4;

/// A kind of column, without what only a description says.
#[derive(Clone, Copy)]
enum Sort {
    Boolean,
    Int64,
    Float64,
    Timestamp,
    Date,
    Utf8,
    Enumeration,
    Json,
}

/// A case.
#[derive(Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Where it is not for all of them.
    pub(crate) languages: Option<Vec<String>>,
    pub(crate) config: String,
    states: Vec<(String, Vec<u8>)>,
    pub(crate) rows: Vec<Map<String, Value>>,
    pub(crate) expected: Expected,
}

/// What must come of it.
pub(crate) enum Expected {
    Reply(ExpectedReply),
    Fault(Fault),
    Refused(Refused),
}

/// A case as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    languages: Option<Vec<String>>,
    #[serde(default)]
    config: Option<Value>,
    #[serde(default)]
    states: Map<String, Value>,
    #[serde(default)]
    rows: Vec<Map<String, Value>>,
    reply: Option<ExpectedReply>,
    fault: Option<Fault>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedReply {
    #[serde(default)]
    verdicts: Vec<String>,
    rows: Vec<Map<String, Value>>,
    #[serde(default)]
    findings: Vec<Vec<Value>>,
    #[serde(default)]
    states: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) row: u32,
    pub(crate) words: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    pub(crate) pointer: String,
    pub(crate) words: Vec<String>,
}

impl TryFrom<Written> for Case {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { name, languages, config, states, rows, reply, fault, refused } = written;
        let expected = match (reply, fault, refused) {
            (Some(reply), None, None) => Expected::Reply(reply),
            (None, Some(fault), None) => Expected::Fault(fault),
            (None, None, Some(refused)) => Expected::Refused(refused),
            _ => return Err(format!("`{name}` expects one of reply, fault and refused")),
        };
        let mut states: Vec<_> =
            states.iter().map(|(key, state)| (key.clone(), hex(state))).collect();
        // Every key of the batch has a state, which may be empty.
        for row in &rows {
            let key = row["key"].as_str().expect("a row has a key");
            if !states.iter().any(|(known, _)| known == key) {
                states.push((key.to_owned(), Vec::new()));
            }
        }
        let config = config.unwrap_or_else(|| serde_json::json!({"factor": 2})).to_string();
        Ok(Case { name, languages, config, states, rows, expected })
    }
}

/// All cases.
pub(crate) fn read() -> Vec<Case> {
    let path = program::root().join("sdk/conformance/cases.json");
    let text = std::fs::read_to_string(path).expect("the cases can be read");
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    assert!(cases.len() > 10, "only {} cases", cases.len());
    cases
}

impl Case {
    fn key(&self, key: &str) -> u32 {
        let found = self.states.iter().position(|(known, _)| known == key);
        found.expect("every key has a state") as u32
    }

    /// The columns that the host would hand over.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let batch_time = Value::from(BATCH_TIME.0);
        let cell = |row: &Map<String, Value>, name: &str| match (name, row.get(name)) {
            ("batch-time", _) => Cell::Value(batch_time.clone()),
            (_, None) => Cell::None(1),
            (_, Some(Value::Object(why))) => Cell::None(match why["absent"].as_str() {
                Some("null") => 2,
                Some("other-type") => 3,
                Some("out-of-range") => 4,
                Some("malformed") => 5,
                other => panic!("{}: no reason to be absent: {other:?}", self.name),
            }),
            (_, Some(value)) => Cell::Value(value.clone()),
        };
        let column = |(name, sort)| column(sort, self.rows.iter().map(|row| cell(row, name)));
        READS.into_iter().map(column).collect()
    }

    /// The states of its keys, and the key of each row.
    pub(crate) fn states(&self) -> States {
        let key = |row: &Map<String, Value>| self.key(row["key"].as_str().expect("a key"));
        States {
            rows: self.rows.iter().map(key).collect(),
            values: self.states.iter().map(|(_, state)| state).collect(),
        }
    }

    /// The one reply that follows from what is expected.
    pub(crate) fn reply(&self, expected: &ExpectedReply) -> Reply {
        let verdicts = expected.verdicts.iter().map(|verdict| match &**verdict {
            "emit" => Verdict::Emit as u8,
            "drop" => Verdict::Drop as u8,
            "reject" => Verdict::Reject as u8,
            other => panic!("{}: no verdict: {other}", self.name),
        });
        let parents: Vec<u32> =
            expected.rows.iter().map(|row| integer(&row["parent"]) as u32).collect();
        let nothing = Map::new();
        let cell = |row: &Map<String, Value>, name: &str| match row.get(name) {
            Some(Value::Object(action)) => Cell::None(match action["do"].as_str() {
                Some("null") => Write::Null as u8,
                Some("remove") => Write::Remove as u8,
                other => panic!("{}: nothing to do: {other:?}", self.name),
            }),
            Some(value) => Cell::Value(value.clone()),
            // A row that stands in for none leaves everything.
            None if row.is_empty() => Cell::None(Write::Leave as u8),
            None => match name {
                "absent" => Cell::Value("".into()),
                "count" | "child" => Cell::Value(0.into()),
                "at" => Cell::Value(BATCH_TIME.0.into()),
                _ => Cell::None(Write::Leave as u8),
            },
        };
        let columns = WRITES.into_iter().map(|(name, sort)| {
            if expected.rows.is_empty() {
                column(sort, self.rows.iter().map(|_| cell(&nothing, name)))
            } else {
                column(sort, expected.rows.iter().map(|row| cell(row, name)))
            }
        });
        Reply {
            verdicts: verdicts.collect(),
            parents,
            columns: columns.collect(),
            findings: self.findings(&expected.findings),
            states: self.changed(&expected.states),
        }
    }

    fn findings(&self, expected: &[Vec<Value>]) -> Findings {
        let rule = |finding: &Vec<Value>| {
            let id = finding[1].as_str().expect("a rule");
            RULES.iter().position(|rule| *rule == id).expect("a rule of the plugin") as u32
        };
        let detail = |finding: &Vec<Value>| {
            finding
                .get(2)
                .map_or_else(String::new, |text| text.as_str().expect("a text").to_owned())
        };
        Findings {
            rows: expected.iter().map(|finding| integer(&finding[0]) as u32).collect(),
            rules: expected.iter().map(rule).collect(),
            details: match expected.iter().any(|finding| finding.len() > 2) {
                true => expected.iter().map(detail).collect(),
                false => Binary::default(),
            },
        }
    }

    /// The changed states, by the order of their keys; JSON's maps have one of their own.
    fn changed(&self, expected: &Map<String, Value>) -> ChangedStates {
        let mut changed: Vec<_> =
            expected.iter().map(|(key, state)| (self.key(key), hex(state))).collect();
        // A key that had none yet has one from now on.
        for (key, state) in &self.states {
            if state.is_empty() && !expected.contains_key(key) {
                changed.push((self.key(key), vec![0; FIRST_STATE_BYTES]));
            }
        }
        changed.sort();
        ChangedStates {
            keys: changed.iter().map(|(key, _)| *key).collect(),
            values: changed.iter().map(|(_, state)| state).collect(),
        }
    }
}

/// A value, or the presence byte that says why there is none.
enum Cell {
    Value(Value),
    None(u8),
}

/// A column in its one form: no presence where every row has a value, and zero where a row has none.
fn column(sort: Sort, cells: impl Iterator<Item = Cell>) -> Column {
    let mut values = match sort {
        Sort::Boolean => Values::Boolean(Vec::new()),
        Sort::Int64 => Values::Int64(Vec::new()),
        Sort::Float64 => Values::Float64(Vec::new()),
        Sort::Timestamp => Values::Timestamp(Vec::new()),
        Sort::Date => Values::Date(Vec::new()),
        Sort::Utf8 => Values::Utf8(Binary::default()),
        Sort::Enumeration => Values::Enumeration(Vec::new()),
        Sort::Json => Values::Json(Binary::default()),
    };
    let mut presence = Vec::new();
    for cell in cells {
        let (value, byte) = match cell {
            Cell::Value(value) => (value, 0),
            Cell::None(byte) => (Value::Null, byte),
        };
        presence.push(byte);
        match &mut values {
            Values::Boolean(values) => values.push(u8::from(value.as_bool().unwrap_or_default())),
            Values::Int64(values) | Values::Timestamp(values) => values.push(integer(&value)),
            Values::Float64(values) => values.push(value.as_f64().unwrap_or_default()),
            Values::Date(values) => values.push(integer(&value) as i32),
            Values::Utf8(texts) | Values::Json(texts) => {
                texts.push(value.as_str().unwrap_or_default().as_bytes());
            }
            Values::Enumeration(codes) => {
                let code = SIZES.iter().position(|size| value == *size);
                codes.push(code.unwrap_or_default() as u32);
            }
        }
    }
    if presence.iter().all(|byte| *byte == 0) {
        presence.clear();
    }
    Column { values, presence }
}

fn integer(value: &Value) -> i64 {
    if value.is_null() {
        return 0;
    }
    value.as_i64().unwrap_or_else(|| panic!("{value} is no integer"))
}

fn hex(digits: &Value) -> Vec<u8> {
    let digits = digits.as_str().expect("a state is text");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
