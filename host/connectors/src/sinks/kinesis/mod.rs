//! A Kinesis stream as a sink: each line of an object is a record, at least once, and those of a
//! partition key in their order.
//!
//! What Kinesis has taken can't be looked up. It answers for each record of a request by itself:
//! those that it did not take are what is left, with all behind them that have the same key, and the
//! pipeline writes them again.
//!
//! ```text
//! write ─► requests, one behind the other ─► some records not taken: they, and what their keys hold
//!            one record of a key in each  ─► no answer, or none taken: it, and all behind it
//! ```

mod failure;
mod outbox;
mod probe;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    Client, operation::put_records::PutRecordsOutput, primitives::Blob,
    types::PutRecordsRequestEntry,
};
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};
use tokio::sync::OnceCell;

use self::{
    failure::REFUSALS,
    outbox::{Entry, Outbox},
};
use crate::{
    aws::{self, AwsConfig, Io},
    sinks::meters::{Names, RequestMeters, labels},
};

/// Ten megabytes over a slow line take some seconds.
const CALL_MAX: Duration = Duration::from_secs(30);

/// After so many requests the pipeline is told how far it has come. A range of few keys takes
/// thousands, and an attempt that ran out of time would have to repeat them all.
const REQUESTS_MAX: usize = 50;

const METERS: Names = Names {
    requests: "tidegate_kinesis_put_requests_total",
    taken: "tidegate_kinesis_put_records_total",
    refused: "tidegate_kinesis_refused_records_total",
};

/// A stream, and how records are put into it.
#[derive(Clone, Debug)]
pub struct KinesisSinkConfig {
    /// The sink's name.
    pub name: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The stream's name or its ARN.
    pub stream: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// What one request may have, keys included.
    pub request_bytes_max: usize,
    /// Lines of a key become aggregates of the Kinesis Producer Library.
    pub aggregates: bool,
}

impl KinesisSinkConfig {
    /// A stream into which each line goes as a record of its own.
    pub fn new(name: impl Into<String>, stream: impl Into<String>) -> Self {
        KinesisSinkConfig {
            name: name.into(),
            pipeline: String::new(),
            stream: stream.into(),
            aws: AwsConfig::default(),
            // What every Kinesis takes.
            request_bytes_max: 5 << 20,
            aggregates: false,
        }
    }
}

/// Puts records into a stream. Objects have a partition key for each line.
///
/// A stream that is throttled or away is [`SinkErrorKind::Unavailable`], and so are credentials that
/// have expired. What Kinesis will not do without a person is [`SinkErrorKind::Broken`].
pub struct KinesisSink {
    name: String,
    stream: Arc<Stream>,
    io: Io,
}

/// A stream, and the client that it is written to by.
struct Stream {
    config: KinesisSinkConfig,
    meters: RequestMeters,
    client: OnceCell<Client>,
}

impl KinesisSink {
    /// A sink that has made no call yet. Calls are made where this is called.
    pub fn new(config: KinesisSinkConfig) -> Self {
        let name = config.name.clone();
        let meters = RequestMeters::new(&METERS, labels(&config.pipeline, &config.name));
        let stream = Arc::new(Stream { config, meters, client: OnceCell::new() });
        KinesisSink { name, stream, io: Io::here() }
    }
}

#[async_trait]
impl Sink for KinesisSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn naming(&self) -> Naming {
        Naming::Unnamed
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let (stream, objects) = (self.stream.clone(), objects.to_vec());
        let written = self.io.run(async move { stream.write(&objects).await });
        written.await.unwrap_or_else(|error| {
            let message = "requests to Kinesis were not finished";
            Err(SinkError::new(SinkErrorKind::Unavailable { after: None }, message, error))
        })
    }

    async fn find(&self, _key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}

impl Stream {
    /// Puts all records, each once. What was not taken is in the error.
    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        if let Some(object) = objects.iter().find(|object| object.keys.is_none()) {
            let message = format!("`{}` has no partition keys", object.key);
            return Err(SinkError::plain(SinkErrorKind::Broken, message));
        }
        let KinesisSinkConfig { stream, request_bytes_max, aggregates, .. } = &self.config;
        let mut outbox = Outbox::new(objects, *request_bytes_max, *aggregates);
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut requests = 0;
        while !outbox.is_empty() && requests < REQUESTS_MAX {
            requests += 1;
            let request = outbox.request();
            let refused = match self.put(&request).await {
                Ok(refused) => refused,
                Err(error) => return Err(error.with_rest(outbox.rest())),
            };
            outbox.answered(&request, |place| !refused.contains_key(&place));
            // Nothing gets through: what is behind it waits too.
            let is_stuck = refused.len() == request.len();
            for code in refused.into_values() {
                *reasons.entry(code).or_default() += 1;
            }
            if is_stuck {
                break;
            }
        }
        let left = outbox.left();
        if left == 0 {
            return Ok(());
        }
        let error = if reasons.is_empty() {
            let message = format!("Kinesis stream `{stream}` has {left} records more to take");
            SinkError::plain(SinkErrorKind::Unfinished, message)
        } else {
            let reasons: Vec<_> =
                reasons.iter().map(|(code, records)| format!("{code}: {records}")).collect();
            let message = format!(
                "Kinesis stream `{stream}` did not take all records ({}): {left} are left, those \
                 of the same keys among them",
                reasons.join(", ")
            );
            SinkError::plain(SinkErrorKind::Unavailable { after: None }, message)
        };
        Err(error.with_rest(outbox.rest()))
    }

    /// Sends one request. Returns the places of records that were not taken, and why.
    async fn put(&self, request: &[Entry]) -> Result<BTreeMap<usize, String>, SinkError> {
        let stream = &self.config.stream;
        let arn = stream.starts_with("arn:").then(|| stream.clone());
        let name = arn.is_none().then(|| stream.clone());
        let record = |entry: &Entry| {
            let record = PutRecordsRequestEntry::builder().partition_key(&entry.key);
            record.data(Blob::new(&entry.data[..])).build().expect("it has data and a key")
        };
        let put = self.client().await.put_records().set_stream_name(name).set_stream_arn(arn);
        let answer = put.set_records(Some(request.iter().map(record).collect())).send().await;
        let answer = answer.map_err(|error| {
            REFUSALS.failed(format!("failed to put records into Kinesis stream `{stream}`"), error)
        });
        let refused = answer.and_then(|answer| self.refused(&answer, request.len()));
        self.meters.ended(request.len(), refused.as_ref().ok().map(BTreeMap::len));
        refused
    }

    /// Which records an answer says were not taken. One that does not add up says nothing.
    fn refused(
        &self,
        answer: &PutRecordsOutput,
        records: usize,
    ) -> Result<BTreeMap<usize, String>, SinkError> {
        let entries = answer.records();
        let codes = entries.iter().map(|entry| entry.error_code()).enumerate();
        let refused: BTreeMap<_, _> =
            codes.filter_map(|(place, code)| Some((place, code?.to_owned()))).collect();
        let taken = entries.iter().filter(|it| it.sequence_number().is_some()).count();
        let count = usize::try_from(answer.failed_record_count().unwrap_or_default()).ok();
        if taken + refused.len() == records
            && entries.len() == records
            && count == Some(refused.len())
        {
            return Ok(refused);
        }
        let message = format!(
            "Kinesis stream `{}` was sent {records} records, and its answer is about {}, of which \
             {} are said to be refused, {} are, and {taken} have a sequence number",
            self.config.stream,
            entries.len(),
            answer.failed_record_count().unwrap_or_default(),
            refused.len()
        );
        Err(SinkError::plain(SinkErrorKind::Unavailable { after: None }, message))
    }

    async fn client(&self) -> &Client {
        let connect = async || {
            let config = aws::service_config!(aws_sdk_kinesis, &self.config.aws, CALL_MAX);
            Client::from_conf(config.build())
        };
        self.client.get_or_init(connect).await
    }
}
