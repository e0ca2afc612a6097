//! Checks what a configuration says of itself before anything relies on it.

use std::collections::HashSet;

use tidegate_core::{
    About, Description, Kind, Origin, Path,
    description::{Capability, Written},
};

use crate::error::ConfigureError;

/// Reads, writes and rules of a description: each is a column or a label.
const ENTRIES_MAX: usize = 1000;

/// Checks a description on its own; whether it fits a chain is the pipeline's to see.
pub(crate) fn check(about: &About, description: &Description) -> Result<(), ConfigureError> {
    let plugin = &about.name;
    if let Some((capability, uses)) = unasked(about, description) {
        return Err(ConfigureError::NotAskedFor { plugin: plugin.clone(), capability, uses });
    }
    check_shape(description)
        .map_err(|what| ConfigureError::Description { plugin: plugin.clone(), what })
}

/// The first thing that it uses without asking for the capability.
fn unasked(about: &About, description: &Description) -> Option<(Capability, &'static str)> {
    let reads_root = description
        .reads
        .iter()
        .any(|read| matches!(&read.from, Origin::Field(path) if path.is_root()));
    let writes_root = description.writes.iter().any(|written| written.path.is_root());
    let looks_up = description.reads.iter().any(|read| matches!(read.from, Origin::Lookup(_)));
    let uses = [
        (reads_root, Capability::Document, "reads the whole record"),
        (writes_root, Capability::Document, "replaces the whole record"),
        (looks_up, Capability::Lookups, "reads from a look-up table"),
        (description.state.is_some(), Capability::State, "keeps state"),
    ];
    uses.into_iter()
        .find(|&(used, capability, _)| used && !about.capabilities.contains(&capability))
        .map(|(_, capability, what)| (capability, what))
}

fn check_shape(description: &Description) -> Result<(), String> {
    let Description { reads, writes, rules, state } = description;
    for (count, what) in [(reads.len(), "reads"), (writes.len(), "writes"), (rules.len(), "rules")]
    {
        if count > ENTRIES_MAX {
            return Err(format!("{count} {what} of {ENTRIES_MAX} allowed"));
        }
    }
    for read in reads {
        check_kind(&read.kind).map_err(|what| format!("read {}: {what}", read.from))?;
        match &read.from {
            Origin::Field(path) => check_root(path, &read.kind)?,
            Origin::Host(value) => match (value.kind(), &read.kind) {
                // A host value is no text, so its format is the host's affair.
                (Kind::Timestamp(_), Kind::Timestamp(_)) => {}
                (is, asked) if is == *asked => {}
                (is, asked) => return Err(format!("{} is {is}, not {asked}", value.name())),
            },
            Origin::Lookup(lookup) if lookup.keys.is_empty() => {
                return Err(format!("the look-up in `{}` has no key", lookup.table));
            }
            Origin::Lookup(_) => {}
        }
    }
    let mut paths = HashSet::new();
    for Written { path, kind } in writes {
        check_kind(kind).map_err(|what| format!("write {path}: {what}"))?;
        check_root(path, kind)?;
        if !paths.insert(path) {
            return Err(format!("{path} is written twice"));
        }
    }
    if writes.len() > 1 && paths.contains(&Path::ROOT) {
        return Err("it replaces the whole record and writes fields of it too".into());
    }
    let mut ids = HashSet::new();
    for rule in rules {
        if rule.id.is_empty() || !ids.insert(&rule.id) {
            return Err(format!("the rule id {:?} is empty or not unique", rule.id));
        }
    }
    match state {
        Some(state) if state.key.is_empty() => Err("its state has no key".into()),
        Some(state) if state.key.iter().any(|&read| read as usize >= reads.len()) => {
            Err("its state's key names a read that is not there".into())
        }
        _ => Ok(()),
    }
}

fn check_kind(kind: &Kind) -> Result<(), String> {
    let Kind::Enumeration(dictionary) = kind else { return Ok(()) };
    let mut seen = HashSet::new();
    match dictionary.iter().find(|text| !seen.insert(*text)) {
        Some(text) => Err(format!("{text:?} is twice in its dictionary")),
        None => Ok(()),
    }
}

fn check_root(path: &Path, kind: &Kind) -> Result<(), String> {
    match path.is_root() && *kind != Kind::Json {
        true => Err(format!("the whole record is json, not {kind}")),
        false => Ok(()),
    }
}
