//! Every metric there is: what it counts and which labels it has. The table in `docs/metrics.md`
//! and the help texts of `/metrics` are made of it.

use std::fmt::Write as _;

/// What kind of a metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Quantiles of a time, in seconds, with their sum and count.
    Summary,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Type,
    /// Its labels. Each has few values: names of the config, and words of this program.
    pub labels: &'static [&'static str],
    /// What it says.
    pub text: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    text: &'static str,
) -> Metric {
    Metric { name, kind: Type::Counter, labels, text }
}

const fn gauge(name: &'static str, text: &'static str) -> Metric {
    gauge_of(name, &["pipeline"], text)
}

const fn gauge_of(
    name: &'static str,
    labels: &'static [&'static str],
    text: &'static str,
) -> Metric {
    Metric { name, kind: Type::Gauge, labels, text }
}

/// All metrics.
pub const METRICS: &[Metric] = &[
    counter(
        "tidegate_records_read_total",
        &["pipeline"],
        "Records read from the source, those of discarded ranges included.",
    ),
    counter(
        "tidegate_read_bytes_total",
        &["pipeline"],
        "Bytes of records read from the source, those of discarded ranges included.",
    ),
    counter(
        "tidegate_records_total",
        &["pipeline", "outcome"],
        "Records of committed ranges, by what became of them: filtered, dropped, delivered or \
         dead_lettered.",
    ),
    counter("tidegate_ranges_committed_total", &["pipeline"], "Ranges committed."),
    counter("tidegate_objects_total", &["pipeline"], "Objects of committed ranges."),
    counter("tidegate_object_bytes_total", &["pipeline"], "Bytes of objects of committed ranges."),
    counter(
        "tidegate_retries_total",
        &["pipeline", "seam"],
        "Failed attempts that were repeated, by who failed: source, store, chain or sink:<name>.",
    ),
    gauge("tidegate_leases_held", "Leases that this host has."),
    counter(
        "tidegate_lease_steals_total",
        &["pipeline"],
        "Leases that another host with more of them was asked for.",
    ),
    counter(
        "tidegate_lease_failovers_total",
        &["pipeline"],
        "Leases that showed no sign of life, and were to be taken over.",
    ),
    counter("tidegate_lease_hand_overs_total", &["pipeline"], "Leases that this host gave up."),
    counter(
        "tidegate_leases_lost_total",
        &["pipeline"],
        "Leases that were found to be another host's: it took this one for dead.",
    ),
    counter(
        "tidegate_lease_renewals_failed_total",
        &["pipeline"],
        "Renewals of leases that were not confirmed.",
    ),
    counter(
        "tidegate_stage_rows_total",
        &["pipeline", "stage"],
        "Rows that a stage's plugin was handed.",
    ),
    counter(
        "tidegate_stage_dropped_total",
        &["pipeline", "stage"],
        "Rows that the plugin dropped.",
    ),
    counter(
        "tidegate_stage_rejected_total",
        &["pipeline", "stage"],
        "Rows that the plugin rejected, or that lacked a field which it requires.",
    ),
    counter(
        "tidegate_stage_poison_total",
        &["pipeline", "stage"],
        "Rows that broke the plugin by themselves.",
    ),
    gauge_of(
        "tidegate_stage_state_keys",
        &["pipeline", "stage"],
        "Keys that the stage has a committed state of, on the partitions that are open.",
    ),
    counter(
        "tidegate_stage_calls_total",
        &["pipeline", "stage"],
        "Calls of the plugin, those that isolate a poison record included.",
    ),
    counter(
        "tidegate_stage_instances_total",
        &["pipeline", "stage"],
        "Instances of the plugin that were made.",
    ),
    counter(
        "tidegate_stage_purity_checks_total",
        &["pipeline", "stage"],
        "Batches that were run again to see whether the plugin is pure.",
    ),
    counter(
        "tidegate_stage_impure_total",
        &["pipeline", "stage"],
        "Batches whose rows got another reply when they were run again.",
    ),
    counter(
        "tidegate_stage_breaker_opened_total",
        &["pipeline", "stage"],
        "Ranges in which too many records broke the plugin.",
    ),
    counter(
        "tidegate_stage_findings_total",
        &["pipeline", "stage", "rule"],
        "Findings of the plugin in committed ranges, by the rule that was met.",
    ),
    counter(
        "tidegate_lookups_total",
        &["pipeline", "stage", "table", "outcome"],
        "Look-ups of committed ranges, one a row and key, by whether the table has the key: hit \
         or miss. A key of which a part has no value is a miss.",
    ),
    counter(
        "tidegate_column_nulled_total",
        &["pipeline", "sink", "column"],
        "Values that a column of a Parquet sink could not have and that were written as nulls, \
         those of discarded ranges included.",
    ),
    counter(
        "tidegate_swaps_total",
        &["pipeline", "outcome"],
        "Generations that were to take over while records flow: serving or refused.",
    ),
    Metric {
        name: "tidegate_swap_pause_seconds",
        kind: Type::Summary,
        labels: &["pipeline"],
        text: "From the last batch of an old generation to the first of the new one, for each \
               partition.",
    },
    gauge("tidegate_partitions_waiting", "Partitions that wait for something unavailable."),
    gauge("tidegate_partitions_open", "Partitions that are being read."),
    counter(
        "tidegate_protobuf_unknown_fields_total",
        &["pipeline"],
        "Fields of Protobuf messages that the schema does not know and that were left out, those of \
         discarded ranges included.",
    ),
    counter(
        "tidegate_kinesis_records_total",
        SHARD,
        "Kinesis records fetched, an aggregate being one.",
    ),
    counter("tidegate_kinesis_bytes_total", SHARD, "Bytes of their payloads, as they came."),
    counter("tidegate_kinesis_calls_total", SHARD, "Times that a shard was asked for records."),
    counter(
        "tidegate_kinesis_throttled_total",
        SHARD,
        "Times that Kinesis refused for want of throughput: of the shard, or of all who read it.",
    ),
    counter(
        "tidegate_kinesis_expired_iterators_total",
        SHARD,
        "Iterators that expired, and were got again behind the last record that was fetched.",
    ),
    counter(
        "tidegate_kinesis_losses_total",
        SHARD,
        "Times that the stream no longer held what the checkpoint pointed to. The log says what is \
         lost.",
    ),
    counter(
        "tidegate_kinesis_malformed_aggregates_total",
        SHARD,
        "Records that begin as aggregates and are none: dead letters.",
    ),
    counter(
        "tidegate_kinesis_out_of_range_total",
        &["pipeline", "shard", "outcome"],
        "Records of aggregates whose hash lies outside of their shard's range, by what \
         `out_of_range` makes of them: delivered, dead_lettered or dropped.",
    ),
    counter(
        "tidegate_kinesis_explicit_hash_total",
        SHARD,
        "Records that `on_explicit_hash` was applied to.",
    ),
    counter(
        "tidegate_encrypted_payloads_total",
        &["pipeline", "outcome"],
        "Payloads that were to be decrypted, those of discarded ranges included, by what became of \
         them: decrypted, or not_decryptable, which is a dead letter.",
    ),
    counter(
        "tidegate_data_key_lookups_total",
        &["pipeline", "outcome"],
        "Data keys of payloads: a hit for each payload whose data key was there when it was decrypted, \
         a miss for each data key that KMS had to be asked for first.",
    ),
    counter(
        "tidegate_kms_calls_total",
        &["pipeline", "outcome"],
        "Calls to KMS to decrypt a data key, by how they ended: done, refused (of the key or of what \
         was to be decrypted) or failed (unavailable, throttled, without permission to ask at all).",
    ),
    gauge_of(
        "tidegate_kinesis_behind_latest_seconds",
        SHARD,
        "How far behind the newest record of the shard the last answer was, as Kinesis says.",
    ),
    gauge_of(
        "tidegate_kinesis_iterator_age_seconds",
        SHARD,
        "How long ago the last record that was fetched had arrived; nothing where the shard has \
         nothing more.",
    ),
    gauge_of(
        "tidegate_kinesis_loss_in_seconds",
        SHARD,
        "The stream's retention less the iterator's age: at 0, records are dropped unread.",
    ),
    counter(
        "tidegate_kinesis_put_requests_total",
        &["pipeline", "sink", "outcome"],
        "Requests of a Kinesis sink, by how they ended: done, partial (some of the records were not \
         taken) or failed.",
    ),
    counter(
        "tidegate_kinesis_put_records_total",
        &["pipeline", "sink"],
        "Kinesis records that a stream has taken, as far as its answers say, an aggregate being one.",
    ),
    counter(
        "tidegate_kinesis_refused_records_total",
        &["pipeline", "sink"],
        "Kinesis records that a stream did not take of requests that it answered, an aggregate being \
         one. They are sent again.",
    ),
    counter(
        "tidegate_s3_requests_total",
        &["pipeline", "sink", "operation", "outcome"],
        "Requests to S3, by how they ended: done, refused (a conditional write found something under \
         its key, or what was asked for is not there) or failed.",
    ),
    counter(
        "tidegate_s3_uploaded_bytes_total",
        &["pipeline", "sink"],
        "Bytes of objects and parts that S3 has taken, those that were sent again included.",
    ),
    counter(
        "tidegate_s3_orphans_aborted_total",
        &["pipeline", "sink"],
        "Unfinished uploads of earlier runs that were aborted at a start.",
    ),
    counter(
        "tidegate_s3_source_received_messages_total",
        &["pipeline"],
        "Messages that were received from the queue that tells of objects, those that came again \
         included.",
    ),
    counter(
        "tidegate_s3_source_deleted_messages_total",
        &["pipeline"],
        "Messages that were deleted, since all that they name is committed, or is not to be read.",
    ),
    counter(
        "tidegate_s3_source_extended_messages_total",
        &["pipeline"],
        "Times that a message was hidden for longer, while what it names was worked on.",
    ),
    counter(
        "tidegate_s3_source_returned_messages_total",
        &["pipeline"],
        "Messages that were shown to others at a stop.",
    ),
    counter(
        "tidegate_s3_source_refused_entries_total",
        &["pipeline"],
        "Messages that the queue did not delete or hide for longer when it was asked to. It is asked \
         again.",
    ),
    counter(
        "tidegate_s3_source_malformed_messages_total",
        &["pipeline"],
        "Messages that are no notification, or tell of another bucket: dead letters.",
    ),
    counter(
        "tidegate_s3_source_ignored_notices_total",
        &["pipeline"],
        "Events of notifications that are not to be read: of keys that `prefix` or `suffix` leave out, \
         of deletions, of folders, tests.",
    ),
    gauge_of(
        "tidegate_s3_source_objects_held",
        &["pipeline"],
        "Objects whose messages were received and that are not finished.",
    ),
    counter(
        "tidegate_s3_source_objects_gone_total",
        &["pipeline"],
        "Times that an object was to be read and was gone, or another lay in its place. The log says \
         which.",
    ),
    counter(
        "tidegate_s3_source_requests_total",
        &["pipeline", "outcome"],
        "Requests for a part of an object, by how they ended: done or failed.",
    ),
    counter(
        "tidegate_s3_source_bytes_total",
        &["pipeline"],
        "Bytes of objects that were fetched, as they lie there.",
    ),
    counter(
        "tidegate_firehose_requests_total",
        &["pipeline", "sink", "outcome"],
        "Requests to Firehose, by how they ended: done, partial (some of the records were not taken) \
         or failed.",
    ),
    counter(
        "tidegate_firehose_records_total",
        &["pipeline", "sink"],
        "Records that Firehose has taken, as far as its answers say.",
    ),
    counter(
        "tidegate_firehose_refused_records_total",
        &["pipeline", "sink"],
        "Records that Firehose did not take of requests that it answered. They are sent again.",
    ),
    counter(
        "tidegate_sqs_requests_total",
        &["pipeline", "outcome"],
        "Requests to the queue that gets copies of dead letters, by how they ended: done, partial \
         (some of the messages were not taken) or failed.",
    ),
    counter(
        "tidegate_sqs_messages_total",
        &["pipeline"],
        "Copies of dead letters that the queue has taken, as far as its answers say.",
    ),
    counter(
        "tidegate_sqs_refused_messages_total",
        &["pipeline"],
        "Copies of dead letters that the queue did not take of requests that it answered. They are \
         sent again.",
    ),
    counter(
        "tidegate_sqs_offloaded_letters_total",
        &["pipeline"],
        "Dead letters that are larger than a message, and lie in the bucket for such.",
    ),
];

/// One of a shard: there are as many as the stream had since the start.
const SHARD: &[&str] = &["pipeline", "shard"];

/// Gives the recorder the help texts.
pub(crate) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Type::Counter => metrics::describe_counter!(metric.name, metric.text),
            Type::Gauge => metrics::describe_gauge!(metric.name, metric.text),
            Type::Summary => metrics::describe_histogram!(metric.name, metric.text),
        }
    }
}

/// The table as it is committed at `docs/metrics.md`.
pub fn reference_text() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Generated from host/server/src/metrics.rs: `TIDEGATE_BLESS=1 cargo test -p \
         tidegate-server` rewrites it. -->\n\n\
         `tidegate run --listen 127.0.0.1:9464` serves them at `/metrics` in Prometheus' text \
         format, beside `/livez` (the process lives) and `/readyz` (records flow: 503 while it \
         starts and while it drains). No label holds a record's values.\n\n\
         | metric | type | labels | |\n|---|---|---|---|\n",
    );
    for Metric { name, kind, labels, text } in METRICS {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{kind:?}").to_lowercase();
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {text} |", labels.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// The names of metrics in a text of Rust.
    fn names(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').filter(|piece| {
            piece.strip_prefix("tidegate_").is_some_and(|rest| {
                rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            })
        })
    }

    /// The pipeline counts, and this table says what: neither knows a metric that the other
    /// does not.
    #[test]
    fn the_table_holds_every_metric_that_is_counted() {
        let mut counted = BTreeSet::new();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![
            here.join("../pipeline/src"),
            here.join("../connectors/src"),
            here.join("src/reload"),
        ];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the sources are there") {
                let path = entry.expect("the sources are there").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = fs::read_to_string(path).expect("a source file is text");
                    counted.extend(names(&text).map(str::to_owned));
                }
            }
        }
        let told: BTreeSet<String> = METRICS.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(counted, told);
    }
}
