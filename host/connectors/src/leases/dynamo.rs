//! The table in Amazon DynamoDB: one call at a time, each conditional where it writes, and what their
//! failures mean.

use std::{collections::HashMap, error::Error, fmt::Write as _, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::UpdateItemError,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValue,
        ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus,
        TimeToLiveSpecification,
    },
};
use tidegate_core::{checkpoint::StoreError, source::PartitionId};
use tokio::{sync::OnceCell, time::sleep};

use super::{
    row::{EXPIRES, Row, SHARD_END},
    table::{Change, Condition, LeaseTable, Written},
};
use crate::aws::{
    AwsConfig, Io,
    dynamodb::{self, is},
};

/// Well below any time after which a lease expires: a call that hangs must not cost the lease.
const CALL_MAX: Duration = Duration::from_secs(3);

/// How often a table that is being made is looked at.
const CREATED_EVERY: Duration = Duration::from_millis(200);

/// A table of leases in DynamoDB.
pub(super) struct DynamoTable {
    name: String,
    aws: AwsConfig,
    client: OnceCell<Client>,
    io: Io,
}

impl DynamoTable {
    pub(super) fn new(name: String, aws: AwsConfig) -> Self {
        DynamoTable { name, aws, client: OnceCell::new(), io: Io::here() }
    }

    async fn client(&self) -> Client {
        self.client.get_or_init(|| dynamodb::client(&self.aws, CALL_MAX)).await.clone()
    }

    /// Does some work where I/O is done.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        dynamodb::run(&self.io, work).await
    }

    /// Makes sure that the table is there, and creates it where that is asked for.
    pub(super) async fn open(&self, create: bool) -> Result<(), StoreError> {
        let (client, name) = (self.client().await, self.name.clone());
        self.run(async move {
            let mut create = create;
            loop {
                let table = client.describe_table().table_name(&name).send().await;
                match table {
                    Ok(described) => {
                        let status = described.table().and_then(|it| it.table_status());
                        if matches!(
                            status,
                            None | Some(TableStatus::Active | TableStatus::Updating)
                        ) {
                            return Ok(());
                        }
                    }
                    Err(error) if create && is(&error, "ResourceNotFoundException") => {
                        create = false;
                        match create_table(&client, &name).await {
                            // Another host was faster.
                            Err(error) if is(&error, "ResourceInUseException") => {}
                            created => {
                                let what = || format!("create the table `{name}`");
                                created.map_err(|error| failed(what, error))?;
                            }
                        }
                    }
                    Err(error) => {
                        return Err(failed(|| format!("look for the table `{name}`"), error));
                    }
                }
                sleep(CREATED_EVERY).await;
            }
        })
        .await
    }

    /// Lets DynamoDB delete rows whose time is over. Where it can't be told so they stay, and nothing
    /// else depends on it.
    pub(super) async fn let_expire(&self) {
        let specification = TimeToLiveSpecification::builder().enabled(true);
        let Ok(specification) = specification.attribute_name(EXPIRES).build() else { return };
        let update = self.client().await.update_time_to_live().table_name(&self.name);
        let update = update.time_to_live_specification(specification);
        let told = self.run(async move {
            match update.send().await {
                // It has been told before.
                Err(error) if !is(&error, "ValidationException") => {
                    Err(failed(|| "let finished leases expire".to_owned(), error))
                }
                _ => Ok(()),
            }
        });
        if let Err(error) = told.await {
            let cause = error.cause.as_deref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("rows of finished leases stay in the table: {error}: {cause}");
        }
    }
}

#[async_trait]
impl LeaseTable for DynamoTable {
    async fn get(&self, partition: &PartitionId) -> Result<Option<Row>, StoreError> {
        let get = self.client().await.get_item().table_name(&self.name).consistent_read(true);
        let get = get.key("leaseKey", AttributeValue::S(partition.to_string()));
        let partition = partition.clone();
        let answer = self.run(async move {
            let what = || format!("read the lease of `{partition}`");
            get.send().await.map_err(|error| failed(what, error))
        });
        match answer.await?.item {
            None => Ok(None),
            Some(item) => Row::read(&item),
        }
    }

    async fn scan(&self, now: bool) -> Result<Vec<Row>, StoreError> {
        let (client, name) = (self.client().await, self.name.clone());
        self.run(async move {
            let mut pages =
                client.scan().table_name(&name).consistent_read(now).into_paginator().send();
            let mut rows = Vec::new();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|error| failed(|| format!("read the table `{name}`"), error))?;
                for item in page.items() {
                    rows.extend(Row::read(item)?);
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn delete_finished(&self, partition: &PartitionId) -> Result<(), StoreError> {
        let delete = self.client().await.delete_item().table_name(&self.name);
        let delete = delete
            .key("leaseKey", AttributeValue::S(partition.to_string()))
            .condition_expression("#checkpoint = :end")
            .expression_attribute_names("#checkpoint", "checkpoint")
            .expression_attribute_values(":end", AttributeValue::S(SHARD_END.to_owned()));
        let partition = partition.clone();
        self.run(async move {
            match delete.send().await {
                Err(error) if !is(&error, "ConditionalCheckFailedException") => {
                    Err(failed(|| format!("delete the lease of `{partition}`"), error))
                }
                _ => Ok(()),
            }
        })
        .await
    }

    async fn update(&self, partition: &PartitionId, change: Change) -> Result<Written, StoreError> {
        let mut expressions = Expressions::default();
        let (update, condition) = expressions.of(change);
        let Expressions { names, values } = expressions;
        let update = self
            .client()
            .await
            .update_item()
            .table_name(&self.name)
            .key("leaseKey", AttributeValue::S(partition.to_string()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names((!names.is_empty()).then_some(names))
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let partition = partition.clone();
        self.run(async move {
            match update.send().await {
                Ok(done) => Ok(Written::Done(done.attributes.unwrap_or_default())),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        Ok(Written::Refused(refused.item().cloned()))
                    }
                    _ => Err(failed(|| format!("write the lease of `{partition}`"), error)),
                },
            }
        })
        .await
    }
}

async fn create_table(
    client: &Client,
    name: &str,
) -> Result<(), SdkError<aws_sdk_dynamodb::operation::create_table::CreateTableError>> {
    let key = "leaseKey";
    let schema = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash);
    let attribute = AttributeDefinition::builder().attribute_name(key);
    let attribute = attribute.attribute_type(ScalarAttributeType::S);
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(schema.build().map_err(SdkError::construction_failure)?)
        .attribute_definitions(attribute.build().map_err(SdkError::construction_failure)?)
        .send()
        .await
        .map(drop)
}

/// A change as DynamoDB is told of it.
#[derive(Debug, Default)]
struct Expressions {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expressions {
    /// The update and its condition.
    fn of(&mut self, change: Change) -> (String, String) {
        let Change { sets, removes, adds, conditions } = change;
        let mut update = String::new();
        let sets = sets.into_iter().map(|(name, value)| {
            let (name, value) = (self.name(name), self.value(value));
            format!("{name} = {value}")
        });
        clause(&mut update, "SET", sets.collect());
        let removes = removes.into_iter().map(|name| self.name(name));
        clause(&mut update, "REMOVE", removes.collect());
        let adds = adds.into_iter().map(|(name, value)| {
            let (name, value) = (self.name(name), self.value(value));
            format!("{name} {value}")
        });
        clause(&mut update, "ADD", adds.collect());
        let conditions = conditions.into_iter().map(|it| self.condition(it));
        (update, conditions.collect::<Vec<_>>().join(" AND "))
    }

    fn condition(&mut self, condition: Condition) -> String {
        match condition {
            Condition::Is(name, value) => self.is(name, value),
            Condition::There => format!("attribute_exists({})", self.name("leaseKey")),
            Condition::Owned(owner) => {
                let owner = || Some(AttributeValue::S(owner.clone()));
                let hands_over = self.is("checkpointOwner", owner());
                let stays = self.is("checkpointOwner", None);
                let owns = self.is("leaseOwner", owner());
                format!("({hands_over} OR ({stays} AND {owns}))")
            }
        }
    }

    fn is(&mut self, attribute: &str, value: Option<AttributeValue>) -> String {
        let name = self.name(attribute);
        match value {
            Some(value) => format!("{name} = {}", self.value(value)),
            None => format!("attribute_not_exists({name})"),
        }
    }

    fn name(&mut self, attribute: &str) -> String {
        let name = format!("#{attribute}");
        self.names.insert(name.clone(), attribute.to_owned());
        name
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let name = format!(":v{}", self.values.len());
        self.values.insert(name.clone(), value);
        name
    }
}

fn clause(update: &mut String, clause: &str, parts: Vec<String>) {
    if !parts.is_empty() {
        let between = if update.is_empty() { "" } else { " " };
        let _ = write!(update, "{between}{clause} {}", parts.join(", "));
    }
}

/// What a failed call means.
fn failed<E>(what: impl FnOnce() -> String, error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let needs = "leases need `dynamodb:GetItem`, `dynamodb:UpdateItem`, `dynamodb:DeleteItem`, \
                 `dynamodb:Scan` and `dynamodb:DescribeTable`, and `dynamodb:CreateTable` to create the table";
    dynamodb::failed(what, needs, error)
}
