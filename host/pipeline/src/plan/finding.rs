//! What a check of a plan finds: all of it at once, each with a stable code.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works, and may not be what was meant.
    Warning,
    /// There is no plan.
    Error,
}

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// A stable code: `write-overlap`.
    pub code: &'static str,
    /// Where in the config, as a JSON Pointer: `/stages/1/when`.
    pub pointer: String,
    /// What, and what to do about it.
    pub message: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

/// All that a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Whether there can be no plan.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.level == Level::Error)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {} ({})", finding.pointer, finding.message, finding.code)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// What was probably meant by a name, where one is near enough to say so; else what there is.
pub(super) fn suggestion<'n>(
    name: &str,
    what: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Option<String> {
    let nearest = known
        .clone()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let all: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    match nearest {
        Some((_, other)) => Some(format!("did you mean `{other}`?")),
        None => (!all.is_empty()).then(|| format!("{what}: {}", all.join(", "))),
    }
}
