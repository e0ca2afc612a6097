//! From a config's JSON text to a plugin's typed config.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// A config that was refused: where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", if pointer.is_empty() { "config" } else { pointer })]
pub struct ConfigError {
    /// A JSON Pointer into the config; empty for the whole.
    pub pointer: String,
    /// What is wrong there, for people.
    pub message: String,
}

impl ConfigError {
    /// An error at a JSON Pointer such as `/rules/3/field`.
    pub fn at(pointer: impl Into<String>, message: impl ToString) -> Self {
        ConfigError { pointer: pointer.into(), message: message.to_string() }
    }
}

/// Parses a config. Unknown keys are refused where the type says `deny_unknown_fields`, with the
/// nearest known one.
pub fn parse<C: DeserializeOwned>(json: &str) -> Result<C, ConfigError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let message = error.inner().to_string();
        // serde_json says the line and column of a text that nobody wrote: it came from YAML.
        let message = message.split(" at line ").next().unwrap_or_default();
        ConfigError { pointer, message: with_nearest(message) }
    })
}

/// The JSON Schema of a config type, as text.
pub fn schema<C: JsonSchema>() -> String {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<C>()
        .to_value()
        .to_string()
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            // The variant of an enum that is written as a map with one key.
            Segment::Enum { variant } => Some(format!("/{variant}")),
            Segment::Unknown => None,
        })
        .collect()
}

/// Adds the nearest known name to serde's message about an unknown one, which lists all known
/// names between backticks.
fn with_nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown ") {
        return message.to_owned();
    }
    let Some(unknown) = quoted.next() else { return message.to_owned() };
    let nearest = quoted.min_by_key(|known| strsim::damerau_levenshtein(unknown, known));
    match nearest {
        Some(known) if strsim::damerau_levenshtein(unknown, known) <= 1 + known.len() / 3 => {
            format!("{message}; did you mean `{known}`?")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Config {
        bands: Vec<Band>,
        by: Option<By>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Band {
        label: String,
        below: Option<f64>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code)]
    enum By {
        Field(String),
    }

    fn error(json: &str) -> ConfigError {
        parse::<Config>(json).unwrap_err()
    }

    #[test]
    fn an_error_says_where() {
        let wrong = error(r#"{"bands": [{"label": "a"}, {"label": 3}]}"#);
        assert_eq!(wrong.pointer, "/bands/1/label");
        assert_eq!(wrong.message, "invalid type: integer `3`, expected a string");
        assert_eq!(error(r#"{"bands": [], "by": {"field": 1}}"#).pointer, "/by/field");
        assert_eq!(error("[1]").pointer, "/0");
        assert_eq!(error("{}"), ConfigError::at("", "missing field `bands`"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        let wrong = error(r#"{"bands": [{"label": "a", "bellow": 1}]}"#);
        assert_eq!(wrong.pointer, "/bands/0/bellow");
        assert!(wrong.message.ends_with("did you mean `below`?"), "{wrong}");
        assert!(!error(r#"{"bands": [{"elephant": 1}]}"#).message.contains("did you mean"));
    }
}
