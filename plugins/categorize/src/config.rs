//! The config of `categorize`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{ConfigError, Path};

/// Names what a value amounts to.
///
/// A row whose field has no value of the right type gets no name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Numbers to names, by where they lie.
    pub bands: Vec<Bands>,
    /// Words to names.
    pub mappings: Vec<Mapping>,
    /// Whether a number lies in a range.
    pub flags: Vec<Flag>,
}

/// Names a number by the band that it lies in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// The field to write the name to.
    pub write: Path,
    /// The number.
    pub field: Path,
    /// From the lowest to the highest. A number lies in the first band that it is below of.
    pub bands: Vec<Band>,
}

/// A band of numbers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The name that is written.
    pub label: String,
    /// The upper limit, exclusive. Only the last band may have none: it takes all that is left.
    /// Where the last one has a limit, what lies above gets no name.
    pub below: Option<f64>,
}

/// Names a word by what it is mapped to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The field to write the name to.
    pub write: Path,
    /// The word.
    pub field: Path,
    /// What each word becomes.
    pub values: BTreeMap<String, String>,
    /// What every other word becomes; nothing is written for it when this is left out.
    #[serde(rename = "default")]
    pub other: Option<String>,
}

/// Says whether a number lies in a range: every limit that is given must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// The field to write `true` or `false` to.
    pub write: Path,
    /// The number.
    pub field: Path,
    /// It is greater than this.
    pub above: Option<f64>,
    /// It is this or greater.
    pub at_least: Option<f64>,
    /// It is less than this.
    pub below: Option<f64>,
    /// It is this or less.
    pub at_most: Option<f64>,
}

impl Config {
    /// Checks what the types don't say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (i, Bands { bands, .. }) in self.bands.iter().enumerate() {
            let at = |j: usize, key: &str, why: &str| {
                Err(ConfigError::at(format!("/bands/{i}/bands/{j}{key}"), why))
            };
            if bands.is_empty() {
                return Err(ConfigError::at(format!("/bands/{i}/bands"), "there is no band"));
            }
            for (j, pair) in bands.windows(2).enumerate() {
                match (pair[0].below, pair[1].below) {
                    (None, _) => return at(j, "", "only the last band may have no `below`"),
                    (Some(low), Some(high)) if low >= high => {
                        return at(j + 1, "/below", "it is not above the limit of the band before");
                    }
                    _ => {}
                }
            }
        }
        for (i, mapping) in self.mappings.iter().enumerate() {
            if mapping.values.is_empty() {
                return Err(ConfigError::at(format!("/mappings/{i}/values"), "there is no word"));
            }
        }
        for (i, flag) in self.flags.iter().enumerate() {
            if [flag.above, flag.at_least, flag.below, flag.at_most].iter().all(Option::is_none) {
                let why = "it needs `above`, `at_least`, `below` or `at_most`";
                return Err(ConfigError::at(format!("/flags/{i}"), why));
            }
        }
        Ok(())
    }
}
