//! A pipeline's connectors, each to be asked by itself what of it works from here. Nothing is opened as
//! a run opens it: a probe beside a running pipeline is none of its business.

use std::{path::Path, pin::Pin, sync::Arc};

#[cfg(feature = "s3")]
use tidegate_connectors::sinks::s3::S3Sink;
use tidegate_connectors::{
    files::probe_directory,
    probe::{Probed, Probing, not_asked, nothing_to_reach},
    sources::probe_files,
    store::SqliteStore,
};
#[cfg(feature = "dynamodb")]
use tidegate_connectors::{leases::LeaseStore, ledger::DynamoLedger};
use tidegate_core::LookupTable;

use super::Reading;
use crate::config::{self, Config, CopyTo, Loaded};

/// What a connector's probes have found.
type Found = Pin<Box<dyn Future<Output = Vec<Probed>> + Send>>;

/// A connector of a pipeline.
pub(crate) struct Connector {
    /// What it is, and what the config calls it.
    pub(crate) name: String,
    /// Asks it. Nothing is asked before.
    pub(crate) probes: Found,
}

/// All connectors of a pipeline, in the order of the config.
pub(crate) fn connectors(
    loaded: &Loaded,
    tables: &[Arc<LookupTable>],
    probing: Probing,
) -> anyhow::Result<Vec<Connector>> {
    let config = &loaded.config;
    let mut connectors = Connectors { config, probing, all: Vec::new() };
    connectors.store();
    #[cfg(feature = "dynamodb")]
    connectors.tables_of_dynamodb()?;
    connectors.source(loaded)?;
    for table in tables {
        let seen = format!("{} rows, loaded whole", table.rows());
        let found = nothing_to_reach(table.name(), seen);
        connectors.add(format!("table `{}`", table.name()), async { found });
    }
    for sink in &config.sinks {
        connectors.sink(sink)?;
    }
    connectors.dead_letters()?;
    Ok(connectors.all)
}

struct Connectors<'a> {
    config: &'a Config,
    probing: Probing,
    all: Vec<Connector>,
}

impl Connectors<'_> {
    fn add(&mut self, name: String, probes: impl Future<Output = Vec<Probed>> + Send + 'static) {
        self.all.push(Connector { name, probes: Box::pin(probes) });
    }

    fn directory(&mut self, name: String, path: &Path) {
        let (path, probing) = (path.to_owned(), self.probing);
        self.add(name, async move { probe_directory(&path, probing).await });
    }

    fn store(&mut self) {
        let (directory, probing) = (self.config.data_dir.clone(), self.probing);
        let probes = async move { SqliteStore::probe(&directory, probing).await };
        self.add("data directory".to_owned(), probes);
    }

    #[cfg(feature = "dynamodb")]
    fn tables_of_dynamodb(&mut self) -> anyhow::Result<()> {
        let (config, probing) = (self.config, self.probing);
        if let Some(written) = &config.leases {
            let leases = super::leases::lease_config(config, written);
            let probes = async move { LeaseStore::probe(&leases, probing).await };
            self.add("dynamodb leases".to_owned(), probes);
            if let Some(directory) = &written.directory {
                self.directory("directory of leases".to_owned(), directory);
            }
            #[cfg(feature = "s3")]
            if let Some(s3) = &written.s3 {
                let bucket = super::s3(config, "leases", s3);
                let probes = tidegate_connectors::sinks::s3::SharedBucket::probe(bucket, probing);
                self.add("s3 of leases".to_owned(), probes);
            }
        }
        if let Some(written) = &config.ledger {
            let (ledger, create) = (super::ledger::ledger_config(written), written.create_table);
            let probes = async move { DynamoLedger::probe(&ledger, create, probing).await };
            self.add("dynamodb ledger".to_owned(), probes);
        }
        Ok(())
    }

    fn source(&mut self, loaded: &Loaded) -> anyhow::Result<()> {
        let (written, probing) = (&self.config.source, self.probing);
        let name = |kind: &str| format!("{kind} source `{}`", written.name);
        let reading = Reading { lists_only: true, ..Reading::default() };
        #[cfg(feature = "kinesis")]
        if let Some(kinesis) = &written.kinesis {
            let source = super::kinesis::source(self.config, kinesis, &reading)?;
            self.add(name("kinesis"), async move { source.probe(probing).await });
            return Ok(());
        }
        #[cfg(feature = "s3-source")]
        if let Some(s3) = &written.s3 {
            // What an object holds is not asked.
            let (format, limits) = Default::default();
            let source = super::s3_source::source(self.config, s3, format, limits, &reading)?;
            self.add(name("s3"), async move { source.probe(probing).await });
            return Ok(());
        }
        if written.stdin.is_some() {
            let why = "what is read of standard input is gone for the run";
            let found = not_asked("standard input", why);
            self.add(name("stdin"), async { found });
            return Ok(());
        }
        if written.lambda.is_some() {
            let why = "records come with invocations of AWS Lambda";
            let found = not_asked("invocations", why);
            self.add(name("lambda"), async { found });
            return Ok(());
        }
        if written.generator.is_some() {
            let found = nothing_to_reach("generated events", "they are made here");
            self.add(name("generator"), async { found });
            return Ok(());
        }
        let (source, waits) = (super::source(loaded, &reading)?, written.follows().is_some());
        self.add(name("file"), async move { probe_files(&*source.source, waits, probing).await });
        Ok(())
    }

    fn sink(&mut self, written: &config::Sink) -> anyhow::Result<()> {
        let (config, probing) = (self.config, self.probing);
        let name = |kind: &str| format!("{kind} sink `{}`", written.name);
        if let Some(directory) = &written.directory {
            self.directory(name("directory"), &directory.path);
        }
        if let Some(s3) = &written.s3 {
            self.bucket(name("s3"), &written.name, s3)?;
        }
        #[cfg(feature = "kinesis")]
        if let Some(stream) = &written.kinesis {
            let sink = super::kinesis::sink(config, &written.name, stream);
            self.add(name("kinesis"), async move { sink.probe(probing).await });
        }
        #[cfg(feature = "firehose")]
        if let Some(stream) = &written.firehose {
            let sink = super::firehose::sink(config, &written.name, stream);
            self.add(name("firehose"), async move { sink.probe(probing).await });
        }
        if written.stdout.is_some() {
            let found = nothing_to_reach("standard output", "whoever starts the run gives it");
            self.add(name("stdout"), async { found });
        }
        if written.blackhole.is_some() {
            let found = nothing_to_reach("nowhere", "nothing is written");
            self.add(name("blackhole"), async { found });
        }
        if written.reply.is_some() {
            let found = nothing_to_reach("the answer", "whoever invokes the function gets it");
            self.add(name("reply"), async { found });
        }
        Ok(())
    }

    fn dead_letters(&mut self) -> anyhow::Result<()> {
        let (config, probing) = (self.config, self.probing);
        let dead = &config.dead_letters;
        if let Some(directory) = &dead.directory {
            self.directory("directory of dead letters".to_owned(), directory);
        }
        if let Some(s3) = &dead.s3 {
            self.bucket("s3 of dead letters".to_owned(), crate::DEAD_LETTERS, s3)?;
        }
        if let Some(CopyTo::Sqs(queue)) = &dead.copy_to {
            #[cfg(feature = "sqs")]
            {
                let (aws, url) = (super::aws::aws(queue.aws()), queue.queue.clone());
                let largest = usize::try_from(queue.message_size.0).unwrap_or(usize::MAX);
                self.add("sqs copies of dead letters".to_owned(), async move {
                    tidegate_connectors::sinks::sqs::SqsSink::probe(&url, &aws, largest, probing)
                        .await
                });
                if let Some(s3) = &queue.offload {
                    let name = "s3 of large dead letters".to_owned();
                    self.bucket(name, crate::DEAD_LETTER_COPIES, s3)?;
                }
            }
            #[cfg(not(feature = "sqs"))]
            anyhow::bail!("this program was built without the feature `sqs`: {}", queue.queue);
        }
        Ok(())
    }

    fn bucket(&mut self, name: String, sink: &str, written: &config::S3) -> anyhow::Result<()> {
        #[cfg(feature = "s3")]
        {
            let bucket = super::s3(self.config, sink, written);
            self.add(name, S3Sink::probe(bucket, self.probing));
            Ok(())
        }
        #[cfg(not(feature = "s3"))]
        anyhow::bail!("this program was built without the feature `s3`: {name} {sink} {written:?}");
    }
}
