//! `tidegate run`: builds the pipeline and stays with it until it is done or told to stop.

use std::{
    fmt::Write as _,
    fs,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tidegate_connectors::store::{Generation, SqliteStore, SwapCause, SwapState};
use tidegate_core::{
    CheckpointStore, Digest, Timestamp,
    checkpoint::StoreError,
    sink::Naming,
    time::{Clock, FixedClock},
};
use tidegate_engine::Runtime;
use tidegate_pipeline::{
    Environment, Error, Event, Pipeline, Plan, Report, Settings, StopHandle, Workers, causes,
    process::LookupStatistics, shutdown,
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};

use super::{PipelineArgs, block_on, progress, runtime_options};
use crate::{
    config::{Config, Loaded},
    edges,
    files::Files,
    health::{self, Health, Phase},
    metrics,
    output::{Exit, Failed, Outcome},
    plan,
    redrive::{Beside, Redriver},
    reload::{self, Candidate, Catalogue, KeptGenerations, Mailbox, Maker, Refusal, Reloader},
    supply::{self, Supply},
};

/// How long clients of the metrics may take to be done once the run is over.
const SERVER_ENDS_MAX: Duration = Duration::from_secs(2);

/// How long the history of swaps may take to be written once the run is over.
const RELOADER_ENDS_MAX: Duration = Duration::from_secs(2);

/// What `run` takes.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// A clock that stands still, as an RFC 3339 time: two runs over one input write the same
    /// bytes.
    #[arg(long, value_name = "TIME")]
    clock: Option<jiff::Timestamp>,
    /// Serve `/livez`, `/readyz` and `/metrics` here instead of at the config's address.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Threads for parsing, plugins, encoding and compression.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
}

/// The time by this machine.
pub(super) struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

/// Everything that a run is made of.
struct Parts {
    started: Started,
    pipeline: Pipeline,
    consumer: edges::ConsumerSwitch,
    mailbox: Mailbox,
    clock: Arc<dyn Clock>,
    redriver: Redriver,
}

pub(super) fn run(args: &RunArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let config = &loaded.config;
    let listen = match (&args.listen, &config.observability.listen) {
        (Some(address), _) => Some(*address),
        // The config's rules have refused what is none.
        (None, Some(address)) => address.parse().ok(),
        (None, None) => None,
    };
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .context("failed to start the threads for I/O")
        .map_err(Failed::environment)?;
    // First of all: from here on a signal ends the run in order, also while plugins are compiled.
    let mut signals = {
        let _io = io.enter();
        Signals::new().context("failed to listen to signals").map_err(Failed::environment)?
    };
    // Before anything is counted, and before plugins are compiled: a port that is taken and a
    // probe that finds nobody are both better known at once.
    let health = Health::default();
    let (over, is_over) = watch::channel(false);
    let server = match listen {
        None => None,
        Some(address) => {
            let metrics = install_metrics().map_err(Failed::runtime)?;
            let listener = io.block_on(health::listen(address)).map_err(Failed::environment)?;
            announce(&listener);
            Some(io.spawn(health::serve(listener, health.clone(), metrics, is_over)))
        }
    };
    let loaded = Arc::new(loaded);
    let built = {
        let (args, loaded, health) = (args.clone(), Arc::clone(&loaded), health.clone());
        let building = io.spawn_blocking(move || build(&args, &loaded, supply, &health));
        io.block_on(async {
            tokio::select! {
                biased;
                built = building => Some(built),
                () = signals.next() => None,
            }
        })
    };
    let Some(built) = built else {
        tracing::info!("stopped before the first record was read");
        // A compiler that is at work is not waited for: nothing depends on what it leaves.
        io.shutdown_background();
        let report = Report { interrupted: true, ..Report::default() };
        return Ok(outcome(&loaded.config, &report, 0.0));
    };
    let parts = built.context("the start of the pipeline panicked").map_err(Failed::runtime)??;
    say_what_is_not_exactly_once(&loaded.config);
    let outcome = io.block_on(drive(&loaded, parts, &health, signals));
    over.send_replace(true);
    if let Some(server) = server {
        // A client that does not read must not keep the process.
        let ended = io.block_on(async { timeout(SERVER_ENDS_MAX, server).await });
        if let Ok(Ok(Err(error))) = ended {
            tracing::warn!("{error:#}");
        }
    }
    outcome
}

fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle =
        PrometheusBuilder::new().install_recorder().context("failed to install the metrics")?;
    metrics::describe();
    Ok(handle)
}

fn announce(listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!("serving /livez, /readyz and /metrics on http://{address}");
    }
}

/// Config → Plan → Pipeline, with its edges open.
fn build(
    args: &RunArgs,
    loaded: &Loaded,
    supply: Supply,
    health: &Health,
) -> Result<Parts, Failed> {
    let started = start(loaded, supply)?;
    let config = &started.candidate.loaded.config;
    let mailbox = Mailbox::new();
    let listener = mailbox.listener();
    let health = health.clone();
    let environment = Environment {
        observer: Arc::new(move |event: &Event| {
            progress::log_event(event);
            if works(event) {
                health.set_ready();
            }
            listener.observe(event);
        }),
        generations: Some(Arc::new(KeptGenerations {
            catalogue: started.catalogue.clone(),
            maker: started.maker.clone(),
        })),
        ..environment(args.clock, args.workers.or(config.workers))?
    };
    #[cfg(feature = "dynamodb")]
    let environment = {
        let ledger = Handle::current().block_on(edges::ledger(config));
        Environment { ledger: ledger.map_err(Failed::environment)?, ..environment }
    };
    let clock = Arc::clone(&environment.clock);
    // One worker: what comes in goes first.
    let redrives = Environment {
        observer: Arc::new(progress::log_event),
        workers: Workers::Threads(1),
        seed: new_seed(),
        ..environment.clone()
    };
    let states_follow = started.candidate.plan.states_follow();
    let run = format!("{:016x}", environment.seed);
    let progress: Arc<dyn CheckpointStore> = Arc::new(started.store.clone());
    #[cfg(feature = "dynamodb")]
    let (progress, environment, leases) = match &config.leases {
        None => (progress, environment, None),
        Some(leases) => {
            let store = edges::lease_store_when_there(config, leases);
            let store = Handle::current().block_on(store).map_err(Failed::environment)?;
            let owner = edges::owner(&config.data_dir, &run).map_err(Failed::environment)?;
            let coordinator = Arc::new(store.clone());
            let environment = Environment { owner, coordinator, ..environment };
            (Arc::new(store.clone()) as Arc<dyn CheckpointStore>, environment, Some(store))
        }
    };
    let reading = edges::Reading {
        run: &run,
        states_follow,
        lists_only: false,
        receives: true,
        looks_only: false,
        #[cfg(feature = "dynamodb")]
        leases,
    };
    let opened = edges::source(&started.candidate.loaded, &reading).map_err(Failed::environment)?;
    let sinks = Handle::current().block_on(edges::sinks(config)).map_err(Failed::environment)?;
    let settings = plan::settings(config);
    let plan = Arc::clone(&started.candidate.plan);
    let pipeline =
        Pipeline::new(plan, opened.source, sinks.clone(), progress, settings, environment)
            .map_err(Failed::runtime)?;
    let redriver = Redriver {
        config: config.clone(),
        store: started.store.clone(),
        sinks,
        serving: pipeline.swap_handle(),
        settings: Settings { memory_bytes_max: settings.memory_bytes_max / 4, ..settings },
        environment: redrives,
    };
    let consumer = opened.consumer;
    Ok(Parts { started, pipeline, consumer, mailbox, clock, redriver })
}

/// Whether something that happened shows that the pipeline works: a partition is being read, which
/// begins when its pending range is finished, or there is none to be read, or other hosts read them.
fn works(event: &Event) -> bool {
    matches!(
        event,
        Event::Opened { .. }
            | Event::Ended { .. }
            | Event::Listed { partitions: 0 }
            | Event::Joined { partitions: 0 }
    )
}

/// A generation that is to serve, and what it takes to make others.
pub(super) struct Started {
    maker: Maker,
    candidate: Candidate,
    store: SqliteStore,
    catalogue: Catalogue,
    /// The generation that the files make: another one than the candidate, after a rollback.
    on_disk: Digest,
}

/// Makes the generation that serves from here on, and opens the store: nobody else has the data
/// directory now.
fn start(loaded: &Loaded, supply: Supply) -> Result<Started, Failed> {
    let config = &loaded.config;
    let in_data_dir =
        || format!("failed to open the data directory `{}`", config.data_dir.display());
    // Compiled plugins are kept there, from the first start on.
    fs::create_dir_all(&config.data_dir).with_context(in_data_dir).map_err(Failed::environment)?;
    let maker = maker(loaded, supply)?;
    let mut candidate = maker.make(Files::on_disk()).map_err(refused)?;
    // Before any sink's directory is touched: another process may be at work there.
    let store = SqliteStore::open(&config.data_dir)
        .with_context(in_data_dir)
        .map_err(Failed::environment)?;
    let catalogue = Catalogue::open(&config.data_dir, &loaded.file.path)
        .with_context(in_data_dir)
        .map_err(Failed::environment)?;
    let on_disk = candidate.generation();
    match block_on(store.pin())?.map_err(Failed::environment)? {
        Some(pin) if pin.instead_of == on_disk => {
            tracing::warn!(
                generation = pin.serving.short(),
                "rolled back: this generation serves, until the files change"
            );
            let files = catalogue.find(Some(&pin.serving.hex()), on_disk).map_err(refused)?;
            candidate = maker.make(files).map_err(refused)?;
            // By whom shards are read is no part of a generation.
            let kinesis = candidate.loaded.config.source.kinesis.as_mut();
            if let (Some(serving), Some(written)) = (kinesis, &config.source.kinesis) {
                serving.consumer.clone_from(&written.consumer);
            }
        }
        Some(_) => block_on(store.set_pin(None))?.map_err(Failed::environment)?,
        None => {}
    }
    block_on(candidate.has_states_for(&store))?.map_err(refused)?;
    catalogue.keep(&candidate).map_err(refused)?;
    candidate.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    candidate.rights().iter().for_each(|stage| tracing::info!("{stage}"));
    Ok(Started { maker, candidate, store, catalogue, on_disk })
}

/// What it takes to make the generations of a pipeline.
pub(super) fn maker(loaded: &Loaded, supply: Supply) -> Result<Maker, Failed> {
    let config = &loaded.config;
    let runtime = Runtime::new(runtime_options(config)).map_err(Failed::environment)?;
    let (pipeline, data_dir) = (loaded.file.path.clone(), config.data_dir.clone());
    let supply = supply.kept_in(&data_dir);
    Ok(Maker { pipeline, data_dir, runtime, supply })
}

/// A generation that can't be made at the start of a command.
pub(super) fn refused(refusal: Refusal) -> Failed {
    match refusal.findings.is_empty() {
        true => Failed::environment(refusal),
        false => Failed::invalid(refusal.findings),
    }
}

/// The plan that serves from here on, and the store: nobody else has the data directory now.
pub(super) fn plan_and_store(
    loaded: &Loaded,
    supply: Supply,
) -> Result<(Arc<Plan>, SqliteStore), Failed> {
    start(loaded, supply).map(|it| (it.candidate.plan, it.store))
}

/// What a run takes from this machine.
pub(super) fn environment(
    clock: Option<jiff::Timestamp>,
    workers: Option<u32>,
) -> Result<Environment, Failed> {
    let clock: Arc<dyn Clock> = match clock {
        Some(time) => Arc::new(FixedClock(Timestamp(time.as_microsecond()))),
        None => Arc::new(WallClock),
    };
    Ok(Environment {
        workers: workers.map_or_else(Workers::one_a_core, |n| Workers::Threads(n as usize)),
        observer: Arc::new(progress::log_event),
        #[cfg(feature = "failpoints")]
        failpoints: tidegate_pipeline::failpoint::Failpoints::from_env("TIDEGATE_FAILPOINT")
            .map_err(Failed::environment)?,
        ..Environment::new(clock, new_seed())
    })
}

/// A write's name is never used twice, and so no two runs may draw the same.
fn new_seed() -> u64 {
    RandomState::new().hash_one("run")
}

/// Records which generation serves.
pub(super) async fn record_generation(
    loaded: &Loaded,
    plan: &Plan,
    store: &SqliteStore,
    clock: &dyn Clock,
) -> Result<(), Failed> {
    let described = plan.describe();
    let generation = Generation {
        digest: plan.generation(),
        recorded_at: clock.now(),
        contents: json!({ "pipeline": loaded.config.pipeline, "stages": described.stages,
                          "tables": described.tables })
        .to_string(),
    };
    let recorded = store.record_generation(generation).await;
    recorded.context("failed to record the generation").map_err(Failed::environment)
}

/// Records that a generation serves since the start.
async fn record_start(
    store: &SqliteStore,
    generation: Digest,
    clock: &dyn Clock,
) -> Result<u64, StoreError> {
    let swap = store.receive_swap(Some(generation), SwapCause::Start, clock.now()).await?;
    store.advance_swap(swap, SwapState::Serving, None, clock.now(), None).await?;
    Ok(swap)
}

/// Some edges can't be looked up after a crash. An operator must not find out by one.
fn say_what_is_not_exactly_once(config: &Config) {
    if config.source.stdin.is_some() {
        tracing::warn!(
            "standard input can't be read again: records are delivered at most once, and a crash \
             loses what was read and not yet committed"
        );
    }
    say_which_sinks_may_repeat(config);
}

/// Sinks that can't be looked up after a crash.
pub(super) fn say_which_sinks_may_repeat(config: &Config) {
    for sink in config.sinks.iter().filter(|sink| plan::naming(sink) == Naming::Unnamed) {
        tracing::warn!(
            sink = sink.name,
            "what this sink was given can't be looked up: after a crash, records may come twice"
        );
    }
}

async fn drive(
    loaded: &Loaded,
    parts: Parts,
    health: &Health,
    signals: Signals,
) -> Result<Outcome, Failed> {
    let Parts { started, pipeline, consumer, mailbox, clock, redriver } = parts;
    let Started { maker, candidate, store, catalogue, on_disk } = started;
    let _following = supply::follow(maker.supply.clone(), pipeline.swap_handle());
    record_generation(&candidate.loaded, &candidate.plan, &store, &*clock).await?;
    let serving_swap = record_start(&store, candidate.generation(), &*clock).await;
    let serving_swap = serving_swap.map_err(Failed::environment)?;
    let (stop, shutdown) = shutdown();
    let redrives = Beside::new(redriver, shutdown.clone());
    let reload = loaded.config.reload;
    let seen = reload::digest(&candidate.files.taken());
    let reloader = Reloader {
        maker,
        swaps: pipeline.swap_handle(),
        store,
        catalogue,
        clock,
        kept: [Arc::new(candidate)].into(),
        serving_swap,
        seen,
        on_disk,
        consumer,
        redrives: redrives.clone(),
    };
    let listener = mailbox.listener();
    let reloader = tokio::spawn(reloader.run(mailbox, reload.watch.then_some(reload.poll.0)));
    let forced = Arc::new(AtomicBool::new(false));
    let signals = tokio::spawn(signals.obey(stop, health.clone(), Arc::clone(&forced)));
    let shown = tokio::spawn(progress::show(
        pipeline.progress(),
        loaded.config.source.generator.as_ref().and_then(|generator| generator.records),
    ));
    let started = tokio::time::Instant::now();
    let report = pipeline.run(shutdown).await;
    let seconds = started.elapsed().as_secs_f64();
    if !forced.load(Ordering::Relaxed) {
        redrives.end().await;
    }
    health.set(Phase::Draining);
    signals.abort();
    shown.abort();
    listener.end().await;
    // One that is at the compiler need not be waited for.
    let _ = timeout(RELOADER_ENDS_MAX, reloader).await;
    progress::clear();
    let report = report.map_err(|error| match &error {
        Error::Source(_) => Failed::environment(error),
        _ => Failed::runtime(error),
    })?;
    let mut outcome = outcome(&loaded.config, &report, seconds);
    if forced.load(Ordering::Relaxed) {
        outcome.exit = Exit::Failure;
    }
    Ok(outcome)
}

/// What stops a run, listened to from before it is ready.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let term = signal(SignalKind::terminate())?;
        Ok(Signals { term, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.term.recv() => {} _ = self.int.recv() => {} }
    }

    /// The first signal drains, the second forces.
    pub(super) async fn obey(mut self, stop: StopHandle, health: Health, forced: Arc<AtomicBool>) {
        self.next().await;
        tracing::info!("stopping: what was read is finished and committed; once more forces");
        health.set(Phase::Draining);
        stop.drain();
        self.next().await;
        tracing::warn!("stopping at once: the next start recovers");
        forced.store(true, Ordering::Relaxed);
        stop.force();
    }
}

fn outcome(config: &Config, report: &Report, seconds: f64) -> Outcome {
    let counts = &report.counts;
    let stopped: Vec<Value> = report
        .stopped()
        .map(|it| {
            let error = it.error.as_ref().map(|error| causes(error));
            json!({ "partition": it.partition, "error": error })
        })
        .collect();
    let records_per_second = counts.read.records as f64 / seconds.max(1e-9);
    let lookups: Vec<Value> = lookups(report)
        .map(|(stage, it)| {
            json!({ "stage": stage, "table": it.table, "hits": it.hits, "misses": it.misses })
        })
        .collect();
    let data = json!({
        "pipeline": config.pipeline,
        "read": counts.read.records,
        "filtered": counts.filtered.records,
        "dropped": counts.dropped.records,
        "delivered": counts.delivered.records,
        "dead_lettered": counts.dead_lettered.records,
        "balanced": counts.conserved(),
        "seconds": seconds,
        "records_per_second": records_per_second,
        "bytes_read": report.bytes_read,
        "ranges": report.ranges,
        "recovered_ranges": report.partitions.iter().map(|it| it.recovered).sum::<u64>(),
        "objects": report.objects,
        "object_bytes": report.object_bytes,
        "lookups": lookups,
        "partitions": report.partitions.len(),
        "complete": report.is_complete(),
        "interrupted": report.interrupted,
        "stopped": stopped,
    });
    let exit = if stopped.is_empty() { Exit::Ok } else { Exit::Failure };
    let text = text(config, report, seconds, records_per_second);
    let text = beside_records(config, text);
    Outcome { exit, data, text, findings: Vec::new() }
}

/// What is to be printed on standard output: nothing, where that is for the records.
pub(super) fn beside_records(config: &Config, text: String) -> String {
    match config.sinks.iter().any(|sink| sink.stdout.is_some()) {
        true => {
            eprint!("{text}");
            String::new()
        }
        false => text,
    }
}

fn text(config: &Config, report: &Report, seconds: f64, rate: f64) -> String {
    let counts = &report.counts;
    let ended = match (report.is_complete(), report.interrupted) {
        (true, _) => "complete",
        (false, true) => "stopped before its end; the next run goes on from here",
        (false, false) => "incomplete",
    };
    let mut text = format!("pipeline {}: {ended}\n", config.pipeline);
    let rows = [
        ("read", counts.read.records),
        ("= filtered", counts.filtered.records),
        ("+ dropped", counts.dropped.records),
        ("+ delivered", counts.delivered.records),
        ("+ dead-lettered", counts.dead_lettered.records),
    ];
    for (name, records) in rows {
        let _ = writeln!(text, "  {name:<16} {records:>12}");
    }
    let _ = writeln!(
        text,
        "  {rate:.0} records/s over {seconds:.1} s, {} ranges, {} objects",
        report.ranges, report.objects
    );
    for (stage, LookupStatistics { table, hits, misses }) in lookups(report) {
        let _ = writeln!(text, "  stage {stage} in table {table}: {hits} hits, {misses} misses");
    }
    for partition in report.stopped() {
        let error = partition.error.as_ref().map(|error| format!(": {}", causes(error)));
        let _ = writeln!(text, "  stopped: {}{}", partition.partition, error.unwrap_or_default());
    }
    text
}

/// What each stage looked up in each table.
fn lookups(report: &Report) -> impl Iterator<Item = (&str, &LookupStatistics)> {
    report
        .stages
        .iter()
        .flat_map(|stage| stage.lookups.iter().map(|of_table| (stage.stage.as_str(), of_table)))
}
