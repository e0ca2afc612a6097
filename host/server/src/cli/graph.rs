//! `tidegate graph` and `tidegate impact`: who reads and writes which field, and what would
//! notice if one changed. Both look at a pipeline that passes `check`, and run nothing of it.

use std::fmt::Write as _;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use serde_json::json;
use tidegate_core::{Origin, Path, TransformFactory};
use tidegate_engine::Runtime;

use super::{PipelineArgs, check, runtime_options};
use crate::{
    chain,
    config::{Loaded, Zone},
    finding::{Finding, both},
    lineage::{ConditionNode, Impact, Lineage, Notice, ReadNode, Role, Step, User, named},
    output::{Exit, Failed, Outcome},
    plan,
    supply::Supply,
    tables,
};

/// What `graph` takes.
#[derive(Debug, Args)]
pub(super) struct GraphArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// How it is printed. With `--json`, the graph is the data, and a drawing stands beside it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How a graph is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A Mermaid flowchart, for documents and pull requests.
    Mermaid,
    /// The graph alone, as one JSON document.
    Json,
}

/// What `impact` takes.
#[derive(Debug, Args)]
pub(super) struct ImpactArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The field, such as `merchant.id`, or a host value, such as `@arrival-time`.
    field: String,
}

pub(super) fn graph(args: &GraphArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let (lineage, warnings) = match lineage(&loaded, &supply)? {
        Ok(found) => found,
        Err(findings) => return Ok(check::failed(findings)),
    };
    let mut data = serde_json::to_value(&lineage).map_err(Failed::runtime)?;
    let text = match args.format {
        Format::Text => graph_text(&lineage),
        Format::Mermaid => {
            let drawing = lineage.mermaid();
            data["mermaid"] = drawing.clone().into();
            drawing
        }
        Format::Json => format!("{data:#}\n"),
    };
    Ok(Outcome { findings: warnings, ..Outcome::ok(data, text) })
}

pub(super) fn impact(args: &ImpactArgs) -> Result<Outcome, Failed> {
    let field = field(&args.field)?;
    let (loaded, supply) = args.pipeline.open()?;
    let (lineage, mut findings) = match lineage(&loaded, &supply)? {
        Ok(found) => found,
        Err(findings) => return Ok(check::failed(findings)),
    };
    let impact = lineage.impact(&field);
    let mut data = serde_json::to_value(&impact).map_err(Failed::runtime)?;
    data["pipeline"] = lineage.pipeline.clone().into();
    if !impact.is_known {
        findings.push(unknown(&loaded, &impact));
        return Ok(Outcome { exit: Exit::Gate, data, text: String::new(), findings });
    }
    if impact.is_only_in_whole {
        findings.push(only_in_whole(&loaded, &impact));
    }
    Ok(Outcome { findings, ..Outcome::ok(data, impact_text(&lineage, &impact)) })
}

/// The field that was asked for. One that is no path is a wrong command line.
fn field(text: &str) -> Result<Origin, Failed> {
    if let Some(field) = named(text) {
        return Ok(field);
    }
    let error = match text.parse::<Path>() {
        Err(error) if !text.starts_with('@') => anyhow!(error),
        _ => {
            let names = tidegate_core::description::HostValue::ALL.map(|value| value.name());
            anyhow!("`{text}` is no host value; there are {}", names.join(", "))
        }
    };
    Err(Failed { exit: Exit::Invalid, findings: Vec::new(), error })
}

/// The lineage of a pipeline and the plan's warnings, or what is wrong with it.
#[expect(clippy::type_complexity, reason = "what went wrong with us, and what is wrong with it")]
fn lineage(
    loaded: &Loaded,
    supply: &Supply,
) -> Result<Result<(Lineage, Vec<Finding>), Vec<Finding>>, Failed> {
    let runtime = Runtime::new(runtime_options(&loaded.config))
        .context("failed to start the runtime of plugins")
        .map_err(Failed::environment)?;
    let parts = both(chain::load(loaded, &runtime, supply), tables::load(loaded));
    Ok(parts.and_then(|(stages, tables)| {
        let (_, warnings) = plan::build(loaded, &stages, tables)?;
        let plugins = stages.iter().map(|stage| stage.factory.plugin());
        Ok((Lineage::of(&loaded.config, plugins), warnings))
    }))
}

/// Nobody reads or writes it.
fn unknown(loaded: &Loaded, impact: &Impact) -> Finding {
    let message = format!("nobody reads or writes `{}`", impact.field);
    suggest(loaded.finding("unknown-field", "", message), impact)
}

/// Somebody reads or writes the whole record, and nobody this field: it may be a slip.
fn only_in_whole(loaded: &Loaded, impact: &Impact) -> Finding {
    let message =
        format!("nobody names `{}`: it is noticed with the whole record only", impact.field);
    suggest(loaded.finding("only-in-whole", "", message).warning(), impact)
}

fn suggest(finding: Finding, impact: &Impact) -> Finding {
    match impact.near.as_slice() {
        [] => finding.suggest("`tidegate graph` lists the fields that somebody names"),
        near => {
            let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
            finding.suggest(format!("did you mean {}?", near.join(" or ")))
        }
    }
}

fn graph_text(lineage: &Lineage) -> String {
    let mut text = format!("pipeline {}\nsource {}\n", lineage.pipeline, lineage.source.name);
    if let Some(key) = &lineage.source.partition_key {
        let _ = writeln!(text, "  partitions by {key}");
    }
    if let Some(filter) = &lineage.filter {
        text.push_str("filter\n");
        condition_text(&mut text, filter);
    }
    for stage in &lineage.stages {
        let _ = writeln!(text, "stage {} ({})", stage.name, stage.plugin);
        if let Some(when) = &stage.when {
            condition_text(&mut text, when);
        }
        for read in &stage.reads {
            read_text(&mut text, "reads ", read);
        }
        for write in &stage.writes {
            let _ = write!(text, "  writes {} ({})", write.field, write.kind);
            let _ = match write.read_by.is_empty() {
                true => writeln!(text),
                false => writeln!(text, ", read by {}", users(&write.read_by)),
            };
        }
        if let Some(key) = &stage.state_key {
            let key: Vec<String> = key.iter().map(Origin::to_string).collect();
            let _ = writeln!(text, "  keeps  state by {}", key.join(", "));
        }
    }
    for sink in &lineage.sinks {
        let zone = if sink.zone == Zone::Raw { ", raw zone" } else { "" };
        let _ = writeln!(text, "sink {}{zone}", sink.name);
        if let Some(when) = &sink.when {
            condition_text(&mut text, when);
        }
        if !sink.directory.is_empty() {
            let _ = writeln!(text, "  directories {}", sink.directory);
        }
        for read in sink.reads() {
            read_text(&mut text, "reads ", read);
        }
    }
    text.push_str("fields\n");
    let widest = lineage.fields.iter().map(|it| it.field.to_string().len()).max().unwrap_or(0);
    for field in &lineage.fields {
        let written_by = match field.written_by.is_empty() {
            true => String::new(),
            false => format!("written by {}; ", field.written_by.join(", ")),
        };
        let read_by = match field.read_by.is_empty() {
            true => "read by nobody here".to_owned(),
            false => format!("read by {}", users(&field.read_by)),
        };
        let name = field.field.to_string();
        let _ = writeln!(text, "  {name:<widest$}  {written_by}{read_by}");
    }
    text
}

fn condition_text(text: &mut String, condition: &ConditionNode) {
    let _ = writeln!(text, "  when   {}", json!(condition.condition));
    for read in &condition.reads {
        read_text(text, "asks  ", read);
    }
}

fn read_text(text: &mut String, verb: &str, read: &ReadNode) {
    let required = if read.required { ", required" } else { "" };
    let keys = match read.keys.as_slice() {
        [] => String::new(),
        keys => {
            let keys: Vec<String> = keys.iter().map(Path::to_string).collect();
            format!(" by {}", keys.join(", "))
        }
    };
    let from = read.from.join(", ");
    let _ = writeln!(text, "  {verb} {} ({}{required}) from {from}{keys}", read.field, read.kind);
}

fn impact_text(lineage: &Lineage, impact: &Impact) -> String {
    let mut text = match impact.written_by.as_slice() {
        [] => format!("{}, which no stage writes\n", impact.field),
        stages => format!("{}, which {} may write\n", impact.field, stages.join(", ")),
    };
    if impact.noticed_by.is_empty() {
        text.push_str("noticed by nobody here\n");
    } else {
        text.push_str("noticed by\n");
    }
    for (user, notices) in by_user(&impact.noticed_by) {
        let _ = writeln!(text, "  {}", user_text(user));
        for notice in notices {
            let _ = writeln!(text, "    {}", notice_text(notice));
        }
    }
    if !impact.changes.is_empty() {
        text.push_str("may change with it\n");
    }
    for change in &impact.changes {
        let written = &change.written;
        let _ = writeln!(
            text,
            "  {}, written by {}{}",
            written.field,
            written.stage,
            through_text(&change.through)
        );
    }
    if impact.field.starts_with('@') && impact.changes.is_empty() {
        // What the host knows of a record is not part of it.
        return text;
    }
    let sinks: Vec<&str> = lineage.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let _ = writeln!(text, "whoever reads what these sinks deliver sees it: {}", sinks.join(", "));
    text
}

/// Notices in their order, those of one user together.
fn by_user(notices: &[Notice]) -> Vec<(&User, Vec<&Notice>)> {
    let mut groups: Vec<(&User, Vec<&Notice>)> = Vec::new();
    for notice in notices {
        match groups.iter_mut().find(|(user, _)| **user == notice.used.user) {
            Some((_, group)) => group.push(notice),
            None => groups.push((&notice.used.user, vec![notice])),
        }
    }
    groups
}

fn notice_text(notice: &Notice) -> String {
    let field = &notice.used.field;
    let what = match (&notice.used.user, &notice.used.role) {
        (_, Role::PartitionKey) => format!("partitions by {field}"),
        (User::Sink(_), Role::Condition) => format!("routes by {field}"),
        (_, Role::Condition) => format!("asks for {field} in its condition"),
        (_, Role::Read) if notice.used.required => {
            format!("reads {field}, and records without it are rejected")
        }
        (_, Role::Read) => format!("reads {field}"),
        (_, Role::StateKey) => format!("keeps its state by {field}"),
        (_, Role::Lookup(table)) => format!("looks {field} up in the table {table}"),
        (_, Role::Rule(id)) => format!("has the rule {id} about {field}"),
        (_, Role::Column) if notice.used.required => {
            format!("has a column of {field}, and records without it are dead letters")
        }
        (_, Role::Column) => format!("has a column of {field}"),
        (_, Role::Directory) => format!("names directories by {field}"),
    };
    what + &through_text(&notice.through)
}

fn through_text(through: &[Step]) -> String {
    if through.is_empty() {
        return String::new();
    }
    let steps: Vec<String> =
        through.iter().map(|step| format!("{} ({})", step.field, step.stage)).collect();
    format!(", through {}", steps.join(", "))
}

fn users(users: &[User]) -> String {
    users.iter().map(user_text).collect::<Vec<_>>().join(", ")
}

fn user_text(user: &User) -> String {
    match user {
        User::Source(name) => format!("source {name}"),
        User::Filter => "the filter".to_owned(),
        User::Stage(name) => format!("stage {name}"),
        User::Sink(name) => format!("sink {name}"),
    }
}
