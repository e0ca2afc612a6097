//! What a policy names and what a check asks for don't drift apart.

use std::{collections::BTreeSet, fs};

use tidegate_tests::{program::Program, server::with_credentials};

use super::world::Probes;

/// Something is said of every action that the printed policy allows.
#[track_caller]
pub(crate) fn says_something_of_every_action(program: &Program, probes: &Probes) {
    let policies = program.data("iam print", &[]);
    let statements = policies["policies"].as_array().expect("a list").iter();
    let statements =
        statements.flat_map(|it| it["policy"]["Statement"].as_array().expect("a list"));
    let actions = statements.flat_map(|it| it["Action"].as_array().expect("a list"));
    let allowed: BTreeSet<_> = actions.filter_map(|it| it.as_str()).collect();
    assert!(!allowed.is_empty());
    let word = |action: &str| action.split(' ').next().unwrap_or_default().to_owned();
    let asked: BTreeSet<_> = probes.all.iter().map(|it| word(&it.action)).collect();
    let missing: Vec<_> = allowed.iter().filter(|it| !asked.contains(**it)).collect();
    assert!(missing.is_empty(), "nothing is said of {missing:?}");
}

/// Where nobody listens.
const AWAY: &str = "region: eu-west-1, endpoint: 'http://127.0.0.1:1'";

fn every_sink() -> String {
    format!(
        r#"
pipeline: all
data_dir: data
leases:
  table: leases
  {}
  s3: {{ bucket: company, prefix: leases, {AWAY} }}
ledger: {{ table: ledger, {AWAY} }}
sinks:
  - name: zone
    s3: {{ bucket: company, prefix: zone, tags: {{ a: b }}, encryption: {{ kms: {{ key: 1234abcd }} }}, {AWAY} }}
  - {{ name: next, kinesis: {{ stream: next, partition_key: '@record-id', {AWAY} }} }}
  - {{ name: fire, firehose: {{ stream: fire, {AWAY}, role: {{ arn: 'arn:aws:iam::1:role/fire' }} }} }}
dead_letters:
  s3: {{ bucket: company, prefix: dead, {AWAY} }}
  copy_to:
    sqs:
      queue: 'http://127.0.0.1:1/1/dead'
      {}
      offload: {{ bucket: company, prefix: large, {AWAY} }}
"#,
        AWAY.replace(", ", "\n  "),
        AWAY.replace(", ", "\n      "),
    )
}

#[test]
fn of_each_action_of_a_policy_something_is_said_though_nobody_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pipeline.yaml");
    for source in [
        format!(
            "source: {{ kinesis: {{ stream: in, consumer: fan, {AWAY}, encryption: {{ keys: \
             ['arn:aws:kms:eu-west-1:111122223333:key/1'], discovery: {{ accounts: \
             ['444455556666'], regions: [eu-west-1] }} }} }} }}\n"
        ),
        format!(
            "source: {{ s3: {{ queue: 'http://127.0.0.1:1/1/in', bucket: inbox, queue_endpoint: \
             'http://127.0.0.1:1', {AWAY} }}, ndjson: {{}} }}\n"
        ),
    ] {
        fs::write(&file, every_sink() + &source).expect("room for the pipeline");
        // Neither is the role assumed by anybody.
        let program = with_credentials(Program::new(&file))
            .with("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
            .with("AWS_MAX_ATTEMPTS", "1");
        for level in ["connect", "write"] {
            let probes = Probes::of(&program, level, &["--timeout", "3s"]);
            assert_eq!(probes.code, 4);
            says_something_of_every_action(&program, &probes);
            let role = probes.one("firehose sink `fire`", "sts:AssumeRole");
            assert_eq!(role.outcome, "failed", "{role:?}");
        }
    }
}
