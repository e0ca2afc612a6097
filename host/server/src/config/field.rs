//! How a config names what a record holds.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tidegate_core::{Origin, Path, description::HostValue, path::InvalidPath};

/// The JSON Schema format of a [`FieldPath`].
pub(super) const PATH_FORMAT: &str = "tidegate-path";
/// The JSON Schema format of an [`Operand`].
pub(super) const OPERAND_FORMAT: &str = "tidegate-operand";

/// A field: an RFC 9535 singular query whose leading `$.` may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldPath(pub Path);

impl FromStr for FieldPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(FieldPath)
    }
}

impl JsonSchema for FieldPath {
    fn schema_name() -> Cow<'static, str> {
        "FieldPath".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": PATH_FORMAT })
    }
}

/// A field, or one of the things that the host knows of a record: `@partition`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operand(pub Origin);

/// The text names neither a field nor a host value.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOperand {
    /// There is no such host value.
    #[error("`{0}` is nothing that the host knows of a record; it knows {known}", known = known())]
    Unknown(String),
    /// It is no path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

fn known() -> String {
    HostValue::ALL.map(|value| format!("`{}`", value.name())).join(", ")
}

impl FromStr for Operand {
    type Err = InvalidOperand;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.starts_with('@') {
            return Ok(Operand(Origin::Field(text.parse()?)));
        }
        let host = HostValue::ALL.into_iter().find(|value| value.name() == text);
        host.map(|value| Operand(Origin::Host(value)))
            .ok_or_else(|| InvalidOperand::Unknown(text.to_owned()))
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Operand {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Operand {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Operand {
    fn schema_name() -> Cow<'static, str> {
        "Operand".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": OPERAND_FORMAT })
    }
}
