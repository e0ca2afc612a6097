//! What is missing, refused, away or not what it should be: each is said with what to do about it.

use tidegate_tests::{kinesis, s3::proxy::Fault, server::free_address};

use super::world::{Probes, World};

#[test]
fn what_is_not_there_fails_by_its_name() {
    let Some(world) = World::start("what_is_not_there_fails_by_its_name") else { return };
    let ledger = "ledger: { table: ledger";
    let missing = "ledger: { create_table: false, table: none";
    for (replaced, connector, action, hint) in [
        (
            ("stream: events", "stream: none"),
            "kinesis source `events`",
            "kinesis:DescribeStreamSummary",
            "correct `stream`",
        ),
        (
            ("stream: next", "stream: none"),
            "kinesis sink `next`",
            "kinesis:DescribeStreamSummary",
            "correct `stream`",
        ),
        (
            ("stream: fire", "stream: none"),
            "firehose sink `fire`",
            "firehose:DescribeDeliveryStream",
            "correct `stream`",
        ),
        ((ledger, missing), "dynamodb ledger", "dynamodb:DescribeTable", "create_table: true"),
        (
            ("prefix: out", "prefix: out, bucket: none"),
            "s3 sink `zone`",
            "s3:ListBucket",
            "create the bucket",
        ),
        (
            ("/dead\n", "/none\n"),
            "sqs copies of dead letters",
            "sqs:GetQueueAttributes",
            "correct `queue`",
        ),
    ] {
        // A key of YAML is there once.
        let text = match replaced.0 {
            "prefix: out" => vec![("bucket: zone, prefix: out", "bucket: none, prefix: out")],
            _ => vec![replaced],
        };
        let probes = Probes::of(&world.pipeline(&text), "write", &[]);
        let failed = probes.only_failed(connector, action);
        assert!(failed.hint.contains(hint), "{failed:?}");
        let after = probes.all.iter().skip_while(|it| !std::ptr::eq(*it, failed)).skip(1);
        for later in after.filter(|it| it.connector == connector) {
            assert_eq!(later.outcome, "not_verified", "{later:?}");
        }
    }
    assert!(world.objects().is_empty());
}

#[test]
fn an_endpoint_that_is_away_costs_its_own_connector_and_no_others() {
    let test = "an_endpoint_that_is_away_costs_its_own_connector_and_no_others";
    let Some(world) = World::start(test) else { return };
    let (kinesis, nobody) = (world.kinesis.endpoint(), format!("http://{}", free_address()));
    let probes = Probes::of(&world.pipeline(&[(&kinesis, &nobody)]), "write", &[]);
    assert_eq!(probes.code, 4);
    let refused = probes.one("kinesis source `events`", "kinesis:DescribeStreamSummary");
    assert!(refused.hint.contains("nobody answers there"), "{refused:?}");
    assert!(refused.why.contains("refused"), "{refused:?}");
    assert_eq!(probes.failed().len(), 2, "the source and the sink: {:#?}", probes.failed());
    let zone = probes.one("s3 sink `zone`", "s3:PutObject with If-None-Match");
    assert_eq!(zone.outcome, "verified");

    // Somebody takes the connection, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!("http://{}", silent.local_addr().expect("it is bound"));
    let program = world.pipeline(&[(&kinesis, &silent)]);
    let probes = Probes::of(&program, "write", &["--timeout", "1s"]);
    let silent = probes.one("kinesis source `events`", "kinesis:DescribeStreamSummary");
    assert_eq!((silent.outcome.as_str(), silent.why.as_str()), ("failed", "no answer within 1 s"));
}

#[test]
fn a_refusal_fails_by_the_action_that_is_to_be_allowed() {
    let Some(world) = World::start("a_refusal_fails_by_the_action_that_is_to_be_allowed") else {
        return;
    };
    let program = world.pipeline(&[]);
    let denied = kinesis::proxy::Fault::Refused(400, "AccessDeniedException");
    for action in ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"] {
        // The sink describes a stream as well, and need not.
        world.kinesis.proxy.fail_next(action, &[denied, denied]);
        let probes = Probes::of(&program, "read", &[]);
        world.kinesis.proxy.forgive();
        let action = format!("kinesis:{action}");
        let failed = probes.only_failed("kinesis source `events`", &action);
        assert!(failed.hint.contains(&format!("allow the credentials `{action}`")), "{failed:?}");
        assert!(failed.why.contains("AccessDenied"), "{failed:?}");
    }
    // What the pipeline does not need may be refused.
    for (operation, connector, action) in [
        ("DescribeDeliveryStream", "firehose sink `fire`", "firehose:DescribeDeliveryStream"),
        ("GetQueueAttributes", "sqs copies of dead letters", "sqs:GetQueueAttributes"),
    ] {
        world.queues.deny(&[operation]);
        let probes = Probes::of(&program, "write", &[]);
        probes.nothing_failed();
        let unknown = probes.one(connector, action);
        assert!(unknown.why.contains("the pipeline does not need it"), "{unknown:?}");
    }
    world.queues.deny(&[]);
    for (operation, action) in [
        ("ListObjectsV2", "s3:ListBucket"),
        ("PutObject", "s3:PutObject"),
        ("GetObject", "s3:GetObject"),
        ("AbortMultipartUpload", "s3:AbortMultipartUpload"),
    ] {
        // Whichever of the places asks first.
        world.s3.proxy.fail_next(operation, &[Fault::Denied]);
        let probes = Probes::of(&program, "write", &[]);
        assert_eq!(probes.code, 4);
        let failed = probes.failed();
        assert_eq!(failed.len(), 1, "{failed:#?}");
        assert_eq!(failed[0].action, action);
        assert!(failed[0].hint.contains(&format!("`{action}`")), "{failed:?}");
    }
    assert!(world.objects().is_empty(), "{:?}", world.objects().keys());
}

#[test]
fn tables_that_refuse_or_know_no_conditions_fail_and_keep_nothing() {
    let test = "tables_that_refuse_or_know_no_conditions_fail_and_keep_nothing";
    let Some(world) = World::start(test) else { return };
    let program = world.pipeline(&[]);
    let run = tidegate_tests::running::start(&program, world.folder(), &[]);
    let rows = || (world.rows("leases", "leaseKey"), world.rows("ledger", "batch_id"));
    tidegate_tests::running::wait_for("two leases", || {
        rows().0.is_some_and(|it| it.len() == 2) && rows().1.is_some()
    });
    tidegate_tests::running::stop(run);
    for (operation, connector) in [
        ("Scan", "dynamodb leases"),
        ("GetItem", "dynamodb leases"),
        ("UpdateItem", "dynamodb leases"),
        ("DeleteItem", "dynamodb leases"),
        ("PutItem", "dynamodb ledger"),
    ] {
        world.tables.deny(&[operation]);
        let probes = Probes::of(&program, "write", &[]);
        let action = format!("dynamodb:{operation}");
        let failed = probes.only_failed(connector, &action);
        assert!(failed.hint.contains(&format!("allow the credentials `{action}`")), "{failed:?}");
    }
    world.tables.deny(&[]);
    world.tables.drop_conditions(true);
    let probes = Probes::of(&program, "write", &[]);
    world.tables.drop_conditions(false);
    for (connector, action) in
        [("dynamodb leases", "dynamodb:UpdateItem"), ("dynamodb ledger", "dynamodb:PutItem")]
    {
        let failed = probes.one(connector, action);
        assert!(failed.why.contains("although its condition does not hold"), "{failed:?}");
    }
    let (leases, entered) = rows();
    assert_eq!(leases.expect("it is there").len(), 2, "the row is gone again");
    assert_eq!(entered.expect("it is there").len(), 0);
}

#[test]
fn a_server_that_overwrites_is_found_out_and_what_can_not_be_deleted_is_named() {
    let test = "a_server_that_overwrites_is_found_out_and_what_can_not_be_deleted_is_named";
    let Some(world) = World::start(test) else { return };
    let program = world.pipeline(&[]);
    world.s3.proxy.overwrite(true);
    let probes = Probes::of(&program, "write", &[]);
    world.s3.proxy.overwrite(false);
    let fence = probes.one("s3 sink `zone`", "s3:PutObject with If-None-Match");
    assert_eq!(fence.outcome, "failed");
    assert!(fence.why.contains("named objects are not safe on it"), "{fence:?}");
    assert!(world.objects().is_empty(), "{:?}", world.objects().keys());

    // The policy that is printed lets a sink delete nothing.
    world.s3.proxy.fail_next("DeleteObject", &[Fault::Denied; 4]);
    let probes = Probes::of(&program, "write", &[]);
    let left = "s3://zone/out/_tidegate-probe";
    let delete = probes.one("s3 sink `zone`", "s3:DeleteObject");
    assert_eq!((delete.outcome.as_str(), delete.resource.as_str()), ("not_verified", left));
    assert!(delete.why.contains(left) && delete.why.contains("delete it"), "{delete:?}");
    // States that nobody needs any more are deleted by the pipeline itself.
    let states = probes.only_failed("s3 of leases", "s3:DeleteObject");
    assert!(states.hint.contains("`s3:DeleteObject`"), "{states:?}");
    assert_eq!(world.objects().len(), 4);
    assert!(world.objects().values().all(Vec::is_empty), "no reader takes them for data");

    // The next check leaves no further one, and what was left proves the fence.
    let probes = Probes::of(&program, "write", &[]);
    probes.nothing_failed();
    let fence = probes.one("s3 sink `zone`", "s3:PutObject with If-None-Match");
    assert_eq!(fence.outcome, "verified");
    let tags = probes.one("s3 sink `zone`", "s3:PutObjectTagging");
    assert!(tags.outcome == "not_verified" && tags.why.contains("delete it"), "{tags:?}");
    assert_eq!(world.objects().len(), 4);
}

#[test]
fn who_has_no_credentials_is_told_so_and_asks_nobody() {
    let Some(world) = World::start("who_has_no_credentials_is_told_so_and_asks_nobody") else {
        return;
    };
    let program = world
        .pipeline(&[])
        .with("AWS_ACCESS_KEY_ID", "")
        .with("AWS_SECRET_ACCESS_KEY", "")
        .with("HOME", world.folder());
    let probes = Probes::of(&program, "write", &["--timeout", "5s"]);
    let credentials = probes.one("s3 sink `zone`", "credentials");
    assert_eq!(credentials.outcome, "failed", "{credentials:?}");
    assert!(credentials.hint.contains("AWS_ACCESS_KEY_ID"), "{credentials:?}");
    assert!(probes.failed().iter().all(|it| it.action == "credentials"), "{:#?}", probes.failed());
    assert_eq!(world.s3.proxy.calls("ListObjectsV2"), 0);
    assert_eq!(world.tables.calls("DescribeTable"), 0);
}

#[test]
fn encryption_that_a_server_does_not_speak_of_fails() {
    let Some(world) = World::start("encryption_that_a_server_does_not_speak_of_fails") else {
        return;
    };
    // The embedded server takes the header, and says nothing of it.
    let zone = ("tags: { team: data }", "encryption: s3");
    let probes = Probes::of(&world.pipeline(&[zone]), "write", &[]);
    let failed = probes.only_failed("s3 sink `zone`", "s3:PutObject with SSE-S3");
    assert!(failed.why.contains("the server says nothing of it"), "{failed:?}");
    assert!(world.objects().is_empty());
}
