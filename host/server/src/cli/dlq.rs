//! `tidegate dlq ls` and `dlq show`: what lies in the dead letters, why, and what became of those
//! that were tried again.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};
use tidegate_connectors::store::{Redriven, StoreInspector};
use tidegate_core::Timestamp;

use super::{PipelineArgs, block_on};
use crate::{
    config::Loaded,
    letters::{self, Letter, Reason, Wanted},
    objects::Objects,
    output::{Exit, Failed, Outcome},
    redrive::History,
};

/// Which letters a command is about.
#[derive(Debug, Args)]
pub(super) struct WantedArgs {
    /// Only letters of this stage, such as `decode` or `transform:validate`.
    #[arg(long)]
    stage: Option<String>,
    /// Only letters with this error code.
    #[arg(long)]
    code: Option<String>,
    /// Only letters of this error class, such as `reject`, `review` or `trap`.
    #[arg(long)]
    class: Option<String>,
    /// Only letters of records that broke this rule of a plugin.
    #[arg(long)]
    rule: Option<String>,
    /// Only letters of this partition.
    #[arg(long)]
    partition: Option<String>,
    /// Only letters by a component whose digest is this, or begins with it.
    #[arg(long)]
    digest: Option<String>,
    /// Only letters of this time and later, as an RFC 3339 time.
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Only letters before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
}

impl WantedArgs {
    pub(super) fn wanted(&self) -> Wanted {
        let time = |time: Option<jiff::Timestamp>| time.map(|it| Timestamp(it.as_microsecond()));
        Wanted {
            stage: self.stage.clone(),
            code: self.code.clone(),
            class: self.class.clone(),
            rule: self.rule.clone(),
            partition: self.partition.clone(),
            digest: self.digest.clone(),
            since: time(self.since),
            until: time(self.until),
        }
    }
}

/// What `dlq ls` takes.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Only letters that no redrive has taken.
    #[arg(long)]
    not_redriven: bool,
    /// Show at most so many; all are counted.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// What `dlq show` takes.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The letter, as `dlq ls` names it: `<partition>:<position>`.
    id: String,
    /// Also print the record itself. It may hold what not everybody may see.
    #[arg(long)]
    payload: bool,
}

/// Calls `visit` with every letter of a pipeline. A directory that is not there is an error: it is
/// the wrong one, or nothing ever ran.
fn each_letter(
    loaded: &Loaded,
    visit: impl FnMut(Letter) -> anyhow::Result<()>,
) -> Result<(), Failed> {
    let config = &loaded.config;
    let directory = config.dead_letters.directory.as_ref();
    if let Some(directory) = directory.filter(|it| !it.is_dir()) {
        return Err(Failed::environment(anyhow!(
            "there is no directory `{}`: nothing has run with this config yet, or its dead letters \
             lie elsewhere",
            directory.display()
        )));
    }
    block_on(letters::each(&Objects::of_dead_letters(config), visit))?.map_err(Failed::runtime)
}

/// What was redriven, where there is a store that knows.
fn history(loaded: &Loaded) -> Result<History, Failed> {
    let directory = &loaded.config.data_dir;
    if !directory.is_dir() {
        return Ok(History::default());
    }
    StoreInspector::open(directory)
        .and_then(|store| History::read(&store))
        .with_context(|| format!("failed to read the data directory `{}`", directory.display()))
        .map_err(Failed::environment)
}

pub(super) fn list(args: &ListArgs) -> Result<Outcome, Failed> {
    let loaded = args.pipeline.load()?;
    let history = history(&loaded)?;
    let wanted = args.wanted.wanted();
    let mut total = 0u64;
    let mut reasons: BTreeMap<Reason, u64> = BTreeMap::new();
    let mut shown = Vec::new();
    let visit = |letter: Letter| {
        let redriven = history.of(&letter.key()?);
        if wanted.takes(&letter) && !(args.not_redriven && redriven.is_some()) {
            total += 1;
            *reasons.entry(letter.reason()).or_default() += 1;
            if shown.len() < args.limit {
                shown.push((letter, redriven));
            }
        }
        Ok(())
    };
    each_letter(&loaded, visit)?;
    let text = list_text(total, &reasons, &shown);
    let data = json!({
        "total": total,
        "reasons": reasons_json(&reasons),
        "letters": shown.iter().map(summary).collect::<Vec<_>>(),
    });
    Ok(Outcome::ok(data, text))
}

/// Letters by reason, for programs.
pub(super) fn reasons_json(reasons: &BTreeMap<Reason, u64>) -> Value {
    let reasons = reasons.iter().map(|(Reason { stage, code, rule }, letters)| {
        json!({ "stage": stage, "code": code, "rule": rule, "letters": letters })
    });
    reasons.collect()
}

/// Letters by reason, for people.
pub(super) fn reasons_text(reasons: &BTreeMap<Reason, u64>) -> String {
    let mut text = String::new();
    for (Reason { stage, code, rule }, letters) in reasons {
        let rule = rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
        let _ = writeln!(text, "{letters:>10}  {stage}  {code}{rule}");
    }
    text
}

fn summary((letter, redriven): &(Letter, Option<&Redriven>)) -> Value {
    json!({
        "id": letter.id(),
        "time": letter.time(),
        "stage": letter.etl("stage"),
        "class": letter.etl("errorClass"),
        "code": letter.etl("errorCode"),
        "rule": letter.etl("rule"),
        "message": letter.etl("errorMessage"),
        "partition": letter.etl("partition"),
        "position": letter.etl("position"),
        "redrive_count": letter.redrives(),
        "redriven": redriven.map(redriven_json),
    })
}

/// How a letter was redriven. Without an outcome it is still to be.
fn redriven_json(it: &Redriven) -> Value {
    json!({
        "redrive": it.redrive,
        "outcome": it.outcome.map(|it| it.outcome),
        "time": it.outcome.map(|it| it.at.to_string()),
        "generation": it.outcome.map(|it| it.generation),
    })
}

fn redriven_text(redriven: Option<&Redriven>) -> String {
    match redriven {
        None => String::new(),
        Some(Redriven { redrive, outcome: None, .. }) => format!("  (in redrive {redrive})"),
        Some(Redriven { outcome: Some(it), .. }) => {
            let outcome = it.outcome.name().replace('_', "-");
            format!("  (redriven {}: {outcome})", it.at)
        }
    }
}

fn list_text(
    total: u64,
    reasons: &BTreeMap<Reason, u64>,
    shown: &[(Letter, Option<&Redriven>)],
) -> String {
    let mut text = reasons_text(reasons);
    if total > 0 {
        text.push('\n');
    }
    for (letter, redriven) in shown {
        let _ = writeln!(
            text,
            "{}  {}  {}: {}{}",
            letter.id(),
            letter.etl("stage"),
            letter.etl("errorCode"),
            letter.etl("errorMessage"),
            redriven_text(*redriven)
        );
    }
    let more = match total - shown.len() as u64 {
        0 => String::new(),
        more => format!(" ({more} not shown: `--limit`, `--stage`, `--code` and others)"),
    };
    let _ = writeln!(text, "{total} dead letters{more}");
    text
}

pub(super) fn show(args: &ShowArgs) -> Result<Outcome, Failed> {
    let loaded = args.pipeline.load()?;
    let history = history(&loaded)?;
    let mut text = String::new();
    let mut data = Vec::new();
    for letter in named(&loaded, &args.id)? {
        let redriven = history.of(&letter.key().map_err(Failed::runtime)?).map(redriven_json);
        let payload = match args.payload {
            false => None,
            true => Some(letter.payload().map_err(Failed::runtime)?),
        };
        let mut shown = letter.without_payload();
        if let Some(redriven) = redriven {
            shown["redriven"] = redriven;
        }
        let _ = writeln!(text, "{shown:#}");
        if let Some(payload) = payload {
            // A record that is no text is a common reason for its being here.
            let payload = String::from_utf8_lossy(&payload);
            let _ = writeln!(text, "{payload}");
            shown["record"] = payload.into();
        }
        data.push(shown);
    }
    let exit = if data.is_empty() { Exit::Gate } else { Exit::Ok };
    if data.is_empty() {
        let _ = writeln!(text, "no dead letter is named `{}`", args.id);
    }
    Ok(Outcome { exit, data: json!({ "letters": data }), text, findings: Vec::new() })
}

/// The letters of a record: more than one where it was redriven and failed again. In the order in
/// which they were written.
pub(super) fn named(loaded: &Loaded, id: &str) -> Result<Vec<Letter>, Failed> {
    let mut found = Vec::new();
    let visit = |letter: Letter| {
        if letter.id() == id {
            found.push(letter);
        }
        Ok(())
    };
    each_letter(loaded, visit)?;
    found.sort_by_key(Letter::redrives);
    Ok(found)
}
