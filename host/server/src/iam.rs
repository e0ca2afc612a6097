//! What a pipeline's credentials must be allowed in AWS, and nothing beyond.
//!
//! Each service's statements stand here, beside each other: a policy is read by the people who grant
//! it. Roles are assumed by the credentials of the environment, so each gets a policy of its own.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{
    AwsRole, Config, CopyTo, Encryption, Firehose, Kinesis, KinesisSink, Leases, Ledger,
    PayloadEncryption, S3, S3Source, Sqs,
};

/// Who needs what.
#[derive(Debug, Serialize)]
pub(crate) struct Policy {
    /// The role that is assumed; the credentials of the environment, where there is none.
    pub(crate) role: Option<String>,
    /// A policy document.
    pub(crate) policy: Value,
}

/// One thing that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    /// What it is for: the statement's id.
    purpose: &'static str,
    actions: Vec<&'static str>,
    resource: String,
}

/// The policies of a pipeline, those of the environment's credentials first. `account` stands in
/// names that the config does not spell out.
pub(crate) fn policies(config: &Config, account: &str) -> Vec<Policy> {
    let mut needs = Needs { account, of: BTreeMap::new() };
    if let Some(kinesis) = &config.source.kinesis {
        needs.kinesis(kinesis);
    }
    if let Some(s3) = &config.source.s3 {
        needs.s3_source(s3);
    }
    if let Some(leases) = &config.leases {
        needs.leases(leases, config.source.s3.is_some());
    }
    if let Some(ledger) = &config.ledger {
        needs.ledger(ledger);
    }
    for sink in &config.sinks {
        if let Some(s3) = &sink.s3 {
            needs.s3(s3);
        }
        if let Some(firehose) = &sink.firehose {
            needs.firehose(firehose);
        }
        if let Some(kinesis) = &sink.kinesis {
            needs.kinesis_sink(kinesis);
        }
    }
    if let Some(s3) = &config.dead_letters.s3 {
        needs.s3(s3);
    }
    if let Some(CopyTo::Sqs(sqs)) = &config.dead_letters.copy_to {
        needs.sqs(sqs);
    }
    needs.of.into_iter().map(|(role, grants)| Policy { role, policy: document(grants) }).collect()
}

/// By the role that is assumed.
struct Needs<'a> {
    account: &'a str,
    of: BTreeMap<Option<String>, Vec<Grant>>,
}

impl Needs<'_> {
    fn grant(
        &mut self,
        role: Option<&AwsRole>,
        purpose: &'static str,
        actions: &[&'static str],
        resource: String,
    ) {
        if let Some(role) = role {
            let assume = Grant {
                purpose: "AssumeRole",
                actions: vec!["sts:AssumeRole"],
                resource: role.arn.clone(),
            };
            push_new(self.of.entry(None).or_default(), assume);
        }
        let grants = self.of.entry(role.map(|role| role.arn.clone())).or_default();
        push_new(grants, Grant { purpose, actions: actions.to_vec(), resource });
    }

    /// The ARN of something in a region that the config names, or in any.
    fn arn(&self, service: &str, region: Option<&str>, resource: &str) -> String {
        let partition = partition(region);
        let region = region.unwrap_or("*");
        format!("arn:{partition}:{service}:{region}:{}:{resource}", self.account)
    }

    fn kinesis(&mut self, kinesis: &Kinesis) {
        let Kinesis { stream, region, role, consumer, .. } = kinesis;
        let stream = self.stream(stream, region.as_deref());
        if let Some(consumer) = consumer {
            let is_arn = consumer.starts_with("arn:");
            let arn = match is_arn {
                true => consumer.clone(),
                false => format!("{stream}/consumer/{consumer}:*"),
            };
            let actions = ["kinesis:SubscribeToShard", "kinesis:DescribeStreamConsumer"];
            self.grant(role.as_ref(), "ReadAsConsumer", &actions, arn);
            if !is_arn {
                // A consumer that is not there yet is none to be named.
                let actions = ["kinesis:DescribeStreamConsumer", "kinesis:RegisterStreamConsumer"];
                self.grant(role.as_ref(), "RegisterConsumer", &actions, stream.clone());
            }
        }
        let actions = [
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
        ];
        self.grant(role.as_ref(), "ReadStream", &actions, stream);
        if let Some(encryption) = &kinesis.encryption {
            self.payload_encryption(encryption);
        }
    }

    fn payload_encryption(&mut self, encryption: &PayloadEncryption) {
        let PayloadEncryption { keys, discovery, role, .. } = encryption;
        let found = discovery.iter().flat_map(|it| {
            let of_region = move |region| {
                let key =
                    move |account| format!("arn:{}:kms:{region}:{account}:key/*", it.partition);
                it.accounts.iter().map(key)
            };
            it.regions.iter().flat_map(of_region)
        });
        for key in keys.iter().cloned().chain(found) {
            self.grant(role.as_ref(), "DecryptPayloads", &["kms:Decrypt"], key);
        }
    }

    fn ledger(&mut self, ledger: &Ledger) {
        let Ledger { table, region, role, create_table, .. } = ledger;
        let table = self.arn("dynamodb", region.as_deref(), &format!("table/{table}"));
        let actions = ["dynamodb:DescribeTable", "dynamodb:PutItem"];
        self.grant(role.as_ref(), "EnterRanges", &actions, table.clone());
        if *create_table {
            let actions = ["dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"];
            self.grant(role.as_ref(), "CreateLedger", &actions, table);
        }
    }

    fn leases(&mut self, leases: &Leases, expire: bool) {
        let Leases { table, region, role, create_table, s3, .. } = leases;
        let table = self.arn("dynamodb", region.as_deref(), &format!("table/{table}"));
        let actions = [
            "dynamodb:DeleteItem",
            "dynamodb:DescribeTable",
            "dynamodb:GetItem",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
        ];
        self.grant(role.as_ref(), "ShareLeases", &actions, table.clone());
        if *create_table {
            let actions: &[_] = match expire {
                true => &["dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"],
                false => &["dynamodb:CreateTable"],
            };
            self.grant(role.as_ref(), "CreateTable", actions, table);
        }
        if let Some(s3) = s3 {
            let objects = self.s3(s3);
            // States that nobody needs any more go.
            self.grant(s3.role.as_ref(), "DeleteStates", &["s3:DeleteObject"], objects);
        }
    }

    fn kinesis_sink(&mut self, kinesis: &KinesisSink) {
        let KinesisSink { stream, region, role, .. } = kinesis;
        let stream = self.stream(stream, region.as_deref());
        self.grant(role.as_ref(), "WriteStream", &["kinesis:PutRecords"], stream);
    }

    /// The ARN of a stream, which the config may have instead of its name.
    fn stream(&self, stream: &str, region: Option<&str>) -> String {
        match stream.starts_with("arn:") {
            true => stream.to_owned(),
            false => self.arn("kinesis", region, &format!("stream/{stream}")),
        }
    }

    fn sqs(&mut self, sqs: &Sqs) {
        let Sqs { queue, region, role, offload, .. } = sqs;
        let queue = queue_arn(queue, region.as_deref());
        self.grant(role.as_ref(), "SendToQueue", &["sqs:SendMessage"], queue);
        if let Some(s3) = offload {
            self.s3(s3);
        }
    }

    fn s3_source(&mut self, s3: &S3Source) {
        let S3Source { queue, bucket, prefix, suffix, role, .. } = s3;
        let (role, aws) = (role.as_ref(), s3.queue_aws());
        let queue = queue_arn(queue, aws.region);
        let actions = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"];
        self.grant(role, "ReceiveFromQueue", &actions, queue);
        let bucket = match bucket.starts_with("arn:") {
            true => bucket.clone(),
            false => format!("arn:{}:s3:::{bucket}", partition(s3.region.as_deref())),
        };
        let objects = if bucket.contains(":accesspoint/") { "/object" } else { "" };
        let objects = format!("{bucket}{objects}/{prefix}*{suffix}");
        self.grant(role, "ReadObjects", &["s3:GetObject", "s3:GetObjectVersion"], objects);
        // Without it what is gone looks like what may not be read.
        self.grant(role, "SeeWhatIsGone", &["s3:ListBucket"], bucket);
    }

    fn firehose(&mut self, firehose: &Firehose) {
        let Firehose { stream, region, role, .. } = firehose;
        let stream = self.arn("firehose", region.as_deref(), &format!("deliverystream/{stream}"));
        self.grant(role.as_ref(), "PutToFirehose", &["firehose:PutRecordBatch"], stream);
    }

    /// Gives the ARN of the objects.
    fn s3(&mut self, s3: &S3) -> String {
        let S3 { bucket, prefix, region, role, tags, encryption, .. } = s3;
        let bucket = match bucket.starts_with("arn:") {
            true => bucket.clone(),
            false => format!("arn:{}:s3:::{bucket}", partition(region.as_deref())),
        };
        // An access point has its objects below a word of their own.
        let objects = if bucket.contains(":accesspoint/") { "/object" } else { "" };
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        let objects = format!("{bucket}{objects}{prefix}/*");
        let role = role.as_ref();
        let on_objects = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"];
        self.grant(role, "WriteObjects", &on_objects, objects.clone());
        if !tags.is_empty() {
            self.grant(role, "TagObjects", &["s3:PutObjectTagging"], objects.clone());
        }
        let on_bucket = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];
        self.grant(role, "ListBucket", &on_bucket, bucket);
        if let Encryption::Kms(kms) = encryption {
            let actions = ["kms:Decrypt", "kms:GenerateDataKey"];
            let key = match &kms.key {
                Some(key) if key.starts_with("arn:") => key.clone(),
                // An alias is no resource of a policy, and the account's own key has no name here.
                Some(key) if !key.starts_with("alias/") => {
                    self.arn("kms", region.as_deref(), &format!("key/{key}"))
                }
                _ => self.arn("kms", region.as_deref(), "key/*"),
            };
            self.grant(role, "EncryptObjects", &actions, key);
        }
        objects
    }
}

/// Statements of the same purpose are one, over all of their resources.
fn document(grants: Vec<Grant>) -> Value {
    let mut statements: BTreeMap<(&str, Vec<&str>), Vec<String>> = BTreeMap::new();
    for Grant { purpose, actions, resource } in grants {
        push_new(statements.entry((purpose, actions)).or_default(), resource);
    }
    let statement = |((purpose, actions), mut resources): ((&str, Vec<&str>), Vec<String>)| {
        resources.sort();
        json!({ "Sid": purpose, "Effect": "Allow", "Action": actions, "Resource": resources })
    };
    let statements: Vec<Value> = statements.into_iter().map(statement).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The ARN of a queue, whose URL ends with its account and its name.
fn queue_arn(url: &str, region: Option<&str>) -> String {
    let mut parts = url.rsplit('/');
    let (name, account) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
    let partition = partition(region);
    format!("arn:{partition}:sqs:{}:{account}:{name}", region.unwrap_or("*"))
}

/// The part of AWS that a region is in.
fn partition(region: Option<&str>) -> &'static str {
    match region {
        Some(region) if region.starts_with("cn-") => "aws-cn",
        Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// A policy as a resource of Terraform.
pub(crate) fn terraform(pipeline: &str, place: usize, policy: &Policy) -> String {
    let word = |it: char| if it.is_ascii_alphanumeric() { it } else { '_' };
    let suffix = if place == 0 { String::new() } else { format!("-{place}") };
    let name = format!("tidegate-{pipeline}{suffix}");
    let label: String = name.chars().map(word).collect();
    // What Terraform would take for a template is text.
    let document = format!("{:#}", policy.policy).replace("${", "$${").replace("%{", "%%{");
    let document = document.replace('\n', "\n  ");
    let whose = match &policy.role {
        None => "the credentials that the program is started with".to_owned(),
        Some(role) => role.clone(),
    };
    format!(
        "# For {whose}.\nresource \"aws_iam_policy\" \"{label}\" {{\n  name   = \"{name}\"\n  policy = \
         jsonencode({document})\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::{config, finding::SourceFile};

    fn config(text: &str) -> Config {
        let file = SourceFile { path: PathBuf::from("pipeline.yaml"), text: Arc::from(text) };
        config::parse(file, &|_| None).expect("the config is sound").config
    }

    const ROAD: &str = "
pipeline: orders
source: { kinesis: { stream: orders, region: eu-west-1 } }
leases:
  table: orders
  region: eu-west-1
  s3: { bucket: company, prefix: leases, region: eu-west-1 }
sinks:
  - { name: raw, zone: raw, s3: { bucket: company, prefix: raw, region: eu-west-1 } }
  - name: processed
    s3:
      bucket: company
      prefix: processed/
      region: eu-west-1
      tags: { team: data }
      encryption: { kms: { key: 1234abcd } }
  - name: others
    firehose:
      stream: copies
      region: cn-north-1
      role: { arn: 'arn:aws-cn:iam::222222222222:role/copies' }
  - { name: next, kinesis: { stream: 'arn:aws:kinesis:eu-west-1:333333333333:stream/next' } }
dead_letters:
  s3: { bucket: company, prefix: dead, region: eu-west-1 }
  copy_to:
    sqs:
      queue: 'https://sqs.eu-west-1.amazonaws.com/444444444444/dead'
      region: eu-west-1
      offload: { bucket: company, prefix: large, region: eu-west-1 }
";

    #[test]
    fn each_service_gets_what_it_takes_and_each_role_its_own() {
        let policies = policies(&config(ROAD), "111111111111");
        let found = serde_json::to_value(&policies).expect("policies are JSON");
        let allow = |sid: &str, actions: &[&str], resources: &[&str]| json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources });
        let bucket = "arn:aws:s3:::company";
        let below = |prefix: &str| format!("{bucket}/{prefix}/*");
        let own = json!([
            allow("AssumeRole", &["sts:AssumeRole"], &["arn:aws-cn:iam::222222222222:role/copies"]),
            allow(
                "CreateTable",
                &["dynamodb:CreateTable"],
                &["arn:aws:dynamodb:eu-west-1:111111111111:table/orders"],
            ),
            allow("DeleteStates", &["s3:DeleteObject"], &[&below("leases")]),
            allow(
                "EncryptObjects",
                &["kms:Decrypt", "kms:GenerateDataKey"],
                &["arn:aws:kms:eu-west-1:111111111111:key/1234abcd"],
            ),
            allow("ListBucket", &["s3:ListBucket", "s3:ListBucketMultipartUploads"], &[bucket]),
            allow(
                "ReadStream",
                &[
                    "kinesis:DescribeStreamSummary",
                    "kinesis:GetRecords",
                    "kinesis:GetShardIterator",
                    "kinesis:ListShards",
                ],
                &["arn:aws:kinesis:eu-west-1:111111111111:stream/orders"],
            ),
            allow(
                "SendToQueue",
                &["sqs:SendMessage"],
                &["arn:aws:sqs:eu-west-1:444444444444:dead"],
            ),
            allow(
                "ShareLeases",
                &[
                    "dynamodb:DeleteItem",
                    "dynamodb:DescribeTable",
                    "dynamodb:GetItem",
                    "dynamodb:Scan",
                    "dynamodb:UpdateItem",
                ],
                &["arn:aws:dynamodb:eu-west-1:111111111111:table/orders"],
            ),
            allow("TagObjects", &["s3:PutObjectTagging"], &[&below("processed")]),
            allow(
                "WriteObjects",
                &["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
                &["dead", "large", "leases", "processed", "raw"]
                    .map(below)
                    .each_ref()
                    .map(|it| &**it),
            ),
            allow(
                "WriteStream",
                &["kinesis:PutRecords"],
                &["arn:aws:kinesis:eu-west-1:333333333333:stream/next"],
            ),
        ]);
        let of_role = json!([allow(
            "PutToFirehose",
            &["firehose:PutRecordBatch"],
            &["arn:aws-cn:firehose:cn-north-1:111111111111:deliverystream/copies"],
        )]);
        let role = "arn:aws-cn:iam::222222222222:role/copies";
        let expected = json!([
            { "role": null, "policy": { "Version": "2012-10-17", "Statement": own } },
            { "role": role, "policy": { "Version": "2012-10-17", "Statement": of_role } },
        ]);
        assert_eq!(found, expected, "{found:#}");
    }

    #[test]
    fn a_source_of_objects_may_read_below_its_prefix_and_take_from_its_queue() {
        let text = "
pipeline: inbox
source:
  s3:
    queue: 'https://sqs.eu-west-1.amazonaws.com/444444444444/inbox'
    bucket: company
    prefix: in/
    suffix: .jsonl.gz
    region: eu-west-1
sinks: [{ name: out, blackhole: {} }]
dead_letters: { directory: dead }
";
        let policies = policies(&config(text), "111111111111");
        let found = serde_json::to_value(&policies).expect("policies are JSON");
        let statements = found[0]["policy"]["Statement"].as_array().expect("a list");
        let resources: Vec<_> = statements
            .iter()
            .map(|it| (it["Sid"].as_str().unwrap_or_default(), &it["Resource"][0]))
            .collect();
        assert_eq!(
            resources,
            [
                ("ReadObjects", &json!("arn:aws:s3:::company/in/*.jsonl.gz")),
                ("ReceiveFromQueue", &json!("arn:aws:sqs:eu-west-1:444444444444:inbox")),
                ("SeeWhatIsGone", &json!("arn:aws:s3:::company")),
            ]
        );
    }

    #[test]
    fn terraform_takes_nothing_of_a_policy_for_a_template() {
        let policy = Policy { role: None, policy: json!({ "Resource": "a/${aws:username}/%{x}" }) };
        let text = terraform("my.orders", 1, &policy);
        assert!(text.contains("\"a/$${aws:username}/%%{x}\""), "{text}");
        let head = "# For the credentials that the program is started with.\nresource \
                    \"aws_iam_policy\" \"tidegate_my_orders_1\" {\n  name   = \"tidegate-my.orders-1\"\n  \
                    policy = jsonencode({";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("})\n}\n"), "{text}");
    }

    #[test]
    fn a_pipeline_of_files_needs_nothing() {
        let text = "pipeline: files\nsource: { stdin: {} }\nsinks: [{ name: out, blackhole: {} \
                    }]\ndead_letters: { directory: dead }\n";
        assert!(policies(&config(text), "*").is_empty());
    }

    #[test]
    fn payloads_are_decrypted_by_the_keys_that_are_named_and_no_others() {
        let text = "
pipeline: orders
source:
  kinesis:
    stream: orders
    region: eu-west-1
    encryption:
      keys: ['arn:aws:kms:eu-west-1:111111111111:key/1234abcd']
      discovery: { accounts: ['222222222222'], regions: [eu-west-2] }
      role: { arn: 'arn:aws:iam::222222222222:role/reader' }
sinks: [{ name: out, directory: { path: out } }]
dead_letters: { directory: dead }
";
        let policies = policies(&config(text), "111111111111");
        let reader = policies.iter().find(|it| it.role.is_some()).expect("the role has a policy");
        let expected = json!([{
            "Sid": "DecryptPayloads", "Effect": "Allow", "Action": ["kms:Decrypt"],
            "Resource": ["arn:aws:kms:eu-west-1:111111111111:key/1234abcd",
                         "arn:aws:kms:eu-west-2:222222222222:key/*"],
        }]);
        assert_eq!(reader.policy["Statement"], expected);
    }
}
