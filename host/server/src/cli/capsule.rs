//! `tidegate dlq capsule` and `tidegate plugin replay`: a crash, taken along and seen again.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::json;
use tidegate_core::{Digest, transform::Verdict};

use super::{PipelineArgs, PolicyArgs, dlq};
use crate::{
    capsule::{Capsule, CapsuleComponent, FORMAT, Replayed},
    chain,
    config::{ComponentReference, Loaded},
    files::Files,
    finding::Finding,
    letters::Letter,
    output::{Exit, Failed, Outcome},
    plan,
    supply::{Evidence, Supply},
};

/// What `dlq capsule` takes.
#[derive(Debug, Args)]
pub(super) struct CapsuleArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The letter, as `dlq ls` names it: `<partition>:<position>`.
    id: String,
    /// Where the capsule is written. It holds the record.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Put the component in, so that the file is all that it takes.
    #[arg(long)]
    with_component: bool,
    /// The component that failed, where the pipeline has another one by now.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
}

/// What `plugin replay` takes.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The capsule that `dlq capsule` has written.
    capsule: PathBuf,
    /// The component to run: the one that failed, or one that should not. The capsule's own, where
    /// this is left out.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Succeed if the plugin does not fail any more, instead of if it fails in the same way.
    #[arg(long)]
    fixed: bool,
    #[command(flatten)]
    policy: PolicyArgs,
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    fs::read(path)
        .with_context(|| format!("failed to read `{}`", path.display()))
        .map_err(Failed::environment)
}

/// The answer is no.
fn no(text: String) -> Outcome {
    let data = json!({ "message": text.trim_end() });
    Outcome { exit: Exit::Gate, data, text, findings: Vec::new() }
}

pub(super) fn capsule(args: &CapsuleArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let letters = dlq::named(&loaded, &args.id)?;
    let Some(last) = letters.last() else {
        return Ok(no(format!("no dead letter is named `{}`\n", args.id)));
    };
    let Some(letter) = letters.iter().rev().find(|it| it.call().is_some()) else {
        return Ok(no(format!(
            "`{}` broke no plugin: it is dead by {} of `{}`, and there is no call to make again\n",
            args.id,
            last.etl("errorCode"),
            last.etl("stage")
        )));
    };
    let (capsule, findings) = pack(args, &loaded, &supply, letter)?;
    write(&args.out, &capsule)?;
    let data = json!({
        "file": args.out,
        "id": args.id,
        "stage": capsule.stage,
        "component": capsule.component.digest,
        "holds_component": capsule.component.wasm.is_some(),
    });
    let how = match capsule.component.wasm {
        Some(_) => String::new(),
        None => format!(" --component <the file of {}>", capsule.component.digest),
    };
    let text = format!(
        "`{}`: {} of `{}`\nit holds the record; run it with `tidegate plugin replay {}{how}`\n",
        args.out.display(),
        letter.etl("errorCode"),
        capsule.stage,
        args.out.display()
    );
    Ok(Outcome { findings, ..Outcome::ok(data, text) })
}

/// Puts a capsule together, and says what may be other than it was.
fn pack(
    args: &CapsuleArgs,
    loaded: &Loaded,
    supply: &Supply,
    letter: &Letter,
) -> Result<(Capsule, Vec<Finding>), Failed> {
    let config = &loaded.config;
    let name = letter.etl("stage").trim_start_matches("transform:").to_owned();
    let place = config.stages.iter().position(|stage| stage.name == name);
    let place = place
        .ok_or_else(|| Failed::runtime(anyhow!("the pipeline has no stage `{name}` any more")))?;
    let stage = &config.stages[place];
    let digest: Digest = letter
        .etl("componentDigest")
        .parse()
        .context("the dead letter names no component")
        .map_err(Failed::runtime)?;
    let mut findings = Vec::new();
    let mut changed = |below: &str, message: String| {
        let pointer = format!("/stages/{place}{below}");
        findings.push(loaded.finding("changed-since", &pointer, message).warning());
    };
    let plugin_config = stage.config.clone().unwrap_or_else(|| json!({}));
    let was = letter.call().and_then(|call| call["config"].as_str()).unwrap_or_default();
    if Digest::of(plugin_config.to_string().as_bytes()).to_string() != was {
        let message = "the plugin's config is another than the one that it failed with: the \
                       capsule has the one of now";
        changed("/config", message.to_owned());
    }
    if plan::digest(config).to_string() != letter.etl("configHash") {
        let message = "the pipeline's config has changed since: the capsule has the stage's limits \
                       and grants of now";
        changed("", message.to_owned());
    }
    let wasm = match args.with_component {
        false => None,
        true => {
            let reference = match &args.component {
                Some(path) => ComponentReference::File { path: path.clone(), digest: None },
                None => stage.plugin.clone(),
            };
            let wasm = supply.fetch(&reference, &Files::on_disk())?;
            if Digest::of(&wasm) != digest {
                let path = reference;
                return Err(Failed::runtime(anyhow!(
                    "`{path}` is not the component that failed, which is {digest}: name its file \
                     with `--component`, or leave `--with-component` out"
                )));
            }
            Some(STANDARD.encode(wasm))
        }
    };
    let component = CapsuleComponent { digest, plugin: letter.etl("plugin").to_owned(), wasm };
    let capsule = Capsule {
        format: FORMAT.to_owned(),
        stage: name,
        component,
        config: plugin_config,
        limits: chain::spelled_out(&chain::limits(&stage.limits)),
        grants: stage.grants.clone(),
        letter: letter.json().clone(),
    };
    Ok((capsule, findings))
}

/// Writes a file that only its owner can read: it holds a record.
fn write(path: &Path, capsule: &Capsule) -> Result<(), Failed> {
    let mut text = serde_json::to_vec_pretty(capsule).map_err(Failed::runtime)?;
    text.push(b'\n');
    let mut options = fs::File::options();
    let written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&text));
    written
        .with_context(|| format!("failed to write `{}`", path.display()))
        .map_err(Failed::environment)
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Outcome, Failed> {
    let shown = args.capsule.display();
    let text = read(&args.capsule)?;
    let is_none = || format!("`{shown}` is no capsule that can be run");
    let capsule = Capsule::parse(&text).with_context(is_none).map_err(Failed::runtime)?;
    let supply = args.policy.supply()?;
    let wasm = match &args.component {
        Some(path) => {
            let reference = ComponentReference::File { path: path.clone(), digest: None };
            supply.resolve(&reference, &Files::on_disk())?
        }
        None => {
            let wasm = capsule.wasm().with_context(is_none).map_err(Failed::runtime)?;
            let wasm = wasm.ok_or_else(|| {
                Failed::environment(anyhow!(
                    "`{shown}` does not hold the component {}: name its file with `--component`",
                    capsule.component.digest
                ))
            })?;
            supply.admit(&shown.to_string(), wasm.into(), &Evidence::default())?
        }
    };
    let replayed = capsule.replay(&wasm, &supply.policy());
    let replayed = replayed.context("failed to run the plugin").map_err(Failed::runtime)?;
    Ok(report(args, &capsule, &replayed))
}

fn report(args: &ReplayArgs, capsule: &Capsule, replayed: &Replayed) -> Outcome {
    let letter = Letter::from_json(capsule.letter.clone());
    let same_component = replayed.digest == capsule.component.digest;
    let same_failure = replayed.is_the_same(capsule.component.digest);
    let fails = replayed.answer.is_err();
    let as_asked = if args.fixed { !fails } else { same_failure };
    let verdict = replayed.answer.as_ref().ok().map(|reply| match reply.verdict(0) {
        Verdict::Emit => "emit",
        Verdict::Drop => "drop",
        Verdict::Reject => "reject",
    });
    let data = json!({
        "id": letter.id(),
        "stage": capsule.stage,
        "plugin": replayed.plugin,
        "component": replayed.digest,
        "same_component": same_component,
        "same_config": replayed.same_config,
        "fails": fails,
        "same_failure": same_failure,
        "expected": replayed.expected,
        "found": replayed.answer.as_ref().err(),
        "verdict": verdict,
        "rules": replayed.rules,
    });
    let mut text = format!("{}, stage `{}`, {}\n", letter.id(), capsule.stage, replayed.plugin);
    if !same_component {
        let _ = writeln!(
            text,
            "another component than the one that failed: {} instead of {}",
            replayed.digest, capsule.component.digest
        );
    }
    if !replayed.same_config {
        text.push_str("another config than the one that it failed with\n");
    }
    match (&replayed.answer, verdict) {
        (Err(failure), _) => {
            let how = if same_failure { "fails in the same way" } else { "fails in another way" };
            let _ = writeln!(text, "{how}: {}: {}", failure.code, failure.message);
            for frame in failure.backtrace.lines() {
                let _ = writeln!(text, "    {frame}");
            }
            if !same_failure {
                let then = &replayed.expected;
                let _ = writeln!(text, "it failed with: {}: {}", then.code, then.message);
                for frame in then.backtrace.lines() {
                    let _ = writeln!(text, "    {frame}");
                }
            }
        }
        (Ok(_), verdict) => {
            let verdict = verdict.unwrap_or_default();
            let rules = match replayed.rules.as_slice() {
                [] => String::new(),
                rules => format!(", by {}", rules.join(", ")),
            };
            let _ = writeln!(text, "does not fail any more: its verdict is {verdict}{rules}");
        }
    }
    let exit = if as_asked { Exit::Ok } else { Exit::Gate };
    Outcome { exit, data, text, findings: Vec::new() }
}
