//! The sink alone, against a real server.

use serde_json::{Value, json};
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Object, SinkError, SinkErrorKind},
};

use super::{
    proxy::Fault,
    server::{Received, Sqs},
};

const AWAY: SinkErrorKind = SinkErrorKind::Unavailable { after: None };

/// Letters that are told apart, with so long a payload.
fn letters(count: usize, bytes: usize) -> Vec<String> {
    let letter = |i: usize| {
        json!({
            "version": "1.0",
            "payload": { "Records": [{ "kinesis": {
                "sequenceNumber": format!("{i}"), "data": "x".repeat(bytes),
            } }] },
            "etl": {
                "stage": "transform:validate", "errorCode": "rejected", "errorMessage": "\u{ffff}é",
                "attempts": 1, "pipeline": "p", "partition": "shardId-0", "componentDigest": null,
                "redriveCount": 0, "findings": [], "backtrace": "",
            },
        })
    };
    (0..count).map(|i| letter(i).to_string()).collect()
}

fn object(key: &str, letters: &[String]) -> Object {
    Object::new(key, letters.iter().map(|letter| format!("{letter}\n")).collect::<String>())
}

/// What is left, object by object.
fn rest(error: &SinkError) -> Vec<(String, Vec<String>)> {
    let rest = error.rest.as_ref().expect("it says what is left");
    let lines = |object: &Object| {
        assert_eq!(object.digest, ObjectDigest::of(&object.content));
        let content = String::from_utf8(object.content.to_vec()).expect("lines are text");
        (object.key.clone(), content.lines().map(str::to_owned).collect())
    };
    rest.iter().map(lines).collect()
}

fn values(letters: &[String]) -> Vec<Value> {
    let value = |letter: &String| serde_json::from_str(letter).expect("JSON");
    let mut values: Vec<Value> = letters.iter().map(value).collect();
    values.sort_by_key(|it| number(it).to_owned());
    values
}

fn number(letter: &Value) -> &str {
    letter["payload"]["Records"][0]["kinesis"]["sequenceNumber"].as_str().expect("a number")
}

fn received(messages: &[Received]) -> Vec<Value> {
    let mut values: Vec<Value> = messages.iter().map(Received::letter).collect();
    values.sort_by_key(|it| number(it).to_owned());
    values
}

#[test]
fn each_letter_is_a_message_with_what_consumers_filter_by() {
    let name = "each_letter_is_a_message_with_what_consumers_filter_by";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("letters");
    let all = letters(23, 5);
    let sink = sqs.sink(&queue);
    let objects = [object("a.jsonl", &all[..14]), object("b.jsonl", &all[14..])];
    sqs.block_on(sink.write(&objects)).expect("nothing goes wrong");
    sqs.block_on(sink.write(&[])).expect("nothing to write");
    assert_eq!(sqs.block_on(sink.find("a.jsonl")).expect("nobody is asked"), None);
    assert_eq!(sqs.proxy.take_requests(), [10, 10, 3], "objects share requests");
    let messages = sqs.receive(&queue);
    assert_eq!(received(&messages), values(&all), "complete");
    let of = |message: &Received, name: &str| message.attributes.get(name).cloned();
    for message in &messages {
        assert_eq!(of(message, "stage").as_deref(), Some("transform:validate"));
        assert_eq!(of(message, "errorCode").as_deref(), Some("rejected"));
        assert_eq!(of(message, "attempts").as_deref(), Some("1"));
        assert_eq!(of(message, "sequenceNumber").as_deref(), Some(number(&message.letter())));
        assert_eq!(of(message, "componentDigest"), None);
        assert_eq!(message.attributes.len(), 7);
    }
}

#[test]
fn a_letter_that_is_larger_than_a_message_lies_in_the_bucket_whole() {
    let name = "a_letter_that_is_larger_than_a_message_lies_in_the_bucket_whole";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("large");
    // Five of these are more than a request may have.
    let mut all = letters(6, 200_000);
    all.extend(letters(8, 1 << 20).split_off(6));
    let sink = sqs.sink(&queue);
    // The same again puts nothing else into the bucket.
    for _ in 0..2 {
        sqs.block_on(sink.write(&[object("a.jsonl", &all)])).expect("nothing is too large");
        let messages = sqs.receive(&queue);
        assert_eq!(messages.len(), 8);
        let (large, small): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|it| it.letter()["payload"].is_null());
        assert!(received(&small) == values(&all[..6]), "complete");
        let mut fetched = Vec::new();
        for message in &large {
            let letter = message.letter();
            let place = letter["etl"]["payloadRef"].as_str().expect("it says where").to_owned();
            fetched.push(sqs.fetch(&place));
            assert_eq!(letter["etl"]["errorCode"], "rejected");
            assert_eq!(message.attributes["stage"], "transform:validate");
        }
        fetched.sort_unstable();
        assert!(fetched == all[6..], "byte for byte");
    }
    // A queue that takes less.
    let queue = sqs.create("less");
    let sink = sqs.sink_with(&queue, 64 << 10);
    sqs.block_on(sink.write(&[object("a.jsonl", &all)])).expect("nothing is too large");
    let messages = sqs.receive(&queue);
    assert!(messages.iter().all(|it| it.letter()["payload"].is_null() && it.body.len() < 2_000));
    assert_eq!(messages.len(), 8);
}

#[test]
fn only_messages_that_were_not_taken_are_left() {
    let name = "only_messages_that_were_not_taken_are_left";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("partial");
    let sink = sqs.sink(&queue);
    let (a, b) = (letters(12, 5), letters(24, 5).split_off(12));
    let objects = [object("a.jsonl", &a), object("b.jsonl", &b)];
    // Of the second and the third request too: one that was taken in part does not hold up the next.
    let faults = [Fault::Withheld(vec![0, 7]), Fault::PassedOver(3), Fault::Withheld(vec![3])];
    sqs.proxy.fail_next(faults);
    let error = sqs.block_on(sink.write(&objects)).expect_err("some were not taken");
    assert_eq!(error.kind, AWAY);
    let said = "did not take all dead letters (InternalError: 3, not answered: 1): 4 are left";
    assert!(error.message.contains(said), "{error}");
    let left = [
        ("a.jsonl".to_owned(), vec![a[0].clone(), a[7].clone()]),
        ("b.jsonl".to_owned(), vec![b[1].clone(), b[11].clone()]),
    ];
    assert_eq!(rest(&error), left);

    let rest = error.rest.expect("it was there");
    sqs.block_on(sink.write(&rest)).expect("nothing goes wrong any more");
    assert_eq!(received(&sqs.receive(&queue)), values(&[a, b].concat()), "each once");
}

#[test]
fn a_message_that_is_at_fault_needs_a_person_and_the_others_are_sent() {
    let name = "a_message_that_is_at_fault_needs_a_person_and_the_others_are_sent";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("fault");
    let all = letters(15, 5);
    sqs.proxy.fail_next([Fault::Blamed(4, "InvalidParameterValue")]);
    let error = sqs.block_on(sqs.sink(&queue).write(&[object("a.jsonl", &all)]));
    let error = error.expect_err("one is at fault");
    assert_eq!(error.kind, SinkErrorKind::Broken);
    assert!(error.message.contains("`MaximumMessageSize`"), "{error}");
    assert_eq!(rest(&error), [("a.jsonl".to_owned(), vec![all[4].clone()])]);
    assert_eq!(sqs.receive(&queue).len(), 14);
    // Some of what SQS blames on the sender passes by itself.
    sqs.proxy.fail_next([Fault::Blamed(4, "RequestThrottled")]);
    let error = sqs.block_on(sqs.sink(&queue).write(&[object("a.jsonl", &all)]));
    assert_eq!(error.expect_err("one is throttled").kind, AWAY);
}

#[test]
fn a_request_of_which_nothing_is_taken_or_that_fails_holds_up_what_is_behind_it() {
    let name = "a_request_of_which_nothing_is_taken_or_that_fails_holds_up_what_is_behind_it";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("failing");
    let sink = sqs.sink(&queue);
    let all = letters(27, 5);
    let objects = [object("a.jsonl", &all)];
    let broken = SinkErrorKind::Broken;
    for (fault, kind) in [
        (Fault::Withheld(Vec::from_iter(0..10)), AWAY),
        (Fault::Refused(503, "ServiceUnavailable"), AWAY),
        (Fault::Refused(500, "InternalFailure"), AWAY),
        (Fault::Refused(400, "RequestThrottled"), AWAY),
        (Fault::Refused(400, "KmsThrottled"), AWAY),
        (Fault::Refused(403, "ExpiredToken"), AWAY),
        (Fault::Refused(403, "AccessDenied"), broken.clone()),
        (Fault::Refused(400, "KmsDisabled"), broken.clone()),
        (Fault::Reset, AWAY),
        (Fault::LostResponse, AWAY),
    ] {
        sqs.proxy.fail_next([Fault::Withheld(vec![9]), fault.clone()]);
        let error = sqs.block_on(sink.write(&objects)).expect_err("it was told to fail");
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        let left = all[9..].to_vec();
        assert_eq!(rest(&error), [("a.jsonl".to_owned(), left)], "{fault:?}");
        assert_eq!((sqs.proxy.faults_left(), sqs.proxy.take_requests().len()), (0, 2));
    }
}

#[test]
fn a_queue_that_is_not_there_needs_a_person() {
    let name = "a_queue_that_is_not_there_needs_a_person";
    let Some(sqs) = Sqs::start(name) else { return };
    // As the server itself puts it.
    let nowhere = format!("{}/000000000000/nowhere", sqs.server);
    let sink = sqs.sink(&nowhere);
    let error = sqs.block_on(sink.write(&[object("a.jsonl", &letters(1, 1))]));
    let error = error.expect_err("nobody made it");
    assert_eq!(error.kind, SinkErrorKind::Broken, "{error} {:?}", error.cause);
    assert!(error.message.contains("correct `queue` and `region`"), "{error}");
    assert!(error.message.contains("/nowhere`"), "{error}");
}
