//! Where records come from, as an operator writes it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_connectors::generator::PARTITION_KEY;

use super::{
    field::FieldPath,
    kinesis::{Kinesis, PayloadCompression},
    lambda::Lambda,
    s3_source::S3Source,
    units::{ByteSize, TimeSpan},
};

/// Where records come from: exactly one of `ndjson`, `csv`, `parquet`, `avro`, `protobuf`, `text`,
/// `whole_file`, `stdin`, `kinesis`, `lambda` and `generator`; or `s3`, alone or beside what its objects hold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// The source's name in records (`@source`), dead letters and metrics.
    pub name: String,
    /// JSON Lines out of files.
    pub ndjson: Option<Ndjson>,
    /// Rows of CSV out of files.
    pub csv: Option<Csv>,
    /// Rows of Parquet out of files.
    pub parquet: Option<Parquet>,
    /// Rows of Avro out of files.
    pub avro: Option<Avro>,
    /// Messages of Protobuf out of files.
    pub protobuf: Option<Protobuf>,
    /// Lines of text out of files, taken apart by a pattern.
    pub text: Option<Text>,
    /// One record a file.
    pub whole_file: Option<WholeFile>,
    /// JSON Lines from standard input. It can't be read twice: each record is delivered at most
    /// once, and a run that is killed loses what it had read.
    pub stdin: Option<Stdin>,
    /// Where the files lie: objects of a bucket, read as they are created.
    pub s3: Option<S3Source>,
    /// Records of an Amazon Kinesis data stream.
    pub kinesis: Option<Kinesis>,
    /// Records that an AWS Lambda function is invoked with.
    pub lambda: Option<Lambda>,
    /// Generated events, for trying things out.
    pub generator: Option<Generator>,
    /// A longer record is a dead letter.
    pub record_bytes_max: ByteSize,
    /// A record that had arrived longer before its batch time is a dead letter, `record-age`, and
    /// no plugin sees it: for sources that say when a record arrived, which are `kinesis` and
    /// `lambda`. Without it, none is too old. A redrive does not look at it.
    pub record_age_max: Option<TimeSpan>,
}

impl Default for Source {
    fn default() -> Self {
        Source {
            name: "source".to_owned(),
            ndjson: None,
            csv: None,
            parquet: None,
            avro: None,
            protobuf: None,
            text: None,
            whole_file: None,
            stdin: None,
            s3: None,
            kinesis: None,
            lambda: None,
            generator: None,
            // Far above what streams carry: a Kinesis record has at most 10 MiB.
            record_bytes_max: ByteSize::mib(10),
            record_age_max: None,
        }
    }
}

/// How input is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputCompression {
    /// By the file's extension: `.gz`, `.zst`, else none.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// gzip, also several members back to back.
    Gzip,
    /// Zstandard, also several frames back to back.
    Zstd,
}

/// What becomes of a followed file of which something is lost: it is gone, or was truncated, before
/// it was read to its end, and nothing in its directory is that file or a copy of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// Its partition stops with an error that says how far it was read, until the file is put back
    /// under any name. The other files go on.
    #[default]
    Stop,
    /// Its partition is finished where it stands, and the log says so as an error.
    Finish,
}

/// JSON Lines out of files. Each file is a partition, read from its start to its end. A byte order
/// mark is skipped.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ndjson {
    /// Files, or patterns such as `input/**/*.jsonl`, relative to this file.
    pub paths: Vec<String>,
    /// How they are compressed.
    pub compression: InputCompression,
    /// The character set that the lines are in, by the names of the Encoding Standard: `utf-8`,
    /// `utf-16le`, `windows-1252`, `shift_jis`, … Each line is converted; one that is not of the
    /// character set is a dead letter, `invalid-encoding`. Nothing is guessed and nothing replaced.
    pub encoding: Option<String>,
    /// Whether files are read while they are written: new lines as they come, new files as they
    /// appear, rotated ones to their end, until the pipeline is told to stop. Otherwise a file is
    /// read to the end that it has. Files are then known by what they are and not by their names;
    /// `docs/formats.md` says what happens at each event.
    pub follow: bool,
    /// What becomes of a followed file of which something is lost.
    pub on_lost: OnLost,
    /// The field that records of one file have in common or are ordered by. State that is kept by
    /// this field is whole: no two files hold records of the same key.
    pub partition_key: Option<FieldPath>,
}

/// Rows of CSV out of files, or of other delimited text. Each row is a record: a JSON object with
/// the columns as members, in order. Each file is a partition, read from its start to its end. A
/// byte order mark and empty lines are skipped. A bad row is a dead letter, as it stands in the
/// file, and names its line: `csv-field-count`, `csv-broken-quote`, `csv-invalid-utf8`,
/// `invalid-encoding`, `csv-wrong-type`. A header that is bad stops the file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Csv {
    /// Files, or patterns such as `input/**/*.csv`, relative to this file.
    pub paths: Vec<String>,
    /// How they are compressed.
    pub compression: InputCompression,
    /// The character set that the files are in, by the names of the Encoding Standard: `utf-8`,
    /// `utf-16le`, `windows-1252`, `shift_jis`, … Each line is converted; a row that is not of the
    /// character set is a dead letter, `invalid-encoding`. Nothing is guessed and nothing replaced.
    pub encoding: Option<String>,
    /// Whether files are read while they are written: new lines as they come, new files as they
    /// appear, rotated ones to their end, until the pipeline is told to stop. Otherwise a file is
    /// read to the end that it has. Files are then known by what they are and not by their names;
    /// `docs/formats.md` says what happens at each event.
    pub follow: bool,
    /// What becomes of a followed file of which something is lost.
    pub on_lost: OnLost,
    /// What the first row of a file is.
    pub header: CsvHeader,
    /// The columns' names, in order, where the header does not give them.
    pub columns: Vec<String>,
    /// What columns hold, by name; all others hold text. Each column must be there.
    pub types: BTreeMap<String, CsvType>,
    /// What becomes of a value that is not of its column's type.
    pub wrong_type: CsvMismatch,
    /// What a field without a value is, quoted or not.
    pub empty: CsvEmpty,
    /// Whether spaces and tabs around names and values are taken away, also within quotes. A quote
    /// with space before it is no quote.
    pub trim: bool,
    /// What stands between two fields: one ASCII character, such as `;` or `"\t"`.
    pub delimiter: String,
    /// What stands around a field with a delimiter or a line break in it: one ASCII character,
    /// which is doubled where it is meant. It counts only at the start of a field. An empty text:
    /// nothing is quoted. A quote that is not closed within `record_bytes_max` costs its line.
    pub quote: String,
    /// The field that records of one file have in common or are ordered by. State that is kept by
    /// this field is whole: no two files hold records of the same key.
    pub partition_key: Option<FieldPath>,
}

impl Default for Csv {
    fn default() -> Self {
        Csv {
            paths: Vec::new(),
            compression: InputCompression::default(),
            encoding: None,
            follow: false,
            on_lost: OnLost::default(),
            header: CsvHeader::default(),
            columns: Vec::new(),
            types: BTreeMap::new(),
            wrong_type: CsvMismatch::default(),
            empty: CsvEmpty::default(),
            trim: false,
            // Both as in RFC 4180.
            delimiter: ",".to_owned(),
            quote: "\"".to_owned(),
            partition_key: None,
        }
    }
}

impl Protobuf {
    /// Whether `schema` is a `.proto`, and not what `protoc` made of one.
    pub(crate) fn is_text(&self) -> bool {
        self.schema.extension().is_some_and(|extension| extension == "proto")
    }
}

impl Csv {
    /// What stands between two fields, where it can.
    pub(crate) fn delimiter_byte(&self) -> Option<u8> {
        single(&self.delimiter)
    }

    /// What stands around a field, where it can; none inside where nothing is quoted.
    pub(crate) fn quote_byte(&self) -> Option<Option<u8>> {
        if self.quote.is_empty() { Some(None) } else { single(&self.quote).map(Some) }
    }
}

/// One ASCII character that ends no line.
pub(super) fn single(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(*byte),
        _ => None,
    }
}

/// What the first row of a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CsvHeader {
    /// It names the columns.
    #[default]
    Names,
    /// It is a header, and `columns` names them all the same.
    Skip,
    /// A record: there is no header, and `columns` names the columns.
    Absent,
}

/// What a column or a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CsvType {
    /// Text.
    String,
    /// A whole number as JSON writes it: no `+`, no zeros before it, of any length.
    Integer,
    /// A number as JSON writes it, taken over as it stands.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// What becomes of a value that is not of its column's or field's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CsvMismatch {
    /// Its row or line is a dead letter.
    #[default]
    Reject,
    /// It is left as text.
    Text,
}

/// What a field without a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CsvEmpty {
    /// No member of the record.
    #[default]
    Missing,
    /// A null.
    Null,
    /// Text of no characters. It is no integer, number or boolean.
    Text,
}

/// Rows of Parquet out of files. Each row is a record: a JSON object with the columns as members, in
/// order; groups are objects, lists arrays, and a map is an object where its keys are texts. Each
/// file is a partition, read from its start to its end. A row with a value that JSON has no place
/// for is a dead letter that names the column: `parquet-not-finite`, `parquet-invalid-utf8`,
/// `parquet-invalid-json`, `parquet-out-of-range`. A broken file stops its partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Parquet {
    /// Files, or patterns such as `input/**/*.parquet`, relative to this file.
    pub paths: Vec<String>,
    /// What becomes of a null in an object. In a list it is kept.
    pub nulls: Nulls,
    /// What becomes of a float that is not finite.
    pub not_finite: NotFinite,
    /// What a timestamp without a time zone is.
    pub local_times: LocalTimes,
    /// The field that records of one file have in common or are ordered by. State that is kept by
    /// this field is whole: no two files hold records of the same key.
    pub partition_key: Option<FieldPath>,
}

/// Rows of Avro out of object container files. Each row is a record: JSON by the schema that lies in
/// the file, with logical types as in Parquet. Each file is a partition, read from its start to its
/// end. A row with a value that JSON has no place for is a dead letter that names the field:
/// `avro-not-finite`, `avro-invalid-utf8`, `avro-out-of-range`, `avro-schema-mismatch`. So is what is
/// broken, `avro-damaged`, and reading goes on with the next block. `docs/avro.md` has the table.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Avro {
    /// Files, or patterns such as `input/**/*.avro`, relative to this file.
    pub paths: Vec<String>,
    /// A file with the schema that rows are wanted in, relative to this one: fields that are not in
    /// it are left out, those that were not written get their defaults, by the rules of Avro's schema
    /// resolution. Without it rows are what they were written as.
    pub reader_schema: Option<PathBuf>,
    /// What becomes of a null in a record. In an array or a map it is kept.
    pub nulls: Nulls,
    /// What becomes of a float that is not finite.
    pub not_finite: NotFinite,
    /// What a timestamp without a time zone is.
    pub local_times: LocalTimes,
    /// The field that records of one file have in common or are ordered by. State that is kept by
    /// this field is whole: no two files hold records of the same key.
    pub partition_key: Option<FieldPath>,
    /// What stands in `reader_schema`, once it has been read.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    pub reader_schema_text: Option<String>,
}

/// Messages of Protobuf out of files, one behind another, each behind its length. Each message is a
/// record: JSON by the mapping of proto3. Each file is a partition, read from its start to its end. A
/// message that can't be decoded is a dead letter, as it stands in the file: `protobuf-malformed`,
/// `protobuf-no-json`; and so is the rest of a file in which no message ends, `protobuf-truncated`,
/// or begins, `protobuf-lost-framing`. `docs/protobuf.md` says what becomes of each type.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Protobuf {
    /// Files, or patterns such as `input/**/*.binpb`, relative to this file.
    pub paths: Vec<String>,
    /// How they are compressed.
    pub compression: InputCompression,
    /// The file with the message's type, relative to this one: a `.proto`, or a descriptor set as
    /// `protoc --include_imports --descriptor_set_out` writes it.
    pub schema: PathBuf,
    /// Of a `.proto`, the directories that its name and its imports are relative to, relative to
    /// this file. Its own directory where there are none.
    pub imports: Vec<PathBuf>,
    /// The full name of the message's type, such as `shop.v1.Order`.
    pub message: String,
    /// How a message's length is written.
    pub framing: ProtobufFraming,
    /// What members are called.
    pub names: ProtobufNames,
    /// What becomes of a field that has its default and does not say whether it was written.
    pub defaults: ProtobufDefaults,
    /// What whole numbers of 64 bits are.
    pub int64: ProtobufInt64,
    /// The field that records of one file have in common or are ordered by. State that is kept by
    /// this field is whole: no two files hold records of the same key.
    pub partition_key: Option<FieldPath>,
    /// The descriptor set that `schema` is or makes, once it has been read.
    #[serde(skip)]
    pub descriptors: Option<Arc<[u8]>>,
    /// Its digest, which tells it from another one.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    pub descriptors_digest: Option<String>,
}

/// How the length before a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtobufFraming {
    /// As a varint: what `writeDelimitedTo` of the Protobuf libraries writes.
    #[default]
    Varint,
    /// As four bytes, the highest first.
    U32,
}

/// What members are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtobufNames {
    /// By the field's `json_name`, which is in `lowerCamelCase` unless it says otherwise.
    #[default]
    Json,
    /// By the field's name as it stands in the `.proto`.
    Proto,
}

/// What becomes of a field that has its default and does not say whether it was written: one of
/// proto3 that is neither `optional` nor a message, a list or a map without entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtobufDefaults {
    /// It is no member.
    #[default]
    Omit,
    /// It is a member with its default.
    Write,
}

/// What whole numbers of 64 bits are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtobufInt64 {
    /// Numbers with all their digits, which plugins read as `int64`.
    #[default]
    Number,
    /// Texts, as the mapping of proto3 has them.
    Text,
}

/// Lines of text out of files. A pattern takes each line apart: a record is a JSON object with what
/// was found as members, in the order of their names. What the pattern did not need is no member.
/// Each file is a partition, read from its start to its end. Empty lines are skipped. A bad line is
/// a dead letter, as it stands in the file, and names its line: `text-no-match`, `text-wrong-type`,
/// `invalid-encoding`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Text {
    /// Files, or patterns such as `logs/*.log`, relative to this file.
    pub paths: Vec<String>,
    /// How they are compressed.
    pub compression: InputCompression,
    /// The character set that the lines are in, by the names of the Encoding Standard: `utf-8`,
    /// `utf-16le`, `windows-1252`, `shift_jis`, … Each line is converted; one that is not of the
    /// character set is a dead letter, `invalid-encoding`. Nothing is guessed and nothing replaced.
    pub encoding: Option<String>,
    /// Whether files are read while they are written: new lines as they come, new files as they
    /// appear, rotated ones to their end, until the pipeline is told to stop. Otherwise a file is
    /// read to the end that it has. Files are then known by what they are and not by their names;
    /// `docs/formats.md` says what happens at each event.
    pub follow: bool,
    /// What becomes of a followed file of which something is lost.
    pub on_lost: OnLost,
    /// A regular expression with named groups, as in `(?<level>\w+) (?<message>.*)`, in the syntax
    /// of Rust's `regex`. The whole line has to match. One of `regex` and `grok` is given.
    pub regex: Option<String>,
    /// A grok pattern, as in `%{COMBINEDAPACHELOG}` or `%{WORD:level} %{GREEDYDATA:message}`. The
    /// whole line has to match. What has no name of a field is not kept. A type may stand behind
    /// it: `%{NUMBER:bytes:int}`. `docs/formats.md` says which patterns there are.
    pub grok: Option<String>,
    /// Grok patterns by name, to be used in `grok` and in each other.
    pub patterns: BTreeMap<String, String>,
    /// What fields hold, by name; all others hold text. Each field must be there.
    pub types: BTreeMap<String, CsvType>,
    /// What becomes of a value that is not of its field's type.
    pub wrong_type: CsvMismatch,
    /// The field that records of one file have in common or are ordered by. State that is kept by
    /// this field is whole: no two files hold records of the same key.
    pub partition_key: Option<FieldPath>,
}

/// What becomes of a null in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nulls {
    /// It is a null.
    #[default]
    Keep,
    /// It is no member.
    Omit,
}

/// What becomes of a float that is not finite, which JSON has no text for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotFinite {
    /// Its row is a dead letter.
    #[default]
    Reject,
    /// It is a null.
    AsNull,
}

/// What a timestamp without a time zone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LocalTimes {
    /// A text without a zone, which is no timestamp by RFC 3339.
    #[default]
    AsWritten,
    /// A timestamp in UTC.
    AsUtc,
}

/// One record a file: each file is a partition with one record.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WholeFile {
    /// Files, or patterns such as `input/*.json`, relative to this file.
    pub paths: Vec<String>,
    /// How they are compressed.
    pub compression: InputCompression,
}

/// JSON Lines from standard input.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stdin {
    /// How they are compressed; `auto` means not at all.
    pub compression: InputCompression,
    /// The field that records are keyed by.
    pub partition_key: Option<FieldPath>,
}

/// Events of four types: `user_action`, `transaction`, `metric` and `system_event`. The same seed
/// gives the same events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Generator {
    /// How many events, over all partitions; without it they never end.
    pub records: Option<u64>,
    /// What the events are drawn from.
    pub seed: u64,
    /// How many partitions they are spread over, by their key.
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: u32,
    /// Events a second, over all partitions; without it as fast as they are taken.
    #[schemars(range(min = 1))]
    pub rate: Option<u64>,
    /// The time of the first event, by RFC 3339: a fixed one, so that a seed's events never change.
    pub start: String,
    /// The time from one event to the next, over all partitions.
    pub step: TimeSpan,
    /// The event types and how often each comes, relative to the others.
    pub weights: Weights,
    /// The share of events that break a rule, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub invalid: f64,
    /// The share of events that come twice.
    #[schemars(range(min = 0, max = 1))]
    pub duplicate: f64,
    /// The share of events whose time lies well before their neighbours'.
    #[schemars(range(min = 0, max = 1))]
    pub late: f64,
    /// The share of events with a value far from the usual.
    #[schemars(range(min = 0, max = 1))]
    pub anomalous: f64,
}

impl Default for Generator {
    fn default() -> Self {
        Generator {
            records: None,
            seed: 1,
            // One a core of a laptop keeps workers busy and files few.
            partitions: 4,
            rate: None,
            start: "2026-01-01T00:00:00Z".to_owned(),
            step: TimeSpan::milliseconds(10),
            weights: Weights::default(),
            // Enough of each to be seen in a thousand events, too few to hide the others.
            invalid: 0.02,
            duplicate: 0.01,
            late: 0.01,
            anomalous: 0.01,
        }
    }
}

/// How often each event type comes, relative to the others.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// What a user did on a page.
    pub user_action: u32,
    /// A payment.
    pub transaction: u32,
    /// A measurement.
    pub metric: u32,
    /// Something that a system says of itself.
    pub system_event: u32,
}

impl Default for Weights {
    fn default() -> Self {
        // As a shop would see it: many clicks and measurements a payment.
        Weights { user_action: 4, transaction: 3, metric: 2, system_event: 1 }
    }
}

impl Source {
    /// The field that the source's partition key is, where it has one.
    pub(crate) fn partition_key(&self) -> Option<FieldPath> {
        let ndjson = self.ndjson.as_ref().and_then(|it| it.partition_key.clone());
        let stdin = self.stdin.as_ref().and_then(|it| it.partition_key.clone());
        let generator = self.generator.as_ref();
        let generated = generator.map(|_| FieldPath(tidegate_core::Path::keys([PARTITION_KEY])));
        let csv = self.csv.as_ref().and_then(|it| it.partition_key.clone());
        let parquet = self.parquet.as_ref().and_then(|it| it.partition_key.clone());
        let avro = self.avro.as_ref().and_then(|it| it.partition_key.clone());
        let protobuf = self.protobuf.as_ref().and_then(|it| it.partition_key.clone());
        let text = self.text.as_ref().and_then(|it| it.partition_key.clone());
        let kinesis = self.kinesis.as_ref().and_then(|it| it.partition_key.clone());
        let rows = ndjson.or(csv).or(parquet).or(avro).or(protobuf);
        rows.or(text).or(stdin).or(kinesis).or(generated)
    }

    /// How files are followed, where they are.
    pub(crate) fn follows(&self) -> Option<OnLost> {
        let ndjson = self.ndjson.as_ref().filter(|it| it.follow).map(|it| it.on_lost);
        let csv = self.csv.as_ref().filter(|it| it.follow).map(|it| it.on_lost);
        let text = self.text.as_ref().filter(|it| it.follow).map(|it| it.on_lost);
        ndjson.or(csv).or(text)
    }

    /// What decides what a record is made of, in a form that can be hashed; none where a record is
    /// what lies in the file.
    pub(crate) fn decoding(&self) -> Option<serde_json::Value> {
        let ndjson = self.ndjson.as_ref().and_then(|it| it.encoding.as_ref());
        if let Some(encoding) = ndjson {
            return Some(serde_json::json!({ "encoding": encoding }));
        }
        if let Some(it) = &self.csv {
            let mut decisive = serde_json::json!({
                "header": it.header, "columns": it.columns, "types": it.types,
                "wrong_type": it.wrong_type, "empty": it.empty, "trim": it.trim,
                "delimiter": it.delimiter, "quote": it.quote,
            });
            // Pipelines from before there was a choice keep their digest.
            if let Some(encoding) = &it.encoding {
                decisive["encoding"] = encoding.as_str().into();
            }
            return Some(decisive);
        }
        if let Some(it) = &self.avro {
            return Some(serde_json::json!({
                "avro": it.reader_schema_text, "nulls": it.nulls, "not_finite": it.not_finite,
                "local_times": it.local_times,
            }));
        }
        if let Some(it) = &self.protobuf {
            return Some(serde_json::json!({
                "protobuf": it.descriptors_digest, "message": it.message, "framing": it.framing,
                "names": it.names, "defaults": it.defaults, "int64": it.int64,
            }));
        }
        if let Some(it) = &self.kinesis {
            let compression =
                (it.compression != PayloadCompression::None).then_some(it.compression);
            let mut decisive = serde_json::json!({
                "compression": compression, "out_of_range": it.out_of_range,
                "on_explicit_hash": it.on_explicit_hash,
            });
            if let Some(encryption) = &it.encryption {
                decisive["encryption"] = encryption.decisive();
            }
            return Some(decisive);
        }
        if let Some(it) = &self.lambda {
            return Some(serde_json::json!({ "compression": it.compression }));
        }
        let it = self.text.as_ref()?;
        Some(serde_json::json!({
            "encoding": it.encoding, "regex": it.regex, "grok": it.grok, "patterns": it.patterns,
            "types": it.types, "wrong_type": it.wrong_type,
        }))
    }
}
