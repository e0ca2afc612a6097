//! A pipeline as an operator writes it. The doc comments are the manual's text and the editors'.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Condition, description::Capability};

use super::{
    component::ComponentReference,
    leases::Leases,
    ledger::Ledger,
    sink::{DeadLetters, Sink, Unrouted},
    source::Source,
    table::Table,
    units::{ByteSize, TimeSpan},
};

/// A pipeline: one source, a chain of plugins, and sinks.
///
/// Every text may hold variables: `${NAME}`, `${NAME:-default}`, `${NAME:?hint}`. A literal `${`
/// is written `$${`. Paths are relative to the file that they stand in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The pipeline's name, in metrics, dead letters and records.
    pub pipeline: String,
    /// The pipeline's version, in the metadata of envelopes. For people: a change of anything
    /// below makes another generation by itself.
    #[serde(default = "first_version")]
    pub version: String,
    /// Where progress, state and the catalogue are kept. One process at a time.
    #[serde(default = "data_dir")]
    pub data_dir: PathBuf,
    /// How several hosts share the source, by leases in Amazon DynamoDB; without it one process reads
    /// all of it, and keeps its progress in `data_dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases: Option<Leases>,
    /// A table with a row for each range; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// Where records come from.
    pub source: Source,
    /// Which records are taken at all; the others count as filtered.
    #[serde(default)]
    pub filter: Option<Condition>,
    /// The tables that plugins look up in.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// A directory of components, each under the digest of its bytes: `<64 hex digits>.wasm`.
    #[serde(default = "components")]
    pub components: PathBuf,
    /// The chain of plugins, in order.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Where records go.
    pub sinks: Vec<Sink>,
    /// Where records go that a plugin rejects, that are no JSON, or that no sink can take.
    #[serde(default)]
    pub dead_letters: DeadLetters,
    /// What becomes of a record that no sink takes.
    #[serde(default)]
    pub unrouted: Unrouted,
    /// When a range ends: the records of one partition that become visible and durable together.
    #[serde(default)]
    pub range: Range,
    /// How many records a plugin is handed at once.
    #[serde(default)]
    pub batch: Batch,
    /// Threads for parsing, plugins, encoding and compression; one a core, where this is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// Bytes of records and objects that all ranges together hold in memory. Of a source that ends, as
    /// many ranges are open at once as have room for their `spool`; of one that does not, a range takes
    /// what it needs, and ends where there is no more. A record that is larger than 1 MiB, and its
    /// dead letter, come on top of it.
    #[serde(default = "memory")]
    pub memory: ByteSize,
    /// What is done when a source, a sink or a store is unavailable.
    #[serde(default)]
    pub retry: Retry,
    /// How changes of plugins and their configs are taken while records flow.
    #[serde(default)]
    pub reload: Reload,
    /// How the running pipeline can be observed.
    #[serde(default)]
    pub observability: Observability,
}

fn first_version() -> String {
    "1".to_owned()
}

fn data_dir() -> PathBuf {
    // Beside the pipeline's file, hidden: nobody edits it.
    PathBuf::from(".tidegate")
}

fn components() -> PathBuf {
    PathBuf::from("components")
}

fn memory() -> ByteSize {
    // Three ranges of the default size, and a third of what the demo may take in all.
    ByteSize::mib(48)
}

/// One plugin of the chain.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The stage's name in metrics, dead letters and stored state. Don't change it between runs
    /// over one data directory.
    pub name: String,
    /// The plugin's component: a file, such as `plugin.wasm`, or `plugin.wasm@sha256:…` where it
    /// must have this digest; or a file of the directory `components`, by its digest alone:
    /// `sha256:…`; or a component of a registry, by the digest of its manifest:
    /// `oci://host/repository:tag@sha256:…`.
    pub plugin: ComponentReference,
    /// Which records the plugin is handed; all, where this is left out. The others pass it by.
    #[serde(default)]
    pub when: Option<Condition>,
    /// The plugin's config: what it may hold, `tidegate plugin inspect` shows.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    /// The plugin's config in a file of its own, YAML or JSON.
    #[serde(default)]
    pub config_file: Option<PathBuf>,
    /// What the plugin may ask of the host. What is not granted is refused.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// What the plugin may use up. What is left out has the engine's default.
    #[serde(default)]
    pub limits: PluginLimits,
    /// What records are taken for that the plugin rejects.
    #[serde(default)]
    pub on_reject: OnReject,
    /// What is done when the plugin breaks on more than a share of the records.
    #[serde(default)]
    pub on_poison: OnPoison,
    /// How many records must break before `on_poison` is done.
    #[serde(default)]
    pub breaker: Breaker,
    /// How the plugin's state is kept.
    #[serde(default)]
    pub state: State,
    /// How often it is checked that the plugin is pure.
    #[serde(default)]
    pub purity: Purity,
}

/// Something that a plugin may ask of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Keep state per key.
    State,
    /// Answer with more than one row for a row.
    FanOut,
    /// Read or replace the whole record.
    Document,
    /// Read from look-up tables.
    Lookups,
}

impl From<Grant> for Capability {
    fn from(grant: Grant) -> Self {
        match grant {
            Grant::State => Capability::State,
            Grant::FanOut => Capability::FanOut,
            Grant::Document => Capability::Document,
            Grant::Lookups => Capability::Lookups,
        }
    }
}

/// What a plugin may use up in one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Linear memory of an instance.
    pub memory: Option<ByteSize>,
    /// Fuel for any batch: about one unit an instruction.
    #[schemars(range(min = 1))]
    pub fuel: Option<u64>,
    /// More fuel for each row.
    pub fuel_per_row: Option<u64>,
    /// Time for any batch. It protects the host: a plugin that is too slow by its own doing runs
    /// out of fuel first.
    pub time: Option<TimeSpan>,
    /// More time for each row.
    pub time_per_row: Option<TimeSpan>,
    /// Bytes of a reply, for any batch.
    pub reply: Option<ByteSize>,
    /// More bytes of a reply for each row.
    pub reply_per_row: Option<ByteSize>,
    /// Findings of a reply, for any batch.
    pub findings: Option<u64>,
    /// More findings for each row.
    pub findings_per_row: Option<u64>,
    /// Log lines of a call; more are counted and suppressed.
    pub log_lines: Option<u32>,
    /// The state of one key.
    pub state: Option<ByteSize>,
}

/// What records are taken for that a plugin rejects: the `errorClass` of their dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnReject {
    /// They break a rule, and nobody need look at them.
    #[default]
    Reject,
    /// A person has to look at them: for the last of `validate`, `correct`, `validate`, where what
    /// could be corrected has been, and the record is still wrong.
    Review,
}

/// What is done when a plugin breaks on more than a share of the records. Up to there each record
/// that breaks it is a dead letter, and the others go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPoison {
    /// The same as before, however many there are.
    #[default]
    Dlq,
    /// The pipeline pauses until a person has looked: many broken records mean a broken plugin.
    Halt,
    /// Records pass the plugin by for the rest of the range. Only for plugins that say that
    /// nothing relies on them; one that validates or redacts never says so.
    Passthrough,
}

/// How many records must break a plugin before `on_poison` is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// How many there may be in a thousand.
    #[schemars(range(min = 0, max = 1000))]
    pub per_thousand: u32,
    /// The share is taken of at least this many records of the range.
    #[schemars(range(min = 1))]
    pub window: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        // No real feed has one bad record in twenty, and isolating that many costs about as much
        // as all the good ones.
        Breaker { per_thousand: 50, window: 1_000 }
    }
}

/// Whether the plugin's replies depend on the records and nothing else: some batches are run
/// again, in other sizes, on fresh instances. A difference is reported as `impure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Purity {
    /// One batch in so many is run again; 0 for none, 1 for all.
    pub one_in: u32,
}

impl Default for Purity {
    fn default() -> Self {
        // Costs a thousandth or two, and a plugin that is impure is found within a million records.
        Purity { one_in: 1_000 }
    }
}

/// How a plugin's state is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// A key's state is forgotten so long after it last changed, on batch time; never, where this
    /// is left out.
    pub ttl: Option<TimeSpan>,
    /// States of so many keys are kept on a partition, a million where this is left out. Records
    /// of further keys are rejected with the code `state-keys`, until states expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub keys_max: Option<u64>,
    /// What a key's state belongs to.
    pub scope: Scope,
}

/// On how many partitions a key may turn up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// On one: it has the field that the source partitions by. This is checked.
    #[default]
    Key,
    /// On one, although it is another field: you say so.
    Follows,
    /// On any: each partition keeps a state of its own for it.
    Partition,
}

/// When a range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Range {
    /// After this many records.
    #[schemars(range(min = 1))]
    pub records: u64,
    /// After this many bytes of records.
    pub bytes: ByteSize,
    /// So long after it was opened. Where ranges end then depends on how fast the machine is;
    /// without it, two runs over one input write the same files. Where this is left out: never
    /// for files, and `5s` for what comes in its own time: standard input, files that are followed,
    /// Kinesis, and a generator with a rate.
    pub age: Option<TimeSpan>,
    /// After this many bytes of output, before they are compressed, and of states. They are held in
    /// memory until the range is published.
    pub spool: ByteSize,
    /// After this many open objects: a wide tree has one for each of its leaves.
    #[schemars(range(min = 1))]
    pub objects: u32,
}

impl Default for Range {
    fn default() -> Self {
        Range {
            // A commit costs some milliseconds of syncing: once in tens of thousands of records it
            // can't be seen, and a killed process repeats less than a second of work.
            records: 50_000,
            // With what plugins add to it, a range of this size fits its share of `memory`.
            bytes: ByteSize::mib(8),
            // Files don't make anybody wait, and bytes that depend on nothing but the input are
            // worth more than seconds.
            age: None,
            // Half as much again as a range of the default size reads.
            spool: ByteSize::mib(12),
            // An encoder with compression holds some hundred KiB.
            objects: 128,
        }
    }
}

/// How many records a plugin is handed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// At most this many.
    #[schemars(range(min = 1, max = 100_000))]
    pub records: u64,
    /// With the record that reaches this many bytes.
    pub bytes: ByteSize,
}

impl Default for Batch {
    fn default() -> Self {
        // What a call costs by itself, 2 µs, is then a hundredth of what is done for its rows; columns
        // of that size still fit the processor's caches.
        Batch { records: 500, bytes: ByteSize::mib(1) }
    }
}

/// What is done when a source, a sink or a store is unavailable: wait, ever longer, with full
/// jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The first wait is up to this long, each next one up to twice the one before.
    pub delay_first: TimeSpan,
    /// No wait is longer.
    pub delay_max: TimeSpan,
    /// After so many failures in a row, `on_exhausted` is done.
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// A call that takes longer counts as failed.
    pub timeout: TimeSpan,
    /// What is done when the attempts are used up.
    pub on_exhausted: OnExhausted,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            // A service that restarts is back within some seconds, and one that is down is not
            // helped by being asked more than twice a minute.
            delay_first: TimeSpan::milliseconds(100),
            delay_max: TimeSpan::seconds(30),
            // About two minutes.
            attempts: 12,
            timeout: TimeSpan::seconds(300),
            on_exhausted: OnExhausted::Wait,
        }
    }
}

/// What is done when an outage lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExhausted {
    /// The pipeline waits on and says so: an outage must not become dead letters.
    #[default]
    Wait,
    /// The pipeline stops with its checkpoint.
    Stop,
}

/// How changes of plugins and their configs are taken while records flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Whether files are watched. Without it, `tidegate reload` says when to look.
    pub watch: bool,
    /// How often files are looked at, besides when the file system tells of a change: mounts over
    /// a network tell of none.
    pub poll: TimeSpan,
}

impl Default for Reload {
    fn default() -> Self {
        // Looking at a dozen files costs some microseconds.
        Reload { watch: true, poll: TimeSpan::seconds(2) }
    }
}

/// How the running pipeline can be observed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Observability {
    /// Where `/livez`, `/readyz` and `/metrics` are served, such as `127.0.0.1:9464`; nowhere,
    /// where this is left out.
    pub listen: Option<String>,
}
