//! Probes of a table: what is written is refused, by a condition that never holds.

use std::error::Error;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{KeyType, TableStatus},
};

use super::is;
use crate::{
    aws::probe::unproven,
    probe::{
        Answer,
        ProbeLevel::{Connect, Write},
        Probes, Unproven,
    },
};

/// What to do where a table is not there.
pub(crate) const MISSING: &str =
    "create the table, say `create_table: true`, or correct `table` and `region`";

/// A condition that holds for no row: whoever may write is told that it does not.
pub(crate) const NEVER: &str = "attribute_exists(#key) AND attribute_not_exists(#key)";

/// Whether a table is there, with the key that its rows are found by. `creates` says whether the
/// pipeline would create it, and `expires` whether it would then let rows expire.
pub(crate) async fn table(
    probes: &mut Probes,
    client: &Client,
    (table, key): (&str, &str),
    creates: bool,
    expires: bool,
) -> Option<()> {
    let action = "dynamodb:DescribeTable";
    let describe = describe(client, table, key, creates);
    let there = probes.ask(Connect, action, table, describe).await;
    let why = match there {
        Some(()) => "the table is there: it is not asked for",
        None => "only a table that is created proves it",
    };
    if creates {
        probes.leave(Write, "dynamodb:CreateTable", table, why);
        if expires {
            probes.leave(Write, "dynamodb:UpdateTimeToLive", table, why);
        }
    }
    there
}

async fn describe(client: &Client, table: &str, key: &str, creates: bool) -> Answer<()> {
    let described = match client.describe_table().table_name(table).send().await {
        Err(error) if creates && is(&error, "ResourceNotFoundException") => {
            return Err(Unproven::unknown("the table is not there: the first run creates it"));
        }
        described => {
            described.map_err(|error| unproven("dynamodb:DescribeTable", MISSING, error))?
        }
    };
    let found = described.table.ok_or_else(|| Unproven::unknown("the answer is empty"))?;
    let schema = found.key_schema();
    let is_ours =
        matches!(schema, [one] if one.attribute_name() == key && *one.key_type() == KeyType::Hash);
    if !is_ours {
        let names: Vec<_> = schema.iter().map(|it| format!("`{}`", it.attribute_name())).collect();
        let why = format!("its key is {}, and not `{key}` alone", names.join(" and "));
        return Err(
            Unproven::failed(why, "name another table: this one is somebody else's").for_all()
        );
    }
    match found.table_status() {
        None | Some(TableStatus::Active | TableStatus::Updating) => {
            Ok(((), "the table is there".to_owned()))
        }
        Some(status) => {
            let why = format!("the table is there, and is {}", status.as_str().to_lowercase());
            Err(Unproven::failed(why, "wait until it is active"))
        }
    }
}

/// What it means how a write under [`NEVER`] has ended.
pub(crate) fn never<T, E>(action: &str, answer: Result<T, SdkError<E>>) -> Answer<()>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match answer {
        Err(error) if is(&error, "ConditionalCheckFailedException") => {
            Ok(((), "refused for its condition, which never holds: nothing is written".to_owned()))
        }
        Err(error) => Err(unproven(action, MISSING, error)),
        Ok(_) => Err(Unproven::failed(
            "it was done although its condition does not hold: nothing that rests on one is safe on this server",
            "use a server that knows conditions, as DynamoDB does",
        )),
    }
}
