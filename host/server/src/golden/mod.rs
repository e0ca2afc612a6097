//! Golden cases: what a plugin makes of some records, written down beside it and checked whenever
//! it changes.
//!
//! ```text
//! categorize.wasm         the component
//! categorize.golden.yaml  what it has to make of which records
//! ```
//!
//! Cases run through the real plan in memory: the projection, the component under its limits, the
//! encoding. Each is run twice, as one batch with purity checked and record by record, so a plugin
//! whose reply depends on how records are cut fails them whatever it replies.

mod format;
mod run;
mod write;

use std::path::{Path, PathBuf};

pub use format::{Case, Cases, Expected, Given, Rules};
pub use run::{CaseReport, Failure, Observed, Report, Verdict};

use tidegate_engine::{Component, ConfigureOptions};

use crate::config::{self, ConfigError};

/// Where a component's golden cases lie.
pub fn path_beside(component: &Path) -> PathBuf {
    component.with_extension("golden.yaml")
}

/// The cases of a file; none where there is no such file.
pub fn load(path: &Path) -> Result<Option<Cases>, ConfigError> {
    if !path.exists() {
        return Ok(None);
    }
    config::load_document(path).map(Some)
}

/// Runs all cases. `options` are those of the stage: its config is the one of cases that have none
/// of their own. Blocks for as long as the plugin takes; never waits for anything else.
pub fn run(component: &Component, options: ConfigureOptions, cases: &Cases) -> Report {
    run::run(component, &options, cases)
}

/// The text of a file that expects what was observed. The comment that the old text begins with
/// stays.
pub fn accepted(old_text: &str, cases: &Cases, report: &Report) -> String {
    write::accepted(old_text, cases, report)
}
