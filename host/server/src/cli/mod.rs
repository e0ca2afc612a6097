//! The command line.

mod capsule;
mod check;
mod dlq;
mod generations;
mod graph;
mod iam;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "dynamodb")]
mod leases;
mod offsets;
mod plugin;
mod plugin_bench;
mod plugin_dev;
mod plugin_new;
mod plugin_run;
mod plugin_target;
mod plugin_test;
mod probes;
mod progress;
mod redrive;
mod run;
mod test;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use tidegate_engine::RuntimeOptions;

use crate::{
    config::{self, Config, ConfigError, Loaded},
    output::{self, Failed},
    supply::Supply,
};

/// Runs event streams through sandboxed WebAssembly plugins, with nothing lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object: `{"ok": …, "command": …, "data": …, "findings": […]}`.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline until its source ends or it is told to stop.
    Run(run::RunArgs),
    /// Answer the events of a function of AWS Lambda: transform records for Firehose, or deliver those
    /// of a Kinesis stream.
    #[cfg(feature = "lambda")]
    Lambda(lambda::LambdaArgs),
    /// Find everything that is wrong with a pipeline, and show what it would do; and with `--level`,
    /// what of its source, sinks and stores works from here.
    Check(check::CheckArgs),
    /// Hold what a pipeline makes of given records against what is expected of it.
    Test(test::TestArgs),
    /// Show who reads and writes which field.
    Graph(graph::GraphArgs),
    /// Show what would notice if a field changed or went away.
    Impact(graph::ImpactArgs),
    /// Prove that no record was lost and none doubled, from what lies on the disk.
    Verify(verify::VerifyArgs),
    /// List what served, what serves, and what was refused.
    Generations(generations::GenerationsArgs),
    /// Let an earlier generation serve again, while records flow or from the next start on.
    Rollback(generations::RollbackArgs),
    /// Have a running pipeline look at its files at once, and say what became of them.
    Reload(generations::ReloadArgs),
    /// Move partitions that nobody reads to where they are to go on.
    #[command(subcommand)]
    Offsets(OffsetsCommand),
    /// Look at dead letters, and try them again.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Say what a pipeline needs in AWS.
    #[command(subcommand)]
    Iam(IamCommand),
    /// Look at how the hosts of a fleet share a stream.
    #[cfg(feature = "dynamodb")]
    #[command(subcommand)]
    Leases(LeasesCommand),
    /// Look at a stream's shards.
    #[cfg(feature = "dynamodb")]
    #[command(subcommand)]
    Shards(ShardsCommand),
    /// Write plugins and look at them, and run one again that has failed.
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// A pipeline's file, and where its data lies.
#[derive(Clone, Debug, Args)]
struct PipelineArgs {
    /// The pipeline's YAML file.
    pipeline: PathBuf,
    /// Keep progress here instead of the config's `data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// What no component may go beyond.
#[derive(Clone, Debug, Args)]
struct PolicyArgs {
    /// The policy that holds for all pipelines, instead of the one that the variable
    /// `TIDEGATE_POLICY` names.
    #[arg(long = "policy", value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl PolicyArgs {
    /// Where components come from, and which may come in.
    fn supply(&self) -> Result<Supply, ConfigError> {
        let named = || environment("TIDEGATE_POLICY").filter(|name| !name.is_empty());
        match self.policy.clone().or_else(|| named().map(PathBuf::from)) {
            Some(path) => Supply::load(&path, &environment),
            None => Ok(Supply::unrestricted()),
        }
    }
}

impl PipelineArgs {
    /// The config, checked and within the policy, and where its components come from.
    fn open(&self) -> Result<(Loaded, Supply), ConfigError> {
        let (mut loaded, supply) = (self.load()?, self.policy.supply()?);
        supply.lower(&mut loaded).map_err(ConfigError::Invalid)?;
        let data_dir = &loaded.config.data_dir;
        // A command that only looks leaves no directory behind.
        let supply = if data_dir.is_dir() { supply.kept_in(data_dir) } else { supply };
        Ok((loaded, supply))
    }

    /// The config, checked.
    fn load(&self) -> Result<Loaded, ConfigError> {
        let mut loaded = config::load(&self.pipeline, &environment)?;
        if let Some(directory) = &self.data_dir {
            loaded.config.data_dir.clone_from(directory);
        }
        Ok(loaded)
    }

    /// Where the data lies, whatever is wrong with the plugins' own files.
    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        match &self.data_dir {
            Some(directory) => Ok(directory.clone()),
            None => config::data_dir(&self.pipeline, &environment),
        }
    }
}

#[cfg(feature = "dynamodb")]
#[derive(Debug, Subcommand)]
enum LeasesCommand {
    /// List who has which lease, and how far it is done.
    Ls(leases::LeasesArgs),
}

#[cfg(feature = "dynamodb")]
#[derive(Debug, Subcommand)]
enum ShardsCommand {
    /// List the shards of the stream, who reads each, and how far it is done.
    Ls(leases::ShardsArgs),
}

#[derive(Debug, Subcommand)]
enum OffsetsCommand {
    /// Move partitions to the beginning, the end, a time or a position. Only says what it would do,
    /// unless it is told to do it.
    Reset(offsets::ResetArgs),
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// List dead letters, and count them by reason.
    Ls(dlq::ListArgs),
    /// Show all that is known of one.
    Show(dlq::ShowArgs),
    /// Write one down with all that it takes to run its plugin on it again, elsewhere.
    Capsule(capsule::CapsuleArgs),
    /// Take them through the pipeline again, as it is now. Only says what it would do, unless it
    /// is told to do it.
    Redrive(redrive::RedriveArgs),
}

#[derive(Debug, Subcommand)]
enum IamCommand {
    /// Print the least policy that lets it run, and its dead letters be looked at.
    Print(iam::PrintArgs),
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a project with its SDK, a test and golden cases, without a network.
    New(plugin_new::NewArgs),
    /// Build a project into a component.
    Build(plugin_new::BuildArgs),
    /// Show what a plugin is, and what it reads and writes with a config.
    Inspect(plugin::InspectArgs),
    /// Hold what a plugin makes of records against its golden cases.
    Test(plugin_test::TestArgs),
    /// Run a plugin over a file of records, and say what it makes of them and what it uses up.
    Run(plugin_run::RunArgs),
    /// Build and run a project again whenever it changes, and say what comes out otherwise.
    Dev(plugin_dev::DevArgs),
    /// Measure what a plugin costs, and compare it with what it cost before.
    Bench(plugin_bench::BenchArgs),
    /// Run a plugin on the record of a crash capsule.
    Replay(capsule::ReplayArgs),
}

/// Does what the process's arguments say.
pub fn main() -> ExitCode {
    let cli = parse();
    start_logging(cli.command.serves_lambda());
    let (name, result) = match &cli.command {
        Command::Run(args) => ("run", run::run(args)),
        #[cfg(feature = "lambda")]
        Command::Lambda(args) => ("lambda", lambda::lambda(args)),
        Command::Check(args) => ("check", check::check(args)),
        Command::Test(args) => ("test", test::test(args)),
        Command::Graph(args) => ("graph", graph::graph(args)),
        Command::Impact(args) => ("impact", graph::impact(args)),
        Command::Verify(args) => ("verify", verify::verify(args)),
        Command::Generations(args) => ("generations", generations::generations(args)),
        Command::Rollback(args) => ("rollback", generations::rollback(args)),
        Command::Reload(args) => ("reload", generations::reload(args)),
        Command::Offsets(OffsetsCommand::Reset(args)) => ("offsets reset", offsets::reset(args)),
        Command::Dlq(DlqCommand::Ls(args)) => ("dlq ls", dlq::list(args)),
        Command::Dlq(DlqCommand::Show(args)) => ("dlq show", dlq::show(args)),
        Command::Dlq(DlqCommand::Capsule(args)) => ("dlq capsule", capsule::capsule(args)),
        Command::Dlq(DlqCommand::Redrive(args)) => ("dlq redrive", redrive::redrive(args)),
        Command::Iam(IamCommand::Print(args)) => ("iam print", iam::print(args)),
        #[cfg(feature = "dynamodb")]
        Command::Leases(LeasesCommand::Ls(args)) => ("leases ls", leases::leases(args)),
        #[cfg(feature = "dynamodb")]
        Command::Shards(ShardsCommand::Ls(args)) => ("shards ls", leases::shards(args)),
        Command::Plugin(PluginCommand::New(args)) => ("plugin new", plugin_new::new(args)),
        Command::Plugin(PluginCommand::Build(args)) => ("plugin build", plugin_new::build(args)),
        Command::Plugin(PluginCommand::Inspect(args)) => ("plugin inspect", plugin::inspect(args)),
        Command::Plugin(PluginCommand::Test(args)) => ("plugin test", plugin_test::test(args)),
        Command::Plugin(PluginCommand::Run(args)) => {
            ("plugin run", plugin_run::run(args, cli.json))
        }
        Command::Plugin(PluginCommand::Dev(args)) => {
            ("plugin dev", plugin_dev::dev(args, cli.json))
        }
        Command::Plugin(PluginCommand::Bench(args)) => ("plugin bench", plugin_bench::bench(args)),
        Command::Plugin(PluginCommand::Replay(args)) => ("plugin replay", capsule::replay(args)),
    };
    output::print(name, cli.json, result)
}

/// The process's arguments. As the `bootstrap` of a function it gets none.
fn parse() -> Cli {
    #[cfg(feature = "lambda")]
    if lambda::is_bootstrap() {
        return Cli::parse_from(["tidegate", "lambda"]);
    }
    Cli::parse()
}

impl Command {
    /// Whether it is a function of Lambda, whose log machines read.
    fn serves_lambda(&self) -> bool {
        match self {
            #[cfg(feature = "lambda")]
            Command::Lambda(args) => args.serves(),
            _ => false,
        }
    }
}

/// Logs go to standard error, as `RUST_LOG` says; one JSON object a line where nobody reads them as
/// they come.
fn start_logging(as_json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match as_json {
        true => {
            let log = log.json().flatten_event(true).with_span_list(false);
            log.with_writer(std::io::stderr).init();
        }
        false => log.with_writer(progress::AroundBars::default).init(),
    }
}

/// How plugins are run for a config. Compiled components are kept beside the progress, once there
/// is such a place: a second start needs no compiler.
fn runtime_options(config: &Config) -> RuntimeOptions {
    let defaults = RuntimeOptions::default();
    let asked = config.stages.iter().filter_map(|stage| stage.limits.memory);
    let memory_bytes_max = asked.map(|size| size.0).fold(defaults.memory_bytes_max, u64::max);
    let cache = config.data_dir.is_dir().then(|| config.data_dir.join("compiled"));
    RuntimeOptions { memory_bytes_max, cache, ..defaults }
}

/// Runs what only looks at files.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failed::environment)?.block_on(work))
}

/// The process's environment.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
