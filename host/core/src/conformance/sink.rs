//! What a sink with named objects promises: created once, never changed, found again.

use bytes::Bytes;

use crate::{
    digest::ObjectDigest,
    sink::{Naming, Object, Sink, SinkError, SinkErrorKind},
};

/// Runs the suite on an empty sink with named objects. `read` gives what lies under a key, as
/// whoever reads the destination would see it.
///
/// # Panics
/// At the first promise that the sink breaks.
pub async fn sink<F>(sink: &dyn Sink, mut read: F)
where
    F: AsyncFnMut(&str) -> Option<Bytes>,
{
    assert_eq!(sink.naming(), Naming::Named, "the suite is for sinks with named objects");
    let deep = "event_type=a%2Fb/year=2026/part-00000001-r0-0000.jsonl";

    let first = object(deep, b"one\ntwo\n");
    assert_eq!(found(sink, deep).await, None, "nothing is found before it is written");
    sink.write(std::slice::from_ref(&first)).await.expect("write");
    assert_eq!(found(sink, deep).await, Some(first.digest), "what is written is found");
    assert_eq!(read(deep).await, Some(first.content.clone()), "and reads as it was written");
    sink.write(std::slice::from_ref(&first)).await.expect("the same object again");

    let foreign = object(deep, b"foreign\n");
    let objects = [object("before.jsonl", b"x"), foreign, object("behind.jsonl", b"y")];
    let key = occupied(sink.write(&objects).await, first.digest);
    assert_eq!(key, deep, "an occupied key is named");
    assert_eq!(read(deep).await, Some(first.content.clone()), "objects are never changed");
    assert_eq!(found(sink, deep).await, Some(first.digest));

    let large = vec![b'z'; 3 << 20];
    let many = [
        object("before.jsonl", b"x"),
        first.clone(),
        object("behind.jsonl", b"y"),
        object("a/b/c/empty.jsonl", b""),
        object("a/b/large.jsonl", &large),
        object("a/b/ with space and ünïcode .jsonl", b"z"),
    ];
    sink.write(&many).await.expect("some of them are there, the others not");
    for object in &many {
        assert_eq!(found(sink, &object.key).await, Some(object.digest), "{}", object.key);
        assert_eq!(read(&object.key).await, Some(object.content.clone()), "{}", object.key);
    }
    sink.write(&[]).await.expect("no objects at all");

    for key in ["../outside.jsonl", "/outside.jsonl", "a/../../outside.jsonl"] {
        let refused = sink.write(&[object(key, b"x")]).await;
        assert!(refused.is_err(), "a key does not leave the sink: {key}");
    }

    let empty = object(deep, b"");
    sink.occupy(&empty, first.digest).await.expect("what a revision supersedes is occupied");
    assert_eq!(found(sink, deep).await, Some(empty.digest));
    assert_eq!(read(deep).await, Some(Bytes::new()));
    sink.occupy(&empty, first.digest).await.expect("occupying again");
    let key = occupied(sink.write(std::slice::from_ref(&first)).await, empty.digest);
    assert_eq!(key, deep, "a delayed write does not bring the superseded object back");

    let absent = object("never/written.jsonl", b"");
    sink.occupy(&absent, first.digest).await.expect("a key under which nothing lies yet");
    assert_eq!(found(sink, &absent.key).await, Some(absent.digest));

    let other = object("behind.jsonl", b"");
    let key = occupied(sink.occupy(&other, first.digest).await, ObjectDigest::of(b"y"));
    assert_eq!(key, "behind.jsonl", "foreign objects are not superseded");
    assert_eq!(read("behind.jsonl").await, Some(Bytes::from_static(b"y")));
}

fn object(key: &str, content: &[u8]) -> Object {
    Object::new(key, Bytes::copy_from_slice(content))
}

async fn found(sink: &dyn Sink, key: &str) -> Option<ObjectDigest> {
    sink.find(key).await.expect("find")
}

/// The key of an answer that says that other content lies there.
#[track_caller]
fn occupied(answer: Result<(), SinkError>, expected: ObjectDigest) -> String {
    match answer.map_err(|error| error.kind) {
        Err(SinkErrorKind::Occupied { key, found }) => {
            assert_eq!(found, expected, "an occupied key's digest is what lies there");
            key
        }
        other => panic!("other content under a key must be answered with its digest: {other:?}"),
    }
}
