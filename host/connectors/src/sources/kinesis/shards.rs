//! The stream and its shards, as Kinesis lists them.

use std::{sync::Arc, time::Duration};

use aws_sdk_kinesis::{Client, types::Shard};
use tidegate_core::{
    Timestamp,
    source::{Partition, PartitionId, SourceError, SourceErrorKind},
};

use super::{
    KinesisConfig,
    client::{failed, timestamp},
};

/// A page of the list; Kinesis has no larger one.
const PAGE_SHARDS: i32 = 1_000;

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) arn: String,
    /// When it was created: one of the same name may come after it.
    pub(super) created: Timestamp,
    /// How long it keeps a record.
    pub(super) retention: Duration,
}

/// Asks for the stream.
pub(super) async fn describe(
    client: Client,
    config: Arc<KinesisConfig>,
) -> Result<Stream, SourceError> {
    let call = client
        .describe_stream_summary()
        .set_stream_name(config.stream_name())
        .set_stream_arn(config.stream_arn());
    let failing = || format!("failed to describe the stream `{}`", config.stream);
    let answer = call.send().await.map_err(|error| failed(failing(), error))?;
    let summary = answer.stream_description_summary().ok_or_else(|| {
        let message = format!("{}: the answer is empty", failing());
        SourceError::plain(SourceErrorKind::Unavailable, message)
    })?;
    let hours = u64::try_from(summary.retention_period_hours()).unwrap_or_default();
    Ok(Stream {
        arn: summary.stream_arn().to_owned(),
        created: timestamp(summary.stream_creation_timestamp()),
        retention: Duration::from_secs(hours * 3600),
    })
}

/// Asks for all shards that the stream still has, closed ones included.
pub(super) async fn list(
    client: Client,
    config: Arc<KinesisConfig>,
) -> Result<Vec<Partition>, SourceError> {
    let mut partitions = Vec::new();
    let mut page = client
        .list_shards()
        .set_stream_name(config.stream_name())
        .set_stream_arn(config.stream_arn())
        .max_results(PAGE_SHARDS);
    loop {
        let answer = page.send().await.map_err(|error| {
            failed(format!("failed to list the shards of the stream `{}`", config.stream), error)
        })?;
        for shard in answer.shards() {
            partitions.push(partition(shard)?);
        }
        // The token says of which stream it is, and Kinesis refuses both together.
        let Some(token) = answer.next_token else { return Ok(partitions) };
        page = client.list_shards().next_token(token).max_results(PAGE_SHARDS);
    }
}

fn partition(shard: &Shard) -> Result<Partition, SourceError> {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    let hash = |text: &str| {
        text.parse::<u128>().map_err(|_| {
            let message = format!("shard `{}` has the hash key `{text}`", shard.shard_id());
            SourceError::plain(SourceErrorKind::Broken, message)
        })
    };
    let range = shard
        .hash_key_range()
        .map(|range| Ok((hash(range.starting_hash_key())?, hash(range.ending_hash_key())?)));
    Ok(Partition {
        id: PartitionId::from(shard.shard_id()),
        parents: parents.into_iter().flatten().map(PartitionId::from).collect(),
        hash_range: range.transpose()?,
    })
}
