//! What a config's types can't say: choices of which exactly one must be made, names that must
//! differ, values that must fit each other. Everything that needs no plugin and no file.

use std::{collections::BTreeMap, time::Duration};

use tidegate_connectors::sources::{PatternError, TextEncoding};
use tidegate_pipeline::encode::Tree;

use super::{
    format::{Column, ColumnKind, Format, RowGroup},
    kinesis::{Kinesis, KinesisStart},
    model::Config,
    sink::{Compression, Layout, Level, Sink},
    source::{Csv, CsvHeader, InputCompression, Protobuf, Source, Text},
    tree::{Node, step},
    units::ByteSize,
};
use crate::{
    edges,
    finding::{Finding, SourceFile},
};

/// Checks a config and gives all findings. `node` is the tree that it was read from.
pub(super) fn check(config: &Config, node: &Node, file: &SourceFile) -> Vec<Finding> {
    let mut rules = Rules { node, file, findings: Vec::new() };
    rules.source(&config.source);
    rules.tables(&config.tables);
    rules.names("/stages", config.stages.iter().map(|stage| stage.name.as_str()));
    for (i, stage) in config.stages.iter().enumerate() {
        let pointer = step("/stages", i);
        if stage.config.is_some() && stage.config_file.is_some() {
            let message = "`config` and `config_file` can't both be given";
            rules.find("one-of", &step(&pointer, "config_file"), message);
        }
    }
    rules.names("/sinks", config.sinks.iter().map(|sink| sink.name.as_str()));
    if config.sinks.is_empty() {
        rules.find("empty", "/sinks", "a pipeline has at least one sink");
    }
    for (i, sink) in config.sinks.iter().enumerate() {
        rules.sink(sink, &config.source, &step("/sinks", i));
    }
    let dead = &config.dead_letters;
    rules.level(dead.compression, dead.compression_level, "/dead_letters/compression_level");
    rules.of_lines(dead.compression, "/dead_letters/compression");
    rules.dead_letters(config);
    rules.leases(config);
    rules.ledger(config);
    rules.directories(config);
    rules.prefixes(config);
    if config.retry.delay_first > config.retry.delay_max {
        rules.find("out-of-range", "/retry/delay_first", "it is longer than `delay_max`");
    }
    if let Some(listen) = &config.observability.listen
        && listen.parse::<std::net::SocketAddr>().is_err()
    {
        rules.find(
            "invalid-value",
            "/observability/listen",
            format!("`{listen}` is not an address and a port, such as `127.0.0.1:9464`"),
        );
    }
    rules.findings
}

pub(super) struct Rules<'a> {
    node: &'a Node,
    file: &'a SourceFile,
    pub(super) findings: Vec<Finding>,
}

impl Rules<'_> {
    pub(super) fn find(&mut self, code: &'static str, pointer: &str, message: impl Into<String>) {
        let place = self.node.place_of(pointer);
        self.findings.push(Finding::error(code, self.file, place, pointer, message));
    }

    /// Names are directories, metric labels and keys of stored state.
    pub(super) fn names<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen = BTreeMap::new();
        for (i, name) in names.enumerate() {
            let pointer = step(&step(list, i), "name");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                let message = format!("`{name}` is not a name: letters, digits, `-` and `_`");
                self.find("invalid-name", &pointer, message);
            }
            if let Some(first) = seen.insert(name, i) {
                let message = format!("`{name}` is also the name of entry {}", first + 1);
                self.find("duplicate-name", &pointer, message);
            }
        }
    }

    pub(super) fn exactly_one(&mut self, pointer: &str, given: &[(&str, bool)]) {
        let names: Vec<String> = given.iter().map(|(name, _)| format!("`{name}`")).collect();
        let count = given.iter().filter(|(_, given)| *given).count();
        if count != 1 {
            let message = format!("expected exactly one of {}, found {count}", names.join(", "));
            self.find("one-of", pointer, message);
        }
    }

    fn source(&mut self, source: &Source) {
        if source.record_age_max.is_some() && source.kinesis.is_none() && source.lambda.is_none() {
            let message = "only records of `kinesis` and `lambda` say when they arrived";
            self.find("unsupported", "/source/record_age_max", message);
        }
        let sources = [
            ("ndjson", source.ndjson.is_some()),
            ("csv", source.csv.is_some()),
            ("parquet", source.parquet.is_some()),
            ("avro", source.avro.is_some()),
            ("protobuf", source.protobuf.is_some()),
            ("text", source.text.is_some()),
            ("whole_file", source.whole_file.is_some()),
            ("stdin", source.stdin.is_some()),
            ("kinesis", source.kinesis.is_some()),
            ("lambda", source.lambda.is_some()),
            ("generator", source.generator.is_some()),
        ];
        match &source.s3 {
            Some(s3) => self.s3_source(s3, source),
            None => self.exactly_one("/source", &sources),
        }
        let files = [
            ("/source/ndjson/paths", source.ndjson.as_ref().map(|it| &it.paths)),
            ("/source/csv/paths", source.csv.as_ref().map(|it| &it.paths)),
            ("/source/parquet/paths", source.parquet.as_ref().map(|it| &it.paths)),
            ("/source/avro/paths", source.avro.as_ref().map(|it| &it.paths)),
            ("/source/protobuf/paths", source.protobuf.as_ref().map(|it| &it.paths)),
            ("/source/text/paths", source.text.as_ref().map(|it| &it.paths)),
            ("/source/whole_file/paths", source.whole_file.as_ref().map(|it| &it.paths)),
        ];
        for (pointer, paths) in files {
            if source.s3.is_none() && paths.is_some_and(Vec::is_empty) {
                self.find("empty", pointer, "a source of files has at least one path");
            }
        }
        if let Some(ndjson) = &source.ndjson {
            self.encoding("/source/ndjson", ndjson.encoding.as_deref());
            self.follow("/source/ndjson", ndjson.follow, ndjson.compression);
        }
        if let Some(csv) = &source.csv {
            self.encoding("/source/csv", csv.encoding.as_deref());
            self.csv(csv);
            self.follow("/source/csv", csv.follow, csv.compression);
        }
        if source.avro.is_some() && cfg!(not(feature = "avro")) {
            let message = "this program was built without the feature `avro`";
            self.find("one-of", "/source/avro", message);
        }
        if let Some(protobuf) = &source.protobuf {
            self.protobuf(protobuf);
        }
        if let Some(text) = &source.text {
            self.text(text);
        }
        if let Some(kinesis) = &source.kinesis {
            self.kinesis(kinesis);
        }
        if source.lambda.is_some() && cfg!(not(feature = "lambda")) {
            let message = "this program was built without the feature `lambda`";
            self.find("one-of", "/source/lambda", message);
        }
        if let Some(generator) = &source.generator {
            if generator.start.parse::<jiff::Timestamp>().is_err() {
                let message = format!("`{}` is not a time by RFC 3339", generator.start);
                self.find("invalid-value", "/source/generator/start", message);
            }
            let weights = &generator.weights;
            if weights.user_action + weights.transaction + weights.metric + weights.system_event
                == 0
            {
                let message = "at least one event type needs a weight above 0";
                self.find("out-of-range", "/source/generator/weights", message);
            }
        }
    }

    fn protobuf(&mut self, protobuf: &Protobuf) {
        if cfg!(not(feature = "protobuf")) {
            let message = "this program was built without the feature `protobuf`";
            self.find("one-of", "/source/protobuf", message);
        }
        if protobuf.schema.as_os_str().is_empty() {
            let message = "`schema` names the file with the message's type";
            self.find("missing-key", "/source/protobuf", message);
        } else if !protobuf.is_text() && !protobuf.imports.is_empty() {
            let message = "a descriptor set has its imports in it: they are for a `.proto`";
            self.find("one-of", "/source/protobuf/imports", message);
        }
        if protobuf.message.is_empty() {
            let message = "`message` names the message's type, such as `shop.v1.Order`";
            self.find("missing-key", "/source/protobuf", message);
        }
    }

    fn kinesis(&mut self, kinesis: &Kinesis) {
        if cfg!(not(feature = "kinesis")) {
            let message = "this program was built without the feature `kinesis`";
            self.find("one-of", "/source/kinesis", message);
        }
        self.kinesis_stream(&kinesis.stream, "/source/kinesis");
        if let KinesisStart::AtTimestamp(time) = &kinesis.start
            && tidegate_core::Timestamp::parse(time).is_none()
        {
            let message = format!("`{time}` is not a time by RFC 3339");
            self.find("invalid-value", "/source/kinesis/start/at_timestamp", message);
        }
        self.aws(kinesis.aws(), "/source/kinesis");
        if kinesis.poll_every.0 < Duration::from_millis(200) {
            let message = "a shard answers five calls a second: at least 200ms";
            self.find("out-of-range", "/source/kinesis/poll_every", message);
        }
        if kinesis.fetch_memory < ByteSize::mib(10) {
            let message = "one answer of Kinesis may hold 10 MiB: at least as much";
            self.find("out-of-range", "/source/kinesis/fetch_memory", message);
        }
        if let Some(encryption) = &kinesis.encryption {
            self.payload_encryption(encryption, "/source/kinesis/encryption");
        }
    }

    pub(super) fn encoding(&mut self, pointer: &str, encoding: Option<&str>) {
        if let Some(Err(error)) = encoding.map(TextEncoding::named) {
            self.find("invalid-value", &step(pointer, "encoding"), error.to_string());
        }
    }

    fn follow(&mut self, pointer: &str, follow: bool, compression: InputCompression) {
        if follow && matches!(compression, InputCompression::Gzip | InputCompression::Zstd) {
            let message = "a compressed file is whole when it appears, and can't be followed: \
                           leave `follow` or `compression` out";
            self.find("one-of", &step(pointer, "follow"), message);
        }
    }

    fn text(&mut self, text: &Text) {
        self.encoding("/source/text", text.encoding.as_deref());
        self.follow("/source/text", text.follow, text.compression);
        let given = [("regex", text.regex.is_some()), ("grok", text.grok.is_some())];
        self.exactly_one("/source/text", &given);
        if text.grok.is_none() && !text.patterns.is_empty() {
            let message = "they are for `grok`, and there is none";
            self.find("one-of", "/source/text/patterns", message);
        }
        if let Some(Err(error)) = edges::line_pattern(text) {
            let key = match &error {
                PatternError::UnknownField { name, .. } => step("/source/text/types", name),
                _ if text.grok.is_some() => "/source/text/grok".to_owned(),
                _ => "/source/text/regex".to_owned(),
            };
            let code = match &error {
                PatternError::UnknownField { .. } | PatternError::UnknownPattern { .. } => {
                    "unknown-name"
                }
                _ => "invalid-value",
            };
            self.find(code, &key, error.to_string());
        }
    }

    fn csv(&mut self, csv: &Csv) {
        let delimiter = csv.delimiter_byte();
        if delimiter.is_none() {
            let message = "a delimiter is one ASCII character that ends no line";
            self.find("invalid-value", "/source/csv/delimiter", message);
        }
        match csv.quote_byte() {
            None => {
                let message = "a quote is one ASCII character that ends no line, or an empty text";
                self.find("invalid-value", "/source/csv/quote", message);
            }
            Some(quote) if quote.is_some() && quote == delimiter => {
                self.find("invalid-value", "/source/csv/quote", "it is also the delimiter");
            }
            Some(_) => {}
        }
        match (csv.header, csv.columns.is_empty()) {
            (CsvHeader::Names, false) => {
                let message = "the header names the columns: `header` is `skip` or `absent` \
                               where `columns` does";
                self.find("one-of", "/source/csv/columns", message);
            }
            (CsvHeader::Skip | CsvHeader::Absent, true) => {
                let message = "without names from a header, `columns` gives them";
                self.find("missing-key", "/source/csv", message);
            }
            _ => {}
        }
        for (i, name) in csv.columns.iter().enumerate() {
            let pointer = step("/source/csv/columns", i);
            if name.is_empty() {
                self.find("invalid-name", &pointer, "a column has a name");
            }
            if let Some(first) = csv.columns[..i].iter().position(|it| it == name) {
                let message = format!("`{name}` is also the name of column {}", first + 1);
                self.find("duplicate-name", &pointer, message);
            }
        }
        for name in csv.types.keys() {
            if !csv.columns.is_empty() && !csv.columns.contains(name) {
                let message = format!("there is no column `{name}`");
                self.find("unknown-name", &step("/source/csv/types", name), message);
            }
        }
    }

    fn sink(&mut self, sink: &Sink, source: &Source, pointer: &str) {
        self.exactly_one(
            pointer,
            &[
                ("directory", sink.directory.is_some()),
                ("s3", sink.s3.is_some()),
                ("kinesis", sink.kinesis.is_some()),
                ("firehose", sink.firehose.is_some()),
                ("reply", sink.reply.is_some()),
                ("stdout", sink.stdout.is_some()),
                ("blackhole", sink.blackhole.is_some()),
            ],
        );
        self.level(sink.compression, sink.compression_level, &step(pointer, "compression_level"));
        match &sink.format {
            Format::Jsonl => self.of_lines(sink.compression, &step(pointer, "compression")),
            Format::Parquet(parquet) => {
                let pointer = &format!("{pointer}/format/parquet");
                self.columns(&parquet.columns, pointer);
                let bytes = parquet.row_group.bytes.0;
                if !(1..=RowGroup::BYTES_MAX).contains(&bytes) {
                    let message = "a row group has from 1 byte to 1 GiB";
                    self.find("out-of-range", &format!("{pointer}/row_group/bytes"), message);
                }
                if sink.stdout.is_some() {
                    self.find("one-of", pointer, "standard output takes lines, and no files");
                }
                if sink.kinesis.is_some() {
                    self.find("one-of", pointer, "Kinesis takes lines, and no files");
                }
                if sink.firehose.is_some() || sink.reply.is_some() {
                    self.find("one-of", pointer, "Firehose takes lines, and no files");
                }
                if sink.layout != Layout::Flat {
                    let message = "columns are fields, wherever `layout` would put them";
                    self.find("one-of", pointer, message);
                }
            }
        }
        for (i, level) in sink.tree().into_iter().flatten().enumerate() {
            self.tree_level(level, &format!("{pointer}{}/{i}", sink.tree_pointer()));
        }
        if let Some(s3) = &sink.s3 {
            self.s3(s3, &step(pointer, "s3"));
        }
        if let Some(kinesis) = &sink.kinesis {
            self.kinesis_sink(kinesis, sink, source, pointer);
        }
        if let Some(firehose) = &sink.firehose {
            self.firehose(firehose, sink, pointer);
        }
        if sink.reply.is_some() && sink.compression != Compression::None {
            let message = "Firehose takes records and not files: let the stream compress them";
            self.find("one-of", &step(pointer, "compression"), message);
        }
        for (name, whose) in [
            (crate::DEAD_LETTERS, "the dead letters"),
            (crate::DEAD_LETTER_COPIES, "the copies of dead letters"),
        ] {
            if sink.name == name {
                let message = format!("`{name}` is the name of {whose}");
                self.find("duplicate-name", &step(pointer, "name"), message);
            }
        }
    }

    fn columns(&mut self, columns: &[Column], pointer: &str) {
        for (i, column) in columns.iter().enumerate() {
            let pointer = format!("{pointer}/columns/{i}");
            let field = &column.field;
            if column.from().is_none() {
                let message = format!("`{field}` is not a field: a path such as `merchant.id`");
                self.find("invalid-value", &step(&pointer, "field"), message);
            } else if column.kind().is_none() {
                let message = "a column of a field says of which `kind` it is";
                self.find("missing-key", &pointer, message);
            }
            if column.name.as_ref().is_some_and(String::is_empty) {
                self.find("invalid-name", &step(&pointer, "name"), "a column has a name");
            }
            match (column.kind == Some(ColumnKind::Enumeration), column.values.is_empty()) {
                (true, true) => {
                    self.find("missing-key", &pointer, "an enumeration says its `values`");
                }
                (false, false) => {
                    let message = "only an enumeration has values";
                    self.find("one-of", &step(&pointer, "values"), message);
                }
                _ => {}
            }
            if column.time_format.is_some() && column.kind != Some(ColumnKind::Timestamp) {
                let message = "only a timestamp has one";
                self.find("one-of", &step(&pointer, "time_format"), message);
            }
        }
    }

    fn of_lines(&mut self, compression: Compression, pointer: &str) {
        if compression == Compression::Snappy {
            self.find("one-of", pointer, "lines are compressed with gzip or zstd");
        }
    }

    fn tree_level(&mut self, level: &Level, pointer: &str) {
        let before = self.findings.len();
        self.exactly_one(
            pointer,
            &[("field", level.field.is_some()), ("time", level.time.is_some())],
        );
        match (&level.time, level.parts.is_empty()) {
            (Some(_), true) => {
                self.find("missing-key", pointer, "a level by time says which `parts` of it");
            }
            (None, false) => {
                let message = "only a level by time has parts";
                self.find("one-of", &step(pointer, "parts"), message);
            }
            _ => {}
        }
        if self.findings.len() == before
            && let Err(error) = level.template().parse::<Tree>()
        {
            self.find("invalid-value", pointer, error.to_string());
        }
    }

    fn level(&mut self, compression: Compression, level: Option<u32>, pointer: &str) {
        let Some(level) = level else { return };
        match compression.levels() {
            None => self.find("one-of", pointer, "without a compression there is no level"),
            Some((levels, _)) if !levels.contains(&level) => {
                let message = format!("from {} to {}", levels.start(), levels.end());
                self.find("out-of-range", pointer, message);
            }
            Some(_) => {}
        }
    }

    /// Two sinks in one directory would take each other's files for foreign ones.
    fn directories(&mut self, config: &Config) {
        let sinks = config.sinks.iter().enumerate().filter_map(|(i, sink)| {
            let directory = sink.directory.as_ref()?;
            Some((format!("/sinks/{i}/directory/path"), directory.path.as_path()))
        });
        let dead = config.dead_letters.directory.as_ref();
        let dead = dead.map(|it| ("/dead_letters/directory".to_owned(), it.as_path()));
        let data = ("/data_dir".to_owned(), config.data_dir.as_path());
        let leases = config.leases.as_ref().and_then(|it| it.directory.as_ref());
        let leases = leases.map(|it| ("/leases/directory".to_owned(), it.as_path()));
        let all: Vec<_> = [data].into_iter().chain(sinks).chain(dead).chain(leases).collect();
        for (i, (pointer, path)) in all.iter().enumerate() {
            for (other, before) in &all[..i] {
                if path.starts_with(before) || before.starts_with(path) {
                    let message = format!("lies in the same place as `{other}`");
                    self.find("shared-directory", pointer, message);
                }
            }
        }
    }
}
