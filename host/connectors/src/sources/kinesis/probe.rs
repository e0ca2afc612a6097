//! Probes of a stream that is read: it is described, and one shard is asked once, where the first start
//! would begin. Nothing is noted, and no consumer registered.

use aws_sdk_kinesis::{
    Client,
    types::{ConsumerStatus, Shard, ShardIteratorType, StreamStatus},
};

use super::{KinesisConfig, KinesisSource, KinesisStart, client::date_time};
use crate::{
    aws::probe::{credentials, unproven},
    probe::{
        Answer,
        ProbeLevel::{Connect, Read, Write},
        Probed, Probes, Probing, Unproven, given,
    },
};

const MISSING: &str = "there is none of this name in this account and region: create it, or correct \
                       `stream` and `region`";

/// What a probe asks a shard for: it has two megabytes a second for all who read it.
const RECORDS_MAX: i32 = 10;

impl KinesisSource {
    /// What of the stream works from here.
    pub async fn probe(&self, probing: Probing) -> Vec<Probed> {
        let config = &self.shared.config;
        let mut probes = Probes::new(probing);
        credentials(&mut probes, &config.aws).await;
        let client = self.shared.caller.connect().await;
        let stream = &config.stream;
        let action = "kinesis:DescribeStreamSummary";
        let arn = probes.ask(Connect, action, stream, describe(&client, config)).await;
        if let Some(consumer) = &config.consumer {
            probe_consumer(&client, consumer, arn, &mut probes).await;
        }
        let shard = probes.ask(Read, "kinesis:ListShards", stream, list(&client, config)).await;
        let place = match &shard {
            Some(shard) => format!("{stream}/{}", shard.shard_id()),
            None => stream.clone(),
        };
        let iterator = iterator(&client, config, shard);
        let iterator = probes.ask(Read, "kinesis:GetShardIterator", &place, iterator).await;
        let records = records(&client, config, iterator);
        probes.ask(Read, "kinesis:GetRecords", &place, records).await;
        #[cfg(feature = "kms")]
        for key in config.decryption.iter().flat_map(|it| it.key_resources()) {
            let why = "a key decrypts what a producer has encrypted under it, and a check has nothing \
                       of the kind";
            probes.leave(Read, "kms:Decrypt", key, why);
        }
        probes.found()
    }
}

async fn describe(client: &Client, config: &KinesisConfig) -> Answer<String> {
    let call = client.describe_stream_summary().set_stream_name(config.stream_name());
    let answer = call.set_stream_arn(config.stream_arn()).send().await;
    let answer =
        answer.map_err(|error| unproven("kinesis:DescribeStreamSummary", MISSING, error))?;
    let summary = answer.stream_description_summary;
    let summary = summary.ok_or_else(|| Unproven::unknown("the answer is empty"))?;
    let status = summary.stream_status();
    if !matches!(status, StreamStatus::Active | StreamStatus::Updating) {
        let why = format!("the stream is there, and is {}", status.as_str().to_lowercase());
        return Err(Unproven::failed(why, "wait until it is active"));
    }
    let seen = format!(
        "{} shards open, records are kept for {} h",
        summary.open_shard_count(),
        summary.retention_period_hours()
    );
    Ok((summary.stream_arn, seen))
}

/// A consumer has one subscription to a shard. A second one takes the place of the first, which may be
/// a pipeline's.
async fn probe_consumer(
    client: &Client,
    consumer: &str,
    stream: Option<String>,
    probes: &mut Probes,
) {
    let is_arn = consumer.starts_with("arn:");
    let action = "kinesis:DescribeStreamConsumer";
    let describe = async {
        let call = client.describe_stream_consumer();
        let call = match is_arn {
            true => call.consumer_arn(consumer),
            false => {
                let stream = given(stream, "kinesis:DescribeStreamSummary")?;
                call.stream_arn(stream).consumer_name(consumer)
            }
        };
        let answer = match call.send().await {
            Err(error)
                if !is_arn
                    && error
                        .as_service_error()
                        .is_some_and(|it| it.is_resource_not_found_exception()) =>
            {
                return Ok((false, "it is not registered: the first run does it".to_owned()));
            }
            answer => answer.map_err(|error| {
                unproven(action, "register the consumer, or correct `consumer`", error)
            })?,
        };
        let status = answer.consumer_description.map(|it| it.consumer_status);
        match status {
            Some(ConsumerStatus::Active) => Ok((true, "it is active".to_owned())),
            Some(status) => {
                let status = status.as_str().to_lowercase();
                Err(Unproven::unknown(format!("the consumer is {status}: check again")))
            }
            None => Err(Unproven::unknown("the answer is empty")),
        }
    };
    let is_there = probes.ask(Connect, action, consumer, describe).await;
    if !is_arn {
        let why = match is_there {
            Some(true) => "the consumer is there: it is not asked for",
            _ => "a consumer that is registered stays, and is paid for by the hour",
        };
        probes.leave(Write, "kinesis:RegisterStreamConsumer", consumer, why);
    }
    let why = "a subscription would take the place of one that a pipeline has: a consumer has one to \
               a shard";
    probes.leave(Read, "kinesis:SubscribeToShard", consumer, why);
}

/// A shard that is open, or any.
async fn list(client: &Client, config: &KinesisConfig) -> Answer<Shard> {
    let call = client.list_shards().set_stream_name(config.stream_name());
    let answer = call.set_stream_arn(config.stream_arn()).send().await;
    let answer = answer.map_err(|error| unproven("kinesis:ListShards", MISSING, error))?;
    let more = if answer.next_token().is_some() { " on the first page" } else { "" };
    let shards = answer.shards.unwrap_or_default();
    let seen = format!("{} shards{more}", shards.len());
    let is_open = |shard: &&Shard| {
        shard.sequence_number_range().is_none_or(|it| it.ending_sequence_number().is_none())
    };
    let shard = shards.iter().find(is_open).or(shards.first()).cloned();
    shard.map(|it| (it, seen)).ok_or_else(|| Unproven::unknown("the stream has no shards"))
}

async fn iterator(client: &Client, config: &KinesisConfig, shard: Option<Shard>) -> Answer<String> {
    let shard = given(shard, "kinesis:ListShards")?;
    let (kind, time) = match config.start {
        KinesisStart::TrimHorizon => (ShardIteratorType::TrimHorizon, None),
        KinesisStart::Latest => (ShardIteratorType::Latest, None),
        KinesisStart::At(time) => (ShardIteratorType::AtTimestamp, Some(date_time(time))),
    };
    let seen = format!("at {}", kind.as_str().to_lowercase());
    let call = client.get_shard_iterator().set_stream_name(config.stream_name());
    let call = call.set_stream_arn(config.stream_arn()).shard_id(shard.shard_id());
    let answer = call.shard_iterator_type(kind).set_timestamp(time).send().await;
    let answer = answer.map_err(|error| unproven("kinesis:GetShardIterator", MISSING, error))?;
    let iterator = answer.shard_iterator;
    iterator.map(|it| (it, seen)).ok_or_else(|| Unproven::unknown("the answer is empty"))
}

async fn records(client: &Client, config: &KinesisConfig, iterator: Option<String>) -> Answer<()> {
    let iterator = given(iterator, "kinesis:GetShardIterator")?;
    let call = client.get_records().shard_iterator(iterator).limit(RECORDS_MAX);
    let answer = call.set_stream_arn(config.stream_arn()).send().await;
    let answer = answer.map_err(|error| unproven("kinesis:GetRecords", MISSING, error))?;
    let behind = answer.millis_behind_latest.unwrap_or_default();
    let seen = match (answer.records.len(), behind) {
        (0, 1..) => format!("none in the first answer, {behind} ms behind the tip"),
        (0, _) => "there are none yet".to_owned(),
        (some, _) => format!("{some} came"),
    };
    Ok(((), seen))
}
