//! `tidegate lambda`: answers the events of a function of AWS Lambda, with a pipeline's chain.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};
use tidegate_engine::{Runtime, RuntimeOptions};
use tokio::time::Instant;

use super::{PolicyArgs, environment, runtime_options};
use crate::{
    chain,
    config::{self, Loaded},
    finding::both,
    lambda::{Function, NoFunction},
    output::{Failed, Outcome},
    supply::Supply,
    tables,
};

/// The directory of compiled plugins, beside the pipeline's file in the deployment package.
const COMPILED: &str = "compiled";

/// The pipeline of a function that names none.
const PIPELINE: &str = "pipeline.yaml";

/// Instances at the same time: a function answers one event at a time.
const INSTANCES_MAX: u32 = 64;

/// The time that an event of a file has: the longest that Lambda gives.
const EVENT_TAKES_MAX: Duration = Duration::from_secs(900);

/// What Lambda says of a function, and the runtime wants to know.
const VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// What `lambda` takes.
#[derive(Debug, Args)]
pub(super) struct LambdaArgs {
    /// The pipeline's YAML file; without it what `TIDEGATE_CONFIG` names, and without that
    /// `pipeline.yaml` in the function's package.
    pipeline: Option<PathBuf>,
    /// Answer the event in this file, print the answer and exit: without Lambda.
    #[arg(long, value_name = "FILE", conflicts_with = "compile")]
    event: Option<PathBuf>,
    /// Compile the plugins into `compiled` beside the pipeline's file and exit: what is packed along
    /// needs no compiler at a cold start.
    #[arg(long)]
    compile: bool,
    #[command(flatten)]
    policy: PolicyArgs,
}

impl LambdaArgs {
    /// Whether it stays and answers what it is invoked with.
    pub(super) fn serves(&self) -> bool {
        self.event.is_none() && !self.compile
    }

    fn pipeline(&self) -> PathBuf {
        let named = || environment("TIDEGATE_CONFIG").filter(|name| !name.is_empty());
        let root = || environment("LAMBDA_TASK_ROOT").unwrap_or_default();
        let pipeline = self.pipeline.clone().or_else(|| named().map(PathBuf::from));
        pipeline.unwrap_or_else(|| Path::new(&root()).join(PIPELINE))
    }
}

/// Whether the process was started by Lambda as a function's `bootstrap`, which gets no arguments.
pub(super) fn is_bootstrap() -> bool {
    std::env::args_os().len() == 1 && environment(VARIABLES[0]).is_some()
}

pub(super) fn lambda(args: &LambdaArgs) -> Result<Outcome, Failed> {
    let result = run(args);
    match args.serves() && environment(VARIABLES[0]).is_some() {
        true => result.or_else(|failed| Ok(logged(failed))),
        false => result,
    }
}

/// Why a function does not start, in its log: nobody sees what else a process prints there.
fn logged(failed: Failed) -> Outcome {
    let Failed { exit, findings, error } = failed;
    findings.iter().for_each(|finding| tracing::error!("{finding}"));
    tracing::error!("{error:#}");
    Outcome { exit, data: Value::Null, text: String::new(), findings: Vec::new() }
}

fn run(args: &LambdaArgs) -> Result<Outcome, Failed> {
    let started = Instant::now();
    let pipeline = args.pipeline();
    let supply = args.policy.supply()?;
    let mut loaded = config::load(&pipeline, &environment)?;
    supply.lower(&mut loaded).map_err(Failed::invalid)?;
    if args.compile {
        return compile(&loaded, &supply);
    }
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .context("failed to start the threads for I/O")
        .map_err(Failed::environment)?;
    let function = {
        let _io = io.enter();
        io.block_on(function(&loaded, &supply))?
    };
    for warning in &function.warnings {
        tracing::warn!("{warning}");
    }
    let function = Arc::new(function);
    match &args.event {
        Some(file) => io.block_on(answer_file(&function, file)),
        None => {
            let missing = VARIABLES.iter().find(|name| environment(name).is_none());
            if let Some(missing) = missing {
                return Err(Failed::environment(anyhow::anyhow!(
                    "the pipeline can serve {}, and nobody invokes it: `{missing}` is not set, so \
                     this is no function of AWS Lambda; `--event FILE` answers one event here",
                    function.serves().join(" and ")
                )));
            }
            let milliseconds = started.elapsed().as_millis() as u64;
            tracing::info!(
                pipeline = loaded.config.pipeline,
                serves = function.serves().join(" and "),
                milliseconds,
                "ready"
            );
            io.block_on(serve(function))
        }
    }
}

fn options(loaded: &Loaded) -> RuntimeOptions {
    RuntimeOptions {
        instances_max: INSTANCES_MAX,
        package: Some(loaded.base.join(COMPILED)),
        ..runtime_options(&loaded.config)
    }
}

async fn function(loaded: &Loaded, supply: &Supply) -> Result<Function, Failed> {
    let runtime = Runtime::new(options(loaded)).map_err(Failed::environment)?;
    let parts = both(chain::load(loaded, &runtime, supply), tables::load(loaded));
    let (stages, tables) = parts.map_err(Failed::invalid)?;
    let rights = loaded.config.stages.iter().zip(&stages);
    for (stage, loaded) in rights {
        tracing::info!("{}", loaded.stage_rights(stage));
    }
    Function::new(loaded, &stages, tables).await.map_err(|error| match error {
        NoFunction::Refused(findings) => Failed::invalid(findings),
        NoFunction::Environment(error) => Failed::environment(error),
    })
}

/// Compiles all plugins into the package, and tries them.
fn compile(loaded: &Loaded, supply: &Supply) -> Result<Outcome, Failed> {
    let options = RuntimeOptions { packs: true, cache: None, ..options(loaded) };
    let runtime = Runtime::new(options).map_err(Failed::environment)?;
    let stages = chain::load(loaded, &runtime, supply).map_err(Failed::invalid)?;
    let directory = loaded.base.join(COMPILED);
    let digests: Vec<String> =
        stages.iter().map(|stage| stage.component.digest().to_string()).collect();
    let text = format!(
        "{} plugins compiled into {}: pack it with this program\n",
        digests.len(),
        directory.display()
    );
    Ok(Outcome::ok(json!({ "directory": directory, "components": digests }), text))
}

/// Answers the event of a file.
async fn answer_file(function: &Arc<Function>, file: &Path) -> Result<Outcome, Failed> {
    let event = fs::read_to_string(file)
        .with_context(|| format!("failed to read `{}`", file.display()))
        .map_err(Failed::environment)?;
    let event = RawValue::from_string(event)
        .map_err(|error| anyhow::anyhow!("`{}` is no JSON: {error}", file.display()))
        .map_err(Failed::environment)?;
    let answer = function.answer(event, Instant::now() + EVENT_TAKES_MAX).await;
    let answer = answer.map_err(Failed::runtime)?;
    let data = serde_json::from_str(answer.get()).map_err(Failed::runtime)?;
    Ok(Outcome::ok(data, format!("{answer}\n")))
}

/// Answers events until Lambda ends the process.
async fn serve(function: Arc<Function>) -> Result<Outcome, Failed> {
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let function = Arc::clone(&function);
        async move {
            let deadline = deadline(event.context.deadline);
            // The runtime logs it.
            function.answer(event.payload, deadline).await.map_err(|failure| Diagnostic {
                error_type: failure.kind().to_owned(),
                error_message: failure.to_string(),
            })
        }
    });
    let ended = lambda_runtime::run(handler).await;
    ended.map_err(|error| Failed::runtime(anyhow::anyhow!("the runtime has ended: {error}")))?;
    Ok(Outcome::ok(Value::Null, String::new()))
}

/// A time in milliseconds by Lambda's clock, which is this machine's.
fn deadline(milliseconds: u64) -> Instant {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    Instant::now() + Duration::from_millis(milliseconds.saturating_sub(now))
}
