//! The source alone, against a real server.

use std::{collections::BTreeSet, path::Path, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::config::Credentials;
use serde_json::Value;
use tidegate_connectors::{
    aws::AwsConfig,
    sources::{
        KnownPartition,
        kinesis::{
            KinesisConfig, KinesisSource, KinesisStart, OnExplicitHash, OnTrimmed, OutOfRange,
            PayloadCompression,
        },
    },
};
use tidegate_core::{
    Source,
    conformance::{self, ExpectedPartition},
    source::{
        Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume, SourceError,
        SourceErrorKind,
    },
};
use tidegate_tests::program::shared_data;

use super::{
    proxy::Fault,
    server::{Kinesis, REGION, hash_range},
};

/// More reads without a record than any of these servers needs.
const IDLE_MAX: usize = 20;

const LIMIT: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: 1 << 20, until: None };

pub(super) fn config(kinesis: &Kinesis, notes: &Path) -> KinesisConfig {
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    KinesisConfig {
        aws: AwsConfig {
            endpoint: Some(kinesis.endpoint()),
            given: Some(kinesis.block_on(aws.load())),
            ..AwsConfig::default()
        },
        poll_every: Duration::from_millis(20),
        ..KinesisConfig::new("source", &kinesis.stream, notes)
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) key: String,
    pub(super) resume: Resume,
    pub(super) defect: Option<&'static str>,
    pub(super) ends_group: bool,
}

fn texts(found: &[Found]) -> Vec<&str> {
    found.iter().map(|it| it.text.as_str()).collect()
}

/// Reads until `count` records have come, or nothing comes any more. Failures that ask for it are
/// tried again, as the pipeline does.
async fn read(
    reader: &mut Box<dyn Reader>,
    limit: ReadLimit,
    count: usize,
) -> Result<Vec<Found>, SourceError> {
    let mut found = Vec::new();
    let mut idle = 0;
    while found.len() < count && idle < IDLE_MAX {
        let batch = match reader.read(limit).await {
            Ok(ReadOutcome::Records(batch)) => batch,
            Ok(ReadOutcome::Ended) => break,
            Ok(ReadOutcome::Idle) => {
                idle += 1;
                continue;
            }
            Err(error) if error.kind == SourceErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                idle += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        assert_eq!(batch.arrivals.len(), batch.len(), "each record has its arrival's time");
        for row in 0..batch.len() {
            let position = batch.positions[row];
            let defect = batch.defects.iter().find(|it| it.row as usize == row);
            found.push(Found {
                text: String::from_utf8_lossy(batch.record(row)).into_owned(),
                key: String::from_utf8_lossy(batch.keys.get(row)).into_owned(),
                resume: Resume { position, token: reader.token(position) },
                defect: defect.map(|it| it.code),
                ends_group: batch.group_ends.get(row).copied().unwrap_or(true),
            });
        }
    }
    Ok(found)
}

/// Opens a shard and reads what there is.
pub(super) async fn read_shard(
    source: &KinesisSource,
    shard: &PartitionId,
    after: Option<&Resume>,
    count: usize,
) -> Result<Vec<Found>, SourceError> {
    let mut reader = source.open(shard, after).await?;
    read(&mut reader, LIMIT, count).await
}

fn numbered(range: std::ops::Range<u32>) -> Vec<(String, String)> {
    range.map(|n| (format!("key-{}", n % 7), format!("{{\"n\":{n}}}"))).collect()
}

fn put(kinesis: &Kinesis, records: &[(String, String)]) -> Vec<String> {
    let records: Vec<_> = records.iter().map(|(key, it)| (key.as_str(), it.as_bytes())).collect();
    kinesis.put(&records)
}

/// Lists the shards that have ended, and no others.
struct Ended<'a>(&'a KinesisSource, BTreeSet<PartitionId>);

#[async_trait]
impl Source for Ended<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn replay(&self) -> Replay {
        self.0.replay()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let mut listed = self.0.partitions().await?;
        listed.retain(|it| self.1.contains(&it.id));
        Ok(listed)
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        self.0.open(partition, after).await
    }
}

#[test]
fn a_shard_that_ended_keeps_what_every_source_promises() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let records = numbered(0..40);
    put(&kinesis, &records);
    let shard = kinesis.open_shards().remove(0);
    kinesis.split(&shard);
    let id = PartitionId::from(shard.shard_id());
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let records = records.into_iter().map(|(_, text)| text.into_bytes()).collect();
    let expected = ExpectedPartition { id: id.clone(), records };
    kinesis.block_on(async {
        let listed = source.partitions().await.expect("the shards are listed");
        assert_eq!(listed.len(), 3, "the parent and its children");
        let children: Vec<_> = listed.iter().filter(|it| it.id != id).collect();
        assert!(children.iter().all(|it| it.parents == [id.clone()]), "{children:?}");
        conformance::source(&Ended(&source, [id].into()), &[expected]).await;
    });
}

#[test]
fn a_merged_shard_has_two_parents_and_ranges_are_whole() {
    let kinesis = Kinesis::start(2);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let open = kinesis.open_shards();
    kinesis.merge(&open[0], &open[1]);
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let listed = kinesis.block_on(source.partitions()).expect("the shards are listed");
    let merged = listed.iter().find(|it| !it.parents.is_empty()).expect("there is a child");
    let parents: BTreeSet<_> = merged.parents.iter().map(|it| it.0.to_string()).collect();
    assert_eq!(parents, open.iter().map(|it| it.shard_id().to_owned()).collect());
    assert_eq!(merged.hash_range, Some((0, u128::MAX)));
}

#[test]
fn all_pages_of_the_list_are_read() {
    let kinesis = Kinesis::start(120);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let listed = kinesis.block_on(source.partitions()).expect("the shards are listed");
    let names: BTreeSet<_> = listed.iter().map(|it| it.id.clone()).collect();
    assert_eq!(names.len(), 120);
}

#[test]
fn a_consumer_is_pushed_what_others_are_given() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    put(&kinesis, &numbered(0..300));
    kinesis.register("one");
    let pushed =
        KinesisConfig { consumer: Some("one".to_owned()), ..config(&kinesis, notes.path()) };
    let source = KinesisSource::new(pushed);
    let shard = PartitionId::from("shardId-000000000000");
    kinesis.block_on(source.partitions()).expect("the shards are listed");
    let found = kinesis.block_on(read_shard(&source, &shard, None, 300)).expect("readable");
    let expected: Vec<_> = numbered(0..320).into_iter().map(|it| it.1).collect();
    assert_eq!(texts(&found), expected[..300]);

    // Goes on behind a checkpoint, past trouble, up to the end of the shard.
    put(&kinesis, &numbered(300..320));
    kinesis.split(&kinesis.open_shards()[0]);
    let every = [Fault::Throttled, Fault::Internal, Fault::Reset, Fault::LostResponse];
    kinesis.proxy.fail_next("SubscribeToShard", &every);
    let rest = read_shard(&source, &shard, Some(&found[149].resume), usize::MAX);
    assert_eq!(texts(&kinesis.block_on(rest).expect("readable")), expected[150..]);
    assert_eq!(kinesis.proxy.faults_left(), 0);
    assert_eq!(kinesis.proxy.calls("GetRecords"), 0, "nobody asked");
}

#[test]
fn shards_change_from_being_asked_to_a_consumer_and_back_while_they_are_read() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    let mut reader = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        source.open(&shard, None).await.expect("the shard is there")
    });
    let mut found = Vec::new();
    let ways = [None, Some("one"), Some("two"), None, Some("one")];
    ["one", "two"].iter().for_each(|it| kinesis.register(it));
    for (round, consumer) in (0..).zip(ways) {
        kinesis.block_on(async {
            let other = source.find_consumer(consumer.map(str::to_owned)).await;
            other.expect("it can be had").take_over();
        });
        assert_eq!(source.consumer().as_deref(), consumer);
        // More than what one read hands over: what was fetched the other way comes first.
        let (asked, subscribed) =
            (kinesis.proxy.calls("GetRecords"), kinesis.proxy.calls("SubscribeToShard"));
        let (first, last) = (round * 200, round * 200 + 200);
        put(&kinesis, &numbered(first..last - 100));
        found.extend(kinesis.block_on(read(&mut reader, LIMIT, 50)).expect("it goes on"));
        put(&kinesis, &numbered(last - 100..last));
        let rest = last as usize - found.len();
        found.extend(kinesis.block_on(read(&mut reader, LIMIT, rest)).expect("it goes on"));
        match consumer {
            None => assert!(kinesis.proxy.calls("GetRecords") > asked, "it is asked"),
            Some(_) => assert!(kinesis.proxy.calls("SubscribeToShard") > subscribed),
        }
    }
    let expected: Vec<_> = numbered(0..1_000).into_iter().map(|it| it.1).collect();
    assert_eq!(texts(&found), expected);

    // Nobody may have this one, and what is read is read on.
    kinesis
        .proxy
        .fail_next("DescribeStreamConsumer", &[Fault::Refused(400, "AccessDeniedException")]);
    let refused = kinesis.block_on(source.find_consumer(Some("three".to_owned())));
    assert_eq!(refused.err().expect("it is denied").kind, SourceErrorKind::Broken);
    put(&kinesis, &numbered(1_000..1_010));
    let rest = kinesis.block_on(read(&mut reader, LIMIT, 10)).expect("it goes on");
    assert_eq!(rest.len(), 10);

    // One that is not there yet is registered, and meanwhile shards are asked.
    let asked = kinesis.proxy.calls("GetRecords");
    let other = kinesis.block_on(source.find_consumer(Some("new".to_owned())));
    other.expect("it can be had").take_over();
    put(&kinesis, &numbered(1_010..1_020));
    let rest = kinesis.block_on(read(&mut reader, LIMIT, 10)).expect("it goes on");
    assert_eq!(rest.len(), 10);
    assert!(kinesis.proxy.calls("GetRecords") > asked, "nothing waits for it");
}

#[test]
fn iterators_that_expire_cost_no_record() {
    let kinesis = Kinesis::start_with(1, 1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    let mut reader = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        source.open(&shard, None).await.expect("the shard is there")
    });
    let mut found = Vec::new();
    for round in 0..4 {
        std::thread::sleep(Duration::from_millis(1_100));
        put(&kinesis, &numbered(round * 10..round * 10 + 10));
        found.extend(kinesis.block_on(read(&mut reader, LIMIT, 10)).expect("it goes on"));
    }
    let expected: Vec<_> = numbered(0..40).into_iter().map(|it| it.1).collect();
    assert_eq!(texts(&found), expected);
    assert!(kinesis.proxy.calls("GetShardIterator") >= 4, "they did expire");
}

#[test]
fn throttling_failures_resets_and_lost_answers_cost_no_record_and_double_none() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    put(&kinesis, &numbered(0..30));
    let every = [Fault::Throttled, Fault::Internal, Fault::Reset, Fault::LostResponse];
    for operation in ["DescribeStreamSummary", "ListShards"] {
        kinesis.proxy.fail_next(operation, &every);
    }
    let shard = PartitionId::from("shardId-000000000000");
    kinesis.block_on(async {
        let mut refused = 0;
        while let Err(error) = source.partitions().await {
            assert_eq!(error.kind, SourceErrorKind::Unavailable, "{error:?}");
            refused += 1;
        }
        assert_eq!(refused, 8, "each of them is told to the pipeline");
    });
    for operation in ["GetShardIterator", "GetRecords"] {
        kinesis.proxy.fail_next(operation, &every);
    }
    let mut reader = kinesis.block_on(source.open(&shard, None)).expect("the shard is there");
    let mut found = kinesis.block_on(read(&mut reader, LIMIT, 30)).expect("it goes on");
    kinesis.proxy.fail_next("GetRecords", &every);
    put(&kinesis, &numbered(30..50));
    found.extend(kinesis.block_on(read(&mut reader, LIMIT, 20)).expect("it goes on"));
    let expected: Vec<_> = numbered(0..50).into_iter().map(|it| it.1).collect();
    assert_eq!(texts(&found), expected);
    assert_eq!(kinesis.proxy.faults_left(), 0);
}

#[test]
fn a_stream_that_is_not_there_is_no_end() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let config = KinesisConfig { stream: "no-such".to_owned(), ..config(&kinesis, notes.path()) };
    let error = kinesis.block_on(KinesisSource::new(config).partitions());
    let error = error.expect_err("there is no such stream");
    assert_eq!(error.kind, SourceErrorKind::Broken);
    assert!(error.to_string().contains("`no-such`"), "{error}");
}

#[test]
fn latest_is_when_the_stream_was_first_seen_even_if_nothing_was_committed() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let latest = KinesisConfig { start: KinesisStart::Latest, ..config(&kinesis, notes.path()) };
    put(&kinesis, &numbered(0..10));
    // This server tells times to the second, and another second of what came before is read.
    std::thread::sleep(Duration::from_millis(3_100));
    let shard = PartitionId::from("shardId-000000000000");
    kinesis.block_on(KinesisSource::new(latest.clone()).partitions()).expect("it is seen");
    // That process is killed before it reads anything. Then there is more, and a reshard.
    put(&kinesis, &numbered(10..20));
    kinesis.split(&kinesis.open_shards()[0]);
    put(&kinesis, &numbered(20..40));
    let source = KinesisSource::new(latest);
    let found = kinesis.block_on(async {
        let mut found = Vec::new();
        for partition in source.partitions().await.expect("the shards are listed") {
            let of_shard = read_shard(&source, &partition.id, None, 20).await.expect("readable");
            if partition.id == shard {
                assert_eq!(of_shard.len(), 10, "what came before is not read: {of_shard:?}");
            }
            found.extend(of_shard);
        }
        found
    });
    let found: BTreeSet<_> = found.iter().map(|it| it.text.clone()).collect();
    assert_eq!(found, numbered(10..40).into_iter().map(|it| it.1).collect());
}

#[test]
fn a_time_to_begin_at_is_one_of_arrival() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    put(&kinesis, &numbered(0..5));
    // This server tells arrivals to the second.
    std::thread::sleep(Duration::from_millis(1_100));
    let all = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    let between = kinesis.block_on(async {
        all.partitions().await.expect("the shards are listed");
        let mut reader = all.open(&shard, None).await.expect("the shard is there");
        loop {
            if let ReadOutcome::Records(batch) = reader.read(LIMIT).await.expect("readable") {
                let last = batch.arrivals.last().expect("there are records");
                return tidegate_core::Timestamp(last.0 + 500_000);
            }
        }
    });
    put(&kinesis, &numbered(5..10));
    let other = tempfile::tempdir().expect("a temporary folder");
    let from = KinesisConfig { start: KinesisStart::At(between), ..config(&kinesis, other.path()) };
    let source = KinesisSource::new(from);
    kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        let found = read_shard(&source, &shard, None, 5).await.expect("readable");
        let expected: Vec<_> = numbered(5..10).into_iter().map(|it| it.1).collect();
        assert_eq!(texts(&found), expected);
    });
}

/// A checkpoint as it would be if its record had arrived long ago.
fn aged(resume: &Resume) -> Resume {
    let (created, arrival) = resume.token.split_once('/').expect("two times");
    let arrival = arrival.parse::<i64>().expect("a time") - 3 * 24 * 3600;
    Resume { position: resume.position, token: format!("{created}/{arrival}") }
}

#[test]
fn what_was_trimmed_behind_a_checkpoint_is_never_passed_over_in_silence() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let fail = config(&kinesis, notes.path());
    let shard = PartitionId::from("shardId-000000000000");
    let sequences = put(&kinesis, &numbered(0..30));
    let source = KinesisSource::new(fail.clone());
    kinesis.block_on(source.partitions()).expect("the shards are listed");
    let found = kinesis.block_on(read_shard(&source, &shard, None, 30)).expect("readable");
    let checkpoint = aged(&found[9].resume);

    // Old, and still there: nothing is lost.
    let rest = kinesis.block_on(read_shard(&source, &shard, Some(&checkpoint), 20));
    assert_eq!(texts(&rest.expect("nothing is lost")), texts(&found[10..]));

    // The record itself is gone, and some behind it.
    kinesis.proxy.trim(&sequences[14]);
    let error = kinesis.block_on(read_shard(&source, &shard, Some(&checkpoint), 20));
    let error = error.expect_err("five records are lost");
    assert_eq!(error.kind, SourceErrorKind::Trimmed);
    let text = error.to_string();
    for part in [shard.0.as_ref(), &sequences[9], &sequences[15], "between", "on_trimmed"] {
        assert!(text.contains(part), "`{part}` in: {text}");
    }
    let on_trimmed = OnTrimmed::Continue;
    let go_on = KinesisSource::new(KinesisConfig { on_trimmed, ..fail.clone() });
    kinesis.block_on(go_on.partitions()).expect("the shards are listed");
    let rest = kinesis.block_on(read_shard(&go_on, &shard, Some(&checkpoint), 15));
    assert_eq!(texts(&rest.expect("it goes on")), texts(&found[15..]));

    // All of it is gone.
    kinesis.proxy.trim(&sequences[29]);
    let error = kinesis.block_on(read_shard(&source, &shard, Some(&checkpoint), 1));
    assert_eq!(error.expect_err("twenty are lost").kind, SourceErrorKind::Trimmed);
}

#[test]
fn the_end_of_a_closed_shard_is_no_excuse_for_what_was_trimmed_before_it() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let sequences = put(&kinesis, &numbered(0..10));
    kinesis.split(&kinesis.open_shards()[0]);
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    kinesis.block_on(source.partitions()).expect("the shards are listed");
    let found = kinesis.block_on(read_shard(&source, &shard, None, 10)).expect("readable");
    kinesis.proxy.trim(&sequences[9]);
    let checkpoint = aged(&found[4].resume);
    let error = kinesis.block_on(read_shard(&source, &shard, Some(&checkpoint), 1));
    assert_eq!(error.expect_err("five are lost").kind, SourceErrorKind::Trimmed);
}

#[test]
fn a_checkpoint_that_the_server_refuses_is_a_loss_if_it_is_old() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    put(&kinesis, &numbered(0..10));
    let fail = config(&kinesis, notes.path());
    let shard = PartitionId::from("shardId-000000000000");
    let source = KinesisSource::new(fail.clone());
    kinesis.block_on(source.partitions()).expect("the shards are listed");
    let found = kinesis.block_on(read_shard(&source, &shard, None, 10)).expect("readable");
    let refused = |source: &KinesisSource, checkpoint: &Resume| {
        kinesis.proxy.fail_next("GetShardIterator", &[Fault::InvalidArgument]);
        kinesis.block_on(read_shard(source, &shard, Some(checkpoint), 5))
    };
    let young = refused(&source, &found[4].resume).expect_err("it is there, so something is wrong");
    assert_eq!(young.kind, SourceErrorKind::Broken);
    let checkpoint = aged(&found[4].resume);
    let old = refused(&source, &checkpoint).expect_err("what was behind it may be lost");
    assert_eq!(old.kind, SourceErrorKind::Trimmed);
    let go_on = KinesisConfig { on_trimmed: OnTrimmed::Continue, ..fail };
    let go_on = KinesisSource::new(go_on);
    kinesis.block_on(go_on.partitions()).expect("the shards are listed");
    let rest = refused(&go_on, &checkpoint).expect("it goes on with what is there");
    assert_eq!(texts(&rest), texts(&found[5..]), "and nothing comes twice");
}

#[test]
fn a_closed_shard_that_expired_before_it_was_read_is_a_loss() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    put(&kinesis, &numbered(0..3));
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    kinesis.block_on(source.partitions()).expect("the shards are listed");
    let found = kinesis.block_on(read_shard(&source, &shard, None, 3)).expect("readable");
    let known = |id: &str, finished| KnownPartition {
        id: PartitionId::from(id),
        resume: Some(found[2].resume.clone()),
        finished,
    };
    let gone = "shardId-000000000007";
    let with = |known: Vec<KnownPartition>, on_trimmed| {
        let notes = tempfile::tempdir().expect("a temporary folder");
        let config = KinesisConfig { known, on_trimmed, ..config(&kinesis, notes.path()) };
        let source = KinesisSource::new(config);
        let listed = kinesis.block_on(source.partitions()).expect("the shards are listed");
        (source, listed.into_iter().map(|it| it.id.0.to_string()).collect::<Vec<_>>(), notes)
    };
    let fine = vec![known(gone, true), known(&shard.0, false), known("a.jsonl", false)];
    let (_, listed, _notes) = with(fine, OnTrimmed::Fail);
    assert_eq!(listed, [shard.0.as_ref()], "nothing of these is lost");

    let (source, listed, notes) = with(vec![known(gone, false)], OnTrimmed::Fail);
    assert_eq!(listed, [shard.0.as_ref(), gone], "it is still to be finished");
    let (gone, resume) = (PartitionId::from(gone), Some(&found[2].resume));
    let open = |source: KinesisSource| kinesis.block_on(read_shard(&source, &gone, resume, 1));
    let error = open(source).expect_err("the rest of it is lost");
    assert_eq!(error.kind, SourceErrorKind::Trimmed);
    assert!(error.to_string().contains(&*gone.0), "{error}");

    // Nothing was ever read of it, and it is still missed.
    let none = KinesisSource::new(config(&kinesis, notes.path()));
    let listed = kinesis.block_on(none.partitions()).expect("the shards are listed");
    assert!(listed.iter().any(|it| it.id == gone), "{listed:?}");
    let error = kinesis.block_on(read_shard(&none, &gone, None, 1)).expect_err("all is lost");
    assert_eq!(error.kind, SourceErrorKind::Trimmed);

    let (source, _, _notes) = with(vec![known(&gone.0, false)], OnTrimmed::Continue);
    kinesis.block_on(async {
        let mut reader = source.open(&gone, resume).await.expect("it goes on");
        let outcome = reader.read(LIMIT).await.expect("it goes on");
        assert!(matches!(outcome, ReadOutcome::Ended), "there is nothing to go on with");
        let listed = source.partitions().await.expect("the shards are listed");
        assert!(listed.iter().all(|it| it.id != gone), "it is not missed any more");
    });
}

#[test]
fn a_stream_that_was_made_anew_is_another() {
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let first = KinesisSource::new(config(&kinesis, notes.path()));
    put(&kinesis, &numbered(0..3));
    let shard = PartitionId::from("shardId-000000000000");
    kinesis.block_on(first.partitions()).expect("the shards are listed");
    let found = kinesis.block_on(read_shard(&first, &shard, None, 3)).expect("readable");
    let (created, arrival) = found[2].resume.token.split_once('/').expect("two times");
    let created = created.parse::<i64>().expect("a time") - 1_000_000;
    let resume = Resume { token: format!("{created}/{arrival}"), ..found[2].resume.clone() };
    let error = kinesis.block_on(read_shard(&first, &shard, Some(&resume), 1));
    assert_eq!(error.expect_err("another stream").kind, SourceErrorKind::Replaced);
}

/// The aggregates that others have made, and what is in them.
#[test]
fn the_user_records_of_all_vectors_come_out_exact() {
    let Some(data) = shared_data("the_user_records_of_all_vectors_come_out_exact") else { return };
    let text = std::fs::read_to_string(data.join("kinesis/kpl_vectors.json")).expect("readable");
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("vectors are JSON");
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let mut expected = Vec::new();
    for vector in &vectors {
        let input = &vector["input"];
        let record = if input["data"].is_string() { input } else { &input["kinesis"] };
        let outer = record["partitionKey"]
            .as_str()
            .or_else(|| record["kinesisStreamRecordMetadata"]["partitionKey"].as_str());
        let data = aws_sdk_kinesis::primitives::Blob::new(base64_of(&record["data"]));
        kinesis.put(&[(outer.expect("a key"), data.as_ref())]);
        let records = vector["expected"].as_array().expect("records");
        for (i, record) in records.iter().enumerate() {
            let key = record["partitionKey"].as_str().expect("a key").to_owned();
            let text = String::from_utf8(base64_of(&record["data"])).expect("text");
            expected.push((key, text, i as u64, i + 1 == records.len()));
        }
    }
    assert_eq!(expected.len(), 117);
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &shard, None, 117).await.expect("readable")
    });
    assert!(found.iter().all(|it| it.defect.is_none()));
    let whole: Vec<_> = found
        .iter()
        .map(|it| (it.key.clone(), it.text.clone(), it.resume.position.0[3], it.ends_group))
        .collect();
    assert_eq!(whole, expected);
    // A checkpoint in the middle of an aggregate brings the rest of it.
    for start in [3, 50, 116] {
        let rest = read_shard(&source, &shard, Some(&found[start].resume), 116 - start);
        assert_eq!(kinesis.block_on(rest).expect("readable"), found[start + 1..], "from {start}");
    }
}

pub(super) fn base64_of(text: &Value) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text.as_str().expect("a text")).expect("base64")
}

#[test]
fn a_broken_aggregate_is_a_dead_letter_and_the_next_record_is_read() {
    let Some(data) = shared_data("a_broken_aggregate_is_a_dead_letter") else { return };
    let text = std::fs::read_to_string(data.join("kinesis/kpl_vectors.json")).expect("readable");
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("vectors are JSON");
    let mut aggregate = base64_of(&vectors[1]["input"]["data"]);
    let last = aggregate.len() - 20;
    aggregate[last] ^= 1;
    let kinesis = Kinesis::start(1);
    let notes = tempfile::tempdir().expect("a temporary folder");
    kinesis.put(&[("a", b"{}"), ("b", &aggregate), ("c", b"{}")]);
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &shard, None, 3).await.expect("readable")
    });
    let defects: Vec<_> = found.iter().map(|it| (it.key.as_str(), it.defect)).collect();
    assert_eq!(defects, [("a", None), ("b", Some("malformed-aggregate")), ("c", None)]);
}

#[test]
fn records_in_the_wrong_shard_follow_the_policy() {
    let Some(data) = shared_data("records_in_the_wrong_shard_follow_the_policy") else { return };
    let text = std::fs::read_to_string(data.join("kinesis/kpl_vectors.json")).expect("readable");
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("vectors are JSON");
    // Four records with the explicit hash 339606…: in the upper half of all hashes.
    let aggregate = base64_of(&vectors[1]["input"]["data"]);
    let kinesis = Kinesis::start(2);
    let lower = &kinesis.open_shards()[0];
    let shard = PartitionId::from(lower.shard_id());
    let (start, _) = hash_range(lower);
    kinesis.put_at(start, "x", &aggregate);
    kinesis.put_at(start, "x", b"{\"last\":true}");
    let read = |out_of_range| {
        let notes = tempfile::tempdir().expect("a temporary folder");
        let config = KinesisConfig { out_of_range, ..config(&kinesis, notes.path()) };
        let source = KinesisSource::new(config);
        kinesis.block_on(async {
            source.partitions().await.expect("the shards are listed");
            let found = read_shard(&source, &shard, None, 5).await.expect("readable");
            found.into_iter().map(|it| it.defect).collect::<Vec<_>>()
        })
    };
    assert_eq!(read(OutOfRange::Deliver), [None; 5]);
    let letter = Some("out-of-range");
    assert_eq!(read(OutOfRange::DeadLetter), [letter, letter, letter, letter, None]);
    assert_eq!(read(OutOfRange::Drop), [None]);
}

#[test]
fn an_explicit_hash_key_is_found_where_it_matters() {
    let kinesis = Kinesis::start(2);
    let open = kinesis.open_shards();
    // The MD5 of `a` begins with 0c, in the lower half.
    let (upper, _) = hash_range(&open[1]);
    kinesis.put_at(upper, "a", b"{\"n\":0}");
    let shard = PartitionId::from(open[1].shard_id());
    let read = |on_explicit_hash| {
        let notes = tempfile::tempdir().expect("a temporary folder");
        let config = KinesisConfig { on_explicit_hash, ..config(&kinesis, notes.path()) };
        let source = KinesisSource::new(config);
        kinesis.block_on(async {
            source.partitions().await.expect("the shards are listed");
            let found = read_shard(&source, &shard, None, 1).await;
            found.map(|found| found.into_iter().map(|it| it.defect).collect::<Vec<_>>())
        })
    };
    assert_eq!(read(OnExplicitHash::Deliver).expect("delivered"), [None]);
    let letters = read(OnExplicitHash::DeadLetter).expect("a dead letter");
    assert_eq!(letters, [Some("explicit-hash-key")]);
    let error = read(OnExplicitHash::Fail).expect_err("the shard stops");
    assert_eq!(error.kind, SourceErrorKind::Broken);
}

#[test]
fn compressed_payloads_are_unpacked_and_bounded() {
    let kinesis = Kinesis::start(1);
    let compressed = |text: &[u8]| zstd::encode_all(text, 3).expect("memory takes it");
    let small = compressed(b"{\"n\":1}");
    let large = compressed(&vec![b' '; 1 << 20]);
    kinesis.put(&[("a", &small), ("b", b"{\"plain\":1}"), ("c", &large), ("d", &small)]);
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(KinesisConfig {
        compression: PayloadCompression::Zstd,
        record_bytes_max: 100_000,
        ..config(&kinesis, notes.path())
    });
    let shard = PartitionId::from("shardId-000000000000");
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &shard, None, 4).await.expect("readable")
    });
    let defects: Vec<_> = found.iter().map(|it| it.defect).collect();
    assert_eq!(defects, [None, Some("not-decompressible"), Some("record-too-large"), None]);
    assert_eq!((&*found[0].text, &*found[1].text), ("{\"n\":1}", "{\"plain\":1}"));
}

#[test]
fn answers_are_asked_for_by_the_size_of_records() {
    let kinesis = Kinesis::start(1);
    let record = vec![b'x'; 50_000];
    let records: Vec<_> = (0..20).map(|_| ("a", record.as_slice())).collect();
    let notes = tempfile::tempdir().expect("a temporary folder");
    let source = KinesisSource::new(config(&kinesis, notes.path()));
    let shard = PartitionId::from("shardId-000000000000");
    let mut reader = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        source.open(&shard, None).await.expect("the shard is there")
    });
    // The first answers say how large records are.
    for _ in 0..3 {
        kinesis.put(&records);
        let found = kinesis.block_on(read(&mut reader, LIMIT, records.len())).expect("readable");
        assert_eq!(found.len(), records.len());
    }
    let limits = kinesis.proxy.limits();
    let usual = limits.last().copied().expect("it was asked");
    assert!((10..=25).contains(&usual), "a megabyte of records of 50 kB: {limits:?}");
}
