//! `tidegate plugin inspect`: who a plugin is, and what a config of it reads, writes and rules on.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use tidegate_core::{
    Description,
    description::{KeyedState, Kind, Rule, Written},
};
use tidegate_engine::{Component, ConfigureOptions, Runtime, RuntimeOptions};

use super::{PolicyArgs, environment};
use crate::{
    config::{self, ComponentReference, Loaded, Stage},
    files::Files,
    output::{Failed, Outcome},
    supply::{Policy, Rights, StageRights, Supply, listed, names},
};

/// What `plugin inspect` takes.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The component: a file, which may be pinned to a digest.
    component: ComponentReference,
    /// Also show what it reads and writes with this config, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also show what the stages of this pipeline that run it grant it.
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) fn inspect(args: &InspectArgs) -> Result<Outcome, Failed> {
    let supply = args.policy.supply()?;
    let policy = supply.policy();
    let reference = supply.pinned(&args.component)?;
    let admitted = supply.resolve(&reference, &Files::on_disk())?;
    let runtime = Runtime::new(RuntimeOptions::default()).map_err(Failed::environment)?;
    let component = runtime
        .load_within(&admitted.bytes, &policy.limits())
        .with_context(|| format!("failed to load `{}`", args.component))
        .map_err(Failed::runtime)?;
    let stages = match &args.pipeline {
        None => Vec::new(),
        Some(path) => stages(&config::load(path, &environment)?, &supply, &component),
    };
    let description = match &args.config {
        None => None,
        Some(path) => {
            let config = config::load_plugin_config(path, &environment)?;
            Some(describe(&component, &config, &policy).map_err(Failed::runtime)?)
        }
    };
    let mut data = about_json(&component, &policy);
    let mut text = about_text(&component, &policy);
    if reference != args.component {
        let _ = writeln!(text, "  {:<17} {reference}", "pinned");
    }
    data["reference"] = json!(reference);
    if let Some(signer) = &admitted.signed_by {
        let _ = writeln!(text, "  {:<17} {signer}", "signed by");
    }
    data["signed_by"] = json!(admitted.signed_by);
    data["stages"] = json!(stages);
    stages.iter().for_each(|stage| text.push_str(&format!("  {stage}\n")));
    if let Some(description) = &description {
        data["description"] = description_json(description);
        text.push_str(&description_text(description));
    }
    Ok(Outcome::ok(data, text))
}

/// The stages of a pipeline that run this component, and what they grant it.
fn stages(loaded: &Loaded, supply: &Supply, component: &Component) -> Vec<StageRights> {
    let (about, policy) = (component.about(), supply.policy());
    let rights = |stage: &Stage| {
        let found = supply.resolve(&stage.plugin, &Files::on_disk()).ok()?;
        let rights = Rights::new(&about.capabilities, &stage.grants, policy.ceiling());
        let plugin = format!("{} {}", about.name, about.version);
        let runs_it = found.digest == component.digest();
        let signed_by = found.signed_by;
        runs_it.then(|| StageRights::new(&stage.name, plugin, found.digest, signed_by, &rights))
    };
    loaded.config.stages.iter().filter_map(rights).collect()
}

/// What it does with a config. It is granted what it asks for, within the policy: nothing is run
/// but `configure`.
fn describe(component: &Component, config: &Value, policy: &Policy) -> anyhow::Result<Description> {
    let options = ConfigureOptions {
        config_json: config.to_string(),
        limits: policy.limits(),
        grants: policy.ceiling().clone(),
        ..ConfigureOptions::default()
    };
    let factory = component.configure(options)?;
    Ok(tidegate_core::TransformFactory::plugin(&factory).description.clone())
}

fn about_json(component: &Component, policy: &Policy) -> Value {
    let about = component.about();
    let interface = component.interface();
    json!({
        "name": about.name,
        "version": about.version,
        "summary": about.summary,
        "contract": interface.contract,
        "digest": component.digest(),
        "size_bytes": component.size_bytes(),
        "capabilities": about.capabilities,
        "ceiling": names(policy.ceiling()),
        "state_version": about.state_version,
        "may_be_passed_by": about.may_be_passed_by,
        "migrates": interface.migrates,
        "has_windows": interface.has_windows,
        "has_symbols": interface.has_symbols,
        "imports": interface.imports,
        "exports": interface.exports,
        // The engine has checked that it is JSON.
        "config_schema": serde_json::from_str::<Value>(&about.config_schema).unwrap_or_default(),
    })
}

fn about_text(component: &Component, policy: &Policy) -> String {
    let about = component.about();
    let interface = component.interface();
    let asked = Rights::new(&about.capabilities, &[], policy.ceiling()).asked;
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let mut text = format!("{} {}: {}\n", about.name, about.version, about.summary);
    let rows = [
        ("contract", interface.contract.clone()),
        ("digest", component.digest().to_string()),
        ("size", format!("{} KiB", component.size_bytes().div_ceil(1024))),
        ("asks for", listed(&names(&asked))),
        ("ceiling", listed(&names(policy.ceiling()))),
        ("state version", about.state_version.to_string()),
        ("may be passed by", yes(about.may_be_passed_by).to_owned()),
        ("symbols", yes(interface.has_symbols).to_owned()),
        ("imports", listed(&interface.imports)),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<17} {value}");
    }
    text
}

/// A description for programs.
pub(crate) fn description_json(description: &Description) -> Value {
    let reads = description.reads.iter().map(|read| {
        let mut json = json!({
            "from": read.from.to_string(),
            "kind": read.kind.name(),
            "required": read.required,
        });
        with_words(&mut json, &read.kind);
        json
    });
    let writes = description.writes.iter().map(|Written { path, kind }| {
        let mut json = json!({ "path": path, "kind": kind.name() });
        with_words(&mut json, kind);
        json
    });
    let rules = description.rules.iter().map(|rule| {
        let Rule { id, dimension, severity, field, text } = rule;
        json!({ "id": id, "dimension": dimension, "severity": severity, "field": field,
                "text": text })
    });
    json!({
        "reads": reads.collect::<Vec<_>>(),
        "writes": writes.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "state": description.state.as_ref().map(|state| json!({ "key": key(description, state) })),
    })
}

/// A dictionary stands with its kind.
fn with_words(json: &mut Value, kind: &Kind) {
    if let Kind::Enumeration(words) = kind {
        json["words"] = words.clone().into();
    }
}

/// The fields that a state is kept by.
fn key(description: &Description, state: &KeyedState) -> Vec<String> {
    let reads = state.key.iter().filter_map(|&i| description.reads.get(i as usize));
    reads.map(|read| read.from.to_string()).collect()
}

/// A description for people.
fn description_text(description: &Description) -> String {
    let mut text = String::new();
    for read in &description.reads {
        let required = if read.required { ", required" } else { "" };
        let _ = writeln!(text, "  reads   {} ({}{required})", read.from, read.kind);
    }
    for Written { path, kind } in &description.writes {
        let _ = writeln!(text, "  writes  {path} ({kind})");
    }
    for rule in &description.rules {
        let severity = format!("{:?}", rule.severity).to_lowercase();
        let _ = writeln!(text, "  rule    {} ({severity}): {}", rule.id, rule.text);
    }
    if let Some(state) = &description.state {
        let _ = writeln!(text, "  state   by {}", key(description, state).join(", "));
    }
    text
}
