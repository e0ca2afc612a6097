//! `tidegate plugin inspect`: who a plugin is, and what a config of it reads, writes and rules on.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};
use tidegate_core::{
    Description,
    description::{KeyedState, Kind, Rule, Written},
};
use tidegate_engine::{Component, ConfigureOptions, Limits, Runtime, RuntimeOptions};

use super::{PolicyArgs, environment, plugin_target};
use crate::{
    chain,
    config::{self, ComponentReference, Loaded, Stage},
    files::Files,
    golden,
    output::{Failed, Outcome},
    supply::{Policy, Rights, StageRights, Supply, listed, names},
};

/// What `plugin inspect` takes.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The component, a file or of a registry, which may be pinned to a digest; or a project's
    /// folder that was built.
    #[arg(default_value = ".")]
    component: ComponentReference,
    /// Show what it reads and writes with this config, YAML or JSON; with that of the golden cases,
    /// or an empty one, where none is named.
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
    let (named, golden) = place(&args.component)?;
    let reference = supply.pinned(&named)?;
    let admitted = supply.resolve(&reference, &Files::on_disk())?;
    let runtime = Runtime::new(RuntimeOptions::default()).map_err(Failed::environment)?;
    let component = runtime
        .load_within(&admitted.bytes, &policy.limits())
        .with_context(|| format!("failed to load `{reference}`"))
        .map_err(Failed::runtime)?;
    let stages = match &args.pipeline {
        None => Vec::new(),
        Some(path) => stages(&config::load(path, &environment)?, &supply, &component),
    };
    let mut data = about_json(&component, &policy);
    let mut text = about_text(&component, &policy);
    if reference != named {
        let _ = writeln!(text, "  {:<17} {reference}", "pinned");
    }
    data["reference"] = json!(reference);
    if let Some(signer) = &admitted.signed_by {
        let _ = writeln!(text, "  {:<17} {signer}", "signed by");
    }
    data["signed_by"] = json!(admitted.signed_by);
    data["stages"] = json!(stages);
    stages.iter().for_each(|stage| text.push_str(&format!("  {stage}\n")));
    match described(args, &component, golden.as_deref(), &policy)? {
        Ok(description) => {
            data["description"] = description_json(&description);
            text.push_str(&description_text(&description));
        }
        Err(why) => {
            let _ = writeln!(text, "  what it reads and writes depends on its config: {why}");
        }
    }
    Ok(Outcome::ok(data, text))
}

/// The component that is named, that of a project where its folder is, and where its golden cases
/// lie.
fn place(named: &ComponentReference) -> Result<(ComponentReference, Option<PathBuf>), Failed> {
    let ComponentReference::File { path, digest } = named else {
        return Ok((named.clone(), None));
    };
    let (path, golden) = plugin_target::place(path)?;
    Ok((ComponentReference::File { path, digest: *digest }, Some(golden)))
}

/// What it reads and writes: with the config that is named, or that of its golden cases, or an empty
/// one. Only a config that was named has to be taken.
fn described(
    args: &InspectArgs,
    component: &Component,
    golden: Option<&Path>,
    policy: &Policy,
) -> Result<Result<Description, String>, Failed> {
    if let Some(path) = &args.config {
        let config = config::load_plugin_config(path, &environment)?;
        return Ok(Ok(describe(component, &config, policy).map_err(Failed::runtime)?));
    }
    let cases = golden.map(golden::load).transpose()?.flatten();
    let config = plugin_target::default_config(cases.as_ref());
    let described = describe(component, &config, policy);
    Ok(described.map_err(|error| format!("{error:#}; name one by `--config`")))
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
        "limits": chain::spelled_out(&policy.limits()),
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
        ("state", state(component)),
        ("may be passed by", yes(about.may_be_passed_by).to_owned()),
        ("symbols", yes(interface.has_symbols).to_owned()),
        ("imports", listed(&interface.imports)),
        ("exports", listed(&interface.exports)),
        ("limits by default", limits(policy)),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<17} {value}");
    }
    text
}

/// The version of the states that it keeps, and whether it reads those of others.
fn state(component: &Component) -> String {
    match (component.about().state_version, component.interface().migrates) {
        (0, _) => "none".to_owned(),
        (version, true) => format!("version {version}, migrates earlier ones"),
        (version, false) => format!("version {version}, reads no other"),
    }
}

/// What a stage may use up, where its operator says nothing else.
fn limits(policy: &Policy) -> String {
    let Limits { memory_bytes, fuel, time, reply_bytes, findings, log_lines, state_bytes, .. } =
        policy.limits();
    format!(
        "memory {}, fuel {} and {} a row, time {} s, reply {} and {} a row, findings {} a row, log \
         lines {log_lines}, state {}",
        BinaryBytes(memory_bytes),
        HumanCount(fuel.base),
        HumanCount(fuel.per_row),
        time.as_secs(),
        BinaryBytes(reply_bytes.base),
        BinaryBytes(reply_bytes.per_row),
        findings.per_row,
        BinaryBytes(state_bytes),
    )
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
