//! `tidegate dlq`: what lies in the dead letters, and why.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::{PipelineArgs, block_on};
use crate::{
    letters::{self, Letter},
    output::{Exit, Failed, Outcome},
};

/// What `dlq ls` takes.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Only letters of this stage, such as `decode` or `transform:validate`.
    #[arg(long)]
    stage: Option<String>,
    /// Only letters with this error code.
    #[arg(long)]
    code: Option<String>,
    /// Only letters of records that broke this rule of a plugin.
    #[arg(long)]
    rule: Option<String>,
    /// Only letters of this partition.
    #[arg(long)]
    partition: Option<String>,
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

/// Why records are dead: what letters are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    stage: String,
    code: String,
    /// The rule of the plugin, where one was broken.
    rule: Option<String>,
}

impl Reason {
    fn of(letter: &Letter) -> Self {
        let rule = Some(letter.etl("rule").to_owned()).filter(|rule| !rule.is_empty());
        Reason {
            stage: letter.etl("stage").to_owned(),
            code: letter.etl("errorCode").to_owned(),
            rule,
        }
    }
}

pub(super) fn list(args: &ListArgs) -> Result<Outcome, Failed> {
    let loaded = args.pipeline.load()?;
    let wanted = |letter: &Letter| {
        let is = |filter: &Option<String>, name: &str| {
            filter.as_deref().is_none_or(|filter| filter == letter.etl(name))
        };
        is(&args.stage, "stage")
            && is(&args.code, "errorCode")
            && is(&args.rule, "rule")
            && is(&args.partition, "partition")
    };
    let mut total = 0u64;
    let mut reasons: BTreeMap<Reason, u64> = BTreeMap::new();
    let mut shown = Vec::new();
    let visit = |letter: Letter| {
        if wanted(&letter) {
            total += 1;
            *reasons.entry(Reason::of(&letter)).or_default() += 1;
            if shown.len() < args.limit {
                shown.push(letter);
            }
        }
        Ok(())
    };
    block_on(letters::each(&loaded.config.dead_letters.directory, visit))?
        .map_err(Failed::runtime)?;
    let text = list_text(total, &reasons, &shown);
    let reasons = reasons.iter().map(|(Reason { stage, code, rule }, letters)| {
        json!({ "stage": stage, "code": code, "rule": rule, "letters": letters })
    });
    let data = json!({
        "total": total,
        "reasons": reasons.collect::<Vec<_>>(),
        "letters": shown.iter().map(summary).collect::<Vec<_>>(),
    });
    Ok(Outcome::ok(data, text))
}

fn summary(letter: &Letter) -> Value {
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
    })
}

fn list_text(total: u64, reasons: &BTreeMap<Reason, u64>, shown: &[Letter]) -> String {
    let mut text = String::new();
    for (Reason { stage, code, rule }, letters) in reasons {
        let rule = rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
        let _ = writeln!(text, "{letters:>10}  {stage}  {code}{rule}");
    }
    if total > 0 {
        text.push('\n');
    }
    for letter in shown {
        let _ = writeln!(
            text,
            "{}  {}  {}: {}",
            letter.id(),
            letter.etl("stage"),
            letter.etl("errorCode"),
            letter.etl("errorMessage")
        );
    }
    let more = match total - shown.len() as u64 {
        0 => String::new(),
        more => {
            format!(" ({more} not shown: `--limit`, `--stage`, `--code`, `--rule`, `--partition`)")
        }
    };
    let _ = writeln!(text, "{total} dead letters{more}");
    text
}

pub(super) fn show(args: &ShowArgs) -> Result<Outcome, Failed> {
    let loaded = args.pipeline.load()?;
    let mut found = Vec::new();
    let visit = |letter: Letter| {
        if letter.id() == args.id {
            found.push(letter);
        }
        Ok(())
    };
    block_on(letters::each(&loaded.config.dead_letters.directory, visit))?
        .map_err(Failed::runtime)?;
    let mut text = String::new();
    let mut data = Vec::new();
    for letter in found {
        let payload = match args.payload {
            false => None,
            true => Some(letter.payload().map_err(Failed::runtime)?),
        };
        let mut shown = letter.without_payload();
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
