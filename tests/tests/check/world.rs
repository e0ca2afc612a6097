//! The whole road on servers of this machine, and what a check says of it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use aws_sdk_firehose::types::ExtendedS3DestinationConfiguration;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use serde_json::Value;
use tidegate_tests::{
    dynamodb,
    kinesis::{Kinesis, REGION},
    program::Program,
    s3::{BUCKET, S3},
    server::{ServerProcess, with_credentials},
    sqs::{self, Sqs},
};

use super::gate::Gate;

/// What one action was found to be.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) connector: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) outcome: String,
    pub(crate) why: String,
    pub(crate) hint: String,
}

/// All that a check has found.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    pub(crate) code: i32,
    pub(crate) all: Vec<Probe>,
}

impl Probes {
    pub(crate) fn of(program: &Program, level: &str, more: &[&str]) -> Probes {
        let arguments = [&["--level", level], more].concat();
        let printed = program.run("check", &arguments);
        let probes = printed.json["data"]["probes"].as_array();
        let probes = probes.unwrap_or_else(|| panic!("{:#}\n{}", printed.json, printed.stderr));
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let all = probes.iter().map(|it| Probe {
            connector: text(it, "connector"),
            action: text(it, "action"),
            resource: text(it, "resource"),
            outcome: text(it, "outcome"),
            why: text(it, "why"),
            hint: text(it, "hint"),
        });
        Probes { code: printed.code, all: all.collect() }
    }

    /// The one finding of an action of a connector.
    #[track_caller]
    pub(crate) fn one(&self, connector: &str, action: &str) -> &Probe {
        let mut found =
            self.all.iter().filter(|it| it.connector == connector && it.action == action);
        match (found.next(), found.next()) {
            (Some(one), None) => one,
            _ => panic!("one finding of {connector}, {action}: {:#?}", self.all),
        }
    }

    pub(crate) fn failed(&self) -> Vec<&Probe> {
        self.all.iter().filter(|it| it.outcome == "failed").collect()
    }

    /// What was verified of a connector.
    pub(crate) fn verified(&self, connector: &str) -> Vec<&str> {
        let verified = |it: &&Probe| it.connector == connector && it.outcome == "verified";
        self.all.iter().filter(verified).map(|it| it.action.as_str()).collect()
    }

    /// Nothing has failed, and that is what the exit code says.
    #[track_caller]
    pub(crate) fn nothing_failed(&self) {
        assert!(self.failed().is_empty(), "{:#?}", self.failed());
        assert_eq!(self.code, 0);
    }

    /// One action of one connector has failed, and nothing else.
    #[track_caller]
    pub(crate) fn only_failed(&self, connector: &str, action: &str) -> &Probe {
        let failed = self.failed();
        assert_eq!(failed.len(), 1, "{failed:#?}");
        let one = self.one(connector, action);
        assert_eq!(one.outcome, "failed", "{one:?}");
        assert_eq!(self.code, 4);
        one
    }
}

/// Kinesis and S3 in this process, SQS and Firehose, and DynamoDB.
pub(crate) struct World {
    pub(crate) kinesis: Kinesis,
    pub(crate) s3: S3,
    pub(crate) sqs: Sqs,
    /// Before SQS and Firehose.
    pub(crate) queues: Gate,
    /// Before DynamoDB.
    pub(crate) tables: Gate,
    pub(crate) queue: String,
    dynamodb: aws_sdk_dynamodb::Client,
    folder: tempfile::TempDir,
    _process: ServerProcess,
}

impl World {
    /// A test that can't have it says so.
    pub(crate) fn start(test: &str) -> Option<World> {
        let Some(jars) = std::env::var_os("TIDEGATE_DYNAMODB_LOCAL").map(PathBuf::from) else {
            println!("SKIPPED: {test}: DynamoDB Local is absent, which needs Java and Maven");
            return None;
        };
        let sqs = Sqs::start(test)?;
        let (address, process) = dynamodb::start(&jars);
        let (kinesis, s3) = (Kinesis::start(2), S3::start());
        kinesis.run(async |client, _| {
            client.create_stream().stream_name("next").shard_count(1).send().await?;
            Ok(())
        });
        let upstream: SocketAddr =
            sqs.server.trim_start_matches("http://").parse().expect("an address");
        let queues = s3.block_on(Gate::start(upstream));
        let tables = s3.block_on(Gate::start(address));
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(
            aws_sdk_dynamodb::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .endpoint_url(format!("http://{address}"))
                .build(),
        );
        // Its first answer takes some seconds.
        s3.block_on(dynamodb.list_tables().send()).expect("the server answers");
        let queue = sqs.create("dead");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world =
            World { kinesis, s3, sqs, queues, tables, queue, dynamodb, folder, _process: process };
        world.create_firehose();
        Some(world)
    }

    fn create_firehose(&self) {
        let client = aws_sdk_firehose::Client::from_conf(
            aws_sdk_firehose::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .endpoint_url(&self.sqs.server)
                .build(),
        );
        let destination = ExtendedS3DestinationConfiguration::builder()
            .role_arn("arn:aws:iam::000000000000:role/firehose")
            .bucket_arn(format!("arn:aws:s3:::{}", sqs::BUCKET))
            .build()
            .expect("it says what it has to");
        let create = client.create_delivery_stream().delivery_stream_name("fire");
        let create = create.extended_s3_destination_configuration(destination);
        self.sqs.block_on(create.send()).expect("a fresh server");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The whole road, with some of its text replaced.
    pub(crate) fn pipeline(&self, replaced: &[(&str, &str)]) -> Program {
        let (kinesis, s3) = (self.kinesis.endpoint(), self.s3.endpoint());
        let (queues, tables) = (self.queues.endpoint(), self.tables.endpoint());
        let bucket = |prefix: &str| {
            format!(
                "bucket: {BUCKET}, prefix: {prefix}, region: {REGION}, endpoint: \"{s3}\", \
                 path_style: true"
            )
        };
        let mut text = format!(
            r#"
pipeline: probes
data_dir: ${{OUT}}/data
source:
  name: events
  kinesis: {{ stream: events, region: {REGION}, endpoint: "{kinesis}", poll_every: 200ms }}
leases:
  table: leases
  region: {REGION}
  endpoint: "{tables}"
  s3: {{ {} }}
ledger: {{ table: ledger, region: {REGION}, endpoint: "{tables}" }}
sinks:
  - {{ name: zone, s3: {{ {}, tags: {{ team: data }} }} }}
  - {{ name: next, kinesis: {{ stream: next, region: {REGION}, endpoint: "{kinesis}" }} }}
  - {{ name: fire, firehose: {{ stream: fire, region: {REGION}, endpoint: "{queues}" }} }}
dead_letters:
  s3: {{ {} }}
  copy_to:
    sqs:
      queue: {}
      region: {REGION}
      endpoint: "{queues}"
      offload: {{ {} }}
range: {{ age: 200ms }}
retry: {{ delay_first: 20ms, delay_max: 500ms }}
"#,
            bucket("leases"),
            bucket("out"),
            bucket("dead"),
            self.queue,
            bucket("large"),
        );
        for (from, to) in replaced {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let file = self.path("pipeline.yaml");
        fs::write(&file, text).expect("room for the pipeline");
        with_credentials(Program::new(&file).with("OUT", self.folder.path()))
    }

    /// The keys of a table's rows; none where there is no such table.
    pub(crate) fn rows(&self, table: &str, key: &str) -> Option<Vec<String>> {
        let rows = self.dynamodb.scan().table_name(table).consistent_read(true).send();
        let rows = self.s3.block_on(rows).ok()?;
        let key = |row: &std::collections::HashMap<_, aws_sdk_dynamodb::types::AttributeValue>| {
            row[key].as_s().expect("a text").clone()
        };
        Some(rows.items().iter().map(key).collect())
    }

    /// Everything below the prefixes of the bucket.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let prefixes = ["leases", "out", "dead", "large"].into_iter();
        let trees = prefixes.flat_map(|prefix| {
            let tree = self.s3.tree(prefix).into_iter();
            tree.map(move |(key, content)| (format!("{prefix}/{key}"), content))
        });
        trees.collect()
    }
}
