//! The config of `schema`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_plugin::{Dimension, Path, Severity};

/// Holds records, or fields of them, against JSON Schemas.
///
/// A record that is not valid by a schema of severity `reject` goes to the dead letters, which name
/// the check, the place in the record and the keyword; one that is not valid by a schema of
/// severity `warn` goes on, and is counted. A field that is missing is not checked: say what must be
/// there in a schema of what it belongs to. Nothing is ever fetched: a schema refers to itself, to
/// the meta-schemas and to `documents`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is checked.
    pub checks: Vec<Check>,
    /// Further documents that schemas refer to, by their URI.
    #[serde(default)]
    pub documents: BTreeMap<String, Value>,
}

/// A schema and what it is for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name in dead letters and metrics: unique among all checks, and stable.
    pub id: String,
    /// The field that it is about; by default the whole record, which needs the grant `document`.
    #[serde(default)]
    pub field: Path,
    /// The schema: an object, or `true` or `false`.
    pub schema: Value,
    /// The draft that the schema is written in where it has no `$schema`.
    #[serde(default)]
    pub draft: Draft,
    /// Whether `format` is checked, of the formats that the drafts name but `idn-hostname` and
    /// `idn-email`. By default it is a remark and no rule, unless the schema's meta-schema says so.
    #[serde(default)]
    pub formats: bool,
    /// What it means that a value is not valid.
    #[serde(default = "reject")]
    pub severity: Severity,
    /// The dimension of data quality; by default validity.
    #[serde(default = "validity")]
    pub dimension: Dimension,
    /// One sentence for people; made from the field where it is left out.
    pub text: Option<String>,
}

fn reject() -> Severity {
    Severity::Reject
}

fn validity() -> Dimension {
    Dimension::Validity
}

/// A draft of JSON Schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Draft {
    /// Draft 4.
    #[serde(rename = "draft-04")]
    Draft04,
    /// Draft 6.
    #[serde(rename = "draft-06")]
    Draft06,
    /// Draft 7.
    #[serde(rename = "draft-07")]
    Draft07,
    /// Draft 2019-09.
    #[serde(rename = "2019-09")]
    Draft201909,
    /// Draft 2020-12.
    #[default]
    #[serde(rename = "2020-12")]
    Draft202012,
}

impl Check {
    /// The sentence for people: as said, or by the field.
    pub(crate) fn text(&self) -> String {
        let text = self.text.clone();
        text.unwrap_or_else(|| match self.field.is_root() {
            true => "the record is valid by its schema".to_owned(),
            false => format!("`{}` is valid by its schema", self.field),
        })
    }
}

impl From<Draft> for jsonschema::Draft {
    fn from(draft: Draft) -> Self {
        match draft {
            Draft::Draft04 => jsonschema::Draft::Draft4,
            Draft::Draft06 => jsonschema::Draft::Draft6,
            Draft::Draft07 => jsonschema::Draft::Draft7,
            Draft::Draft201909 => jsonschema::Draft::Draft201909,
            Draft::Draft202012 => jsonschema::Draft::Draft202012,
        }
    }
}
