//! A Firehose stream as a sink: each line of an object is a record of the stream, at least once.
//!
//! What Firehose has taken can't be looked up, and where it puts it is its own affair. It answers
//! for each record of a request by itself: those that it did not take are what is left, and the
//! pipeline writes them again. No record is sent twice but where an answer was lost.
//!
//! ```text
//! write ─► requests, one behind the other ─► some records not taken: what is left
//!                                         ─► no answer, or none taken: it, and all behind it
//! ```

mod failure;
mod probe;
mod request;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_firehose::{
    Client, operation::put_record_batch::PutRecordBatchOutput, primitives::Blob, types::Record,
};
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};
use tokio::sync::OnceCell;

use self::{failure::REFUSALS, request::sent};
use crate::{
    aws::{self, AwsConfig, Io},
    sinks::{
        lines::{Line, lines, rest_of},
        meters::{Names, RequestMeters, labels},
    },
};

/// Four megabytes over a slow line take some seconds.
const CALL_MAX: Duration = Duration::from_secs(30);

const METERS: Names = Names {
    requests: "tidegate_firehose_requests_total",
    taken: "tidegate_firehose_records_total",
    refused: "tidegate_firehose_refused_records_total",
};

/// A stream, and how records are sent to it.
#[derive(Clone, Debug)]
pub struct FirehoseConfig {
    /// The sink's name.
    pub name: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The stream's name.
    pub stream: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// What ends each record.
    pub delimiter: Delimiter,
}

impl FirehoseConfig {
    /// A stream whose records are lines.
    pub fn new(name: impl Into<String>, stream: impl Into<String>) -> Self {
        FirehoseConfig {
            name: name.into(),
            pipeline: String::new(),
            stream: stream.into(),
            aws: AwsConfig::default(),
            delimiter: Delimiter::default(),
        }
    }
}

/// What ends each record: Firehose puts one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delimiter {
    /// A line break: what arrives is JSON Lines.
    #[default]
    Newline,
    /// Nothing: the stream adds something itself, or its destination needs nothing.
    None,
}

/// Sends records to a stream.
///
/// A stream that is throttled or away is [`SinkErrorKind::Unavailable`], and so are credentials that
/// have expired. What Firehose will not do without a person is [`SinkErrorKind::Broken`].
pub struct FirehoseSink {
    name: String,
    stream: Arc<Stream>,
    io: Io,
}

/// A stream, and the client that it is written to by.
struct Stream {
    config: FirehoseConfig,
    meters: RequestMeters,
    client: OnceCell<Client>,
}

impl FirehoseSink {
    /// A sink that has made no call yet. Calls are made where this is called.
    pub fn new(config: FirehoseConfig) -> Self {
        let name = config.name.clone();
        let meters = RequestMeters::new(&METERS, labels(&config.pipeline, &config.name));
        let stream = Arc::new(Stream { config, meters, client: OnceCell::new() });
        FirehoseSink { name, stream, io: Io::here() }
    }
}

#[async_trait]
impl Sink for FirehoseSink {
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
            let message = "requests to Firehose were not finished";
            Err(SinkError::new(SinkErrorKind::Unavailable { after: None }, message, error))
        })
    }

    async fn find(&self, _key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        Ok(None)
    }
}

impl Stream {
    /// Sends all records, each once. What was not taken is in the error.
    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let lines = lines(objects);
        let mut left: Vec<Line> = Vec::new();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for request in request::split(&lines, objects, self.config.delimiter) {
            let behind = &lines[request.start..];
            let refused = match self.put(objects, &lines[request.clone()]).await {
                Ok(refused) => refused,
                Err(error) => {
                    left.extend_from_slice(behind);
                    return Err(error.with_rest(rest_of(objects, &left)));
                }
            };
            // Nothing gets through: what is behind it waits too.
            let is_stuck = refused.len() == request.len();
            for Refused { record, code } in refused {
                left.push(lines[request.start + record].clone());
                *reasons.entry(code).or_default() += 1;
            }
            if is_stuck {
                left.extend_from_slice(&lines[request.end..]);
                break;
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let reasons: Vec<_> =
            reasons.iter().map(|(code, records)| format!("{code}: {records}")).collect();
        let message = format!(
            "Firehose stream `{}` did not take all records ({}): {} are left",
            self.config.stream,
            reasons.join(", "),
            left.len()
        );
        let error = SinkError::plain(SinkErrorKind::Unavailable { after: None }, message);
        Err(error.with_rest(rest_of(objects, &left)))
    }

    /// Sends one request. Returns the records that were not taken.
    async fn put(&self, objects: &[Object], lines: &[Line]) -> Result<Vec<Refused>, SinkError> {
        let record = |line: &Line| {
            let Range { start, end } = sent(line, objects, self.config.delimiter);
            let data = Blob::new(&objects[line.object].content[start..end]);
            Record::builder().data(data).build().expect("it has data")
        };
        let put = self.client().await.put_record_batch();
        let put = put.delivery_stream_name(&self.config.stream);
        let answer = put.set_records(Some(lines.iter().map(record).collect())).send().await;
        let answer = answer.map_err(|error| {
            let stream = &self.config.stream;
            REFUSALS.failed(format!("failed to put records into Firehose stream `{stream}`"), error)
        });
        let refused = answer.and_then(|answer| self.refused(&answer, lines.len()));
        self.meters.ended(lines.len(), refused.as_ref().ok().map(Vec::len));
        refused
    }

    /// Which records an answer says were not taken. One that does not add up says nothing.
    fn refused(
        &self,
        answer: &PutRecordBatchOutput,
        records: usize,
    ) -> Result<Vec<Refused>, SinkError> {
        let entries = answer.request_responses();
        let codes = entries.iter().map(|entry| entry.error_code()).enumerate();
        let refused: Vec<_> = codes
            .filter_map(|(record, code)| Some(Refused { record, code: code?.to_owned() }))
            .collect();
        let count = usize::try_from(answer.failed_put_count()).ok();
        if entries.len() == records && count == Some(refused.len()) {
            return Ok(refused);
        }
        let message = format!(
            "Firehose stream `{}` was sent {records} records, and its answer is about {}, of which \
             {} are said to be refused and {} are",
            self.config.stream,
            entries.len(),
            answer.failed_put_count(),
            refused.len()
        );
        Err(SinkError::plain(SinkErrorKind::Unavailable { after: None }, message))
    }

    async fn client(&self) -> &Client {
        let connect = async || {
            let config = aws::service_config!(aws_sdk_firehose, &self.config.aws, CALL_MAX);
            Client::from_conf(config.build())
        };
        self.client.get_or_init(connect).await
    }
}

/// A record of a request that was not taken.
struct Refused {
    /// Its place in the request.
    record: usize,
    code: String,
}
