//! The sink alone, against a real server.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tidegate_connectors::{
    objects::SharedObjects,
    sinks::s3::{S3Config, S3Sink, SharedBucket},
};
use tidegate_core::{
    Digest, ObjectDigest, Sink,
    checkpoint::StoreErrorKind,
    conformance,
    sink::{Object, Provenance, SinkErrorKind},
    source::PartitionId,
};

use super::{
    ministack::Ministack,
    proxy::{Fault, PASSING},
    server::{BUCKET, S3},
};

const AWAY: SinkErrorKind = SinkErrorKind::Unavailable { after: None };

fn open(s3: &S3, config: S3Config) -> S3Sink {
    s3.block_on(S3Sink::open(config)).expect("the bucket is there")
}

/// Content that is not the same anywhere.
fn content(length: usize) -> Bytes {
    (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

#[test]
fn it_passes_the_suite_of_sinks() {
    let s3 = S3::start();
    let sink = open(&s3, s3.config("zone/events"));
    s3.block_on(conformance::sink(&sink, async |key| s3.read(&format!("zone/events/{key}")).await));
}

#[test]
fn it_passes_the_suite_of_sinks_on_a_server_of_another_make() {
    let name = "it_passes_the_suite_of_sinks_on_a_server_of_another_make";
    let Some(ministack) = Ministack::start(name) else { return };
    let s3 = &ministack.s3;
    let sink = open(s3, s3.config("zone/events"));
    s3.block_on(conformance::sink(&sink, async |key| s3.read(&format!("zone/events/{key}")).await));
    let large = Object::new("large.jsonl", content((11 << 20) + 1));
    s3.block_on(sink.write(std::slice::from_ref(&large))).expect("write");
    assert_eq!(s3.block_on(s3.read("zone/events/large.jsonl")), Some(large.content));

    let left = s3.client().create_multipart_upload().bucket(BUCKET).key("zone/events/left.jsonl");
    s3.block_on(left.send()).expect("an upload");
    assert_eq!(s3.proxy.uploads(), 1);
    let _ = open(s3, s3.config("zone/events"));
    assert_eq!(s3.proxy.uploads(), 0, "what was left is aborted");
}

#[test]
fn what_a_fleet_shares_is_kept_once_and_read_by_all() {
    let s3 = S3::start();
    let hosts = [(); 2].map(|()| SharedBucket::new(s3.config("fleet/states")));
    let (key, states) = ("states/p/1.states", content(100_000));
    s3.block_on(async {
        assert_eq!(hosts[0].get(key).await.expect("readable"), None);
        for host in &hosts {
            s3.proxy.fail_next("PutObject", &[Fault::LostResponse]);
            let error = host.put(key, states.clone()).await.expect_err("the answer is lost");
            assert_eq!(error.kind, StoreErrorKind::Unavailable);
            host.put(key, states.clone()).await.expect("it is there");
        }
        assert_eq!(hosts[1].get(key).await.expect("readable"), Some(states));
        let other = hosts[1].put(key, Bytes::from_static(b"other")).await;
        assert_eq!(other.expect_err("a name has one content").kind, StoreErrorKind::Conflict);
        for host in &hosts {
            host.remove(key).await.expect("removed, or gone");
        }
        assert_eq!(hosts[1].get(key).await.expect("readable"), None);
    });
    assert!(hosts[0].place(key).ends_with("fleet/states/states/p/1.states"));
}

#[test]
fn a_large_object_is_uploaded_in_parts_and_is_one() {
    let s3 = S3::start();
    let sink = open(&s3, s3.config("large"));
    let object = Object::new("a/large.jsonl", content((12 << 20) + 7));
    s3.block_on(sink.write(std::slice::from_ref(&object))).expect("write");
    assert_eq!(s3.proxy.calls("UploadPart"), 3);
    assert_eq!(s3.block_on(s3.read("large/a/large.jsonl")), Some(object.content.clone()));
    assert_eq!(s3.block_on(sink.find(&object.key)).expect("find"), Some(object.digest));
    assert_eq!(s3.proxy.calls("GetObject"), 1, "its digest was not read out of its content");

    s3.block_on(sink.write(std::slice::from_ref(&object))).expect("the same again");
    let other = Object::new("a/large.jsonl", content((12 << 20) + 8));
    let occupied =
        s3.block_on(sink.write(std::slice::from_ref(&other))).expect_err("it is another");
    let expected = SinkErrorKind::Occupied { key: other.key.clone(), found: object.digest };
    assert_eq!(occupied.kind, expected);
    assert_eq!(s3.proxy.uploads(), 0, "no upload is left");

    let empty = Object::new("a/large.jsonl", Bytes::new());
    s3.block_on(sink.occupy(&empty, object.digest)).expect("it is known by its tag");
    assert_eq!(s3.block_on(s3.read("large/a/large.jsonl")), Some(Bytes::new()));
}

#[test]
fn where_an_object_comes_from_stands_beside_it() {
    let s3 = S3::start();
    let tags = BTreeMap::from([("team".to_owned(), "data & more".to_owned())]);
    let sink = open(&s3, S3Config { tags, ..s3.config("known") });
    let provenance = Provenance {
        pipeline: "clicks".to_owned(),
        generation: Digest::of(b"plan"),
        partition: PartitionId::from("input/ünïcode file.ndjson"),
        range: 7,
        revision: 2,
    };
    for (name, length) in [("small.jsonl", 10), ("large.jsonl", 6 << 20)] {
        let object = Object::new(name, content(length));
        let object = Object { provenance: Some(provenance.clone().into()), ..object };
        s3.block_on(sink.write(std::slice::from_ref(&object))).expect("write");
        let head = s3.client().head_object().bucket(BUCKET).key(format!("known/{name}"));
        let head = s3.block_on(head.send()).expect("it is there");
        let metadata = head.metadata().expect("it has some");
        for (name, text) in [
            ("tidegate-digest", object.digest.to_string()),
            ("tidegate-bytes", length.to_string()),
            ("tidegate-pipeline", "clicks".to_owned()),
            ("tidegate-generation", provenance.generation.to_string()),
            ("tidegate-partition", "input/%C3%BCn%C3%AFcode%20file.ndjson".to_owned()),
            ("tidegate-range", "7".to_owned()),
            ("tidegate-revision", "2".to_owned()),
        ] {
            assert_eq!(metadata.get(name), Some(&text), "{name}");
        }
    }
}

/// Whatever goes wrong with one request, once: it is told, nothing is half there, and writing again
/// is how to go on.
#[test]
fn after_any_failure_that_passes_the_same_write_succeeds() {
    let s3 = S3::start();
    let sink = open(&s3, s3.config("faults"));
    let operations =
        ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"];
    for (i, operation) in operations.into_iter().enumerate() {
        for fault in PASSING {
            let length = if i == 0 { 1000 } else { 6 << 20 };
            let object = Object::new(format!("{operation}/{fault:?}.jsonl"), content(length + i));
            s3.proxy.fail_next(operation, &[fault]);
            let failed = s3.block_on(sink.write(std::slice::from_ref(&object)));
            let error = failed.expect_err("the answer did not come");
            let after = (fault == Fault::SlowDown).then_some(Duration::from_secs(1));
            let expected = SinkErrorKind::Unavailable { after };
            assert_eq!(error.kind, expected, "{operation} {fault:?}: {error}");
            let key = format!("faults/{}", object.key);
            let is_there = s3.block_on(s3.read(&key));
            let was_done = fault == Fault::LostResponse
                && ["PutObject", "CompleteMultipartUpload"].contains(&operation);
            assert_eq!(is_there.is_some(), was_done, "{operation} {fault:?}");

            s3.block_on(sink.write(std::slice::from_ref(&object))).expect("it succeeds");
            assert_eq!(s3.block_on(s3.read(&key)), Some(object.content.clone()));
            assert_eq!(s3.block_on(sink.find(&object.key)).expect("find"), Some(object.digest));
            // Of an upload whose beginning was not heard of nobody knows the id.
            let unknown = fault == Fault::LostResponse && operation == "CreateMultipartUpload";
            if unknown {
                let _ = open(&s3, s3.config("faults"));
            }
            assert_eq!(s3.proxy.uploads(), 0, "{operation} {fault:?}: an upload is left");
        }
    }
}

#[test]
fn one_failure_of_many_does_not_undo_the_others() {
    let s3 = S3::start();
    let sink = open(&s3, S3Config { uploads_max: 4, ..s3.config("many") });
    let objects: Vec<_> =
        (0..20).map(|i| Object::new(format!("{i:02}.jsonl"), content(100 + i))).collect();
    s3.proxy.fail_next("PutObject", &[Fault::SlowDown]);
    let error = s3.block_on(sink.write(&objects)).expect_err("one was refused");
    assert_eq!(error.kind, SinkErrorKind::Unavailable { after: Some(Duration::from_secs(1)) });
    let written = s3.tree("many").len();
    assert!((3..20).contains(&written), "those under way are finished, no others begun: {written}");
    s3.block_on(sink.write(&objects)).expect("it succeeds");
    assert_eq!(s3.tree("many").len(), 20);
}

#[test]
fn content_that_is_damaged_on_its_way_is_not_kept() {
    let name = "content_that_is_damaged_on_its_way_is_not_kept";
    let Some(ministack) = Ministack::start(name) else { return };
    let s3 = &ministack.s3;
    let sink = open(s3, s3.config("damaged"));
    let object = Object::new("a.jsonl", content(100_000));
    s3.proxy.fail_next("PutObject", &[Fault::Damaged]);
    let error = s3.block_on(sink.write(std::slice::from_ref(&object))).expect_err("it is refused");
    assert_eq!(error.kind, AWAY, "{error}");
    assert_eq!(s3.block_on(sink.find("a.jsonl")).expect("find"), None);
    s3.block_on(sink.write(std::slice::from_ref(&object))).expect("it succeeds");
}

#[test]
fn what_needs_a_person_says_so() {
    let s3 = S3::start();
    let sink = open(&s3, s3.config("denied"));
    let object = Object::new("a.jsonl", content(10));
    s3.proxy.fail_next("PutObject", &[Fault::Denied]);
    let error = s3.block_on(sink.write(std::slice::from_ref(&object))).expect_err("it is refused");
    assert_eq!(error.kind, SinkErrorKind::Broken);
    assert!(error.message.contains("s3:PutObject"), "{error}");
    assert!(error.message.contains("s3://zone/denied/a.jsonl"), "{error}");
}

#[test]
fn a_bucket_that_is_not_there_is_told_at_the_start() {
    let name = "a_bucket_that_is_not_there_is_told_at_the_start";
    let Some(ministack) = Ministack::start(name) else { return };
    let s3 = &ministack.s3;
    let nowhere = S3Config { bucket: "nowhere".to_owned(), ..s3.config("x") };
    let opened = s3.block_on(S3Sink::open(nowhere));
    let error = opened.err().expect("there is no such bucket");
    assert_eq!(error.kind, SinkErrorKind::Broken);
    assert!(error.message.contains("create the bucket"), "{error}");
}

#[test]
fn without_tls_nothing_leaves_this_machine() {
    let s3 = S3::start();
    let mut config = s3.config("x");
    // An address that nobody has: RFC 5737.
    config.aws.endpoint = Some("http://192.0.2.1:9000".to_owned());
    let sink = open(&s3, config);
    let error = s3.block_on(sink.write(&[Object::new("a", content(10))])).expect_err("refused");
    assert_eq!(error.kind, SinkErrorKind::Broken, "{error}");
}

#[test]
fn what_others_have_put_there_is_judged_by_its_content() {
    let s3 = S3::start();
    let sink = open(&s3, s3.config("foreign"));
    s3.put("foreign/same.jsonl", b"content", &[]);
    s3.put("foreign/other.jsonl", b"another", &[]);
    let ours = ObjectDigest::of(b"content").to_string();
    let kept = [("tidegate-digest", ours.as_str()), ("tidegate-bytes", "7")];
    s3.put("foreign/edited.jsonl", b"content, edited", &kept);

    let same = Object::new("same.jsonl", &b"content"[..]);
    s3.block_on(sink.write(std::slice::from_ref(&same))).expect("it is the same");
    assert_eq!(s3.block_on(sink.find("same.jsonl")).expect("find"), Some(same.digest));
    for (key, lies_there) in
        [("other.jsonl", &b"another"[..]), ("edited.jsonl", b"content, edited")]
    {
        let found = ObjectDigest::of(lies_there);
        assert_eq!(s3.block_on(sink.find(key)).expect("find"), Some(found), "{key}");
        let error = s3.block_on(sink.write(&[Object::new(key, &b"content"[..])]));
        let kind = error.expect_err("it is another").kind;
        assert_eq!(kind, SinkErrorKind::Occupied { key: key.to_owned(), found });
    }
}

#[test]
fn of_two_who_write_other_content_one_wins_and_the_other_is_told() {
    let s3 = S3::start();
    let (one, other) = (open(&s3, s3.config("race")), open(&s3, s3.config("race")));
    for round in 0..20 {
        // In one piece and in parts.
        let length = if round % 2 == 0 { 50_000 } else { 6 << 20 };
        let key = format!("{round}.jsonl");
        let (a, b) = (content(length), content(length + 1));
        let (first, second) = (Object::new(&key, a), Object::new(&key, b));
        let (first_ended, second_ended) = s3.block_on(async {
            tokio::join!(
                one.write(std::slice::from_ref(&first)),
                other.write(std::slice::from_ref(&second))
            )
        });
        let (winner, refused) = match (first_ended, second_ended) {
            (Ok(()), Err(refused)) => (first, refused),
            (Err(refused), Ok(())) => (second, refused),
            ended => panic!("one of them wins: {ended:?}"),
        };
        let expected = SinkErrorKind::Occupied { key: key.clone(), found: winner.digest };
        assert_eq!(refused.kind, expected);
        assert_eq!(s3.block_on(s3.read(&format!("race/{key}"))), Some(winner.content));
    }
    assert_eq!(s3.proxy.uploads(), 0);
}

#[test]
fn uploads_are_bounded_in_number_and_in_bytes() {
    let s3 = S3::start();
    s3.proxy.slow(Duration::from_millis(30));
    let objects = |part: usize, length: usize| -> Vec<_> {
        (0..part).map(|i| Object::new(format!("{i}-{length}.jsonl"), content(length))).collect()
    };
    let sink = open(&s3, S3Config { uploads_max: 3, ..s3.config("by-number") });
    let (some, others) = (objects(9, 1000), objects(9, 1001));
    let (one, other) = s3.block_on(async { tokio::join!(sink.write(&some), sink.write(&others)) });
    one.and(other).expect("write");
    assert_eq!(s3.proxy.uploading_most(), 3, "over all who write");

    let by_bytes = S3Config { uploading_bytes_max: 2 << 20, ..s3.config("by-bytes") };
    let sink = open(&s3, by_bytes);
    s3.block_on(sink.write(&objects(6, 1 << 20))).expect("write");
    assert!(s3.proxy.uploading_most() <= 3);
}

#[test]
fn uploads_that_an_earlier_process_left_are_aborted() {
    let s3 = S3::start();
    for key in ["ours/a/large.jsonl", "ours/b.jsonl", "ours-not/c.jsonl"] {
        let create = s3.client().create_multipart_upload().bucket(BUCKET).key(key);
        s3.block_on(create.send()).expect("an upload");
    }
    let _ = open(&s3, s3.config("ours"));
    assert_eq!(s3.proxy.uploads(), 1, "only those below the prefix");
    s3.proxy.fail_next("ListMultipartUploads", &[Fault::Denied]);
    let sink = open(&s3, s3.config("ours"));
    s3.block_on(sink.write(&[Object::new("x", content(1))])).expect("they only cost storage");
}

#[test]
fn a_write_that_is_given_up_leaves_no_upload() {
    let s3 = S3::start();
    s3.proxy.slow(Duration::from_millis(300));
    let sink = open(&s3, s3.config("given-up"));
    let object = Object::new("large.jsonl", content(12 << 20));
    s3.block_on(async {
        let write = sink.write(std::slice::from_ref(&object));
        assert!(tokio::time::timeout(Duration::from_millis(150), write).await.is_err());
        assert_eq!(s3.proxy.calls("CreateMultipartUpload"), 1);
        while s3.proxy.uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    s3.block_on(sink.write(std::slice::from_ref(&object))).expect("it begins again");
}
