//! The sink alone, against a real server.

use tidegate_connectors::sinks::firehose::{Delimiter, FirehoseConfig};
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Object, SinkError, SinkErrorKind},
};

use super::{proxy::Fault, server::Firehose};

const AWAY: SinkErrorKind = SinkErrorKind::Unavailable { after: None };

/// Lines that are told apart, of at least so many bytes.
fn lines(name: &str, count: usize, bytes: usize) -> Vec<String> {
    (0..count).map(|i| format!("{{\"{name}\":{i},\"text\":\"{}\"}}\n", "x".repeat(bytes))).collect()
}

fn object(key: &str, lines: &[String]) -> Object {
    Object::new(key, lines.concat())
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

/// What is left, object by object.
fn rest(error: &SinkError) -> Vec<(String, String)> {
    let rest = error.rest.as_ref().expect("it says what is left");
    let text = |object: &Object| {
        assert_eq!(object.digest, ObjectDigest::of(&object.content));
        let content = String::from_utf8(object.content.to_vec()).expect("lines are text");
        (object.key.clone(), content)
    };
    rest.iter().map(text).collect()
}

#[test]
fn each_line_is_a_record_with_its_delimiter_or_without_one() {
    let name = "each_line_is_a_record_with_its_delimiter_or_without_one";
    let Some(firehose) = Firehose::start(name) else { return };
    let (a, b) = (lines("a", 3, 5), lines("b", 2, 5));
    let objects = [object("a.jsonl", &a), object("b.jsonl", &b)];
    for (stream, delimiter) in [("lines", Delimiter::Newline), ("bare", Delimiter::None)] {
        firehose.create(stream);
        let sink =
            firehose.sink_of(FirehoseConfig { delimiter, ..FirehoseConfig::new("x", stream) });
        firehose.block_on(sink.write(&objects)).expect("nothing goes wrong");
        firehose.block_on(sink.write(&[])).expect("nothing to write");
        assert_eq!(firehose.block_on(sink.find("a.jsonl")).expect("nobody is asked"), None);
        let expected = a.iter().chain(&b).map(|line| match delimiter {
            Delimiter::Newline => line.clone(),
            Delimiter::None => line.trim_end().to_owned(),
        });
        assert_eq!(firehose.delivered(stream), sorted(expected.collect()));
        assert_eq!(firehose.proxy.take_requests().len(), 1, "objects share requests");
    }
}

#[test]
fn requests_are_as_large_as_firehose_takes_them_and_in_order() {
    let name = "requests_are_as_large_as_firehose_takes_them_and_in_order";
    let Some(firehose) = Firehose::start(name) else { return };
    firehose.create("large");
    // The proxy refuses what Firehose would.
    let (many, large) = (lines("many", 603, 5), lines("large", 9, 1_000_000));
    let objects = [object("many.jsonl", &many), object("large.jsonl", &large)];
    firehose.block_on(firehose.sink("large").write(&objects)).expect("no request is too large");
    let requests = firehose.proxy.take_requests();
    let sizes: Vec<usize> = requests.iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 103 + 4, 4, 1]);
    let sent: Vec<u8> = requests.concat().concat();
    assert!(sent == [many.concat(), large.concat()].concat().as_bytes(), "in order");
    assert_eq!(firehose.delivered("large"), sorted([many, large].concat()));
}

#[test]
fn only_records_that_were_not_taken_are_left() {
    let name = "only_records_that_were_not_taken_are_left";
    let Some(firehose) = Firehose::start(name) else { return };
    firehose.create("partial");
    let sink = firehose.sink("partial");
    let (a, b) = (lines("a", 400, 5), lines("b", 400, 5));
    let objects = [object("a.jsonl", &a), object("b.jsonl", &b)];
    // Of the second request too: one that was taken in part does not hold up the next.
    firehose.proxy.fail_next([Fault::Withheld(vec![0, 7, 450]), Fault::Withheld(vec![299])]);
    let error = firehose.block_on(sink.write(&objects)).expect_err("some were not taken");
    assert_eq!(error.kind, AWAY);
    let said = "did not take all records (ServiceUnavailableException: 4): 4 are left";
    assert!(error.message.contains(said), "{error}");
    let left = [("a.jsonl", [&*a[0], &*a[7]].concat()), ("b.jsonl", [&*b[50], &*b[399]].concat())];
    assert_eq!(rest(&error), left.map(|(key, lines)| (key.to_owned(), lines)));
    assert_eq!(firehose.delivered("partial").len(), 796);

    let rest = error.rest.expect("it was there");
    firehose.block_on(sink.write(&rest)).expect("nothing goes wrong any more");
    assert_eq!(firehose.delivered("partial"), sorted([a, b].concat()));
}

#[test]
fn a_request_of_which_nothing_is_taken_holds_up_what_is_behind_it() {
    let name = "a_request_of_which_nothing_is_taken_holds_up_what_is_behind_it";
    let Some(firehose) = Firehose::start(name) else { return };
    firehose.create("stuck");
    let sink = firehose.sink("stuck");
    let all = lines("a", 1_100, 5);
    let objects = [object("a.jsonl", &all)];
    firehose.proxy.fail_next([Fault::Withheld(vec![3]), Fault::Withheld(Vec::from_iter(0..500))]);
    let error = firehose.block_on(sink.write(&objects)).expect_err("it is throttled");
    assert_eq!(error.kind, AWAY);
    let left = [&all[3..4], &all[500..]].concat();
    assert_eq!(rest(&error), [("a.jsonl".to_owned(), left.concat())]);
    assert_eq!(firehose.proxy.take_requests().len(), 2);
}

#[test]
fn a_request_that_fails_is_left_with_all_behind_it() {
    let name = "a_request_that_fails_is_left_with_all_behind_it";
    let Some(firehose) = Firehose::start(name) else { return };
    firehose.create("failing");
    let sink = firehose.sink("failing");
    let all = lines("a", 700, 5);
    let objects = [object("a.jsonl", &all)];
    let broken = SinkErrorKind::Broken;
    for (fault, kind) in [
        (Fault::Refused(503, "ServiceUnavailableException"), AWAY),
        (Fault::Refused(500, "InternalFailure"), AWAY),
        (Fault::Refused(400, "ThrottlingException"), AWAY),
        (Fault::Refused(400, "ExpiredTokenException"), AWAY),
        (Fault::Refused(400, "AccessDeniedException"), broken.clone()),
        (Fault::Refused(400, "InvalidKMSResourceException"), broken.clone()),
        (Fault::Reset, AWAY),
        (Fault::LostResponse, AWAY),
        (Fault::ShortResponse, AWAY),
    ] {
        firehose.proxy.fail_next([Fault::Withheld(vec![9]), fault.clone()]);
        let error = firehose.block_on(sink.write(&objects)).expect_err("it was told to fail");
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        let left = [&all[9..10], &all[500..]].concat();
        assert_eq!(rest(&error), [("a.jsonl".to_owned(), left.concat())], "{fault:?}");
        assert_eq!(firehose.proxy.faults_left(), 0);
    }
}

#[test]
fn a_stream_that_is_not_there_needs_a_person() {
    let name = "a_stream_that_is_not_there_needs_a_person";
    let Some(firehose) = Firehose::start(name) else { return };
    let objects = [object("a.jsonl", &lines("a", 1, 1))];
    // As the server itself puts it.
    let sink = firehose.sink("nowhere");
    let error = firehose.block_on(sink.write(&objects)).expect_err("nobody made it");
    assert_eq!(error.kind, SinkErrorKind::Broken);
    assert!(error.message.contains("correct `stream` and `region`"), "{error}");
    assert!(error.message.contains("`nowhere`"), "{error}");
}
