//! Probes of a Firehose stream. That records can be put is only proven by a record, which would arrive
//! where all others do.

use aws_sdk_firehose::types::{DeliveryStreamStatus, DeliveryStreamType};

use super::{FirehoseSink, Stream};
use crate::{
    aws::probe::{credentials, unproven},
    probe::{
        Answer,
        ProbeLevel::{Connect, Write},
        Probed, Probes, Probing, Unproven,
    },
};

const DESCRIBE: &str = "firehose:DescribeDeliveryStream";

impl FirehoseSink {
    /// What of the stream works from here.
    pub async fn probe(&self, probing: Probing) -> Vec<Probed> {
        let mut probes = Probes::new(probing);
        let config = &self.stream.config;
        credentials(&mut probes, &config.aws).await;
        probes.ask(Connect, DESCRIBE, &config.stream, describe(&self.stream)).await;
        let why = "only a record proves it, and it would be delivered as one";
        probes.leave(Write, "firehose:PutRecordBatch", &config.stream, why);
        probes.found()
    }
}

async fn describe(stream: &Stream) -> Answer<()> {
    let call = stream.client().await.describe_delivery_stream();
    let answer = call.delivery_stream_name(&stream.config.stream).send().await;
    let missing = "there is none of this name in this account and region: create it, or correct \
                   `stream` and `region`";
    let answer = answer.map_err(|error| {
        let error = unproven(DESCRIBE, missing, error);
        error.or_without(
            "the pipeline does not need it, and whether the stream is there is not known",
        )
    })?;
    let found = answer.delivery_stream_description;
    let found = found.ok_or_else(|| Unproven::unknown("the answer is empty"))?;
    if *found.delivery_stream_type() != DeliveryStreamType::DirectPut {
        let kind = found.delivery_stream_type().as_str();
        let hint = "its source must be `Direct PUT`, and not another stream or CloudWatch Logs";
        return Err(Unproven::failed(format!("its source is `{kind}`"), hint));
    }
    match found.delivery_stream_status() {
        DeliveryStreamStatus::Active => {
            Ok(((), "the stream is there, and its source is `Direct PUT`".to_owned()))
        }
        status => {
            let why = format!("the stream is there, and is {}", status.as_str().to_lowercase());
            Err(Unproven::failed(why, "wait until it is active"))
        }
    }
}
