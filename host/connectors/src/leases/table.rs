//! The table that leases lie in: a row for each partition, every write conditional.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_core::{checkpoint::StoreError, source::PartitionId};

use super::row::{Item, Row};

/// Where the rows are. Each call is one request, whose answer can be lost.
#[async_trait]
pub(super) trait LeaseTable: Send + Sync {
    /// A lease's row as it is now.
    async fn get(&self, partition: &PartitionId) -> Result<Option<Row>, StoreError>;

    /// All leases; as they are now, or, for half the price, as they were a moment ago. What is no
    /// lease is not among them.
    async fn scan(&self, now: bool) -> Result<Vec<Row>, StoreError>;

    /// Deletes the row of a partition that is finished. One that is gone, or is not finished, is
    /// left.
    async fn delete_finished(&self, partition: &PartitionId) -> Result<(), StoreError>;

    /// Changes a row's attributes, if its conditions hold.
    async fn update(&self, partition: &PartitionId, change: Change) -> Result<Written, StoreError>;
}

/// How a conditional write ended.
#[derive(Debug)]
pub(super) enum Written {
    /// It was done: the row as it is now.
    Done(Item),
    /// The condition does not hold: the row as it is; none where there is none.
    Refused(Option<Item>),
}

/// What becomes of a row's attributes, and under which conditions.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) sets: Vec<(&'static str, AttributeValue)>,
    pub(super) removes: Vec<&'static str>,
    pub(super) adds: Vec<(&'static str, AttributeValue)>,
    pub(super) conditions: Vec<Condition>,
}

/// What has to be so for a change to be made.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// An attribute has a value; none: it is not there.
    Is(&'static str, Option<AttributeValue>),
    /// There is such a row.
    There,
    /// An owner has the lease, or is still to hand it over.
    Owned(String),
}

impl Change {
    /// Gives an attribute a value.
    pub(super) fn set(mut self, attribute: &'static str, value: AttributeValue) -> Self {
        self.sets.push((attribute, value));
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
    pub(super) fn set_text(self, attribute: &'static str, text: impl Into<String>) -> Self {
        self.set(attribute, AttributeValue::S(text.into()))
    }

    /// Gives an attribute a number.
    pub(super) fn set_number(self, attribute: &'static str, number: u64) -> Self {
        self.set(attribute, AttributeValue::N(number.to_string()))
    }

    /// Takes an attribute away.
    pub(super) fn remove(mut self, attribute: &'static str) -> Self {
        self.removes.push(attribute);
        self
    }

    /// Adds to a number or a set, whatever it is.
    pub(super) fn add(mut self, attribute: &'static str, value: AttributeValue) -> Self {
        self.adds.push((attribute, value));
        self
    }

    /// Only if an attribute has a value; none: only if it is not there.
    pub(super) fn if_is(mut self, attribute: &'static str, value: Option<AttributeValue>) -> Self {
        self.conditions.push(Condition::Is(attribute, value));
        self
    }

    /// Only if there is such a row.
    pub(super) fn if_there(mut self) -> Self {
        self.conditions.push(Condition::There);
        self
    }

    /// Only if an owner has the lease, or is still to hand it over.
    pub(super) fn if_owned(mut self, owner: &str) -> Self {
        self.conditions.push(Condition::Owned(owner.to_owned()));
        self
    }
}
