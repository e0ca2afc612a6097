//! The config of `anomaly`.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{ConfigError, Path};

/// Scores a number against the history of its key, or a fixed range, or both.
///
/// The history is an exponentially weighted mean and variance. The score of a number is how many
/// standard deviations it lies from the mean of the numbers before it, at most 1000. A key is
/// warming up until it has seen enough numbers; until then nothing deviates. A row without the
/// number is left alone; a row without a key is rejected by the host. Where no key is configured
/// there is no history: nothing is kept, and the range alone says what is anomalous.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The fields that are the key of the history, of any type. A text and a number are different
    /// keys, and so are `1` and `1.0`. Left out, there is no history, and `range` is needed.
    pub key: Option<Vec<Path>>,
    /// The number.
    pub field: Path,
    /// The field to write the score to; only with a `key`.
    pub write_score: Option<Path>,
    /// The field to write the verdict to: `normal`, `anomalous` or `warming-up`.
    pub write_verdict: Option<Path>,
    /// After how many numbers, 1 or more, the weight of a number is halved. 30 by default: the last
    /// hundred numbers then carry nine tenths of the weight.
    #[serde(default = "half_life")]
    pub half_life: f64,
    /// A number that lies more standard deviations from the mean than this is anomalous. 4 by
    /// default, which a normally distributed number passes once in 16,000.
    #[serde(default = "threshold")]
    pub threshold: f64,
    /// How many numbers a key must have seen before one can deviate. 30 by default.
    #[serde(default = "warm_up")]
    pub warm_up: u32,
    /// The least standard deviation that is assumed, so that a number that hardly ever changes is
    /// not anomalous when it does by a hair. 0 by default.
    #[serde(default)]
    pub deviation_min: f64,
    /// A number outside is anomalous whatever the history, while warming up, and without a `key`.
    pub range: Option<Range>,
}

/// Limits of a number; all that are given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// It is this or greater.
    pub at_least: Option<f64>,
    /// It is this or less.
    pub at_most: Option<f64>,
}

fn half_life() -> f64 {
    30.0
}

fn threshold() -> f64 {
    4.0
}

fn warm_up() -> u32 {
    30
}

impl Config {
    /// Checks what the types don't say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let positive = |key: &str, value: f64| match value > 0.0 {
            true => Ok(()),
            false => Err(ConfigError::at(format!("/{key}"), "it must be greater than 0")),
        };
        match &self.key {
            Some(key) if key.is_empty() => {
                return Err(ConfigError::at("/key", "there is no field"));
            }
            None if self.range.is_none() => {
                return Err(ConfigError::at("", "it needs `key`, `range` or both"));
            }
            None if self.write_score.is_some() => {
                let why = "without a `key` there is no history to score against";
                return Err(ConfigError::at("/write_score", why));
            }
            _ => {}
        }
        if self.write_score.is_none() && self.write_verdict.is_none() {
            let why = "it needs `write_score`, `write_verdict` or both";
            return Err(ConfigError::at("", why));
        }
        if self.half_life < 1.0 {
            return Err(ConfigError::at("/half_life", "it must not be less than 1"));
        }
        positive("threshold", self.threshold)?;
        if self.deviation_min < 0.0 {
            return Err(ConfigError::at("/deviation_min", "it must not be less than 0"));
        }
        if let Some(Range { at_least: None, at_most: None }) = self.range {
            return Err(ConfigError::at("/range", "it needs `at_least` or `at_most`"));
        }
        Ok(())
    }
}

impl Range {
    /// Whether a number lies within the limits.
    pub(crate) fn holds(&self, number: f64) -> bool {
        self.at_least.is_none_or(|limit| number >= limit)
            && self.at_most.is_none_or(|limit| number <= limit)
    }
}
