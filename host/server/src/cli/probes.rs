//! What `check` finds out about a pipeline's connectors, as a person reads it.

use std::{fmt::Write as _, sync::Arc};

use serde::Serialize;
use tidegate_connectors::probe::{ProbeLevel, ProbeOutcome, Probed, Probing};
use tidegate_core::LookupTable;

use crate::{config::Loaded, edges, output::Failed};

/// One action of one connector.
#[derive(Debug, Serialize)]
pub(super) struct Probe {
    connector: String,
    #[serde(flatten)]
    probed: Probed,
}

impl Probe {
    pub(super) fn has_failed(&self) -> bool {
        self.probed.outcome == ProbeOutcome::Failed
    }
}

/// Asks all connectors at once. What they have found stands in the order of the config.
pub(super) fn probe(
    loaded: &Loaded,
    tables: &[Arc<LookupTable>],
    probing: Probing,
) -> Result<Vec<Probe>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failed::environment)?;
    let found = runtime.block_on(async {
        let connectors = edges::connectors(loaded, tables, probing).map_err(Failed::environment)?;
        let asked: Vec<_> =
            connectors.into_iter().map(|it| (it.name, tokio::spawn(it.probes))).collect();
        let mut found = Vec::new();
        for (connector, probes) in asked {
            let probes = probes.await.map_err(Failed::runtime)?.into_iter();
            found.extend(probes.map(|probed| Probe { connector: connector.clone(), probed }));
        }
        Ok(found)
    });
    // A file system that does not answer is not waited for: it has had its time.
    runtime.shutdown_background();
    found
}

/// A line for each that the level asks for, in columns, and how many there are.
pub(super) fn text(probes: &[Probe], level: ProbeLevel) -> String {
    let (asked, beyond): (Vec<_>, Vec<_>) = probes.iter().partition(|it| it.probed.level <= level);
    let connectors = width(asked.iter().map(|it| it.connector.as_str()));
    let actions = width(asked.iter().map(|it| it.probed.action.as_str()));
    let mut text = String::new();
    let mut counts = [0; 3];
    for Probe { connector, probed } in asked {
        let Probed { action, resource, outcome, why, hint, .. } = probed;
        let (place, said, between) = match outcome {
            ProbeOutcome::Verified => (0, "VERIFIED", ": "),
            ProbeOutcome::NotVerified => (1, "NOT VERIFIED", " because "),
            ProbeOutcome::Failed => (2, "FAILED", ": "),
        };
        counts[place] += 1;
        let _ =
            write!(text, "{said:<12}  {connector:<connectors$}  {action:<actions$}  {resource}");
        if let Some(why) = why {
            let _ = write!(text, "{between}{}", in_one_line(why));
        }
        if let Some(hint) = hint {
            let _ = write!(text, "; {hint}");
        }
        text.push('\n');
    }
    let [verified, unknown, failed] = counts;
    let _ = write!(text, "{verified} verified, {unknown} not verified, {failed} failed");
    let _ = match beyond.len() {
        0 => writeln!(text),
        beyond => writeln!(text, "; {beyond} more actions with a higher `--level`"),
    };
    text
}

/// Some errors have several.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|it| it.chars().count()).max().unwrap_or_default()
}
