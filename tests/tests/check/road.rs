//! The whole road in good health, beside a pipeline that runs.

use tidegate_tests::running::{start, stop, wait_for};

use super::{
    drift::says_something_of_every_action,
    world::{Probes, World},
};

#[test]
fn a_running_pipeline_is_not_disturbed_and_nothing_is_left() {
    let test = "a_running_pipeline_is_not_disturbed_and_nothing_is_left";
    let Some(world) = World::start(test) else { return };
    let program = world.pipeline(&[]);

    // Before the first start: what it will create is not there, and that is no failure.
    let fresh = Probes::of(&program, "write", &[]);
    fresh.nothing_failed();
    says_something_of_every_action(&program, &fresh);
    let table = fresh.one("dynamodb leases", "dynamodb:DescribeTable");
    assert_eq!(table.outcome, "not_verified");
    assert!(table.why.contains("the first run creates it"), "{table:?}");
    assert!(world.objects().is_empty(), "{:?}", world.objects().keys());
    assert_eq!(world.rows("leases", "leaseKey"), None);
    assert_eq!(world.s3.proxy.uploads(), 0);
    assert!(!world.path("data").exists());

    let run = start(&program, world.folder(), &[]);
    let records: Vec<_> = (0..40).map(|i| (format!("k{i}"), format!("{{\"id\":{i}}}"))).collect();
    let put = |from: usize, to: usize| {
        let records: Vec<_> =
            records[from..to].iter().map(|(key, data)| (key.as_str(), data.as_bytes())).collect();
        world.kinesis.put(&records);
    };
    put(0, 20);
    wait_for("the first half", || delivered(&world) == 20);
    let leases = || world.rows("leases", "leaseKey").expect("the run has created it");
    assert_eq!(leases().len(), 2);
    let owner = || program.data("leases ls", &[])["leases"][0]["owner"].clone();
    let (held_by, sent) = (owner(), (world.kinesis.raw().len(), world.sqs.messages(&world.queue)));

    for level in ["connect", "read", "write"] {
        let probes = Probes::of(&program, level, &[]);
        probes.nothing_failed();
        says_something_of_every_action(&program, &probes);
        let verified = |connector: &str, actions: &[&str]| {
            assert_eq!(probes.verified(connector), actions, "{level}: {connector}");
        };
        let reads = level != "connect";
        let writes = level == "write";
        let and = |connect: &[&'static str], read: &[&'static str], write: &[&'static str]| {
            let read = if reads { read } else { &[] };
            let write = if writes { write } else { &[] };
            [connect, read, write].concat()
        };
        let directory = "create, sync, rename and delete";
        verified("data directory", &and(&["open directory"], &["read store"], &[directory]));
        verified(
            "dynamodb leases",
            &and(
                &["credentials", "dynamodb:DescribeTable"],
                &["dynamodb:Scan", "dynamodb:GetItem"],
                &["dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            ),
        );
        verified(
            "dynamodb ledger",
            &and(&["credentials", "dynamodb:DescribeTable"], &[], &["dynamodb:PutItem"]),
        );
        verified(
            "kinesis source `events`",
            &and(
                &["credentials", "kinesis:DescribeStreamSummary"],
                &["kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"],
                &[],
            ),
        );
        let written = |tags: bool| {
            let mut actions = vec!["s3:PutObject", "s3:PutObject with If-None-Match"];
            actions.extend(tags.then_some("s3:PutObjectTagging"));
            actions.extend(["s3:GetObject", "s3:PutObject in parts", "s3:AbortMultipartUpload"]);
            actions.push("s3:DeleteObject");
            actions
        };
        for (connector, tags) in [
            ("s3 of leases", false),
            ("s3 sink `zone`", true),
            ("s3 of dead letters", false),
            ("s3 of large dead letters", false),
        ] {
            let connect = ["credentials", "s3:ListBucket"];
            verified(connector, &and(&connect, &["s3:ListBucketMultipartUploads"], &written(tags)));
        }
        verified("kinesis sink `next`", &["credentials", "kinesis:DescribeStreamSummary"]);
        verified("firehose sink `fire`", &["credentials", "firehose:DescribeDeliveryStream"]);
        verified("sqs copies of dead letters", &["credentials", "sqs:GetQueueAttributes"]);
        for (connector, action) in [
            ("kinesis sink `next`", "kinesis:PutRecords"),
            ("firehose sink `fire`", "firehose:PutRecordBatch"),
            ("sqs copies of dead letters", "sqs:SendMessage"),
        ] {
            let sent = probes.one(connector, action);
            assert_eq!(sent.outcome, "not_verified");
            assert!(sent.why.contains("proves it"), "{sent:?}");
        }
        let first = |connector: &str| probes.all.iter().position(|it| it.connector == connector);
        assert!(first("data directory") < first("dynamodb leases"), "in the config's order");
        assert!(first("s3 sink `zone`") < first("kinesis sink `next`"));
    }
    let now = (world.kinesis.raw().len(), world.sqs.messages(&world.queue));
    assert_eq!(now, sent, "no record and no message was sent");
    let left: Vec<_> =
        world.objects().into_keys().filter(|it| it.contains("tidegate-probe")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(world.s3.proxy.uploads(), 0);
    assert!(leases().iter().all(|it| it.starts_with("shardId-")), "{:?}", leases());
    let entered = world.rows("ledger", "batch_id").expect("the run has created it");
    assert!(entered.iter().all(|it| it.contains("shardId-")), "{entered:?}");
    assert_eq!(owner(), held_by, "it has its leases still");

    put(20, 40);
    wait_for("the second half", || delivered(&world) == 40);
    stop(run);
    program.data("verify", &[]);
}

/// How many records lie in the zone.
fn delivered(world: &World) -> usize {
    let tree = world.s3.tree("out");
    tree.values().map(|it| it.iter().filter(|byte| **byte == b'\n').count()).sum()
}

#[test]
fn what_a_person_reads_has_a_line_for_each_action() {
    let test = "what_a_person_reads_has_a_line_for_each_action";
    let Some(world) = World::start(test) else { return };
    let program = world.pipeline(&[]);
    let text = program.text("check", &["--level", "write"]);
    for line in [
        "VERIFIED      s3 sink `zone`",
        "s3:PutObject with If-None-Match  s3://zone/out/_tidegate-probe: what is there is not \
         overwritten (412)",
        "NOT VERIFIED  kinesis sink `next`",
        "kinesis:PutRecords               next because only a record proves it",
        " verified, ",
        " failed\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = program.text("check", &["--level", "connect"]);
    assert!(!text.contains("_tidegate-probe") && text.contains("more actions"), "{text}");
}
