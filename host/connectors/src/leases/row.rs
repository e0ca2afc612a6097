//! A lease's row: the attributes that the Kinesis Client Library has given it, and ours beside them.
//!
//! | attribute | type | |
//! |---|---|---|
//! | `leaseKey` | S | the partition |
//! | `leaseOwner`, `leaseCounter` | S, N | who has it, and the fence |
//! | `checkpointOwner` | S | who is to finish and hand over, while `leaseOwner` is to have it |
//! | `checkpoint`, `checkpointSubSequenceNumber` | S, N | what is done |
//! | `pendingCheckpoint…` | S, N, B | the intent |
//! | `parentShardId`, `childShardIds` | SS | |
//! | `startingHashKey`, `endingHashKey` | S | |
//! | `tgWrite` | B | the id of the last write of ours |
//! | `tgResume` | S | the position and the source's token, as JSON |
//! | `tgRange`, `tgIntended` | N | the next range, and the last one that was ever intended |
//! | `tgStates` | S | which objects hold the states, and how many there are, as JSON |
//! | `tgTaken` | SS | the hash ranges whose states children have taken |
//! | `tgNote` | S | what the source has noted |
//! | `tgExpires` | N | when DynamoDB may delete the row of a partition that is finished, or that nobody holds and of which nothing was begun |
//! | `tgLast` | S | what the last committed range was intended to be: the last of all manifests |
//! | `tgEnded` | BOOL | it was ended by one of us, and the states are of its end |
//!
//! Every write changes attributes and never a whole row, so that those of others stay.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Position,
    checkpoint::{StateKeys, StoreError, StoreErrorKind, WriteId},
    source::{Partition, PartitionId, Resume},
};

pub(super) type Item = HashMap<String, AttributeValue>;

/// What `checkpoint` says of a shard that is finished.
pub(super) const SHARD_END: &str = "SHARD_END";
/// When a row may be deleted, in seconds since the epoch, as DynamoDB's time to live takes it.
pub(super) const EXPIRES: &str = "tgExpires";
/// What it says of one of which nothing is done.
pub(super) const TRIM_HORIZON: &str = "TRIM_HORIZON";
/// The same, of one that begins elsewhere.
const BEGINNINGS: [&str; 3] = [TRIM_HORIZON, "LATEST", "AT_TIMESTAMP"];

/// A row, as far as it is understood here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) partition: PartitionId,
    pub(super) owner: Option<String>,
    /// Who had it, while it is handed over.
    pub(super) hands_over: Option<String>,
    pub(super) counter: u64,
    pub(super) checkpoint: Option<String>,
    pub(super) sub_sequence: Option<u64>,
    /// What somebody has prepared to checkpoint.
    pub(super) pending: Option<Vec<u8>>,
    pub(super) parents: BTreeSet<PartitionId>,
    pub(super) hash_range: Option<(u128, u128)>,
    pub(super) last_write: Option<WriteId>,
    pub(super) resume: Option<Resume>,
    pub(super) next_range: u64,
    /// The range of the last intent, whatever became of it.
    pub(super) intended: Option<u64>,
    pub(super) states: StateIndex,
    pub(super) taken: Vec<(u128, u128)>,
    pub(super) note: Option<String>,
    /// Where the last committed range is described.
    pub(super) last: Option<String>,
    /// One of us has ended it.
    pub(super) ended: bool,
}

/// Which objects hold a partition's states: a base, and what changed since then, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateIndex {
    pub(super) objects: Vec<StateObject>,
    pub(super) keys: StateKeys,
}

/// An object with changes of states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateObject {
    pub(super) key: String,
    pub(super) bytes: u64,
}

/// What a row says of how far its partition is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Up to where we left it; none where nothing is.
    Ours(Option<Resume>),
    /// Up to where somebody else has moved it; or where we left it, and somebody has taken away what
    /// pended there.
    Moved(Option<Resume>),
}

impl Row {
    /// Whether a range of it was ever intended, or somebody else has moved its checkpoint.
    pub(super) fn is_begun(&self) -> bool {
        let begins = self.checkpoint.as_deref().is_none_or(|it| BEGINNINGS.contains(&it));
        !begins || self.intended.is_some() || self.next_range > 0 || self.pending.is_some()
    }

    /// Reads a row; none where it is no lease but something else that lies in the table.
    pub(super) fn read(item: &Item) -> Result<Option<Row>, StoreError> {
        if text(item, "entityType").is_some_and(|kind| kind != "LEASE") {
            return Ok(None);
        }
        let Some(key) = text(item, "leaseKey") else { return Ok(None) };
        let broken = |attribute: &str| {
            let message = format!("the lease of `{key}` has a `{attribute}` that can't be read");
            StoreError::plain(StoreErrorKind::Conflict, message)
        };
        let number = |attribute: &'static str| match item.get(attribute) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => {
                digits.parse::<u64>().map(Some).map_err(|_| broken(attribute))
            }
            Some(_) => Err(broken(attribute)),
        };
        let bytes = |attribute: &str| match item.get(attribute) {
            Some(AttributeValue::B(blob)) => Some(blob.as_ref().to_vec()),
            _ => None,
        };
        let hash = |attribute: &str| text(item, attribute).and_then(|it| it.parse::<u128>().ok());
        let last_write = bytes("tgWrite").and_then(|it| <[u8; 16]>::try_from(it).ok());
        let prepared = text(item, "pendingCheckpoint").is_some();
        Ok(Some(Row {
            partition: PartitionId::from(key),
            owner: text(item, "leaseOwner").map(str::to_owned),
            hands_over: text(item, "checkpointOwner").map(str::to_owned),
            counter: number("leaseCounter")?.unwrap_or_default(),
            checkpoint: text(item, "checkpoint").map(str::to_owned),
            sub_sequence: number("checkpointSubSequenceNumber")?,
            pending: prepared.then(|| bytes("pendingCheckpointState").unwrap_or_default()),
            parents: texts(item, "parentShardId").map(PartitionId::from).collect(),
            hash_range: hash("startingHashKey").zip(hash("endingHashKey")),
            last_write: last_write.map(|it| WriteId(u128::from_be_bytes(it))),
            resume: json(item, "tgResume").map_err(|()| broken("tgResume"))?,
            next_range: number("tgRange")?.unwrap_or_default(),
            intended: number("tgIntended")?,
            states: json(item, "tgStates").map_err(|()| broken("tgStates"))?.unwrap_or_default(),
            taken: texts(item, "tgTaken")
                .map(|it| hash_range_of(it).ok_or_else(|| broken("tgTaken")))
                .collect::<Result<_, _>>()?,
            note: text(item, "tgNote").map(str::to_owned),
            last: text(item, "tgLast").map(str::to_owned),
            ended: item.get("tgEnded").is_some_and(|it| it.as_bool() == Ok(&true)),
        }))
    }

    /// Whether all of the partition is done.
    pub(super) fn is_finished(&self) -> bool {
        self.checkpoint.as_deref() == Some(SHARD_END)
    }

    /// Whether an owner may write: it has the lease, or is still to hand it over.
    pub(super) fn is_of(&self, owner: &str) -> bool {
        self.has() == Some(owner)
    }

    /// Who has it now: the owner, or whoever is still to hand it over.
    pub(super) fn has(&self) -> Option<&str> {
        self.hands_over.as_deref().or(self.owner.as_deref())
    }

    /// How far the partition is done, and by whose word.
    pub(super) fn done(&self) -> Result<Done, StoreError> {
        let checkpoint = self.checkpoint.as_deref().unwrap_or(TRIM_HORIZON);
        if checkpoint == SHARD_END {
            return Ok(Done::Ours(self.resume.clone()));
        }
        if BEGINNINGS.contains(&checkpoint) {
            return Ok(match self.resume {
                None if !self.lost_its_intent() => Done::Ours(None),
                _ => Done::Moved(None),
            });
        }
        let sub = self.sub_sequence.unwrap_or_default();
        if let Some(resume) = &self.resume
            && checkpoint_of(resume.position) == (checkpoint.to_owned(), sub)
        {
            return Ok(match self.lost_its_intent() {
                false => Done::Ours(self.resume.clone()),
                true => Done::Moved(self.resume.clone()),
            });
        }
        let mut position = Position::from_sequence_number(checkpoint).map_err(|error| {
            let message =
                format!("the lease of `{}` has a checkpoint that is none", self.partition);
            StoreError::new(StoreErrorKind::Conflict, message, error)
        })?;
        position.0[3] = sub;
        // Whoever moved it has left no token: the source begins there without one.
        Ok(Done::Moved(Some(Resume { position, token: String::new() })))
    }
}

impl Row {
    /// Whether a range was intended that was never committed and does not pend any more: whoever has
    /// checkpointed meanwhile has removed it. What it named may be visible.
    fn lost_its_intent(&self) -> bool {
        self.pending.is_none() && self.intended.is_some_and(|it| it >= self.next_range)
    }
}

/// A position as KCL writes it: the last record that is done, and its place in its aggregate.
pub(super) fn checkpoint_of(position: Position) -> (String, u64) {
    (position.sequence_number(), position.sub_sequence_number().unwrap_or_default())
}

/// What is known of a partition when its row is created.
pub(super) fn described(partition: &Partition) -> Vec<(&'static str, AttributeValue)> {
    let mut attributes = Vec::new();
    let parents: Vec<String> = partition.parents.iter().map(ToString::to_string).collect();
    if !parents.is_empty() {
        attributes.push(("parentShardId", AttributeValue::Ss(parents)));
    }
    if let Some((start, end)) = partition.hash_range {
        attributes.push(("startingHashKey", AttributeValue::S(start.to_string())));
        attributes.push(("endingHashKey", AttributeValue::S(end.to_string())));
    }
    attributes
}

pub(super) fn write_id(write: WriteId) -> AttributeValue {
    AttributeValue::B(Blob::new(write.0.to_be_bytes()))
}

pub(super) fn hash_range_text((start, end): (u128, u128)) -> String {
    format!("{start}-{end}")
}

fn hash_range_of(text: &str) -> Option<(u128, u128)> {
    let (start, end) = text.split_once('-')?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

fn text<'a>(item: &'a Item, attribute: &str) -> Option<&'a str> {
    item.get(attribute)?.as_s().ok().map(String::as_str)
}

fn texts<'a>(item: &'a Item, attribute: &str) -> impl Iterator<Item = &'a str> {
    let set = item.get(attribute).and_then(|it| it.as_ss().ok());
    set.into_iter().flatten().map(String::as_str)
}

fn json<T: serde::de::DeserializeOwned>(item: &Item, attribute: &str) -> Result<Option<T>, ()> {
    let parse = |text| serde_json::from_str(text).map_err(|_| ());
    text(item, attribute).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attributes: &[(&str, AttributeValue)]) -> Item {
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn n(number: u64) -> AttributeValue {
        AttributeValue::N(number.to_string())
    }

    fn read(attributes: &[(&str, AttributeValue)]) -> Row {
        Row::read(&item(attributes)).expect("readable").expect("a lease")
    }

    #[test]
    fn rows_of_others_are_told_from_leases() {
        let row = read(&[("leaseKey", s("shardId-0")), ("leaseCounter", n(3))]);
        assert_eq!(row.counter, 3);
        for kind in ["LEADER", "STREAM", "WORKER_METRIC_STATS", "something of tomorrow"] {
            let other = item(&[("leaseKey", s("Leader")), ("entityType", s(kind))]);
            assert_eq!(Row::read(&other).expect("readable"), None, "{kind}");
        }
        read(&[("leaseKey", s("shardId-0")), ("entityType", s("LEASE"))]);
    }

    #[test]
    fn a_checkpoint_is_ours_where_it_says_what_we_left() {
        let number = "49597411459012285111935017621194032819223185658889633794";
        let position = format!("{number}-7").parse::<Position>().expect("a position");
        let resume = Resume { position, token: "token".to_owned() };
        let ours = s(&serde_json::to_string(&resume).expect("JSON"));
        let done = |checkpoint: &str, sub, resume: Option<&AttributeValue>| {
            let mut row = item(&[("leaseKey", s("a")), ("checkpoint", s(checkpoint))]);
            row.insert("checkpointSubSequenceNumber".to_owned(), n(sub));
            row.extend(resume.map(|it| ("tgResume".to_owned(), it.clone())));
            let row = Row::read(&row).expect("readable").expect("a lease");
            row.done().expect("a checkpoint")
        };
        assert_eq!(done(number, 7, Some(&ours)), Done::Ours(Some(resume.clone())));
        assert_eq!(done(SHARD_END, 0, Some(&ours)), Done::Ours(Some(resume)));
        assert_eq!(done(TRIM_HORIZON, 0, None), Done::Ours(None));
        assert_eq!(done("LATEST", 0, Some(&ours)), Done::Moved(None));
        let Done::Moved(Some(moved)) = done(number, 8, Some(&ours)) else { panic!("it moved") };
        assert_eq!(moved.position.to_string(), format!("{number}-8"));
        let Done::Moved(Some(moved)) = done("17", 0, None) else { panic!("it is not ours") };
        assert_eq!(moved.position.to_string(), "17-0");
    }

    #[test]
    fn what_can_not_be_read_is_an_error_that_names_it() {
        for (name, value) in [("tgResume", s("{")), ("leaseCounter", s("1")), ("tgTaken", n(1))] {
            let read = Row::read(&item(&[("leaseKey", s("shard")), (name, value)]));
            if name == "tgTaken" {
                // Another type is another's attribute.
                assert!(read.is_ok());
                continue;
            }
            let error = read.expect_err("it is damaged").to_string();
            assert!(error.contains("shard") && error.contains(name), "{error}");
        }
    }
}
