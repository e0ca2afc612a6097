//! A pipeline's chain where there is no server: as a function of AWS Lambda.
//!
//! ```text
//! Firehose ─► records ─► chain ─► Ok, Dropped, ProcessingFailed ─► Firehose
//!                          └─► copies of dead letters
//!
//! mapping ─► records of a shard ─► chain ─► dead letters, rows ─► batchItemFailures ─► mapping
//! ```
//!
//! There is no store: nothing is remembered from one invocation to the next, and whoever invokes the
//! function hands over again what it says is not done. So everything is at least once.
//!
//! Invariant: what would be wrong in every invocation is refused at the start; and an answer is given
//! before Lambda's deadline, whatever the records and the sinks do.

mod chain;
mod emission;
mod event;
mod firehose;
mod kinesis;
mod refusals;
mod reply;
mod report;

use std::{sync::Arc, time::Duration};

use serde_json::value::{RawValue, to_raw_value};
use tidegate_connectors::sources::kinesis::PayloadCompression;
use tidegate_core::LookupTable;
use tidegate_pipeline::{Plan, causes};
use tokio::{runtime::Handle, task::spawn_blocking, time::Instant};

pub(crate) use self::event::EventError;
use self::{
    chain::Stopped,
    emission::Emission,
    event::{Event, FirehoseEvent, KinesisEvent},
    firehose::Transformation,
    kinesis::{Answer, Delivery, Undone},
    report::Report,
};
use crate::{
    chain::LoadedStage,
    config::{Config, Contract, Loaded},
    edges,
    finding::Finding,
    plan,
};

/// How long before the deadline the work ends: a tenth of what there is, within these.
const MARGIN_MIN: Duration = Duration::from_millis(100);
const MARGIN_MAX: Duration = Duration::from_secs(2);

/// A pipeline that answers events.
pub(crate) struct Function {
    /// What it is to each contract, or why it can't serve it.
    firehose: Result<Transformation, Vec<Finding>>,
    kinesis: Result<Delivery, Vec<Finding>>,
    /// What works and may not be what was meant.
    pub(crate) warnings: Vec<Finding>,
}

/// A function can't be had.
pub(crate) enum NoFunction {
    /// The pipeline can serve none of the contracts that it might have to.
    Refused(Vec<Finding>),
    /// Something that it needs can't be reached.
    Environment(anyhow::Error),
}

impl From<anyhow::Error> for NoFunction {
    fn from(error: anyhow::Error) -> Self {
        NoFunction::Environment(error)
    }
}

/// An event has no answer: Lambda is told so, and whoever invoked the function hands it over again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the pipeline can't serve {0}: {1}")]
    Refused(&'static str, String),
    #[error("failed to process the records: {0}")]
    Stopped(String),
    #[error(
        "the records were not processed before the function's deadline: give it a longer timeout or \
         more memory, or make its batches smaller"
    )]
    OutOfTime,
    #[error("a defect of the host: {0}")]
    Defect(String),
}

impl Failure {
    /// A name that alarms can be set on.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Failure::Event(_) => "InvalidEvent",
            Failure::Refused(..) => "NotInLambda",
            Failure::Stopped(_) => "ProcessingStopped",
            Failure::OutOfTime => "DeadlineExceeded",
            Failure::Defect(_) => "Defect",
        }
    }
}

impl Function {
    /// Puts a function together. Opens what it writes to.
    pub(crate) async fn new(
        loaded: &Loaded,
        stages: &[LoadedStage],
        tables: Vec<Arc<LookupTable>>,
    ) -> Result<Self, NoFunction> {
        let config = &loaded.config;
        let fixed = config.source.lambda.as_ref().and_then(|it| it.contract);
        let refusals = |contract| match fixed {
            Some(fixed) if fixed != contract => {
                let pointer = "/source/lambda/contract";
                let message = format!("it serves {} alone", name(fixed));
                vec![loaded.finding("not-in-lambda", pointer, message)]
            }
            _ => refusals::of(contract, loaded, stages),
        };
        let for_firehose = refusals(Contract::Firehose);
        let for_kinesis = refusals(Contract::Kinesis);
        if !for_firehose.is_empty() && !for_kinesis.is_empty() {
            let mut all: Vec<Finding> = Vec::new();
            let of_fixed = match fixed {
                Some(Contract::Firehose) => vec![for_firehose],
                Some(Contract::Kinesis) => vec![for_kinesis],
                None => vec![for_firehose, for_kinesis],
            };
            for finding in of_fixed.into_iter().flatten() {
                if !all
                    .iter()
                    .any(|it| (&it.pointer, &it.message) == (&finding.pointer, &finding.message))
                {
                    all.push(finding);
                }
            }
            return Err(NoFunction::Refused(all));
        }
        let spec =
            || tidegate_pipeline::PlanSpec { tables: tables.clone(), ..plan::spec(config, stages) };
        let mut warnings = refusals::ignored(loaded);
        if for_firehose.is_empty() {
            warnings.extend(refusals::not_written(loaded));
        }
        let mut build = |spec| -> Result<Arc<Plan>, NoFunction> {
            let (plan, found) = plan::build_from(loaded, spec).map_err(NoFunction::Refused)?;
            for warning in found {
                if warnings.iter().all(|it| it.message != warning.message) {
                    warnings.push(warning);
                }
            }
            Ok(plan)
        };
        let copies = edges::letter_copies(config).await?;
        let settings = plan::settings(config);
        // The time of the invocation is what bounds the waiting.
        let emission = Emission { policy: settings.retry };
        let record_bytes_max =
            usize::try_from(config.source.record_bytes_max.0).unwrap_or(usize::MAX);
        let firehose = match for_firehose.is_empty() {
            false => Err(for_firehose),
            true => Ok(Transformation {
                plan: build(firehose::answering(spec()))?,
                batch: settings.batch,
                compression: compression(config),
                record_bytes_max,
                ends_with_newline: firehose::ends_with_newline(config),
                copies: copies.clone(),
                emission,
            }),
        };
        let kinesis = match (for_kinesis.is_empty(), copies) {
            (true, Some(copies)) => {
                let sinks = config.sinks.iter().map(|sink| edges::unnamed(config, sink));
                Ok(Delivery {
                    plan: build(kinesis::delivering(spec()))?,
                    batch: settings.batch,
                    compression: compression(config),
                    record_bytes_max,
                    sinks: sinks.collect::<anyhow::Result<_>>()?,
                    copies,
                    emission,
                })
            }
            _ => Err(for_kinesis),
        };
        Ok(Function { firehose, kinesis, warnings })
    }

    /// Which contracts it serves, for people.
    pub(crate) fn serves(&self) -> Vec<&'static str> {
        let firehose = self.firehose.is_ok().then(|| name(Contract::Firehose));
        let kinesis = self.kinesis.is_ok().then(|| name(Contract::Kinesis));
        firehose.into_iter().chain(kinesis).collect()
    }

    /// Answers an event before a deadline.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        event: Box<RawValue>,
        deadline: Instant,
    ) -> Result<Box<RawValue>, Failure> {
        let started = Instant::now();
        let margin = deadline.saturating_duration_since(started) / 10;
        let margin = margin.clamp(MARGIN_MIN, MARGIN_MAX);
        let until = deadline - margin;
        let undone = Arc::new(Undone::default());
        let (function, known, span) = (self.clone(), undone.clone(), tracing::Span::current());
        // Plugins are called where they hold nothing up: a clock has to run out beside them.
        let work = spawn_blocking(move || {
            let _entered = span.enter();
            Handle::current().block_on(function.work(event.get(), until, &known, started))
        });
        match tokio::time::timeout_at(until + margin / 2, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(Failure::Defect(panic.to_string())),
            // A plugin is stopped by its own limits soon, and nothing is written any more.
            Err(_) if undone.from().is_empty() => Err(Failure::OutOfTime),
            Err(_) => {
                let again_from = undone.from().join(" ");
                tracing::error!(again_from, "{}", Failure::OutOfTime);
                raw(&Answer::of(&undone))
            }
        }
    }

    async fn work(
        &self,
        event: &str,
        until: Instant,
        undone: &Undone,
        started: Instant,
    ) -> Result<Box<RawValue>, Failure> {
        let event = Event::parse(event)?;
        let contract = event.contract();
        let mut report = Report::default();
        let answer = match event {
            Event::Firehose(event) => {
                let transformation = served(contract, &self.firehose)?;
                transform(transformation, &event, until, &mut report).await
            }
            Event::Kinesis(event) => {
                let delivery = served(contract, &self.kinesis)?;
                deliver(delivery, &event, until, undone, &mut report).await
            }
        }?;
        report.log(started.elapsed().as_millis() as u64);
        Ok(answer)
    }
}

async fn transform(
    transformation: &Transformation,
    event: &FirehoseEvent<'_>,
    until: Instant,
    report: &mut Report,
) -> Result<Box<RawValue>, Failure> {
    let reply =
        transformation.transform(event, until, report).await.map_err(|stopped| match stopped {
            Stopped::OutOfTime => Failure::OutOfTime,
            Stopped::Process(error) => Failure::Stopped(causes(&error)),
        })?;
    RawValue::from_string(reply.text).map_err(|error| Failure::Defect(error.to_string()))
}

async fn deliver(
    delivery: &Delivery,
    event: &KinesisEvent<'_>,
    until: Instant,
    undone: &Undone,
    report: &mut Report,
) -> Result<Box<RawValue>, Failure> {
    delivery
        .deliver(event, until, undone, report)
        .await
        .map_err(|error| EventError::Malformed("Kinesis", error.to_string()))?;
    raw(&Answer::of(undone))
}

fn raw(answer: &Answer) -> Result<Box<RawValue>, Failure> {
    to_raw_value(answer).map_err(|error| Failure::Defect(error.to_string()))
}

/// What serves a contract, or why nothing does.
fn served<T>(contract: Contract, served: &Result<T, Vec<Finding>>) -> Result<&T, Failure> {
    served.as_ref().map_err(|findings| {
        let why: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Failure::Refused(name(contract), why.join("; "))
    })
}

fn name(contract: Contract) -> &'static str {
    match contract {
        Contract::Firehose => "Firehose",
        Contract::Kinesis => "an event source mapping for Kinesis",
    }
}

/// How producers compress payloads.
fn compression(config: &Config) -> PayloadCompression {
    let of_lambda = config.source.lambda.as_ref().map(|it| it.compression);
    let of_stream = config.source.kinesis.as_ref().map(|it| it.compression);
    edges::payload_compression(of_lambda.or(of_stream).unwrap_or_default())
}
