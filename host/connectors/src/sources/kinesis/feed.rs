//! How a shard gives its records: when it is asked, or by pushing them to a consumer.
//!
//! A consumer, which is what AWS calls enhanced fan-out, has two megabytes a second of each shard
//! that nobody else shares. A subscription ends after five minutes, or when its connection does;
//! another one goes on where the last event ended.

use std::time::Duration;

use aws_sdk_kinesis::{
    Client,
    config::StalledStreamProtectionConfig,
    error::SdkError,
    operation::{
        get_records::GetRecordsOutput,
        subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput},
    },
    types::{Record, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream},
};
use tidegate_core::source::{PartitionId, SourceError, SourceErrorKind};
use tokio::time::{Instant, timeout};

use super::{
    client::timestamp,
    raw::{Packing, RawRecords},
};

/// Kinesis sends an event every five seconds, with or without records. A connection on which none
/// comes for so long is dead, whatever it looks like.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Where reading goes on, as the server knows it.
#[derive(Debug)]
pub(super) enum Feed {
    /// An iterator to ask with.
    Polled(String),
    /// A connection to listen to.
    Pushed(Box<Subscription>),
}

impl Feed {
    /// Whose it is, by ARN, where it is a consumer's.
    pub(super) fn consumer(&self) -> Option<&str> {
        match self {
            Feed::Polled(_) => None,
            Feed::Pushed(subscription) => Some(&subscription.consumer),
        }
    }
}

/// What a shard has given.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) records: RawRecords,
    /// How far behind the shard's tip it is.
    pub(super) behind: Duration,
    /// What to ask with next, where it was asked.
    pub(super) iterator: Option<String>,
    /// The shard is closed, and there is nothing behind this.
    pub(super) ends: bool,
}

impl TryFrom<GetRecordsOutput> for Answer {
    type Error = SourceError;

    fn try_from(answer: GetRecordsOutput) -> Result<Self, SourceError> {
        Ok(Answer {
            behind: milliseconds(answer.millis_behind_latest.unwrap_or_default()),
            ends: answer.next_shard_iterator.is_none(),
            iterator: answer.next_shard_iterator,
            records: packed(answer.records)?,
        })
    }
}

impl TryFrom<SubscribeToShardEvent> for Answer {
    type Error = SourceError;

    fn try_from(event: SubscribeToShardEvent) -> Result<Self, SourceError> {
        // Children are named with the last event, which says of no place to go on from. There are
        // servers that name them, and a place, with each event of a closed shard.
        let closed = !event.child_shards().is_empty();
        let last = event.continuation_sequence_number.is_empty() || event.records.is_empty();
        Ok(Answer {
            behind: milliseconds(event.millis_behind_latest),
            iterator: None,
            ends: closed && last,
            records: packed(event.records)?,
        })
    }
}

fn packed(records: Vec<Record>) -> Result<RawRecords, SourceError> {
    let broken = |message: String| SourceError::plain(SourceErrorKind::Broken, message);
    // No key where Kinesis itself distributes records.
    let key = |it: &Record| it.partition_key.as_ref().map_or(0, String::len);
    let bytes = records.iter().map(|it| key(it) + it.data.as_ref().len()).sum();
    let mut packing = Packing::with_capacity(records.len(), bytes);
    for record in &records {
        let sequence = record.sequence_number.parse();
        let sequence = sequence.map_err(|error| broken(format!("{error}")))?;
        let arrival = record.approximate_arrival_timestamp.as_ref().map(timestamp);
        let key = record.partition_key.as_deref().unwrap_or_default();
        packing.push(sequence, arrival.unwrap_or_default(), key.as_bytes(), record.data.as_ref());
    }
    Ok(packing.done())
}

fn milliseconds(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or_default())
}

/// A connection on which a shard's records come.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The ARN of whose it is.
    pub(super) consumer: String,
    answer: SubscribeToShardOutput,
    heard_at: Instant,
}

/// What came on a connection.
pub(super) enum Heard {
    Event(SubscribeToShardEvent),
    /// Nothing for now.
    Nothing,
    /// There is no more to come: another subscription is due.
    Ended,
}

impl Subscription {
    pub(super) async fn begin(
        client: Client,
        consumer: String,
        shard: &PartitionId,
        position: StartingPosition,
    ) -> Result<Self, SdkError<SubscribeToShardError>> {
        // A reader that waits for memory does not listen, and that is no fault of the connection.
        let patient = aws_sdk_kinesis::config::Builder::new()
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let call = client.subscribe_to_shard().consumer_arn(&consumer).shard_id(&*shard.0);
        let call = call.starting_position(position).customize().config_override(patient);
        let answer = call.send().await?;
        Ok(Subscription { consumer, answer, heard_at: Instant::now() })
    }

    /// The next event, waited for so long at most. May be dropped and called again.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Heard, SourceError> {
        let Ok(heard) = timeout(patience, self.answer.event_stream.recv()).await else {
            let is_dead = self.heard_at.elapsed() > SILENCE_MAX;
            return Ok(if is_dead { Heard::Ended } else { Heard::Nothing });
        };
        self.heard_at = Instant::now();
        match heard {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                Ok(Heard::Event(event))
            }
            Ok(Some(_)) => Ok(Heard::Nothing),
            Ok(None) => Ok(Heard::Ended),
            // If it is for good, then the next subscription is refused.
            Err(error) => {
                let message = "a subscription to a shard was broken off";
                Err(SourceError::new(SourceErrorKind::Unavailable, message, error))
            }
        }
    }
}
