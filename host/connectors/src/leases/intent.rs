//! Intents and states as objects: what a row names, and how it is found again.

use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Digest,
    checkpoint::{Lease, Manifest, StateChange, StateKeys, StoreError, StoreErrorKind, WriteId},
    source::PartitionId,
};

use super::{
    LeaseHistory, OnStateGap, Shared, fenced,
    row::{Row, StateIndex, StateObject, hash_range_text},
    states::{StateMap, is_long},
    table::{Change, Written},
    to_json,
};
use crate::states as encoding;

/// What `pendingCheckpointState` begins with, where it is ours.
const MAGIC: &[u8; 4] = b"TGin";
/// Of what follows: 32 bytes of SHA-256, and the manifest's key.
const VERSION: u8 = 1;

/// A range that is to be, and where it is described.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) manifest: Manifest,
    /// What becomes of the states, if anything does.
    states: Option<StateObject>,
    /// How many there are then.
    keys: StateKeys,
    /// The same, as it was written or read.
    changes: Option<Arc<[StateChange]>>,
    reference: Reference,
}

/// Where an intent is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    digest: Digest,
    key: String,
}

/// What pends on a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    Nothing,
    /// An intent of ours.
    Ours(Reference),
    /// One that a newer version has written.
    Newer,
    /// Something that another application has prepared.
    Foreign,
}

/// An intent as it is described.
#[derive(Serialize, Deserialize)]
struct Description {
    manifest: Manifest,
    states: Option<StateObject>,
    keys: StateKeys,
    /// Where the range before it is described, which was committed. So the last one leads to all of
    /// them, and past what was intended and never committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

impl Pending {
    pub(super) fn of(row: &Row) -> Pending {
        let Some(state) = &row.pending else { return Pending::Nothing };
        let Some(rest) = state.strip_prefix(&MAGIC[..]) else { return Pending::Foreign };
        let Some((&VERSION, rest)) = rest.split_first() else { return Pending::Newer };
        let parsed = rest.split_first_chunk::<32>().and_then(|(digest, key)| {
            Some(Reference { digest: Digest(*digest), key: str::from_utf8(key).ok()?.to_owned() })
        });
        parsed.map_or(Pending::Foreign, Pending::Ours)
    }
}

impl Intent {
    /// Where it is described.
    pub(super) fn key(&self) -> &str {
        &self.reference.key
    }

    /// What the row says of it.
    pub(super) fn reference(&self) -> Blob {
        let Reference { digest, key } = &self.reference;
        Blob::new([&MAGIC[..], &[VERSION], &digest.0, key.as_bytes()].concat())
    }
}

impl Shared {
    /// Whether a range may be intended now.
    pub(super) fn may_intend(
        &self,
        lease: &Lease,
        row: &Row,
        manifest: &Manifest,
    ) -> Result<(), StoreError> {
        let conflict = |message: &str| {
            let message = format!("partition `{}`: {message}", lease.partition);
            Err(StoreError::plain(StoreErrorKind::Conflict, message))
        };
        if row.is_finished() || manifest.range != row.next_range || manifest.start != row.resume {
            return conflict("the range does not follow the checkpoint");
        }
        match Pending::of(row) {
            Pending::Nothing => Ok(()),
            Pending::Ours(_) => {
                let mut holds = self.holds();
                let older = holds.of(lease)?.intent.as_ref().map(|it| it.manifest.revision);
                match older.is_some_and(|it| manifest.revision <= it) {
                    true => conflict("an intent of this or a later revision pends"),
                    false => Ok(()),
                }
            }
            Pending::Newer | Pending::Foreign => conflict(
                "another application has prepared a checkpoint there (`pendingCheckpointState`): let \
                 it finish, or remove that attribute",
            ),
        }
    }

    /// Writes down what a range is to be, where the row can name it.
    pub(super) async fn describe(
        &self,
        lease: &Lease,
        row: &Row,
        manifest: &Manifest,
        changes: &[StateChange],
    ) -> Result<Intent, StoreError> {
        let partition = &row.partition;
        let (mut changes, mut keys) = (changes.to_vec(), StateKeys::new());
        if !row.states.objects.is_empty() || !changes.is_empty() {
            self.load(lease).await?;
            let mut holds = self.holds();
            let states = holds.of(lease)?.states.clone().unwrap_or_default();
            changes = states.with_expired(manifest.opened_at, &changes);
            keys = states.keys_after(&changes);
        }
        let name = format!("{:010}-{}", manifest.range, manifest.revision);
        let states = match changes.is_empty() {
            true => None,
            false => Some(self.put_states(partition, &name, &changes).await?),
        };
        let before = row.last.clone();
        let description = Description { manifest: manifest.clone(), states, keys, before };
        let content = Bytes::from(to_json(&description)?);
        let digest = Digest::of(&content);
        let key = format!("manifests/{}/{name}-{}.json", folder(partition), digest.hex());
        self.objects.put(&key, content).await?;
        let Description { manifest, states, keys, .. } = description;
        let reference = Reference { digest, key };
        Ok(Intent { manifest, states, keys, changes: Some(changes.into()), reference })
    }

    /// Reads what a row names.
    pub(super) async fn intent(
        &self,
        partition: &PartitionId,
        reference: &Reference,
    ) -> Result<Intent, StoreError> {
        let description = self.description(partition, reference).await?;
        let Some(Description { manifest, states, keys, .. }) = description else {
            let message = format!(
                "the intent of partition `{partition}` is described in `{}`, which is not there: put it \
                 back",
                self.objects.place(&reference.key)
            );
            return Err(StoreError::plain(StoreErrorKind::Conflict, message));
        };
        Ok(Intent { manifest, states, keys, changes: None, reference: reference.clone() })
    }

    /// What lies where a range is described; none where nothing does.
    async fn description(
        &self,
        partition: &PartitionId,
        reference: &Reference,
    ) -> Result<Option<Description>, StoreError> {
        let place = || self.objects.place(&reference.key);
        let Some(content) = self.objects.get(&reference.key).await? else { return Ok(None) };
        if Digest::of(&content) != reference.digest {
            let message =
                format!("the intent of partition `{partition}` is not what lies in `{}`", place());
            return Err(StoreError::plain(StoreErrorKind::Conflict, message));
        }
        let description = serde_json::from_slice(&content).map_err(|error| {
            let message = format!("failed to read the intent in `{}`", place());
            StoreError::new(StoreErrorKind::Conflict, message, error)
        })?;
        Ok(Some(description))
    }

    /// The manifests of the committed ranges of a partition, in order, from its row backwards, and of
    /// the range that pends. What has expired, and what was before it, is not among them.
    pub(super) async fn history(&self, row: &Row) -> Result<LeaseHistory, StoreError> {
        let (mut committed, mut next) = (Vec::new(), row.last.clone());
        while let Some(key) = next.take() {
            // Its name ends with its digest.
            let digest = key.strip_suffix(".json").and_then(|it| it.rsplit('-').next());
            let digest = digest.and_then(|it| format!("sha256:{it}").parse().ok());
            let Some(digest) = digest else {
                let message = format!("partition `{}` names `{key}`, which is none", row.partition);
                return Err(StoreError::plain(StoreErrorKind::Conflict, message));
            };
            let reference = Reference { digest, key };
            let described = self.description(&row.partition, &reference).await?;
            let Some(description) = described else { break };
            next = description.before;
            committed.push(description.manifest);
        }
        committed.reverse();
        let pending = match Pending::of(row) {
            Pending::Ours(reference) => {
                Some(self.intent(&row.partition, &reference).await?.manifest)
            }
            _ => None,
        };
        Ok(LeaseHistory { committed, pending })
    }

    /// The changes of states of an intent.
    pub(super) async fn changes(
        &self,
        lease: &Lease,
        intent: &Intent,
    ) -> Result<Arc<[StateChange]>, StoreError> {
        match (&intent.changes, &intent.states) {
            (Some(changes), _) => Ok(changes.clone()),
            (None, None) => Ok(Arc::default()),
            (None, Some(object)) => Ok(self.get_states(lease, object).await?.into()),
        }
    }

    /// Which objects hold the states once an intent is committed, and which are not needed any more.
    pub(super) async fn index_after(
        &self,
        lease: &Lease,
        row: &Row,
        intent: &Intent,
    ) -> Result<(StateIndex, Vec<String>), StoreError> {
        let Some(object) = &intent.states else {
            return Ok((row.states.clone(), Vec::new()));
        };
        let mut objects = row.states.objects.clone();
        let mut outdated = Vec::new();
        if is_long(&row.states) {
            self.load(lease).await?;
            let all = self.holds().of(lease)?.states.clone().unwrap_or_default().all();
            let name = format!("{:010}-base", row.next_range);
            let base = self.put_states(&row.partition, &name, &all).await?;
            outdated = objects.drain(..).map(|it| it.key).filter(|it| *it != base.key).collect();
            objects.push(base);
        }
        objects.push(object.clone());
        Ok((StateIndex { objects, keys: intent.keys.clone() }, outdated))
    }

    /// Reads the states of a lease, unless they are in memory.
    pub(super) async fn load(&self, lease: &Lease) -> Result<(), StoreError> {
        let row = {
            let mut holds = self.holds();
            let hold = holds.of(lease)?;
            if hold.states.is_some() {
                return Ok(());
            }
            hold.row.clone()
        };
        let mut states = StateMap::default();
        for object in &row.states.objects {
            states.apply(&self.get_states(lease, object).await?);
        }
        row.taken.iter().for_each(|range| states.forget(*range));
        self.holds().of(lease)?.states.get_or_insert(Arc::new(states));
        Ok(())
    }

    /// A child takes its parents' states: first it is written on their rows which hashes are gone from
    /// there, then on its own what it has. Done again after a crash in between, it finds the same, for
    /// the objects of a parent stay as they are.
    pub(super) async fn inherit(
        &self,
        lease: &Lease,
        write: WriteId,
        parents: &[PartitionId],
        hash_range: (u128, u128),
    ) -> Result<StateKeys, StoreError> {
        let row = self.row(lease)?;
        if row.last_write == Some(write) {
            return Ok(row.states.keys);
        }
        self.load(lease).await?;
        let mut states = self.holds().of(lease)?.states.clone().unwrap_or_default();
        let mut inherited = Vec::new();
        for parent in parents {
            let Some(parent) = self.table.get(parent).await? else { continue };
            if parent.states.objects.is_empty() {
                continue;
            }
            let mut left = StateMap::default();
            for object in &parent.states.objects {
                left.apply(&self.get_states(lease, object).await?);
            }
            let mut taken = left.within(hash_range);
            taken.retain(|it| states.find(&it.stage, it.key).is_none());
            let ended_by_others = parent.is_finished() && !parent.ended;
            if !taken.is_empty() && (row.resume.is_some() || ended_by_others) {
                self.is_gap(&row, &parent)?;
                continue;
            }
            Arc::make_mut(&mut states).apply(&taken);
            inherited.append(&mut taken);
            self.is_taken(&parent.partition, hash_range).await?;
        }
        if inherited.is_empty() {
            return Ok(row.states.keys);
        }
        let base = self.put_states(&row.partition, "inherited", &states.all()).await?;
        let keys = states.keys();
        let index = to_json(&StateIndex { objects: vec![base], keys: keys.clone() })?;
        self.write(lease, write, |_| Change::default().set_text("tgStates", &index)).await?;
        self.holds().of(lease)?.states = Some(states);
        Ok(keys)
    }

    /// Somebody else has read the end of a parent, or the beginning of its child: the states that the
    /// parent has left are not of where the child goes on.
    fn is_gap(&self, child: &Row, parent: &Row) -> Result<(), StoreError> {
        let (child, parent) = (&child.partition, &parent.partition);
        if self.config.on_state_gap == OnStateGap::Reset {
            tracing::warn!(
                partition = %child, %parent,
                "somebody else has read in between: the states of the parent are not taken"
            );
            return Ok(());
        }
        let message = format!(
            "somebody else has read the end of `{parent}` or the beginning of `{child}`, and the states \
             that `{parent}` has left are not of where `{child}` goes on: say `on_state_gap: reset` to \
             begin with none"
        );
        Err(StoreError::plain(StoreErrorKind::Conflict, message))
    }

    /// Writes on a parent's row which of its states are a child's now.
    async fn is_taken(
        &self,
        parent: &PartitionId,
        hash_range: (u128, u128),
    ) -> Result<(), StoreError> {
        let set = aws_sdk_dynamodb::types::AttributeValue::Ss(vec![hash_range_text(hash_range)]);
        let change = Change::default().if_there().add("tgTaken", set);
        if let Written::Done(_) = self.table.update(parent, change).await?
            && let Some(hold) = self.holds().any(parent)
        {
            // One that this process still holds, and has nothing more to commit.
            hold.row.taken.push(hash_range);
            if let Some(states) = &mut hold.states {
                Arc::make_mut(states).forget(hash_range);
            }
        }
        Ok(())
    }

    async fn put_states(
        &self,
        partition: &PartitionId,
        name: &str,
        changes: &[StateChange],
    ) -> Result<StateObject, StoreError> {
        let content = Bytes::from(encoding::encode(changes));
        let digest = Digest::of(&content).hex();
        let key = format!("states/{}/{name}-{digest}.states", folder(partition));
        let bytes = content.len() as u64;
        self.objects.put(&key, content).await?;
        Ok(StateObject { key, bytes })
    }

    async fn get_states(
        &self,
        lease: &Lease,
        object: &StateObject,
    ) -> Result<Vec<StateChange>, StoreError> {
        let place = || self.objects.place(&object.key);
        let Some(content) = self.objects.get(&object.key).await? else {
            // Whoever has the lease now may have put another in its place.
            let now = self.table.get(&lease.partition).await?;
            if now.is_none_or(|row| !row.is_of(&lease.owner.0)) {
                return Err(fenced(&lease.partition));
            }
            let message = format!(
                "states of partition `{}` lie in `{}`, which is not there: put it back",
                lease.partition,
                place()
            );
            return Err(StoreError::plain(StoreErrorKind::Conflict, message));
        };
        let is_whole = object.key.contains(&Digest::of(&content).hex());
        encoding::decode(&content).filter(|_| is_whole).ok_or_else(|| {
            let message =
                format!("what lies in `{}` are not the states that were put there", place());
            StoreError::plain(StoreErrorKind::Conflict, message)
        })
    }
}

/// A partition's name as that of a folder.
fn folder(partition: &PartitionId) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    match !partition.0.is_empty() && partition.0.len() <= 100 && partition.0.chars().all(plain) {
        true => partition.0.to_string(),
        false => format!("sha256-{}", Digest::of(partition.0.as_bytes()).hex()),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn pending(state: Option<&[u8]>) -> Pending {
        let mut item = super::super::row::Item::new();
        item.insert("leaseKey".to_owned(), AttributeValue::S("p".to_owned()));
        item.insert("pendingCheckpoint".to_owned(), AttributeValue::S("17".to_owned()));
        let blob = state.map(|it| AttributeValue::B(Blob::new(it)));
        item.extend(blob.map(|it| ("pendingCheckpointState".to_owned(), it)));
        Pending::of(&Row::read(&item).expect("readable").expect("a lease"))
    }

    #[test]
    fn what_others_have_prepared_is_not_taken_for_an_intent() {
        let digest = Digest::of(b"manifest");
        let ours = [&MAGIC[..], &[VERSION], &digest.0, b"manifests/p/1.json"].concat();
        let key = "manifests/p/1.json".to_owned();
        assert_eq!(pending(Some(&ours)), Pending::Ours(Reference { digest, key }));
        let newer = [&MAGIC[..], &[VERSION + 1], b"anything"].concat();
        assert_eq!(pending(Some(&newer)), Pending::Newer);
        assert_eq!(pending(Some(b"state of an application")), Pending::Foreign);
        assert_eq!(pending(Some(&ours[..20])), Pending::Foreign, "it is cut off");
        assert_eq!(pending(None), Pending::Foreign, "prepared without a state");
    }

    #[test]
    fn partitions_have_folders_of_their_own() {
        assert_eq!(folder(&"shardId-000000000003".into()), "shardId-000000000003");
        let strange = ["", ".", "..", "a/b", "a b", "größe"].map(|name| folder(&name.into()));
        assert!(strange.iter().all(|it| it.starts_with("sha256-")), "{strange:?}");
    }
}
