//! A ledger of ranges in Amazon DynamoDB: a row for each, that others query by shard and time.
//!
//! | attribute | type | |
//! |---|---|---|
//! | `batch_id` | S | the pipeline, the partition and the range's number; the table's key |
//! | `shard_id` | S | the partition; the index's key |
//! | `processed_at` | S | the batch time of the range; the index's sort key |
//! | `total`, `success`, `failed` | N | records read; those that are no dead letters; dead letters |
//! | `delivered`, `dropped`, `filtered` | N | what became of the successful ones |
//! | `partitions_count` | N | directories of the sinks that its objects lie in |
//! | `objects_count`, `objects_bytes` | N | |
//! | `start`, `end` | S | positions: `(start, end]` |
//! | `revision`, `generation` | N, S | which revision of the range, made by which plugins |
//! | `ttl` | N | when DynamoDB may delete the row, in seconds since 1970 |

mod probe;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, SdkError},
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
        KeyType, Projection, ProjectionType, ScalarAttributeType, TableStatus,
        TimeToLiveSpecification,
    },
};
use tidegate_core::{
    Position,
    checkpoint::StoreError,
    ledger::{BatchLedger, LedgerEntry},
};
use tokio::{sync::OnceCell, time::sleep};

use crate::aws::{
    AwsConfig, Io,
    dynamodb::{self, is},
};

/// The index by shard.
pub const BY_SHARD: &str = "shard_id-processed_at";

/// A range waits for its row: a call that hangs is better tried again.
const CALL_MAX: Duration = Duration::from_secs(10);

/// How often a table that is being made is looked at.
const CREATED_EVERY: Duration = Duration::from_millis(200);

const NEEDS: &str = "a ledger needs `dynamodb:PutItem` and `dynamodb:DescribeTable`, and \
                     `dynamodb:CreateTable` and `dynamodb:UpdateTimeToLive` to create the table";

/// A table, and how long its rows are kept.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The table's name.
    pub table: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// How long after its batch time a row may be deleted.
    pub time_to_live: Duration,
}

/// The ledger.
pub struct DynamoLedger {
    config: LedgerConfig,
    client: OnceCell<Client>,
    io: Io,
}

impl DynamoLedger {
    /// Opens the table; one that is not there is created where `create` says so.
    ///
    /// # Errors
    /// Where there is no such table, or where nobody answers.
    pub async fn open(config: LedgerConfig, create: bool) -> Result<Self, StoreError> {
        let ledger = DynamoLedger { config, client: OnceCell::new(), io: Io::here() };
        let (client, name) = (ledger.client().await, ledger.config.table.clone());
        ledger.run(make_sure(client, name, create)).await?;
        Ok(ledger)
    }

    async fn client(&self) -> Client {
        self.client.get_or_init(|| dynamodb::client(&self.config.aws, CALL_MAX)).await.clone()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        dynamodb::run(&self.io, work).await
    }
}

#[async_trait]
impl BatchLedger for DynamoLedger {
    async fn enter(&self, entry: LedgerEntry<'_>) -> Result<(), StoreError> {
        let manifest = entry.manifest;
        let (counts, batch_id) = (&manifest.counts, entry.batch_id());
        let text = |text: String| AttributeValue::S(text);
        let number = |number: u64| AttributeValue::N(number.to_string());
        let failed = counts.dead_lettered.records;
        let bytes = manifest.objects.iter().map(|it| it.bytes).sum();
        let kept = i64::try_from(self.config.time_to_live.as_secs()).unwrap_or(i64::MAX);
        let expires = (manifest.opened_at.0.div_euclid(1_000_000)).saturating_add(kept);
        let start = manifest.start.as_ref().map(|it| it.position);
        let place = |it: Option<Position>| it.map_or_else(String::new, |it| it.to_string());
        let put = self.client().await.put_item().table_name(&self.config.table);
        let put = put
            .item("batch_id", text(batch_id.clone()))
            .item("shard_id", text(entry.partition.to_string()))
            .item("processed_at", text(manifest.opened_at.to_string()))
            .item("total", number(counts.read.records))
            .item("success", number(counts.read.records - failed))
            .item("failed", number(failed))
            .item("delivered", number(counts.delivered.records))
            .item("dropped", number(counts.dropped.records))
            .item("filtered", number(counts.filtered.records))
            .item("partitions_count", number(entry.directories() as u64))
            .item("objects_count", number(manifest.objects.len() as u64))
            .item("objects_bytes", number(bytes))
            .item("start", text(place(start)))
            .item("end", text(manifest.end.position.to_string()))
            .item("revision", number(manifest.revision.into()))
            .item("generation", text(manifest.generation.to_string()))
            .item("ttl", AttributeValue::N(expires.to_string()))
            // What a host that is late writes of an earlier revision comes too late.
            .condition_expression("attribute_not_exists(#id) OR #revision <= :revision")
            .expression_attribute_names("#id", "batch_id")
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":revision", number(manifest.revision.into()));
        self.run(async move {
            match put.send().await {
                Err(error) if !is(&error, "ConditionalCheckFailedException") => {
                    let what = || format!("enter `{batch_id}` into the ledger");
                    Err(dynamodb::failed(what, NEEDS, error))
                }
                _ => Ok(()),
            }
        })
        .await
    }
}

/// Makes sure that the table is there, and creates it where that is asked for.
async fn make_sure(client: Client, name: String, create: bool) -> Result<(), StoreError> {
    let mut created = false;
    loop {
        match client.describe_table().table_name(&name).send().await {
            Ok(described) => {
                let status = described.table().and_then(|it| it.table_status());
                let is_there = matches!(status, Some(TableStatus::Active | TableStatus::Updating));
                if is_there && created {
                    return expire(&client, &name).await;
                }
                if is_there {
                    return Ok(());
                }
            }
            Err(error) if create && !created && is(&error, "ResourceNotFoundException") => {
                match create_table(&client, &name).await {
                    Ok(()) => created = true,
                    // Another host was faster.
                    Err(error) if is(&error, "ResourceInUseException") => {}
                    Err(error) => {
                        let what = || format!("create the table `{name}`");
                        return Err(dynamodb::failed(what, NEEDS, error));
                    }
                }
            }
            Err(error) => {
                let what = || format!("look for the table `{name}`");
                return Err(dynamodb::failed(what, NEEDS, error));
            }
        }
        sleep(CREATED_EVERY).await;
    }
}

/// Rows are deleted when their time is over.
async fn expire(client: &Client, name: &str) -> Result<(), StoreError> {
    let what = || format!("have rows of the table `{name}` expire");
    let expiry = TimeToLiveSpecification::builder().attribute_name("ttl").enabled(true).build();
    let expiry = expiry.map_err(SdkError::construction_failure);
    let expiry = match expiry {
        Ok(expiry) => expiry,
        Err(error) => return Err(dynamodb::failed::<CreateTableError>(what, NEEDS, error)),
    };
    let update = client.update_time_to_live().table_name(name).time_to_live_specification(expiry);
    update.send().await.map(drop).map_err(|error| dynamodb::failed(what, NEEDS, error))
}

async fn create_table(client: &Client, name: &str) -> Result<(), SdkError<CreateTableError>> {
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let attribute = |name: &str| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(ScalarAttributeType::S).build()
    };
    let built = || -> Result<_, BuildError> {
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        let by_shard = GlobalSecondaryIndex::builder()
            .index_name(BY_SHARD)
            .key_schema(key("shard_id", KeyType::Hash)?)
            .key_schema(key("processed_at", KeyType::Range)?)
            .projection(all);
        Ok(client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key("batch_id", KeyType::Hash)?)
            .attribute_definitions(attribute("batch_id")?)
            .attribute_definitions(attribute("shard_id")?)
            .attribute_definitions(attribute("processed_at")?)
            .global_secondary_indexes(by_shard.build()?))
    };
    built().map_err(SdkError::construction_failure)?.send().await.map(drop)
}
