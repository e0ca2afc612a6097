//! Probes of a stream that is written to. That records can be put is only proven by a record, which
//! whoever reads the stream would take for one.

use aws_sdk_kinesis::types::StreamStatus;

use super::{KinesisSink, Stream};
use crate::{
    aws::probe::{credentials, unproven},
    probe::{
        Answer,
        ProbeLevel::{Connect, Write},
        Probed, Probes, Probing, Unproven,
    },
};

const DESCRIBE: &str = "kinesis:DescribeStreamSummary";

impl KinesisSink {
    /// What of the stream works from here.
    pub async fn probe(&self, probing: Probing) -> Vec<Probed> {
        let mut probes = Probes::new(probing);
        let config = &self.stream.config;
        credentials(&mut probes, &config.aws).await;
        probes.ask(Connect, DESCRIBE, &config.stream, describe(&self.stream)).await;
        let why = "only a record proves it, and whoever reads the stream would take it for one";
        probes.leave(Write, "kinesis:PutRecords", &config.stream, why);
        probes.found()
    }
}

async fn describe(stream: &Stream) -> Answer<()> {
    let name = &stream.config.stream;
    let arn = name.starts_with("arn:").then(|| name.clone());
    let name = arn.is_none().then(|| name.clone());
    let call = stream.client().await.describe_stream_summary().set_stream_name(name);
    let missing = "there is none of this name in this account and region: create it, or correct \
                   `stream` and `region`";
    let answer = call.set_stream_arn(arn).send().await.map_err(|error| {
        let error = unproven(DESCRIBE, missing, error);
        error.or_without(
            "the pipeline does not need it, and whether the stream is there is not known",
        )
    })?;
    let status = answer.stream_description_summary.map(|it| it.stream_status);
    match status {
        Some(StreamStatus::Active | StreamStatus::Updating) => {
            Ok(((), "the stream is there".to_owned()))
        }
        Some(status) => {
            let why = format!("the stream is there, and is {}", status.as_str().to_lowercase());
            Err(Unproven::failed(why, "wait until it is active"))
        }
        None => Err(Unproven::unknown("the answer is empty")),
    }
}
