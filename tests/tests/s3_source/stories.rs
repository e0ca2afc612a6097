//! What becomes of messages and of the objects that they name, whatever goes wrong.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_tests::{program::Program, running, s3::BUCKET};

use super::{
    inbox::{Inbox, Shape, assert_each_once, notification, records},
    proxy::Trouble,
};

fn verify(program: &Program) -> Value {
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    verified
}

#[test]
fn every_shape_is_read_once_and_what_is_none_is_a_dead_letter() {
    let Some(inbox) = Inbox::start("every_shape_is_read_once") else { return };
    let program = inbox.pipeline("visibility: 10s", "", "");
    let mut expected = Vec::new();
    let mut put = |key: &str| {
        let (text, lines) = records(key, 40);
        expected.extend(lines);
        inbox.put(key, text.as_bytes())
    };
    let plain = put("in/plain.jsonl");
    let spaced = put("in/a folder/with +, é & %2B.jsonl");
    let bridged = put("in/bridge +%20é.jsonl");
    let topic = put("in/topic key.jsonl");
    let (one, two) = (put("in/one.jsonl"), put("in/two.jsonl"));
    inbox.put("elsewhere/three.jsonl", b"{\"id\":\"not asked for\"}\n");
    let told = [
        notification(Shape::Standard, &[("in/plain.jsonl", &plain)]),
        notification(Shape::Standard, &[("in/a folder/with +, é & %2B.jsonl", &spaced)]),
        notification(Shape::Bridge, &[("in/bridge +%20é.jsonl", &bridged)]),
        notification(Shape::Topic, &[("in/topic key.jsonl", &topic)]),
        notification(
            Shape::Standard,
            &[("in/one.jsonl", &one), ("in/two.jsonl", &two), ("elsewhere/three.jsonl", "x")],
        ),
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET }).to_string(),
    ];
    told.iter().for_each(|it| inbox.send(it));
    let other = notification(Shape::Standard, &[("in/x", "abc")]).replace(BUCKET, "another-bucket");
    let bad = ["hello".to_owned(), r#"{"Records":[{"eventSource":"aws:sqs"}]}"#.to_owned(), other];
    bad.iter().for_each(|it| inbox.send(it));
    inbox.run_until(&program, 6 * 40 + bad.len());

    assert_each_once(&inbox.out(), &expected);
    let letters = inbox.letters();
    let mut payloads: Vec<String> = Vec::new();
    for letter in &letters {
        assert_eq!(letter["etl"]["errorCode"], "notification-malformed", "{letter:#}");
        let partition = letter["etl"]["partition"].as_str().expect("it says where");
        assert!(partition.starts_with("sqs:inbox/"), "{partition}");
        let data = letter["payload"]["Records"][0]["kinesis"]["data"].as_str().expect("whole");
        payloads.push(String::from_utf8(STANDARD.decode(data).expect("base64")).expect("text"));
    }
    payloads.sort_unstable();
    let mut bad = bad.to_vec();
    bad.sort_unstable();
    assert_eq!(payloads, bad);
    let said = |what: &str| letters.iter().any(|it| it.to_string().contains(what));
    assert!(said("is no JSON") && said("`Records[0]`") && said("another-bucket"), "{letters:#?}");
    assert_eq!(verify(&program)["read"], 6 * 40 + 3);
}

#[test]
fn a_host_that_is_killed_over_and_over_leaves_each_record_once() {
    let Some(inbox) = Inbox::start("a_host_that_is_killed_over_and_over") else { return };
    let program =
        inbox.pipeline("visibility: 2s\n    chunk_size: 1MiB", "", "range: { records: 300 }");
    inbox.s3.proxy.slow(Duration::from_millis(30));
    let mut expected = Vec::new();
    for object in 0..12 {
        let (text, lines) = records(&format!("o{object}"), 4_000);
        expected.extend(lines);
        let key = format!("in/{object:02}.jsonl");
        match object % 3 {
            0 => inbox.arrive(&key, text.as_bytes()),
            1 => inbox.arrive(&format!("{key}.gz"), &gzip(text.as_bytes())),
            _ => inbox.arrive(&format!("{key}.zst"), &zstd(text.as_bytes())),
        }
    }
    for kill in 0..6 {
        let mut run = inbox.run(&program);
        let before = inbox.out().len();
        // In the middle of something, once it is at work again.
        running::wait_for("progress", || inbox.out().len() > before + 200 * kill % 700);
        run.kill().expect("it can be killed");
        run.wait().expect("it can be waited for");
        assert_each_once_so_far(&inbox.out(), &expected);
    }
    inbox.run_until(&program, expected.len());
    assert_each_once(&inbox.out(), &expected);
    let verified = verify(&program);
    assert_eq!((&verified["partitions"], &verified["complete"]), (&json!(12), &json!(true)));
    assert!(inbox.letters().is_empty());
}

/// Nothing twice, and nothing that is no record.
fn assert_each_once_so_far(found: &[String], expected: &[String]) {
    let mut seen = std::collections::BTreeSet::new();
    let known: std::collections::BTreeSet<_> = expected.iter().collect();
    for line in found {
        assert!(seen.insert(line) && known.contains(line), "{line}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

#[test]
fn a_message_that_comes_again_while_its_object_is_read_changes_nothing() {
    let Some(inbox) = Inbox::start("a_message_that_comes_again") else { return };
    let program =
        inbox.pipeline("visibility: 2s\n    chunk_size: 1MiB", "", "range: { records: 500 }");
    // Each part takes longer than a message is hidden, and nothing hides it for longer.
    inbox.s3.proxy.slow(Duration::from_millis(2_500));
    inbox.proxy.trouble("ChangeMessageVisibilityBatch", Trouble::Whole);
    let (text, expected) = records("slow", 25_000);
    assert!(text.len() > 2 << 20, "several parts");
    let tag = inbox.put("in/slow.jsonl", text.as_bytes());
    let told = notification(Shape::Standard, &[("in/slow.jsonl", &tag)]);
    // As S3 itself may, too.
    inbox.send(&told);
    inbox.send(&told);
    let run = inbox.run(&program);
    running::wait_for("work", || !inbox.out().is_empty());
    inbox.settles(expected.len());
    // Once more, when it is done: it is found to be.
    inbox.send(&told);
    inbox.settles(expected.len());
    running::stop(run);
    assert_each_once(&inbox.out(), &expected);
    assert_eq!(verify(&program)["partitions"], 1);
    assert!(inbox.proxy.calls("ChangeMessageVisibilityBatch") > 0);
}

#[test]
fn of_a_batch_only_what_failed_is_asked_for_again() {
    let Some(inbox) = Inbox::start("of_a_batch_only_what_failed") else { return };
    let program = inbox.pipeline("visibility: 3s\n    objects: 40", "", "range: { records: 100 }");
    for operation in ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
        inbox.proxy.trouble(operation, Trouble::InPart);
    }
    inbox.s3.proxy.slow(Duration::from_millis(300));
    let mut expected = Vec::new();
    for object in 0..40 {
        let (text, lines) = records(&format!("o{object}"), 50);
        expected.extend(lines);
        inbox.arrive(&format!("in/{object:02}.jsonl"), text.as_bytes());
    }
    inbox.run_until(&program, expected.len());
    assert_each_once(&inbox.out(), &expected);
    let deleted = inbox.proxy.done("DeleteMessageBatch");
    assert!(deleted.iter().all(|times| *times == 1), "each once: {deleted:?}");
    assert!(deleted.len() >= 40 && inbox.proxy.refused("DeleteMessageBatch") > 5);
    assert!(inbox.proxy.refused("ChangeMessageVisibilityBatch") > 5);
    // Most of them wait for a worker for longer than they are hidden for at first.
    assert!(!inbox.proxy.done("ChangeMessageVisibilityBatch").is_empty());
}

#[test]
fn a_queue_that_is_away_is_waited_for() {
    let Some(inbox) = Inbox::start("a_queue_that_is_away_is_waited_for") else { return };
    let program = inbox.pipeline("visibility: 5s", "", "");
    inbox.proxy.trouble("ReceiveMessage", Trouble::Whole);
    let (text, expected) = records("late", 20);
    inbox.arrive("in/late.jsonl", text.as_bytes());
    let run = inbox.run(&program);
    running::wait_for("attempts", || inbox.proxy.calls("ReceiveMessage") >= 3);
    inbox.proxy.trouble("ReceiveMessage", Trouble::None);
    inbox.settles(expected.len());
    running::stop(run);
    assert_each_once(&inbox.out(), &expected);
}

#[test]
fn an_object_that_is_gone_stops_alone_or_is_given_up_as_the_operator_says() {
    let Some(inbox) = Inbox::start("an_object_that_is_gone") else { return };
    let (text, expected) = records("there", 30);
    let gone = inbox.put("in/gone.jsonl", b"{\"id\":\"gone\"}\n");
    let old = inbox.put("in/changed.jsonl", b"{\"id\":\"old\"}\n");
    inbox.delete("in/gone.jsonl");
    inbox.put("in/changed.jsonl", b"{\"id\":\"new\"}\n");
    inbox.send(&notification(Shape::Standard, &[("in/gone.jsonl", &gone)]));
    inbox.send(&notification(Shape::Standard, &[("in/changed.jsonl", &old)]));
    inbox.arrive("in/there.jsonl", text.as_bytes());

    let program = inbox.pipeline("visibility: 2s", "", "");
    let run = program.start_piped("run", &["--json"], std::process::Stdio::piped());
    running::wait_for("the sound one", || inbox.out().len() == expected.len());
    running::wait_for("its message to go", || inbox.messages() == 2);
    // The others come again, and are tried again.
    let heads = inbox.s3.proxy.calls("HeadObject");
    running::wait_for("another try", || inbox.s3.proxy.calls("HeadObject") >= heads + 4);
    let killed = std::process::Command::new("kill").arg(run.id().to_string()).status();
    assert!(killed.expect("`kill` is there").success());
    let output = run.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("in/gone.jsonl` is gone"), "{told}");
    assert!(told.contains("taken the place of `s3://zone/in/changed.jsonl`"), "{told}");
    assert_eq!(inbox.messages(), 2);

    let program = inbox.pipeline("visibility: 2s\n    on_gone: continue", "", "");
    inbox.run_until(&program, expected.len());
    assert_each_once(&inbox.out(), &expected);
    assert!(inbox.letters().is_empty());
}

#[test]
fn a_stopped_host_gives_back_what_it_has_not_done() {
    let Some(inbox) = Inbox::start("a_stopped_host_gives_back") else { return };
    let program = inbox.pipeline(
        "visibility: 1h\n    objects: 20\n    chunk_size: 1MiB",
        "",
        "range: { records: 200 }\nworkers: 1",
    );
    inbox.s3.proxy.slow(Duration::from_millis(500));
    let mut expected = Vec::new();
    for object in 0..20 {
        let (text, lines) = records(&format!("o{object}"), 1_000);
        expected.extend(lines);
        inbox.arrive(&format!("in/{object:02}.jsonl"), text.as_bytes());
    }
    let run = inbox.run(&program);
    running::wait_for("work", || !inbox.out().is_empty());
    running::stop(run);
    let (seen, hidden) = inbox.seen_and_hidden();
    assert!(seen > 5 && hidden == 0, "{seen} can be had, {hidden} are hidden for an hour");
    inbox.s3.proxy.slow(Duration::ZERO);
    inbox.run_until(&program, expected.len());
    assert_each_once(&inbox.out(), &expected);
}

/// A message whose object can't be read is no reason for anything else to wait.
#[test]
fn a_damaged_object_stops_alone_and_what_came_before_the_damage_is_out() {
    let Some(inbox) = Inbox::start("a_damaged_object_stops_alone") else { return };
    let program = inbox.pipeline("visibility: 2s", "", "");
    let (text, lines) = records("cut", 20_000);
    let whole = gzip(text.as_bytes());
    inbox.arrive("in/cut.jsonl.gz", &whole[..whole.len() / 2]);
    let (text, expected) = records("sound", 30);
    inbox.arrive("in/sound.jsonl", text.as_bytes());
    let run = inbox.run(&program);
    running::wait_for("the sound one", || {
        inbox.messages() == 1 && inbox.out().iter().filter(|it| it.contains("sound")).count() == 30
    });
    running::wait_for("what came before the damage", || {
        inbox.out().iter().any(|it| it.contains("cut"))
    });
    let mut told = run;
    let killed = std::process::Command::new("kill").arg(told.id().to_string()).status();
    assert!(killed.expect("`kill` is there").success());
    assert_ne!(told.wait().expect("it ends").code(), None);
    let known: Vec<String> = lines.into_iter().chain(expected).collect();
    assert_each_once_so_far(&inbox.out(), &known);
}
