//! What can't work in a function, found at its start and not at its first event.

use tidegate_core::{TransformFactory as _, description::Capability};

use crate::{
    chain::LoadedStage,
    config::{Config, Contract, Format, Grant, Loaded, Zone},
    finding::Finding,
};

/// Why a pipeline can't serve a contract; nothing where it can.
pub(super) fn of(contract: Contract, loaded: &Loaded, stages: &[LoadedStage]) -> Vec<Finding> {
    let mut refusals = Refusals { loaded, findings: Vec::new() };
    refusals.states(stages);
    refusals.encryption();
    match contract {
        Contract::Firehose => refusals.firehose(stages),
        Contract::Kinesis => refusals.kinesis(),
    }
    refusals.findings
}

/// What a pipeline says that has no meaning in a function.
pub(super) fn ignored(loaded: &Loaded) -> Vec<Finding> {
    let Config { source, leases, observability, dead_letters, .. } = &loaded.config;
    let mut findings = Vec::new();
    let mut ignored = |pointer: &str, message: String| {
        findings.push(loaded.finding("ignored", pointer, message).warning());
    };
    if source.lambda.is_none() {
        let kept = match source.kinesis {
            Some(_) => "`compression`, `name` and the limits of records count",
            None => "`name` and the limits of records count",
        };
        let message =
            format!("records come with the function's invocations, and not from here: only {kept}");
        ignored("/source", message);
    }
    if leases.is_some() {
        ignored("/leases", "Lambda shares the stream out: no lease is taken".to_owned());
    }
    if observability.listen.is_some() {
        let message = "nobody can reach a function: its log says what becomes of each batch";
        ignored("/observability/listen", message.to_owned());
    }
    let place = match (&dead_letters.directory, &dead_letters.s3) {
        (Some(_), _) => Some("/dead_letters/directory"),
        (None, Some(_)) => Some("/dead_letters/s3"),
        (None, None) => None,
    };
    if let Some(pointer) = place {
        let message = "a function has no ledger by which dead letters could be found there: they go \
                       to `copy_to` alone, and in Firehose below the stream's error prefix";
        ignored(pointer, message.to_owned());
    }
    findings
}

/// A sink whose form alone counts, where Firehose invokes the function.
pub(super) fn not_written(loaded: &Loaded) -> Option<Finding> {
    let sink = loaded.config.sinks.first().filter(|sink| sink.reply.is_none())?;
    let message = format!(
        "where Firehose invokes the function, nothing is written to sink `{}`: records go into the \
         answer, in the form that they would have there",
        sink.name
    );
    Some(loaded.finding("ignored", "/sinks/0", message).warning())
}

struct Refusals<'a> {
    loaded: &'a Loaded,
    findings: Vec<Finding>,
}

impl Refusals<'_> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>, what_to_do: &str) {
        let finding = self.loaded.finding("not-in-lambda", pointer, message.into());
        self.findings.push(finding.suggest(what_to_do));
    }

    fn states(&mut self, stages: &[LoadedStage]) {
        for (i, stage) in stages.iter().enumerate() {
            let plugin = stage.factory.plugin();
            if plugin.description.state.is_some() {
                let message = format!(
                    "plugin `{}` keeps a state for each key, and a function keeps nothing from one \
                     invocation to the next",
                    plugin.about.name
                );
                let what_to_do =
                    "take the stage out, or run the pipeline on a server: `tidegate run`";
                self.refuse(&format!("/stages/{i}/plugin"), message, what_to_do);
            }
        }
    }

    fn encryption(&mut self) {
        let source = &self.loaded.config.source;
        let of_stream = source.kinesis.as_ref().filter(|_| source.lambda.is_none());
        if of_stream.is_some_and(|it| it.encryption.is_some()) {
            let message = "payloads are encrypted, and a function does not decrypt them";
            let what_to_do = "run the pipeline on a server: `tidegate run`";
            self.refuse("/source/kinesis/encryption", message, what_to_do);
        }
    }

    fn firehose(&mut self, stages: &[LoadedStage]) {
        let config = &self.loaded.config;
        for (i, (stage, loaded)) in config.stages.iter().zip(stages).enumerate() {
            let about = &loaded.factory.plugin().about;
            let fans_out = about.capabilities.contains(&Capability::FanOut);
            if fans_out && stage.grants.contains(&Grant::FanOut) {
                let message = format!(
                    "plugin `{}` may make several records of one, and Firehose takes one back for \
                     each",
                    about.name
                );
                let what_to_do = "let the plugin write them into one record, or read the stream by \
                                  `tidegate run`, or by an event source mapping";
                self.refuse(&format!("/stages/{i}/grants"), message, what_to_do);
            }
        }
        for i in 1..config.sinks.len() {
            let message = "Firehose takes one answer, and the pipeline has more sinks than one";
            let what_to_do = "leave one sink, which says what form records have in the answer";
            self.refuse(&format!("/sinks/{i}"), message, what_to_do);
        }
        let Some(sink) = config.sinks.first() else { return };
        if sink.zone == Zone::Raw {
            let message = "the answer to Firehose is what the stages make";
            self.refuse(
                "/sinks/0/zone",
                message,
                "leave `zone` out: Firehose can back up what came",
            );
        }
        if sink.format != Format::Jsonl {
            let message = "the answer to Firehose is made of records, and not of files";
            let what_to_do = "leave `format` out, and let the stream convert records to Parquet";
            self.refuse("/sinks/0/format", message, what_to_do);
        }
    }

    fn kinesis(&mut self) {
        let config = &self.loaded.config;
        for (i, sink) in config.sinks.iter().enumerate() {
            let what_to_do = "deliver to `kinesis` or `firehose`, or run the pipeline on a server: \
                              `tidegate run`";
            let pointer = format!("/sinks/{i}");
            if sink.is_named() {
                let message = format!(
                    "sink `{}` names its objects by ranges that are committed, and a function commits \
                     none",
                    sink.name
                );
                self.refuse(&pointer, message, what_to_do);
            }
            if sink.reply.is_some() {
                let message = format!(
                    "sink `{}` is the answer to Firehose, and Lambda's event source mapping takes no \
                     records back",
                    sink.name
                );
                self.refuse(&pointer, message, what_to_do);
            }
        }
        if config.dead_letters.copy_to.is_none() {
            let message = "dead letters have no place to go: a record that a plugin rejects would be \
                           lost, or block its shard";
            let what_to_do = "name a queue: `dead_letters: { copy_to: { sqs: … } }`";
            self.refuse("/dead_letters", message, what_to_do);
        }
    }
}
