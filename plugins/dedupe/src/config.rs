//! The config of `dedupe`.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{ConfigError, Kind, Path, TimestampFormat};

use crate::filter::{self, Size};

/// Finds records whose key was seen before.
///
/// The first record of a key goes on. Without `approximate` every key is kept until its state
/// expires: give the stage a `state.ttl`, or it is kept for ever. A record that lacks a part of the
/// key is rejected by the host.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fields that are the key, one or more.
    pub key: Vec<KeyField>,
    /// What becomes of a duplicate.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
    /// A duplicate is remembered anew, as if it were the first: the key expires so long after it
    /// was last seen. Otherwise so long after it was first seen.
    #[serde(default)]
    pub renew: bool,
    /// Keeps a filter of a fixed size in place of every key.
    pub approximate: Option<Approximate>,
}

/// A field of the key: a path, or a path and what its value is compared as.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path, or `{ field: …, as: … }`")]
pub enum KeyField {
    /// A field of any type, compared as it is written: the text `"1"` and the number `1` are
    /// different keys, and so are `1` and `1.0`, and a letter and its escape.
    AsWritten(Path),
    /// A field of one type. A record with a value of another type is rejected by the host.
    As(TypedField),
}

/// A field of the key that has one type.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypedField {
    /// The field.
    pub field: Path,
    /// What it is compared as.
    #[serde(rename = "as")]
    pub kind: Comparable,
}

/// What a part of the key is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Comparable {
    /// As text, unescaped.
    Text,
    /// As an integer of 64 bits: `1` and `1.0` are one key.
    Integer,
    /// As a time by RFC 3339: the same moment in two time zones is one key.
    Timestamp,
    /// As a date, `YYYY-MM-DD`.
    Date,
}

/// What becomes of a duplicate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// It ends here, and is counted.
    #[default]
    Drop,
    /// It goes to the dead letters.
    Reject,
    /// It goes on. This field is set in every record: `true` in a duplicate, `false` in others.
    Flag(Path),
}

/// A filter of a fixed size in place of every key. It never takes a duplicate for a new record as
/// long as it remembers the key, and now and then a new record for a duplicate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approximate {
    /// How many distinct keys a filter remembers at least; it remembers at most twice as many. At
    /// an error of 0.001 a key takes 4 bytes, so that 64 KiB are 16,564 keys.
    pub capacity: u32,
    /// The probability, at worst, that a new key is taken for one that was seen: above 0, and 0.5
    /// at most. 0.001 by default.
    #[serde(default = "error")]
    pub error: f64,
    /// A key is remembered at least so long and at most twice as long, on batch time, unless
    /// `capacity` is passed sooner: `15m`, `24h`, `7d`. Left out, only `capacity` counts.
    pub ttl: Option<Span>,
    /// Fields for each of whose values a filter of its own is kept, so that more keys can be
    /// remembered. Left out, there is one filter for a partition.
    #[serde(default)]
    pub per: Vec<Path>,
    /// How many bytes a filter may take: as many as the stage's `limits.state` says, which is 65,536
    /// by default. A filter goes to the plugin and back with every batch, so one of megabytes costs
    /// more than the plugin does.
    #[serde(default = "state_bytes_max")]
    pub state_bytes_max: u32,
}

fn error() -> f64 {
    0.001
}

fn state_bytes_max() -> u32 {
    64 << 10
}

/// A length of time in microseconds, written as `30s`, `15m`, `24h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+(s|m|h|d)$"))]
pub struct Span(pub i64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let microseconds = match unit {
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => 0,
        };
        match number.parse::<i64>().ok().and_then(|number| number.checked_mul(microseconds)) {
            Some(span) if span > 0 => Ok(Span(span)),
            _ => Err(format!("`{text}` is not a length of time such as `30s`, `15m`, `24h`, `7d`")),
        }
    }
}

impl KeyField {
    /// The field and the kind that it is read as.
    pub(crate) fn read(&self) -> (&Path, Kind) {
        match self {
            KeyField::AsWritten(path) => (path, Kind::Json),
            KeyField::As(TypedField { field, kind }) => {
                let kind = match kind {
                    Comparable::Text => Kind::Utf8,
                    Comparable::Integer => Kind::Int64,
                    Comparable::Timestamp => Kind::Timestamp(TimestampFormat::Rfc3339),
                    Comparable::Date => Kind::Date,
                };
                (field, kind)
            }
        }
    }
}

impl Config {
    /// Checks what the types don't say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.key.is_empty() {
            return Err(ConfigError::at("/key", "there is no field"));
        }
        let root = "the whole record is no key: name the fields that tell records apart";
        if let Some(i) = self.key.iter().position(|field| field.read().0.is_root()) {
            return Err(ConfigError::at(format!("/key/{i}"), root));
        }
        if let OnDuplicate::Flag(path) = &self.on_duplicate
            && path.is_root()
        {
            let why = "the whole record is no flag: name a field";
            return Err(ConfigError::at("/on_duplicate/flag", why));
        }
        let per = self.approximate.iter().flat_map(|it| &it.per);
        if let Some(i) = per.into_iter().position(Path::is_root) {
            return Err(ConfigError::at(format!("/approximate/per/{i}"), root));
        }
        Ok(())
    }
}

impl Approximate {
    /// The size of the filter, if it is one that a host takes.
    pub(crate) fn size(&self) -> Result<Size, ConfigError> {
        if self.capacity == 0 {
            return Err(ConfigError::at("/approximate/capacity", "it must be 1 or more"));
        }
        if !(self.error > 0.0 && self.error <= 0.5) {
            let why = "it must be above 0 and 0.5 at most";
            return Err(ConfigError::at("/approximate/error", why));
        }
        let Approximate { capacity, error, state_bytes_max, .. } = *self;
        Size::of(capacity, error, state_bytes_max).ok_or_else(|| {
            let most = filter::capacity_max(error, state_bytes_max);
            let why = format!(
                "a filter of so many keys takes more than {state_bytes_max} bytes: at an error of \
                 {error} it can be {most}; raise `error`, split the filter with `per`, or raise \
                 `state_bytes_max` and the stage's `limits.state`",
            );
            ConfigError::at("/approximate/capacity", why)
        })
    }
}
