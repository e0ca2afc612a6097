//! One shard, read in order.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata, SdkError},
    types::{ShardIteratorType, StartingPosition},
};
use tidegate_core::{
    Position, RecordBatch, Timestamp,
    source::{PartitionId, ReadLimit, ReadOutcome, Reader, SourceError, SourceErrorKind},
};
use tokio::time::{Instant, sleep_until};

use super::{
    budget::Room,
    client::{date_time, failed, is_throttled},
    decode::{Rules, Unread},
    feed::{Answer, Feed, Heard, Subscription},
    loss::{Loss, horizon},
    meters::{Answered, Meters},
    notes::{Beginning, Quiet},
    pace::{AnswerSize, Pace},
    position::SequenceNumber,
    raw::RawRecords,
    shards,
    source::{Shard, Shared},
};

/// What the store keeps beside a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// When the stream was created, which tells it from others of its name.
    pub(super) created: Timestamp,
    /// When the record arrived, to the second below.
    pub(super) arrival: Timestamp,
}

impl Token {
    pub(super) fn parse(text: &str) -> Option<Token> {
        let (created, arrival) = text.split_once('/')?;
        let created = created.parse().ok()?;
        let arrival = arrival.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        Some(Token { created: Timestamp(created), arrival: Timestamp(arrival) })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.created.0, self.arrival.0.div_euclid(1_000_000))
    }
}

/// More steps than these are forgotten. A read has a handful, and a token is asked for one of the
/// last reads.
const ARRIVALS_MAX: usize = 1_024;

/// A replay reads what the stream has given before. If it shows so often that there is nothing more,
/// then it does not hold it any longer.
const REPLAY_LOOKS_MAX: u32 = 10;

/// How long a read listens before it says that there is nothing.
const LISTEN_MAX: Duration = Duration::from_secs(1);

/// A consumer may subscribe to a shard once a second.
const SUBSCRIBE_EVERY: Duration = Duration::from_secs(1);

/// When the records arrived that were returned, a step for each change of the second.
struct Arrivals {
    steps: VecDeque<(Position, i64)>,
    /// When what lies before the first step arrived.
    before: i64,
}

impl Arrivals {
    fn add(&mut self, batch: &RecordBatch) {
        for (position, arrival) in batch.positions.iter().zip(&batch.arrivals) {
            let second = arrival.0.div_euclid(1_000_000);
            if self.steps.back().map_or(self.before, |it| it.1) != second {
                self.steps.push_back((*position, second));
            }
        }
        while self.steps.len() > ARRIVALS_MAX {
            self.before = self.steps.pop_front().map_or(self.before, |it| it.1);
        }
    }

    fn of(&self, position: Position) -> Timestamp {
        let behind = self.steps.partition_point(|it| it.0 <= position);
        let second = behind.checked_sub(1).map_or(self.before, |step| self.steps[step].1);
        Timestamp(second.saturating_mul(1_000_000))
    }
}

/// Reads a shard.
pub(super) struct KinesisReader {
    shared: Arc<Shared>,
    id: PartitionId,
    shard: Shard,
    rules: Rules,
    meters: Meters,
    pace: Pace,
    size: AnswerSize,
    unread: Unread,
    /// What the answer in `unread` is charged for.
    room: Option<Room>,
    feed: Option<Feed>,
    /// Everything up to here was fetched before.
    after: Option<Position>,
    /// The record that the iterator begins at, and that has to come again.
    expected: Option<SequenceNumber>,
    /// Nothing is there between the last record that was fetched and this.
    continuation: Option<SequenceNumber>,
    /// A subscription ended when everything had been read: perhaps the shard did, and what said so is
    /// lost. It is asked once before there is another subscription.
    asks: bool,
    /// What was to come is lost, and the next iterator begins at the oldest record that is there.
    passes_over: bool,
    /// What arrived before the time to begin at may still come.
    early: bool,
    /// Up to when there is nothing that was not fetched.
    done_until: Timestamp,
    /// The last record that was returned.
    returned: Option<Position>,
    arrivals: Arrivals,
    /// What was fetched last was younger than what the stream drops next.
    safe: bool,
    /// Nothing is left for now.
    caught_up: bool,
    /// How often in a row it was so.
    idle: u32,
    /// There is nothing behind what was fetched.
    closed: bool,
}

enum Polled {
    Answer(Answer),
    /// The iterator is worth nothing any more.
    Expired,
    Throttled(SourceError),
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// With a record.
    At(SequenceNumber),
    /// With the first record that has this number or a larger one.
    Behind(SequenceNumber),
    Since(Timestamp),
    Oldest,
}

enum Begun {
    At(Feed),
    /// The shard is not there.
    NotFound(SourceError),
    /// The place is none that the shard has.
    Refused(SourceError),
}

impl KinesisReader {
    /// Begins behind a record that arrived at some time, or where the shard begins.
    pub(super) fn new(
        shared: Arc<Shared>,
        id: PartitionId,
        shard: Shard,
        last: Option<(Position, Timestamp)>,
    ) -> Self {
        let config = &shared.config;
        let rules = Rules {
            hash_range: shard.note.hash_range,
            out_of_range: config.out_of_range,
            on_explicit_hash: config.on_explicit_hash,
            compression: config.compression,
            #[cfg(feature = "kms")]
            decryption: config.decryption.clone(),
            record_bytes_max: config.record_bytes_max,
        };
        let before = last.map_or(shard.note.seen, |(_, arrival)| arrival).0.div_euclid(1_000_000);
        let done_until = shard.note.done_until(last);
        let early = last.is_none() && matches!(shard.note.begins, Beginning::At(_));
        KinesisReader {
            meters: Meters::new(config, &id),
            id,
            shard,
            rules,
            pace: Pace::new(Instant::now()),
            size: AnswerSize::default(),
            unread: Unread::default(),
            room: None,
            feed: None,
            after: last.map(|(position, _)| position),
            expected: None,
            continuation: None,
            asks: false,
            passes_over: false,
            early,
            done_until,
            returned: last.map(|(position, _)| position),
            arrivals: Arrivals { steps: VecDeque::new(), before },
            safe: false,
            caught_up: false,
            idle: 0,
            closed: false,
            shared,
        }
    }

    /// Where nothing was ever read, nothing tells whether what arrived since the shard was seen is
    /// still there.
    pub(super) fn begins_in_time(&self) -> Result<(), SourceError> {
        match self.after.is_none() && self.is_late() {
            true => self.lost(None),
            false => Ok(()),
        }
    }

    /// The stream has dropped the shard, with all that was not read.
    pub(super) fn expired(&mut self) -> Result<(), SourceError> {
        self.lost(None)?;
        self.closed = true;
        Ok(())
    }

    /// Counts a loss, up to a record that is there or the end, and says so or fails.
    fn lost(&self, before: Option<SequenceNumber>) -> Result<(), SourceError> {
        self.meters.lost();
        let loss = Loss {
            shard: self.id.clone(),
            after: self.after.map(SequenceNumber::of),
            before,
            since: Some(self.done_until),
            until: self.horizon(),
        };
        loss.tell(self.shared.config.on_trimmed)
    }

    fn retention(&self) -> Duration {
        self.shared.retention().unwrap_or(self.shard.stream.retention)
    }

    fn horizon(&self) -> Timestamp {
        horizon(self.shared.caller.server_time(), self.retention())
    }

    /// What is to be read next may have been dropped.
    fn is_late(&self) -> bool {
        self.done_until < self.horizon()
    }

    /// The next of what the shard gives, when it allows it.
    async fn fetch(&mut self) -> Result<(), SourceError> {
        if !matches!(self.feed, Some(Feed::Pushed(_))) {
            sleep_until(self.pace.next_call()).await;
        }
        if self.safe && self.expected.is_none() && self.is_late() {
            // It has fallen behind, and what comes next may have been dropped meanwhile: the last
            // record has to be there still. At a start from the oldest record there is none that
            // was safe, and nothing is lost that was not about to be.
            self.feed = None;
            // Whoever subscribes anew has to wait for some seconds, and this is in a hurry.
            self.asks = self.shared.consumer.named().is_some();
            if self.after.is_none() {
                self.lost(None)?;
                self.safe = false;
            }
        }
        let shared = self.shared.clone();
        let consumer = shared.consumer.arn(&shared.caller, &self.shard.stream.arn).await?;
        let consumer = consumer.filter(|_| !self.asks);
        // Whoever reads it otherwise from now on goes on where this has come to.
        self.feed = self.feed.take().filter(|feed| feed.consumer() == consumer.as_deref());
        if self.feed.is_none() && !self.begin(consumer).await? {
            return Ok(());
        }
        match &self.feed {
            Some(Feed::Polled(iterator)) => self.poll(iterator.clone()).await,
            Some(Feed::Pushed(_)) => self.listen().await,
            None => Ok(()),
        }
    }

    /// One call.
    async fn poll(&mut self, iterator: String) -> Result<(), SourceError> {
        let room = self.shared.budget.room().await;
        let limit = if room.is_some() { self.size.usual() } else { self.size.small() };
        let (arn, shard) = (self.shared.config.stream_arn(), self.id.clone());
        let called = Instant::now();
        self.pace.called(called);
        self.meters.called();
        let answer = self.shared.caller.call(move |client| async move {
            let call = client.get_records().shard_iterator(iterator).set_stream_arn(arn);
            let limit = i32::try_from(limit).unwrap_or(i32::MAX);
            match call.limit(limit).send().await {
                Ok(answer) => answer.try_into().map(Polled::Answer),
                Err(error) => {
                    // A shard that is not there any more is told when another is asked for.
                    let expired = error.as_service_error().is_some_and(|it| {
                        it.is_expired_iterator_exception() || it.is_resource_not_found_exception()
                    });
                    if expired {
                        return Ok(Polled::Expired);
                    }
                    let throttled = is_throttled(&error);
                    let error = failed(format!("failed to get records of `{shard}`"), error);
                    if throttled { Ok(Polled::Throttled(error)) } else { Err(error) }
                }
            }
        });
        match answer.await? {
            Polled::Answer(answer) => {
                self.take(answer, room, called)?;
                if self.asks {
                    self.asks = false;
                    self.feed = None;
                }
                Ok(())
            }
            Polled::Expired => {
                self.meters.expired();
                self.feed = None;
                Ok(())
            }
            Polled::Throttled(error) => {
                self.meters.throttled();
                Err(error)
            }
        }
    }

    /// One event.
    async fn listen(&mut self) -> Result<(), SourceError> {
        let Some(Feed::Pushed(subscription)) = &mut self.feed else { return Ok(()) };
        match subscription.next(LISTEN_MAX).await {
            Ok(Heard::Event(event)) => {
                let continuation = event.continuation_sequence_number.parse().ok();
                self.take(event.try_into()?, None, Instant::now())?;
                self.continuation = continuation;
                Ok(())
            }
            Ok(Heard::Nothing) => {
                self.caught_up = true;
                Ok(())
            }
            ended => {
                self.feed = None;
                self.asks = self.caught_up;
                ended.map(drop)
            }
        }
    }

    /// Begins to read, by a consumer where one is named. Says whether there is something to read from.
    async fn begin(&mut self, consumer: Option<String>) -> Result<bool, SourceError> {
        let place = self.place();
        let begun = match consumer {
            None => self.iterate(place).await?,
            Some(consumer) => self.subscribe(place, consumer).await?,
        };
        match begun {
            Begun::At(feed) => {
                self.feed = Some(feed);
                self.expected = match place {
                    Place::At(sequence) => Some(sequence),
                    Place::Behind(_) | Place::Since(_) | Place::Oldest => None,
                };
                self.passes_over = false;
                Ok(true)
            }
            Begun::NotFound(error) => self.gone(error).await.map(|()| false),
            // No record has this number, and some servers may mind.
            Begun::Refused(_) if matches!(place, Place::Behind(_)) => {
                self.continuation = None;
                Ok(false)
            }
            Begun::Refused(error) => {
                // A record that was dropped, as some servers say it.
                if !(matches!(place, Place::At(_)) && self.is_late()) {
                    return Err(error);
                }
                self.lost(None)?;
                self.passes_over = true;
                Ok(false)
            }
        }
    }

    /// Gets an iterator.
    async fn iterate(&self, place: Place) -> Result<Begun, SourceError> {
        let (config, shard) = (self.shared.config.clone(), self.id.clone());
        let iterated = self.shared.caller.call(move |client| async move {
            let call = client
                .get_shard_iterator()
                .set_stream_name(config.stream_name())
                .set_stream_arn(config.stream_arn())
                .shard_id(&*shard.0)
                .shard_iterator_type(place.kind())
                .set_starting_sequence_number(place.sequence().map(|it| it.to_string()))
                .set_timestamp(place.time().map(date_time));
            let failing = format!("failed to begin reading `{shard}`");
            match call.send().await {
                Ok(answer) => match answer.shard_iterator {
                    Some(iterator) => Ok(Begun::At(Feed::Polled(iterator))),
                    None => Err(SourceError::plain(SourceErrorKind::Unavailable, failing)),
                },
                Err(error) => not_begun(failing, error),
            }
        });
        iterated.await
    }

    /// Subscribes to the shard.
    async fn subscribe(&mut self, place: Place, consumer: String) -> Result<Begun, SourceError> {
        let shard = self.id.clone();
        let called = Instant::now();
        self.pace.rest(called, SUBSCRIBE_EVERY);
        self.meters.called();
        let subscribed = self.shared.caller.call(move |client| async move {
            let failing = format!("failed to subscribe to `{shard}`");
            let position = StartingPosition::builder()
                .r#type(place.kind())
                .set_sequence_number(place.sequence().map(|it| it.to_string()))
                .set_timestamp(place.time().map(date_time));
            let position = position.build().map_err(|error| {
                SourceError::new(SourceErrorKind::Broken, failing.clone(), error)
            })?;
            match Subscription::begin(client, consumer, &shard, position).await {
                Ok(subscription) => Ok(Begun::At(Feed::Pushed(Box::new(subscription)))),
                Err(error) => not_begun(failing, error),
            }
        });
        subscribed.await
    }

    /// At the last record that was fetched, or where the shard begins.
    fn place(&self) -> Place {
        let after = self.after.map(SequenceNumber::of);
        let behind = self.continuation.filter(|it| Some(*it) > after && !self.is_late());
        match (self.after, self.shard.note.begins) {
            _ if self.passes_over => Place::Oldest,
            _ if let Some(sequence) = behind => Place::Behind(sequence),
            (Some(position), _) => Place::At(SequenceNumber::of(position)),
            (None, Beginning::At(time)) => Place::Since(time),
            (None, Beginning::TrimHorizon) => Place::Oldest,
        }
    }

    /// The stream is gone, which is an error, or the shard alone, with all that was not read.
    async fn gone(&mut self, error: SourceError) -> Result<(), SourceError> {
        let config = self.shared.config.clone();
        let listed = self.shared.caller.call(|client| shards::list(client, config)).await?;
        match listed.iter().any(|it| it.id == self.id) {
            true => Err(error),
            false => self.expired(),
        }
    }

    /// Takes an answer.
    fn take(
        &mut self,
        answer: Answer,
        room: Option<Room>,
        called: Instant,
    ) -> Result<(), SourceError> {
        let behind = answer.behind;
        let mut raw = answer.records;
        let sizes = raw.sizes().map(|size| size as u64);
        let (records, bytes) = (sizes.len() as u64, sizes.clone().sum::<u64>());
        self.size.learn(records, bytes, sizes.max().unwrap_or_default());
        self.pace.answered(called, bytes);
        let now = self.shared.caller.server_time();
        let last = raw.last().map(|(_, arrival)| arrival);
        self.meters.answered(Answered { records, bytes, behind, last }, now, self.retention());

        self.caught_up = raw.is_empty() && behind.is_zero();
        self.idle = if self.caught_up { self.idle.saturating_add(1) } else { 0 };
        let ends = self.caught_up || answer.ends;
        self.is_whole(raw.first(), ends)?;
        if let Some(iterator) = answer.iterator {
            self.feed = Some(Feed::Polled(iterator));
        }
        self.closed = answer.ends;
        if let Some((_, arrival)) = raw.last() {
            self.done_until = arrival;
        } else if self.caught_up {
            self.done_until = self.done_until.max(now);
            if self.unread.is_empty() {
                let quiet = Quiet { after: self.returned, until: now };
                self.shared.is_quiet(&self.id, quiet);
            }
            self.pace.rest(called, self.shared.config.poll_every);
        }
        self.safe |= !self.is_late();
        let end = raw.last().map(|(sequence, _)| sequence.position(u64::MAX));
        raw.skip(self.early(&raw), self.after);
        let memory = raw.memory_bytes();
        self.unread.push(raw, self.after);
        // A subscription may begin with what was fetched before.
        self.after = self.after.max(end);
        self.room = room.map(|mut room| {
            room.keep(memory);
            room
        });
        Ok(())
    }

    /// How many of the next records arrived before the time that the shard is to be read from:
    /// servers begin at the shard's beginning where nothing arrived since. What arrived at that
    /// time or later has only what is to be read behind it.
    fn early(&mut self, raw: &RawRecords) -> usize {
        let Beginning::At(time) = self.shard.note.begins else { return 0 };
        if !self.early {
            return 0;
        }
        let early = raw.arrivals().take_while(|arrival| *arrival < time).count();
        self.early = early == raw.sizes().len();
        early
    }

    /// Invariant: what the stream no longer holds behind a checkpoint is never passed over in
    /// silence. `ends` says that there is nothing but what has come.
    fn is_whole(&mut self, first: Option<SequenceNumber>, ends: bool) -> Result<(), SourceError> {
        let Some(expected) = self.expected else { return Ok(()) };
        let gone = match first {
            Some(first) => first > expected,
            None => ends,
        };
        if gone && self.is_late() {
            // Asked again, it fails again.
            self.feed = None;
            self.lost(first)?;
        }
        if gone || first.is_some() {
            self.expected = None;
        }
        Ok(())
    }
}

impl Place {
    fn kind(self) -> ShardIteratorType {
        match self {
            Place::At(_) | Place::Behind(_) => ShardIteratorType::AtSequenceNumber,
            Place::Since(_) => ShardIteratorType::AtTimestamp,
            Place::Oldest => ShardIteratorType::TrimHorizon,
        }
    }

    fn sequence(self) -> Option<SequenceNumber> {
        match self {
            Place::At(sequence) | Place::Behind(sequence) => Some(sequence),
            Place::Since(_) | Place::Oldest => None,
        }
    }

    fn time(self) -> Option<Timestamp> {
        match self {
            Place::Since(time) => Some(time),
            Place::At(_) | Place::Behind(_) | Place::Oldest => None,
        }
    }
}

/// What a refusal to begin means.
fn not_begun<E>(failing: String, error: SdkError<E>) -> Result<Begun, SourceError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let error = failed(failing, error);
    match code.as_str() {
        "ResourceNotFoundException" => Ok(Begun::NotFound(error)),
        "InvalidArgumentException" => Ok(Begun::Refused(error)),
        _ => Err(error),
    }
}

#[async_trait]
impl Reader for KinesisReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        if limit.until.is_some_and(|until| self.returned >= Some(until)) {
            return Ok(ReadOutcome::Ended);
        }
        loop {
            if self.unread.is_empty() && !self.closed {
                self.fetch().await?;
            }
            let taken = self.unread.take(&limit, &self.rules);
            self.meters.met(self.unread.met());
            let taken = taken?;
            #[cfg(feature = "kms")]
            if let Some(decryption) = &self.rules.decryption
                && !taken.wanted.is_empty()
            {
                decryption.fetch(taken.wanted).await?;
                continue;
            }
            if self.unread.is_empty() {
                self.room = None;
            }
            if let Some(last) = taken.batch.last_position() {
                self.returned = Some(last);
                self.arrivals.add(&taken.batch);
                return Ok(ReadOutcome::Records(taken.batch));
            }
            if taken.beyond {
                return Ok(ReadOutcome::Ended);
            }
            if self.closed {
                self.shared.has_ended(&self.id).await?;
                self.meters.ended(self.retention());
                return Ok(ReadOutcome::Ended);
            }
            // An answer without records is no answer: only the end of what there is ends a read.
            if self.caught_up {
                let in_vain = limit.until.is_some() && self.idle >= REPLAY_LOOKS_MAX;
                return Ok(if in_vain { ReadOutcome::Ended } else { ReadOutcome::Idle });
            }
        }
    }

    fn token(&self, position: Position) -> String {
        let created = self.shard.stream.created;
        Token { created, arrival: self.arrivals.of(position) }.to_string()
    }
}
