//! Calls to DynamoDB: one at a time, each conditional where it writes, and what their failures mean.

use std::{collections::HashMap, error::Error, fmt::Write as _, time::Duration};

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
use tidegate_core::{
    checkpoint::{StoreError, StoreErrorKind},
    source::PartitionId,
};
use tokio::{sync::OnceCell, time::sleep};

use super::row::{EXPIRES, Item, Row, SHARD_END};
use crate::aws::{self, AwsConfig, Io, NotTls};

/// Well below any time after which a lease expires: a call that hangs must not cost the lease.
const CALL_MAX: Duration = Duration::from_secs(3);

/// How often a table that is being made is looked at.
const CREATED_EVERY: Duration = Duration::from_millis(200);

/// What passes by itself, although DynamoDB answers as if the request were wrong.
const PASSING: [&str; 10] = [
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "InternalServerError",
    "TransactionInProgressException",
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
];

/// The table of leases.
pub(super) struct Table {
    name: String,
    aws: AwsConfig,
    client: OnceCell<Client>,
    io: Io,
}

/// How a conditional write ended.
#[derive(Debug)]
pub(super) enum Written {
    /// It was done: the row as it is now.
    Done(Item),
    /// The condition does not hold: the row as it is; none where there is none.
    Refused(Option<Item>),
}

impl Table {
    pub(super) fn new(name: String, aws: AwsConfig) -> Self {
        Table { name, aws, client: OnceCell::new(), io: Io::here() }
    }

    async fn client(&self) -> Client {
        let connect = async || {
            let aws = &self.aws;
            let mut config = aws_sdk_dynamodb::config::Builder::from(&aws.load().await);
            if let Some(endpoint) = &aws.endpoint {
                config = config.endpoint_url(endpoint);
            }
            let config = config
                .timeout_config(aws::timeouts(CALL_MAX))
                .retry_config(aws::no_retries())
                .interceptor(aws::TlsOnly);
            Client::from_conf(config.build())
        };
        self.client.get_or_init(connect).await.clone()
    }

    /// Does some work where I/O is done.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.io.run(work).await.unwrap_or_else(|error| {
            let message = "a call to DynamoDB was not finished";
            Err(StoreError::new(StoreErrorKind::Unavailable, message, error))
        })
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

    /// A lease's row as it is now.
    pub(super) async fn get(&self, partition: &PartitionId) -> Result<Option<Row>, StoreError> {
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

    /// All leases; as they are now, or, for half the price, as they were a moment ago. What is no lease is
    /// not among them.
    pub(super) async fn scan(&self, now: bool) -> Result<Vec<Row>, StoreError> {
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

    /// Deletes the row of a partition that is finished. One that is gone, or is not finished, is left.
    pub(super) async fn delete_finished(&self, partition: &PartitionId) -> Result<(), StoreError> {
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

    /// Changes a row's attributes, if its condition holds.
    pub(super) async fn update(
        &self,
        partition: &PartitionId,
        change: Change,
    ) -> Result<Written, StoreError> {
        let Change { sets, removes, adds, conditions, names, values } = change;
        let mut expression = String::new();
        for (clause, parts) in [("SET", sets), ("REMOVE", removes), ("ADD", adds)] {
            if !parts.is_empty() {
                let _ = write!(expression, "{clause} {} ", parts.join(", "));
            }
        }
        let update = self
            .client()
            .await
            .update_item()
            .table_name(&self.name)
            .key("leaseKey", AttributeValue::S(partition.to_string()))
            .update_expression(expression.trim_end())
            .condition_expression(conditions.join(" AND "))
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

/// What becomes of a row's attributes, and under which condition.
#[derive(Debug, Default)]
pub(super) struct Change {
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Change {
    /// Gives an attribute a value.
    pub(super) fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        let set = format!("{} = {}", self.name(attribute), self.value(value));
        self.sets.push(set);
        self
    }

    /// Gives attributes values.
    pub(super) fn set_all(
        self,
        attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>,
    ) -> Self {
        attributes.into_iter().fold(self, |change, (name, value)| change.set(name, value))
    }

    /// Gives an attribute a text.
    pub(super) fn set_text(self, attribute: &str, text: impl Into<String>) -> Self {
        self.set(attribute, AttributeValue::S(text.into()))
    }

    /// Gives an attribute a number.
    pub(super) fn set_number(self, attribute: &str, number: u64) -> Self {
        self.set(attribute, AttributeValue::N(number.to_string()))
    }

    /// Takes an attribute away.
    pub(super) fn remove(mut self, attribute: &str) -> Self {
        let name = self.name(attribute);
        self.removes.push(name);
        self
    }

    /// Adds to a number or a set, whatever it is.
    pub(super) fn add(mut self, attribute: &str, value: AttributeValue) -> Self {
        let add = format!("{} {}", self.name(attribute), self.value(value));
        self.adds.push(add);
        self
    }

    /// Only if an attribute has a value; none: only if it is not there.
    pub(super) fn if_is(mut self, attribute: &str, value: Option<AttributeValue>) -> Self {
        let condition = self.is(attribute, value);
        self.conditions.push(condition);
        self
    }

    /// Only if there is such a row.
    pub(super) fn if_there(mut self) -> Self {
        let condition = format!("attribute_exists({})", self.name("leaseKey"));
        self.conditions.push(condition);
        self
    }

    /// Only if an owner has the lease, or is still to hand it over.
    pub(super) fn if_owned(mut self, owner: &str) -> Self {
        let owner = || Some(AttributeValue::S(owner.to_owned()));
        let hands_over = self.is("checkpointOwner", owner());
        let stays = self.is("checkpointOwner", None);
        let owns = self.is("leaseOwner", owner());
        self.conditions.push(format!("({hands_over} OR ({stays} AND {owns}))"));
        self
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

fn is<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.code() == Some(code)
}

/// What a failed call means: what it was to do, and what a person has to do.
fn failed<E>(what: impl FnOnce() -> String, error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let kind = match &error {
        SdkError::ServiceError(refused) => {
            let status = refused.raw().status().as_u16();
            match PASSING.contains(&code) || status >= 500 || status == 429 {
                true => StoreErrorKind::Unavailable,
                false => StoreErrorKind::Broken,
            }
        }
        // No request can be made: there is no region, or the address is one without TLS.
        SdkError::ConstructionFailure(_) => StoreErrorKind::Broken,
        other if is_not_tls(other) => StoreErrorKind::Broken,
        _ => StoreErrorKind::Unavailable,
    };
    let advice = match code {
        "ResourceNotFoundException" => {
            ": there is no such table: create it, or say `create_table: true`"
        }
        "AccessDeniedException" => {
            ": the credentials may not do it: leases need `dynamodb:GetItem`, `dynamodb:UpdateItem`, \
             `dynamodb:DeleteItem`, `dynamodb:Scan` and `dynamodb:DescribeTable`, and `dynamodb:CreateTable` to create the \
             table"
        }
        _ => "",
    };
    StoreError::new(kind, format!("failed to {}{advice}", what()), error)
}

fn is_not_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(it) = cause {
        if it.is::<NotTls>() {
            return true;
        }
        cause = it.source();
    }
    false
}
