//! From a config to a pipeline's edges: its source, its sinks, its store.

#[cfg(any(
    feature = "dynamodb",
    feature = "firehose",
    feature = "kinesis",
    feature = "s3",
    feature = "sqs"
))]
mod aws;
#[cfg(feature = "firehose")]
mod firehose;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod formats;
#[cfg(feature = "kinesis")]
mod kinesis;
#[cfg(feature = "kms")]
mod kms;
#[cfg(feature = "dynamodb")]
mod leases;
#[cfg(feature = "dynamodb")]
mod ledger;
mod probe;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3-source")]
mod s3_source;
#[cfg(feature = "sqs")]
mod sqs;

use std::{path::Path, sync::Arc};

use anyhow::Context;
#[cfg(feature = "dynamodb")]
use tidegate_connectors::leases::LeaseStore;
#[cfg(feature = "kinesis")]
use tidegate_connectors::sources::kinesis::{KinesisSource, OtherConsumer};
use tidegate_connectors::{
    files::RealFiles,
    generator::{GeneratorConfig, GeneratorSource, Weights},
    sinks::{Blackhole, DirectorySink, StandardOutput},
    sources::{
        Compression, CsvColumns, CsvEmpty, CsvFormat, CsvMismatch, CsvType, FileSource,
        FileSourceConfig, Follow, Framing, KnownPartition, LineLimits, LinePattern, OnLost,
        PatternError, PatternText, StandardInput, StandardInputConfig, TextEncoding, TextForm,
        TextFormat,
    },
    store::StoreInspector,
};
#[cfg(feature = "kinesis")]
use tidegate_core::source::Partition;
use tidegate_core::{
    Sink, Source, Timestamp, checkpoint::StoreError, parquet::RowFormat, source::SourceError,
};

#[cfg(feature = "kinesis")]
pub(crate) use self::kinesis::compression as payload_compression;
#[cfg(feature = "kms")]
pub(crate) use self::kms::decryption;
#[cfg(feature = "dynamodb")]
pub(crate) use self::leases::{
    owner, store as lease_store, store_when_there as lease_store_when_there,
};
#[cfg(feature = "dynamodb")]
pub(crate) use self::ledger::ledger;
pub(crate) use self::probe::connectors;
#[cfg(feature = "s3")]
pub(crate) use self::s3::s3;
use crate::{
    DEAD_LETTERS,
    config::{self, Config, InputCompression, Loaded},
};

/// Who reads a source, and for what.
#[derive(Default)]
pub(crate) struct Reading<'a> {
    /// Tells this run from others.
    pub(crate) run: &'a str,
    /// A stage keeps states that are not a partition's own.
    pub(crate) states_follow: bool,
    /// It is looked at by itself: what is known of it from where progress is kept is not asked for.
    pub(crate) lists_only: bool,
    /// What comes is taken: messages of a queue, which others don't get then.
    pub(crate) receives: bool,
    /// It is read, and nothing is written down of it where other hosts see it.
    pub(crate) looks_only: bool,
    /// What hosts share who share the source.
    #[cfg(feature = "dynamodb")]
    pub(crate) leases: Option<LeaseStore>,
}

/// A source that is open.
pub(crate) struct Opened {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) consumer: ConsumerSwitch,
}

/// By which consumer a running source is read. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ConsumerSwitch {
    #[cfg(feature = "kinesis")]
    stream: Option<KinesisSource>,
}

impl ConsumerSwitch {
    /// Looks up how a config says that shards are read; none where they are read so already.
    pub(crate) async fn find(&self, config: &Config) -> Result<Option<OtherWay>, SourceError> {
        #[cfg(feature = "kinesis")]
        if let (Some(stream), Some(written)) = (&self.stream, &config.source.kinesis)
            && stream.consumer() != written.consumer
        {
            let found = stream.find_consumer(written.consumer.clone()).await?;
            let named = written.consumer.clone();
            return Ok(Some(OtherWay { found, named }));
        }
        let _ = config;
        Ok(None)
    }
}

/// Another way to read shards.
pub(crate) struct OtherWay {
    #[cfg(feature = "kinesis")]
    found: OtherConsumer,
    named: Option<String>,
}

impl OtherWay {
    /// Reads so from now on. Says how.
    pub(crate) fn take(self) -> String {
        #[cfg(feature = "kinesis")]
        self.found.take_over();
        match self.named {
            Some(named) => format!("shards are read by the consumer `{named}` from now on"),
            None => "shards are polled from now on".to_owned(),
        }
    }
}

/// The source. Touches no file of its yet; where files are followed, or shards, it asks the store
/// what is known of them.
pub(crate) fn source(loaded: &Loaded, reading: &Reading<'_>) -> anyhow::Result<Opened> {
    if let Some(written) = &loaded.config.source.kinesis {
        #[cfg(feature = "kinesis")]
        {
            let stream = kinesis::source(&loaded.config, written, reading)?;
            let source = Arc::new(stream.clone());
            return Ok(Opened { source, consumer: ConsumerSwitch { stream: Some(stream) } });
        }
        #[cfg(not(feature = "kinesis"))]
        anyhow::bail!("this program was built without the feature `kinesis`: {}", written.stream);
    }
    let source = unchanging(loaded, reading)?;
    Ok(Opened { source, consumer: ConsumerSwitch::default() })
}

/// A source that is read in one way as long as it runs.
fn unchanging(loaded: &Loaded, reading: &Reading<'_>) -> anyhow::Result<Arc<dyn Source>> {
    let written = &loaded.config.source;
    let name = written.name.clone();
    let limits = LineLimits {
        record_bytes_max: usize::try_from(written.record_bytes_max.0).unwrap_or(usize::MAX),
        ..LineLimits::default()
    };
    let follow = if reading.lists_only { None } else { follow(&loaded.config)? };
    let files = |paths: &[String], compression, framing| -> anyhow::Result<Arc<dyn Source>> {
        #[cfg(feature = "s3-source")]
        if let Some(s3) = &written.s3 {
            let format = (framing, input_compression(compression));
            let source = s3_source::source(&loaded.config, s3, format, limits, reading)?;
            return Ok(Arc::new(source) as Arc<dyn Source>);
        }
        let files = FileSourceConfig {
            base: loaded.base.clone(),
            framing,
            compression: input_compression(compression),
            limits,
            follow: follow.clone(),
            ..FileSourceConfig::new(name.clone(), paths)
        };
        Ok(Arc::new(FileSource::new(files)))
    };
    if let Some(ndjson) = &written.ndjson {
        let encoding = encoding(ndjson.encoding.as_deref())?;
        let framing = if encoding.is_utf8() {
            Framing::Lines
        } else {
            Framing::Text(Arc::new(TextFormat { encoding, form: TextForm::Json }))
        };
        return files(&ndjson.paths, ndjson.compression, framing);
    }
    if let Some(csv) = &written.csv {
        let framing = Framing::Csv(Arc::new(csv_format(csv)?));
        return files(&csv.paths, csv.compression, framing);
    }
    if let Some(parquet) = &written.parquet {
        let framing =
            Framing::Parquet(row_format(parquet.nulls, parquet.not_finite, parquet.local_times));
        return files(&parquet.paths, InputCompression::None, framing);
    }
    if let Some(written) = &written.avro {
        #[cfg(feature = "avro")]
        return files(
            &written.paths,
            InputCompression::None,
            Framing::Avro(formats::avro(written)?),
        );
        #[cfg(not(feature = "avro"))]
        anyhow::bail!("this program was built without the feature `avro`: {:?}", written.paths);
    }
    if let Some(written) = &written.protobuf {
        #[cfg(feature = "protobuf")]
        return files(
            &written.paths,
            written.compression,
            Framing::Protobuf(formats::protobuf(written, &loaded.config.pipeline)?),
        );
        #[cfg(not(feature = "protobuf"))]
        anyhow::bail!("this program was built without the feature `protobuf`: {:?}", written.paths);
    }
    if let Some(text) = &written.text {
        let encoding = encoding(text.encoding.as_deref())?;
        let pattern = line_pattern(text).context("neither `regex` nor `grok` is given")??;
        let form = TextForm::Fields(Arc::new(pattern));
        let framing = Framing::Text(Arc::new(TextFormat { encoding, form }));
        return files(&text.paths, text.compression, framing);
    }
    if let Some(whole) = &written.whole_file {
        return files(&whole.paths, whole.compression, Framing::WholeFile);
    }
    if let Some(stdin) = &written.stdin {
        let compression = input_compression(stdin.compression);
        let run = reading.run.to_owned();
        let config = StandardInputConfig { name, run, compression, limits };
        return Ok(Arc::new(StandardInput::new(config)));
    }
    if written.s3.is_some() {
        #[cfg(feature = "s3-source")]
        return files(&[], InputCompression::Auto, Framing::Lines);
        #[cfg(not(feature = "s3-source"))]
        anyhow::bail!("this program was built without the feature `s3-source`");
    }
    if written.lambda.is_some() {
        anyhow::bail!(
            "the records of `source.lambda` come with invocations of AWS Lambda: `tidegate lambda` \
             takes them"
        );
    }
    let Some(generator) = &written.generator else {
        anyhow::bail!("the config names no source");
    };
    Ok(Arc::new(GeneratorSource::new(name, generator_config(generator)?)?))
}

/// The shards of the stream that is read.
#[cfg(feature = "kinesis")]
pub(crate) async fn shards(config: &Config) -> anyhow::Result<Vec<Partition>> {
    let written = config.source.kinesis.as_ref();
    let written = written.context("the source is no stream: it has no shards")?;
    let reading = Reading { lists_only: true, ..Reading::default() };
    let source = kinesis::source(config, written, &reading)?;
    source.shards().await.context("failed to list the shards")
}

/// The time that `latest` stands for on the stream that is read.
#[cfg(feature = "kinesis")]
pub(crate) async fn latest(config: &Config) -> anyhow::Result<Timestamp> {
    let written = config.source.kinesis.as_ref();
    let written = written.context("the source is no stream: it has no `latest`")?;
    let reading = Reading { lists_only: true, ..Reading::default() };
    let source = kinesis::source(config, written, &reading)?;
    source.now().await.context("failed to ask for the stream's time")
}

/// How files are followed, where they are, and how far they have been read.
fn follow(config: &Config) -> anyhow::Result<Option<Follow>> {
    let Some(on_lost) = config.source.follows() else { return Ok(None) };
    let known = known(config).context("failed to look up which files have been read")?;
    let on_lost = match on_lost {
        config::OnLost::Stop => OnLost::Stop,
        config::OnLost::Finish => OnLost::Finish,
    };
    Ok(Some(Follow { known, on_lost, ..Follow::default() }))
}

/// The partitions that were read, and how far.
fn known(config: &Config) -> Result<Vec<KnownPartition>, StoreError> {
    let known = StoreInspector::open(&config.data_dir)?.partitions()?.into_iter().map(|it| {
        let pending = it.pending.map(|manifest| manifest.end);
        let finished = it.checkpoint.finished;
        KnownPartition { id: it.id, resume: pending.or(it.checkpoint.resume), finished }
    });
    Ok(known.collect())
}

fn encoding(written: Option<&str>) -> anyhow::Result<TextEncoding> {
    let encoding = written.map(TextEncoding::named).transpose().context("`encoding` is none")?;
    Ok(encoding.unwrap_or_default())
}

/// What takes lines of text apart; none where nothing is written that could.
pub(crate) fn line_pattern(text: &config::Text) -> Option<Result<LinePattern, PatternError>> {
    let pattern = match (&text.regex, &text.grok) {
        (Some(regex), _) => PatternText::Regex(regex.clone()),
        (None, Some(grok)) => {
            PatternText::Grok { pattern: grok.clone(), definitions: text.patterns.clone() }
        }
        (None, None) => return None,
    };
    let types = text.types.iter().map(|(name, it)| (name.clone(), value_type(it))).collect();
    Some(LinePattern::new(pattern, types, mismatch(text.wrong_type)))
}

fn value_type(written: &config::CsvType) -> CsvType {
    match written {
        config::CsvType::String => CsvType::String,
        config::CsvType::Integer => CsvType::Integer,
        config::CsvType::Number => CsvType::Number,
        config::CsvType::Boolean => CsvType::Boolean,
    }
}

fn mismatch(written: config::CsvMismatch) -> CsvMismatch {
    match written {
        config::CsvMismatch::Reject => CsvMismatch::Reject,
        config::CsvMismatch::Text => CsvMismatch::Text,
    }
}

fn csv_format(written: &config::Csv) -> anyhow::Result<CsvFormat> {
    let names = written.columns.clone();
    Ok(CsvFormat {
        columns: match written.header {
            config::CsvHeader::Names => CsvColumns::Header,
            config::CsvHeader::Skip => CsvColumns::Named { names, skip_header: true },
            config::CsvHeader::Absent => CsvColumns::Named { names, skip_header: false },
        },
        types: written.types.iter().map(|(name, it)| (name.clone(), value_type(it))).collect(),
        delimiter: written.delimiter_byte().context("`delimiter` is not one ASCII character")?,
        quote: written.quote_byte().context("`quote` is not one ASCII character")?,
        trim: written.trim,
        empty: match written.empty {
            config::CsvEmpty::Missing => CsvEmpty::Missing,
            config::CsvEmpty::Null => CsvEmpty::Null,
            config::CsvEmpty::Text => CsvEmpty::Text,
        },
        mismatch: mismatch(written.wrong_type),
        encoding: encoding(written.encoding.as_deref())?,
    })
}

pub(crate) fn row_format(
    nulls: config::Nulls,
    not_finite: config::NotFinite,
    local_times: config::LocalTimes,
) -> RowFormat {
    RowFormat {
        omit_nulls: nulls == config::Nulls::Omit,
        not_finite_as_null: not_finite == config::NotFinite::AsNull,
        local_as_utc: local_times == config::LocalTimes::AsUtc,
    }
}

fn generator_config(written: &config::Generator) -> anyhow::Result<GeneratorConfig> {
    let config::Generator { records, seed, partitions, rate, .. } = *written;
    let config::Generator { invalid, duplicate, late, anomalous, .. } = *written;
    let start: jiff::Timestamp = written.start.parse().context("failed to read `start`")?;
    let config::Weights { user_action, transaction, metric, system_event } = written.weights;
    Ok(GeneratorConfig {
        seed,
        records,
        partitions,
        rate,
        start: Timestamp(start.as_microsecond()),
        step_microseconds: i64::try_from(written.step.0.as_micros()).unwrap_or(i64::MAX),
        weights: Weights { user_action, transaction, metric, system_event },
        invalid,
        duplicate,
        late,
        anomalous,
    })
}

pub(crate) fn input_compression(compression: InputCompression) -> Compression {
    match compression {
        InputCompression::Auto => Compression::ByExtension,
        InputCompression::None => Compression::Plain,
        InputCompression::Gzip => Compression::Gzip,
        InputCompression::Zstd => Compression::Zstd,
    }
}

/// The sinks, the dead letters and who gets copies of them, ready to be written to. Creates their directories, and asks
/// whether their buckets are there.
pub(crate) async fn sinks(config: &Config) -> anyhow::Result<Vec<Arc<dyn Sink>>> {
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    for sink in &config.sinks {
        let directory = sink.directory.as_ref().map(|it| it.path.as_path());
        sinks.push(match named(config, &sink.name, directory, sink.s3.as_ref()).await? {
            Some(named) => named,
            None => unnamed(config, sink)?,
        });
    }
    let dead = &config.dead_letters;
    let dead = named(config, DEAD_LETTERS, dead.directory.as_deref(), dead.s3.as_ref()).await?;
    sinks.push(dead.context("the config names no place for dead letters")?);
    sinks.extend(letter_copies(config).await?);
    Ok(sinks)
}

/// Who gets copies of the dead letters, if anybody does.
pub(crate) async fn letter_copies(config: &Config) -> anyhow::Result<Option<Arc<dyn Sink>>> {
    let Some(config::CopyTo::Sqs(queue)) = &config.dead_letters.copy_to else { return Ok(None) };
    #[cfg(feature = "sqs")]
    return sqs::sink(config, queue).await.map(Some);
    #[cfg(not(feature = "sqs"))]
    anyhow::bail!("this program was built without the feature `sqs`: {}", queue.queue);
}

/// A sink whose objects have no names.
pub(crate) fn unnamed(config: &Config, sink: &config::Sink) -> anyhow::Result<Arc<dyn Sink>> {
    if let Some(stream) = &sink.kinesis {
        #[cfg(feature = "kinesis")]
        return Ok(Arc::new(kinesis::sink(config, &sink.name, stream)));
        #[cfg(not(feature = "kinesis"))]
        anyhow::bail!("this program was built without the feature `kinesis`: {}", stream.stream);
    }
    if let Some(stream) = &sink.firehose {
        #[cfg(feature = "firehose")]
        return Ok(Arc::new(firehose::sink(config, &sink.name, stream)));
        #[cfg(not(feature = "firehose"))]
        anyhow::bail!(
            "this program was built without the feature `firehose`: {} {:?}",
            config.pipeline,
            stream
        );
    }
    if sink.reply.is_some() {
        anyhow::bail!(
            "sink `{}` is the answer to Firehose, which only `tidegate lambda` gives",
            sink.name
        );
    }
    Ok(match sink.stdout {
        Some(_) => Arc::new(StandardOutput::new(&sink.name)),
        None => Arc::new(Blackhole::new(&sink.name)),
    })
}

/// A sink whose objects have names, if one is written.
async fn named(
    config: &Config,
    name: &str,
    directory: Option<&Path>,
    bucket: Option<&config::S3>,
) -> anyhow::Result<Option<Arc<dyn Sink>>> {
    if let Some(path) = directory {
        let files = Arc::new(RealFiles);
        let sink = match config.leases {
            #[cfg(feature = "dynamodb")]
            Some(_) => {
                DirectorySink::open_shared(name, path, &leases::host(&config.data_dir), files)
            }
            _ => DirectorySink::open(name, path, files),
        };
        let sink =
            sink.with_context(|| format!("failed to open the directory of sink `{name}`"))?;
        return Ok(Some(Arc::new(sink)));
    }
    let Some(bucket) = bucket else { return Ok(None) };
    #[cfg(feature = "s3")]
    return s3::sink(config, name, bucket).await.map(Some);
    #[cfg(not(feature = "s3"))]
    anyhow::bail!(
        "this program was built without the feature `s3`: {} {:?}",
        config.pipeline,
        bucket
    );
}
