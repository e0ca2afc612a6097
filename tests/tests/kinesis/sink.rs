//! The sink alone, against a real server.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_connectors::sinks::kinesis::KinesisSinkConfig;
use tidegate_core::{
    Binary, ObjectDigest, Sink,
    sink::{Object, SinkError, SinkErrorKind},
};

use super::{
    proxy::{Fault, Put},
    server::Kinesis,
};

const AWAY: SinkErrorKind = SinkErrorKind::Unavailable { after: None };

/// A key and a line.
type Keyed = (String, String);

/// Lines that are told apart, of so many keys in turn, and of at least so many bytes.
fn lines(name: &str, count: usize, keys: usize, bytes: usize) -> Vec<Keyed> {
    let text = "x".repeat(bytes);
    let line = |i| (format!("k{}", i % keys), format!("{{\"{name}\":{i},\"text\":\"{text}\"}}"));
    (0..count).map(line).collect()
}

fn object(key: &str, lines: &[Keyed]) -> Object {
    let content: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    let keys = Some(Arc::new(lines.iter().map(|(key, _)| key).collect::<Binary>()));
    Object { keys, ..Object::new(key, content) }
}

/// What each key must have arrived as.
fn by_key<'l>(lines: impl IntoIterator<Item = &'l Keyed>) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, line) in lines {
        by_key.entry(key.clone()).or_default().push(line.clone());
    }
    by_key
}

/// What is left, object by object.
fn rest(error: &SinkError) -> Vec<(String, Vec<Keyed>)> {
    let rest = error.rest.as_ref().expect("it says what is left");
    let lines = |object: &Object| {
        assert_eq!(object.digest, ObjectDigest::of(&object.content));
        let content = String::from_utf8(object.content.to_vec()).expect("lines are text");
        let keys = object.keys.clone().expect("what is left has its keys");
        let key = |i| String::from_utf8_lossy(keys.get(i)).into_owned();
        assert_eq!(keys.len(), content.lines().count());
        let lines = content.lines().enumerate().map(|(i, line)| (key(i), line.to_owned()));
        (object.key.clone(), lines.collect())
    };
    rest.iter().map(lines).collect()
}

/// Keys of each request.
fn keys(requests: &[Vec<Put>]) -> Vec<Vec<&str>> {
    requests.iter().map(|it| it.iter().map(|(key, _)| key.as_str()).collect()).collect()
}

#[test]
fn each_line_is_a_record_without_its_line_break_and_each_key_keeps_its_order() {
    let kinesis = Kinesis::start(3);
    kinesis.proxy.take_puts();
    let (a, b) = (lines("a", 5, 2, 5), lines("b", 4, 3, 5));
    let objects = [object("a.jsonl", &a), object("b.jsonl", &b)];
    let sink = kinesis.sink();
    kinesis.block_on(sink.write(&objects)).expect("nothing goes wrong");
    kinesis.block_on(sink.write(&[])).expect("nothing to write");
    assert_eq!(kinesis.block_on(sink.find("a.jsonl")).expect("nobody is asked"), None);
    assert_eq!(kinesis.by_key(), by_key(a.iter().chain(&b)));
    // One record of a key in each request, the earliest first.
    let requests = kinesis.proxy.take_puts();
    assert_eq!(
        keys(&requests),
        [vec!["k0", "k1", "k2"], vec!["k0", "k1"], vec!["k0", "k1"], vec!["k0"], vec!["k0"]]
    );
}

#[test]
fn requests_are_as_large_as_kinesis_takes_them() {
    let kinesis = Kinesis::start(2);
    kinesis.proxy.take_puts();
    // The server refuses what Kinesis would.
    let many = lines("many", 603, 603, 5);
    let mut large = lines("large", 9, 9, 0);
    for (key, line) in &mut large {
        *key = format!("large-{key}");
        line.push_str(&" ".repeat((1 << 20) - line.len() - key.len()));
    }
    let objects = [object("many.jsonl", &many), object("large.jsonl", &large)];
    kinesis.block_on(kinesis.sink().write(&objects)).expect("no request is too large");
    let sizes: Vec<usize> = kinesis.proxy.take_puts().iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 103 + 4, 5]);
    assert!(kinesis.by_key() == by_key(many.iter().chain(&large)));
}

#[test]
fn a_key_whose_record_was_not_taken_is_held_and_the_others_go_on() {
    let kinesis = Kinesis::start(2);
    kinesis.proxy.take_puts();
    let (a, b) = (lines("a", 6, 3, 5), lines("b", 3, 3, 5));
    let objects = [object("a.jsonl", &a), object("b.jsonl", &b)];
    // The second record of the first request is that of `k1`.
    kinesis.proxy.withhold_next([vec![1], vec![], vec![0]]);
    let sink = kinesis.sink();
    let error = kinesis.block_on(sink.write(&objects)).expect_err("some were not taken");
    assert_eq!(error.kind, AWAY);
    let said = "did not take all records (InternalFailure: 1, ProvisionedThroughputExceeded";
    assert!(error.message.contains(said), "{error}");
    assert!(error.message.contains("4 are left"), "{error}");
    let requests = kinesis.proxy.take_puts();
    assert_eq!(keys(&requests), [vec!["k0", "k1", "k2"], vec!["k0", "k2"], vec!["k0", "k2"]]);
    let left = [
        ("a.jsonl".to_owned(), vec![a[1].clone(), a[4].clone()]),
        ("b.jsonl".to_owned(), vec![b[0].clone(), b[1].clone()]),
    ];
    assert_eq!(rest(&error), left);

    let rest = error.rest.expect("it was there");
    kinesis.block_on(sink.write(&rest)).expect("nothing goes wrong any more");
    assert_eq!(kinesis.by_key(), by_key(a.iter().chain(&b)));
}

/// Whatever is refused, each record arrives once and each key in its order; as aggregates, too.
#[test]
fn no_key_loses_its_order_whatever_is_not_taken() {
    for (seed, aggregates) in [(1, false), (2, false), (3, true)] {
        let kinesis = Kinesis::start(4);
        let all = lines("a", 700, 23, 2_000);
        kinesis.proxy.withhold(300, seed);
        kinesis.proxy.take_puts();
        let config = KinesisSinkConfig::new("out", &kinesis.stream);
        let sink = kinesis.sink_of(KinesisSinkConfig { aggregates, ..config });
        let mut left = vec![object("a.jsonl", &all[..400]), object("b.jsonl", &all[400..])];
        let mut attempts = 0;
        while !left.is_empty() {
            attempts += 1;
            match kinesis.block_on(sink.write(&left)) {
                Ok(()) => left.clear(),
                Err(error) => {
                    assert_ne!(error.kind, SinkErrorKind::Broken);
                    left = error.rest.expect("it says what is left");
                }
            }
        }
        let withheld = kinesis.proxy.withheld();
        assert!(attempts > 2 && withheld > 5, "{withheld} in {attempts} attempts");
        for request in kinesis.proxy.take_puts() {
            let mut keys: Vec<_> = request.iter().map(|(key, _)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), request.len(), "one record of a key in a request");
        }
        match aggregates {
            false => assert!(kinesis.by_key() == by_key(&all), "seed {seed}"),
            // Taken apart, they are looked at in the stories.
            true => assert_eq!(kinesis.by_key().len(), 23),
        }
    }
}

#[test]
fn a_request_of_which_nothing_is_taken_holds_up_what_is_behind_it() {
    let kinesis = Kinesis::start(2);
    kinesis.proxy.take_puts();
    let all = lines("a", 1_100, 1_100, 5);
    kinesis.proxy.withhold_next([vec![3], Vec::from_iter(0..500)]);
    let objects = [object("a.jsonl", &all)];
    let error = kinesis.block_on(kinesis.sink().write(&objects)).expect_err("it is throttled");
    assert_eq!(error.kind, AWAY);
    let left = [&all[3..4], &all[500..]].concat();
    assert_eq!(rest(&error), [("a.jsonl".to_owned(), left)]);
    assert_eq!(kinesis.proxy.take_puts().len(), 2);
}

#[test]
fn a_request_that_fails_is_left_with_all_behind_it() {
    let kinesis = Kinesis::start(2);
    let all = lines("a", 700, 700, 5);
    let objects = [object("a.jsonl", &all)];
    let sink = kinesis.sink();
    let broken = SinkErrorKind::Broken;
    for (fault, kind) in [
        (Fault::Throttled, AWAY),
        (Fault::Internal, AWAY),
        (Fault::Refused(503, "ServiceUnavailable"), AWAY),
        (Fault::Refused(400, "LimitExceededException"), AWAY),
        (Fault::Refused(400, "KMSThrottlingException"), AWAY),
        (Fault::Refused(400, "ExpiredTokenException"), AWAY),
        (Fault::Refused(400, "AccessDeniedException"), broken.clone()),
        (Fault::Refused(400, "KMSDisabledException"), broken.clone()),
        (Fault::InvalidArgument, broken.clone()),
        (Fault::Reset, AWAY),
        (Fault::LostResponse, AWAY),
        (Fault::ShortResponse, AWAY),
    ] {
        // The first request is taken but for one record.
        kinesis.proxy.withhold_next([vec![9]]);
        kinesis.proxy.fail_next_but("PutRecords", 1, fault);
        let error = kinesis.block_on(sink.write(&objects)).expect_err("it was told to fail");
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        let left = [&all[9..10], &all[500..]].concat();
        assert_eq!(rest(&error), [("a.jsonl".to_owned(), left)], "{fault:?}");
        assert_eq!(kinesis.proxy.faults_left(), 0);
    }
}

/// An attempt ends before its time does, and says how far it has come.
#[test]
fn a_range_of_one_key_is_put_in_several_attempts() {
    let kinesis = Kinesis::start(1);
    let all = lines("a", 120, 1, 5);
    let sink = kinesis.sink();
    let mut left = vec![object("a.jsonl", &all)];
    for done in [50, 100] {
        let error = kinesis.block_on(sink.write(&left)).expect_err("there is more to do");
        assert_eq!(error.kind, SinkErrorKind::Unfinished, "{error}");
        assert_eq!(rest(&error), [("a.jsonl".to_owned(), all[done..].to_vec())]);
        left = error.rest.expect("it was there");
    }
    kinesis.block_on(sink.write(&left)).expect("the last twenty");
    assert!(kinesis.by_key() == by_key(&all));
}

#[test]
fn a_stream_that_is_not_there_needs_a_person() {
    let kinesis = Kinesis::start(1);
    let objects = [object("a.jsonl", &lines("a", 1, 1, 1))];
    // As the server itself puts it.
    let sink = kinesis.sink_of(KinesisSinkConfig::new("out", "nowhere"));
    let error = kinesis.block_on(sink.write(&objects)).expect_err("nobody made it");
    assert_eq!(error.kind, SinkErrorKind::Broken);
    assert!(error.message.contains("correct `stream` and `region`"), "{error}");
    assert!(error.message.contains("`nowhere`"), "{error}");
    // A plan that gives it no keys is not the stream's fault.
    let bare = [Object::new("a.jsonl", "{}\n")];
    let error = kinesis.block_on(kinesis.sink().write(&bare)).expect_err("it has no keys");
    assert!(error.message.contains("no partition keys"), "{error}");
}
