//! Probes of a table of leases. No lease is taken, and no row written.

use aws_sdk_dynamodb::{Client, types::AttributeValue};

use super::{LeaseConfig, LeaseStore, row::Row};
use crate::{
    aws::{
        dynamodb::{
            self,
            probe::{MISSING, NEVER, never, table},
        },
        probe::{credentials, unproven},
    },
    probe::{
        Answer, PROBE_NAME,
        ProbeLevel::{Read, Write},
        Probed, Probes, Probing, Unproven, given, in_full,
    },
};

/// What a row is found by.
const KEY: &str = "leaseKey";

impl LeaseStore {
    /// What of a table of leases works from here. Creates none.
    pub async fn probe(config: &LeaseConfig, probing: Probing) -> Vec<Probed> {
        let LeaseConfig { table: name, aws, create_table, expires_after, .. } = config;
        let mut probes = Probes::new(probing);
        credentials(&mut probes, aws).await;
        let client = dynamodb::client(aws, probing.call_max()).await;
        let expires = expires_after.is_some();
        let there = table(&mut probes, &client, (name, KEY), *create_table, expires).await;
        probes.ask(Read, "dynamodb:Scan", name, scan(&client, name, there)).await;
        probes.ask(Read, "dynamodb:GetItem", name, get(&client, name, there)).await;
        probes.ask(Write, "dynamodb:UpdateItem", name, update(&client, name, there)).await;
        probes.ask(Write, "dynamodb:DeleteItem", name, delete(&client, name, there)).await;
        probes.found()
    }
}

/// The first page.
async fn scan(client: &Client, table: &str, there: Option<()>) -> Answer<()> {
    given(there, "dynamodb:DescribeTable")?;
    let page = client.scan().table_name(table).consistent_read(true).send().await;
    let page = page.map_err(|error| unproven("dynamodb:Scan", MISSING, error))?;
    let rows = page.items().iter().map(Row::read).collect::<Result<Vec<_>, _>>();
    let hint = "a table of leases is one pipeline's: name another one, or have the row mended";
    let rows = rows.map_err(|error| Unproven::failed(in_full(&error), hint))?;
    let leases = rows.iter().flatten().count();
    let more = if page.last_evaluated_key().is_some() { " on the first page" } else { "" };
    Ok(((), format!("{leases} leases{more}")))
}

fn key() -> AttributeValue {
    AttributeValue::S(PROBE_NAME.to_owned())
}

async fn get(client: &Client, table: &str, there: Option<()>) -> Answer<()> {
    given(there, "dynamodb:DescribeTable")?;
    let get = client.get_item().table_name(table).key(KEY, key()).consistent_read(true);
    get.send().await.map_err(|error| unproven("dynamodb:GetItem", MISSING, error))?;
    Ok(((), String::new()))
}

async fn update(client: &Client, table: &str, there: Option<()>) -> Answer<()> {
    given(there, "dynamodb:DescribeTable")?;
    let update = client.update_item().table_name(table).key(KEY, key());
    let update = update.update_expression("SET #probe = :probe").condition_expression(NEVER);
    let update = update
        .expression_attribute_names("#key", KEY)
        .expression_attribute_names("#probe", "tgProbe")
        .expression_attribute_values(":probe", AttributeValue::Bool(true));
    never("dynamodb:UpdateItem", update.send().await)
}

/// Comes after the update: a server that knows no conditions deletes by it what it should not have
/// written.
async fn delete(client: &Client, table: &str, there: Option<()>) -> Answer<()> {
    given(there, "dynamodb:DescribeTable")?;
    let delete = client.delete_item().table_name(table).key(KEY, key());
    let delete = delete.condition_expression(NEVER).expression_attribute_names("#key", KEY);
    never("dynamodb:DeleteItem", delete.send().await)
}
