//! Probes of the ledger's table. No row is written.

use aws_sdk_dynamodb::{Client, types::AttributeValue};

use super::{DynamoLedger, LedgerConfig};
use crate::{
    aws::{
        dynamodb::{
            self,
            probe::{NEVER, never, table},
        },
        probe::credentials,
    },
    probe::{Answer, PROBE_NAME, ProbeLevel::Write, Probed, Probes, Probing, given},
};

/// What a row is found by.
const KEY: &str = "batch_id";

impl DynamoLedger {
    /// What of a ledger's table works from here. `create_table` says whether a run would create it.
    pub async fn probe(config: &LedgerConfig, create_table: bool, probing: Probing) -> Vec<Probed> {
        let LedgerConfig { table: name, aws, .. } = config;
        let mut probes = Probes::new(probing);
        credentials(&mut probes, aws).await;
        let client = dynamodb::client(aws, probing.call_max()).await;
        let there = table(&mut probes, &client, (name, KEY), create_table, true).await;
        probes.ask(Write, "dynamodb:PutItem", name, put(&client, name, there)).await;
        probes.found()
    }
}

async fn put(client: &Client, table: &str, there: Option<()>) -> Answer<()> {
    given(there, "dynamodb:DescribeTable")?;
    let key = || AttributeValue::S(PROBE_NAME.to_owned());
    let put = client.put_item().table_name(table).item(KEY, key()).condition_expression(NEVER);
    let answer = put.expression_attribute_names("#key", KEY).send().await;
    if answer.is_ok() {
        // A server that knows no conditions. What it makes of this is said below in any case.
        let _ = client.delete_item().table_name(table).key(KEY, key()).send().await;
    }
    never("dynamodb:PutItem", answer)
}
