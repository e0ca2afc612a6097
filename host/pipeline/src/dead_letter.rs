//! Dead letters: what could not be processed, whole, with all that is known of why.
//!
//! The record's first blocks have the names of AWS Lambda's on-failure record, so that tools made
//! for it read ours; `etl` is ours. The payload is complete and byte for byte, in base64 as in
//! Lambda's Kinesis events, whether or not it is text.
//!
//! Invariant: a letter depends on its record, the plan and the range. All times are the batch
//! time, and attempts are counted by rule, so a replay writes the same bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use tidegate_core::{Digest, RecordBatch, transform::Plugin};

use crate::{call::RecordedCall, encode::slug, plan::Plan, process::RangeContext};

/// The code of records that are too old for the source's `record_age_max`.
pub(crate) const RECORD_AGE: &str = "record-age";

/// The code of records that are too large for the source's `record_bytes_max`, or for a sink.
pub(crate) const TOO_LARGE: &str = "record-too-large";

/// The codes of rows without a partition key for a sink that wants one, and with one that is longer
/// than it takes.
pub(crate) const KEY_MISSING: &str = "partition-key-missing";
pub(crate) const KEY_TOO_LONG: &str = "partition-key-too-long";

/// Longer messages are cut: they are the guest's words.
const MESSAGE_CHARS_MAX: usize = 1000;

/// More findings than this say nothing more.
const FINDINGS_MAX: usize = 100;

/// More frames than this are a recursion's.
const BACKTRACE_FRAMES_MAX: usize = 64;

/// Why a record is a dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// The record's place in its batch.
    pub(crate) record: u32,
    /// `decode`, `transform:<name>`, `route`, `encode` or `sink:<name>`.
    pub(crate) stage: String,
    pub(crate) class: &'static str,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) attempts: u32,
    /// The stage whose plugin judged it or failed.
    pub(crate) plugin: Option<usize>,
    /// The rule that it broke.
    pub(crate) rule: Option<String>,
    pub(crate) findings: Vec<Note>,
    pub(crate) backtrace: Vec<String>,
    /// The call that failed with the record alone, where it is poison.
    pub(crate) call: Option<Box<RecordedCall>>,
    /// The payload is not the record: the source could not take it out of its framing. To send it
    /// through the pipeline again makes no sense.
    pub(crate) is_raw: bool,
}

impl Letter {
    /// A letter that no plugin has a part in.
    pub(crate) fn new(record: u32, stage: &str, class: &'static str, code: &str) -> Self {
        Letter {
            record,
            stage: stage.to_owned(),
            class,
            code: code.to_owned(),
            message: String::new(),
            attempts: 1,
            plugin: None,
            rule: None,
            findings: Vec::new(),
            backtrace: Vec::new(),
            call: None,
            is_raw: false,
        }
    }
}

/// A finding in a letter.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) stage: String,
    pub(crate) rule: String,
    pub(crate) dimension: tidegate_core::description::Dimension,
    pub(crate) severity: tidegate_core::description::Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<tidegate_core::Path>,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'a str,
    timestamp: &'a str,
    request_context: RequestContext<'a>,
    response_context: ResponseContext<'a>,
    payload: Payload<'a>,
    etl: Etl<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: &'a str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext<'a> {
    status_code: u16,
    executed_version: &'a str,
    function_error: Option<&'a str>,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "Records")]
    records: [PayloadRecord<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadRecord<'a> {
    kinesis: Kinesis<'a>,
    event_source: &'a str,
    #[serde(rename = "eventID")]
    event_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'a> {
    kinesis_schema_version: &'a str,
    partition_key: &'a str,
    sequence_number: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_arrival_timestamp: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Etl<'a> {
    stage: &'a str,
    attempts: u32,
    first_failure: &'a str,
    last_failure: &'a str,
    error_code: &'a str,
    error_message: &'a str,
    error_class: &'a str,
    source: &'a str,
    partition: &'a str,
    position: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_sequence_number: Option<u64>,
    rule: Option<&'a str>,
    findings: &'a [Note],
    backtrace: &'a str,
    partition_key: &'a str,
    pipeline: &'a str,
    config_hash: Digest,
    plugin: Option<String>,
    component_digest: Option<Digest>,
    redrive_count: u32,
    payload_sha256: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    payload_is_raw: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a RecordedCall>,
}

/// Appends a letter as a line.
pub(crate) fn write(
    letter: &Letter,
    batch: &RecordBatch,
    plan: &Plan,
    context: &RangeContext,
    out: &mut Vec<u8>,
) {
    let row = letter.record as usize;
    let record = batch.record(row);
    let position = batch.positions[row];
    let sub_sequence_number = position.sub_sequence_number();
    let (sequence_number, position) = (position.sequence_number(), position.to_string());
    let opened_at = context.opened_at.to_string();
    let partition = &*context.origin().0;
    let plugin = letter.plugin.map(|stage| plan.stages[stage].plugin());
    let component = plugin.map(|Plugin { component, .. }| *component);
    let function = match plugin {
        Some(Plugin { about, component, .. }) => format!("{}@{component}", about.name),
        None => format!("tidegate:{}", letter.stage),
    };
    let key = if batch.keys.is_empty() { &[][..] } else { batch.keys.get(row) };
    let key = String::from_utf8_lossy(key);
    let message = scrub(&letter.message);
    let trapped = matches!(letter.class, "trap" | "fuel" | "memory" | "timeout");
    let line = Record {
        version: "1.0",
        timestamp: &opened_at,
        request_context: RequestContext {
            request_id: &format!("{}-{:08}", slug(&context.partition.0), context.range),
            function_arn: &function,
            condition: match (letter.class, letter.code.as_str()) {
                (_, RECORD_AGE) => "RecordAgeExceeded",
                ("timeout", _) => "RetryAttemptsExhausted",
                _ => "ProcessingFailed",
            },
            approximate_invoke_count: letter.attempts,
        },
        response_context: ResponseContext {
            status_code: 200,
            executed_version: &component.map(|digest| digest.short()).unwrap_or_default(),
            function_error: trapped.then_some("Unhandled"),
        },
        payload: Payload {
            records: [PayloadRecord {
                kinesis: Kinesis {
                    kinesis_schema_version: "1.0",
                    partition_key: &key,
                    sequence_number: &sequence_number,
                    data: &STANDARD.encode(record),
                    approximate_arrival_timestamp: batch
                        .arrivals
                        .get(row)
                        .map(|time| time.0 as f64 / 1e6),
                },
                event_source: "tidegate",
                event_id: &format!("{partition}:{sequence_number}"),
            }],
        },
        etl: Etl {
            stage: &letter.stage,
            attempts: letter.attempts,
            first_failure: &opened_at,
            last_failure: &opened_at,
            error_code: &letter.code,
            error_message: &message,
            error_class: letter.class,
            source: &plan.spec.source,
            partition,
            position: &position,
            sub_sequence_number,
            rule: letter.rule.as_deref(),
            findings: &letter.findings[..letter.findings.len().min(FINDINGS_MAX)],
            backtrace: &frames(&letter.backtrace),
            partition_key: &key,
            pipeline: &plan.spec.pipeline,
            config_hash: plan.spec.config,
            plugin: plugin.map(|Plugin { about, .. }| format!("{} {}", about.name, about.version)),
            component_digest: component,
            redrive_count: batch.redrives.get(row).copied().unwrap_or_default(),
            payload_sha256: &Digest::of(record).hex(),
            payload_is_raw: letter.is_raw,
            call: letter.call.as_deref(),
        },
    };
    let start = out.len();
    if serde_json::to_writer(&mut *out, &line).is_err() {
        // Strings and numbers always have a text; a letter that is lost would be worse than a
        // short one, and the conservation check counts lines, not bytes.
        out.truncate(start);
        out.extend_from_slice(format!("{{\"position\":\"{position}\"}}").as_bytes());
    }
    out.push(b'\n');
}

/// A guest's text as one line of limited length.
pub(crate) fn scrub(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut scrubbed: String = text.chars().take(MESSAGE_CHARS_MAX).map(clean).collect();
    if text.chars().nth(MESSAGE_CHARS_MAX).is_some() {
        scrubbed.push('…');
    }
    scrubbed
}

/// A guest's stack, a frame a line.
pub(crate) fn frames(backtrace: &[String]) -> String {
    let frames = backtrace.iter().take(BACKTRACE_FRAMES_MAX).map(|frame| scrub(frame));
    frames.collect::<Vec<String>>().join("\n")
}
