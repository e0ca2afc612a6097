//! The leases that this process holds: each row as our last write has left it, and the writes of
//! which it is not known whether they were done.

use std::collections::{HashMap, VecDeque};

use tidegate_core::{
    checkpoint::{Lease, StateChange, StoreError, WriteId},
    source::PartitionId,
};

use super::{fenced, intent::Intent, row::Row, states::StateMap};

/// All leases of this process, and which of them it has handed over by which write.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: HashMap<PartitionId, Hold>,
    /// The last of them: one that is done again is done again at once.
    handed_over: VecDeque<(PartitionId, WriteId)>,
}

/// So many hand-overs are remembered.
const HANDED_OVER_MAX: usize = 1_024;

/// One lease.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) lease: Lease,
    pub(super) row: Row,
    pub(super) intent: Option<Intent>,
    /// None until somebody asks for one.
    pub(super) states: Option<std::sync::Arc<StateMap>>,
    acquired_by: WriteId,
    /// Sent since the row was as it is here. At most one of them was done: each asks for the same
    /// counter.
    in_doubt: Vec<WriteId>,
}

impl Hold {
    pub(super) fn new(lease: Lease, row: Row, acquired_by: WriteId) -> Self {
        Hold { lease, row, intent: None, states: None, acquired_by, in_doubt: Vec::new() }
    }

    /// A write is on its way.
    pub(super) fn is_sent(&mut self, write: WriteId) {
        if !self.in_doubt.contains(&write) {
            self.in_doubt.push(write);
        }
    }

    /// Whether a row that is not as it was left is still ours: one of our own writes was done whose
    /// answer was lost, or somebody has asked for a hand-over, which leaves the counter alone.
    pub(super) fn explains(&self, found: &Row) -> bool {
        let ours = || found.last_write.is_some_and(|it| self.in_doubt.contains(&it));
        let owned = found.is_of(&self.lease.owner.0);
        if found.counter == self.row.counter + 1 {
            // Of one that gave the lease up it is known by its name alone.
            return ours();
        }
        let asked = found.hands_over != self.row.hands_over || found.owner != self.row.owner;
        let untouched = found.counter == self.row.counter
            && found.checkpoint == self.row.checkpoint
            && found.sub_sequence == self.row.sub_sequence;
        owned && asked && untouched
    }

    /// The row is known again.
    pub(super) fn is_as(&mut self, row: Row) {
        if row.counter != self.row.counter {
            self.in_doubt.clear();
        }
        self.row = row;
    }

    /// The intent is committed: its states are current.
    pub(super) fn committed(&mut self, changes: &[StateChange]) {
        self.intent = None;
        if let Some(states) = &mut self.states {
            std::sync::Arc::make_mut(states).apply(changes);
        }
    }
}

impl Holds {
    /// The hold of a lease, if it is worth something.
    pub(super) fn of(&mut self, lease: &Lease) -> Result<&mut Hold, StoreError> {
        let hold = self.held.get_mut(&lease.partition).filter(|hold| hold.lease == *lease);
        hold.ok_or_else(|| fenced(&lease.partition))
    }

    /// The hold of a partition, whoever's it is.
    pub(super) fn any(&mut self, partition: &PartitionId) -> Option<&mut Hold> {
        self.held.get_mut(partition)
    }

    pub(super) fn insert(&mut self, hold: Hold) {
        self.handed_over.retain(|(partition, _)| *partition != hold.lease.partition);
        self.held.insert(hold.lease.partition.clone(), hold);
    }

    pub(super) fn forget(&mut self, lease: &Lease) {
        if self.of(lease).is_ok() {
            self.held.remove(&lease.partition);
        }
    }

    pub(super) fn hand_over(&mut self, lease: &Lease, write: WriteId) {
        self.forget(lease);
        if self.handed_over.len() == HANDED_OVER_MAX {
            self.handed_over.pop_front();
        }
        self.handed_over.push_back((lease.partition.clone(), write));
    }

    pub(super) fn was_handed_over(&self, partition: &PartitionId, write: WriteId) -> bool {
        self.handed_over.iter().any(|it| it.0 == *partition && it.1 == write)
    }

    pub(super) fn acquired_by(&self, partition: &PartitionId, write: WriteId) -> Option<Hold> {
        self.held.get(partition).filter(|hold| hold.acquired_by == write).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use tidegate_core::checkpoint::OwnerId;

    use super::*;

    fn row(owner: &str, hands_over: Option<&str>, counter: u64, write: u128) -> Row {
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let mut item: super::super::row::Item = [
            ("leaseKey".to_owned(), s("p")),
            ("leaseOwner".to_owned(), s(owner)),
            ("leaseCounter".to_owned(), AttributeValue::N(counter.to_string())),
            ("tgWrite".to_owned(), super::super::row::write_id(WriteId(write))),
        ]
        .into();
        item.extend(hands_over.map(|it| ("checkpointOwner".to_owned(), s(it))));
        Row::read(&item).expect("readable").expect("a lease")
    }

    #[test]
    fn only_what_our_own_writes_left_explains_a_row_that_has_changed() {
        let lease = Lease { partition: "p".into(), owner: OwnerId("me".to_owned()), counter: 7 };
        let mut hold = Hold::new(lease, row("me", None, 7, 1), WriteId(1));
        hold.is_sent(WriteId(2));
        hold.is_sent(WriteId(3));
        assert!(hold.explains(&row("me", None, 8, 2)), "the answer to the first was lost");
        assert!(hold.explains(&row("me", None, 8, 3)));
        assert!(hold.explains(&row("other", Some("me"), 8, 3)), "and then a hand-over began");
        assert!(hold.explains(&row("other", Some("me"), 7, 1)), "a hand-over began");
        for (found, why) in [
            (row("other", None, 8, 9), "taken by one of ours"),
            (row("other", None, 8, 1), "taken by KCL, which leaves our names"),
            (row("other", None, 9, 2), "taken after it was done"),
            (row("me", None, 9, 2), "somebody writes in our name"),
            (row("other", None, 7, 1), "given to another without a hand-over"),
            (row("me", None, 7, 1), "the checkpoint has been moved: nothing else is as asked for"),
        ] {
            assert!(!hold.explains(&found), "{why}");
        }
        hold.is_as(row("other", Some("me"), 7, 1));
        assert!(hold.explains(&row("other", Some("me"), 8, 2)), "it is as much in doubt as before");
        hold.is_as(row("other", Some("me"), 8, 2));
        assert!(!hold.explains(&row("me", None, 9, 3)), "of two with one counter one was done");
    }
}
