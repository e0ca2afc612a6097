//! Several hosts on one queue: leases in DynamoDB see to it that each version of an object is delivered
//! once, whatever the queue and the hosts do.

use std::{path::PathBuf, time::Duration};

use tidegate_tests::{dynamodb, program::Program, running, s3::REGION, server::ServerProcess};

use super::{
    inbox::{Inbox, Shape, assert_each_once, notification, records},
    proxy::Trouble,
};

/// Amazon's own DynamoDB on this machine, where Java is to be had. A test that can't have it says so.
fn leases(test: &str) -> Option<(ServerProcess, String)> {
    let Some(folder) = std::env::var_os("TIDEGATE_DYNAMODB_LOCAL").map(PathBuf::from) else {
        println!("SKIPPED: {test}: DynamoDB Local is absent, which needs Java and Maven");
        return None;
    };
    let (address, process) = dynamodb::start(&folder);
    Some((process, format!("http://{address}")))
}

fn host(inbox: &Inbox, dynamodb: &str, name: &str) -> Program {
    let leases = format!(
        "range: {{ records: 250 }}\nleases:\n  table: inbox\n  region: {REGION}\n  endpoint: \
         {dynamodb}\n  failover: 3s\n  look_every: 300ms\n  directory: ${{OUT}}/leases\n"
    );
    let settings = "visibility: 2s\n    objects: ${OBJECTS:-4}\n    chunk_size: 1MiB";
    inbox.pipeline(settings, "", &leases).with("HOST", name)
}

fn start(program: &Program) -> std::process::Child {
    program.start("run", &[])
}

#[test]
fn two_hosts_share_a_queue_and_one_that_is_killed_or_cut_off_from_it_changes_nothing() {
    let test = "two_hosts_share_a_queue";
    let Some((_process, dynamodb)) = leases(test) else { return };
    let Some(inbox) = Inbox::start(test) else { return };
    inbox.s3.proxy.slow(Duration::from_millis(150));
    let mut expected = Vec::new();
    let mut arrive = |objects: std::ops::Range<usize>| {
        for object in objects {
            let key = format!("in/{object:02}.jsonl");
            let (text, lines) = records(&format!("o{object}"), 3_000);
            expected.extend(lines);
            let tag = inbox.put(&key, text.as_bytes());
            // Every third twice: the hosts get one each.
            for _ in 0..=usize::from(object % 3 == 0) {
                inbox.send(&notification(Shape::Standard, &[(&key, &tag)]));
            }
        }
    };
    arrive(0..16);
    let (a, b) = (host(&inbox, &dynamodb, "a"), host(&inbox, &dynamodb, "b"));
    let mut first = start(&a);
    let second = start(&b);
    running::wait_for("work", || inbox.out().len() > 6_000);
    first.kill().expect("it can be killed");
    first.wait().expect("it can be waited for");
    arrive(16..24);
    // Messages come again while they are worked on, to whoever asks: both hosts get all of them.
    inbox.proxy.trouble("ChangeMessageVisibilityBatch", Trouble::Whole);
    let first = start(&a);
    let before = inbox.out().len();
    running::wait_for("work", || inbox.out().len() > before + 6_000);
    inbox.proxy.trouble("ChangeMessageVisibilityBatch", Trouble::None);
    inbox.settles(expected.len());
    for run in [first, second] {
        running::stop(run);
    }
    assert_each_once(&inbox.out(), &expected);
    assert!(inbox.letters().is_empty());
    let leases = a.data("leases ls", &[]);
    let leases = leases["leases"].as_array().expect("a list");
    assert_eq!(leases.len(), 24);
    assert!(leases.iter().all(|it| it["finished"] == true), "{leases:#?}");
}

#[test]
fn an_object_that_another_host_reads_holds_nothing_back() {
    let test = "an_object_that_another_host_reads_holds_nothing_back";
    let Some((_process, dynamodb)) = leases(test) else { return };
    let Some(inbox) = Inbox::start(test) else { return };
    inbox.s3.proxy.slow(Duration::from_millis(300));
    let (text, mut expected) = records("large", 60_000);
    let large = inbox.put("in/large.jsonl", text.as_bytes());
    let tell = |key: &str, tag: &str| inbox.send(&notification(Shape::Standard, &[(key, tag)]));
    tell("in/large.jsonl", &large);
    // It holds one object, and receives nothing beside it.
    let reads = host(&inbox, &dynamodb, "a").with("OBJECTS", "1");
    let first = start(&reads);
    running::wait_for("work", || !inbox.out().is_empty());
    tell("in/large.jsonl", &large);
    let other = host(&inbox, &dynamodb, "b");
    let second = start(&other);
    running::wait_for("both messages to be held", || inbox.seen_and_hidden() == (0, 2));
    for object in 0..3 {
        let (text, lines) = records(&format!("small{object}"), 10);
        let key = format!("in/small{object}.jsonl");
        let tag = inbox.put(&key, text.as_bytes());
        tell(&key, &tag);
        expected.extend(lines);
    }
    let small = |out: &[String]| out.iter().filter(|it| it.contains("small")).count();
    running::wait_for("what came later", || small(&inbox.out()) == 30);
    assert!(inbox.out().len() < 60_000, "the large one was still being read");
    inbox.settles(expected.len());
    for run in [first, second] {
        running::stop(run);
    }
    assert_each_once(&inbox.out(), &expected);
}
