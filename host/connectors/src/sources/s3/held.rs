//! What is held: the messages that were received and are hidden, what each of them names, and how far
//! that is. No I/O and no clock of its own.
//!
//! A message is deleted when all that it names is finished, and given back when all of it has ended and
//! some is not. It may name several objects, an object may be named by several messages, and a message
//! may come again while it is held: then the last receipt counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tidegate_core::source::PartitionId;
use tokio::time::Instant;

use super::{message::BadMessage, name::ObjectVersion};

/// What a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Object(ObjectVersion),
    Message(BadMessage),
}

/// What is held, and what is to be told of it.
#[derive(Debug, Default)]
pub(super) struct Held {
    items: BTreeMap<PartitionId, Entry>,
    messages: HashMap<String, Message>,
    /// Which message a receipt is of.
    receipts: HashMap<String, String>,
    /// Receipts of messages that are to be deleted, and from when on.
    deletes: BTreeMap<String, Instant>,
    /// Receipts of messages that were given back, and when they are seen again by themselves.
    given_back: BTreeMap<String, Instant>,
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    item: Item,
    messages: BTreeSet<String>,
    started: bool,
    /// Another host was at work on it when its turn had come.
    elsewhere: bool,
    /// It is held without a message, too.
    adopted: bool,
    /// With whom it was received: who came first is started first, whatever their names.
    turn: u64,
}

#[derive(Debug)]
struct Message {
    receipt: String,
    left: BTreeSet<PartitionId>,
    all_finished: bool,
    extend_at: Instant,
}

impl Entry {
    /// Whoever came later need not wait for it.
    fn has_begun(&self) -> bool {
        self.started || self.elsewhere
    }
}

impl Held {
    /// What there is to work on. What came later is not there before all that came earlier has begun,
    /// here or elsewhere.
    pub(super) fn listed(&self) -> impl Iterator<Item = &PartitionId> {
        let waiting = self.items.values().filter(|it| !it.has_begun());
        let first = waiting.map(|it| it.turn).min();
        let listed =
            self.items.iter().filter(move |(_, it)| it.has_begun() || Some(it.turn) == first);
        listed.map(|(id, _)| id)
    }

    /// Whether there is something that has not begun.
    pub(super) fn is_waited_for(&self) -> bool {
        self.items.values().any(|it| !it.has_begun())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// What a partition is.
    pub(super) fn item(&self, id: &PartitionId) -> Option<&Item> {
        Some(&self.items.get(id)?.item)
    }

    /// What comes from here on came later.
    pub(super) fn next_turn(&mut self) {
        self.turn += 1;
    }

    /// A message was received, and is hidden for a while. One that names nothing is deleted.
    pub(super) fn receive(
        &mut self,
        id: &str,
        receipt: String,
        items: Vec<(PartitionId, Item)>,
        now: Instant,
        extend_at: Instant,
    ) {
        if items.is_empty() {
            self.deletes.insert(receipt, now);
            return;
        }
        let mut left: BTreeSet<_> = items.iter().map(|it| it.0.clone()).collect();
        let mut all_finished = true;
        if let Some(before) = self.messages.remove(id) {
            // What has ended since it came first is not begun again for its sake.
            left.retain(|it| before.left.contains(it));
            all_finished = before.all_finished;
            self.receipts.remove(&before.receipt);
        }
        for (partition, item) in items {
            if !left.contains(&partition) {
                continue;
            }
            let turn = self.turn;
            let entry = self.items.entry(partition).or_insert_with(|| Entry {
                item,
                messages: BTreeSet::new(),
                started: false,
                elsewhere: false,
                adopted: false,
                turn,
            });
            entry.messages.insert(id.to_owned());
        }
        self.receipts.insert(receipt.clone(), id.to_owned());
        self.messages.insert(id.to_owned(), Message { receipt, left, all_finished, extend_at });
    }

    /// Something is to be worked on of which no message has been received.
    pub(super) fn adopt(&mut self, id: PartitionId, item: Item) {
        let (messages, turn) = (BTreeSet::new(), self.turn);
        let entry = Entry { item, messages, started: false, elsewhere: false, adopted: true, turn };
        self.items.entry(id).or_insert(entry);
    }

    /// Work on a partition has begun. Says whether others may begin now.
    pub(super) fn started(&mut self, id: &PartitionId) -> bool {
        let Some(entry) = self.items.get_mut(id) else { return false };
        entry.started = true;
        let turn = entry.turn;
        self.items.values().all(|it| it.has_begun() || it.turn != turn)
    }

    /// Another host works on some of them. They stay held, for it may die. Says whether others may
    /// begin now.
    pub(super) fn are_elsewhere(&mut self, ids: &BTreeSet<PartitionId>) -> bool {
        let mut some = false;
        for (_, entry) in
            self.items.iter_mut().filter(|(id, it)| !it.has_begun() && ids.contains(*id))
        {
            entry.elsewhere = true;
            some = true;
        }
        some
    }

    /// Work on a partition has ended. Messages that are given back are seen again at a time.
    pub(super) fn ended(
        &mut self,
        id: &PartitionId,
        finished: bool,
        now: Instant,
        visibility: Duration,
    ) {
        let Some(entry) = self.items.remove(id) else { return };
        for id_of_message in entry.messages {
            let Some(message) = self.messages.get_mut(&id_of_message) else { continue };
            message.left.remove(id);
            message.all_finished &= finished;
            if !message.left.is_empty() {
                continue;
            }
            let message = self.messages.remove(&id_of_message).expect("it was found");
            self.receipts.remove(&message.receipt);
            if message.all_finished {
                self.deletes.insert(message.receipt, now);
            } else {
                self.given_back.insert(message.receipt, now + visibility);
            }
        }
        self.given_back.retain(|_, seen_at| *seen_at > now);
    }

    /// Receipts of messages that are to be deleted now.
    pub(super) fn deletes(&self, now: Instant, most: usize) -> Vec<String> {
        let due = self.deletes.iter().filter(|(_, at)| **at <= now);
        due.take(most).map(|(receipt, _)| receipt.clone()).collect()
    }

    /// Messages were deleted, or can't be.
    pub(super) fn deleted(&mut self, receipts: impl IntoIterator<Item = String>) {
        for receipt in receipts {
            self.deletes.remove(&receipt);
        }
    }

    /// Messages could not be deleted, and it is tried again.
    pub(super) fn delete_later(&mut self, receipts: impl IntoIterator<Item = String>, at: Instant) {
        for receipt in receipts {
            self.deletes.entry(receipt).and_modify(|it| *it = at);
        }
    }

    /// Receipts of messages that are to be hidden for longer now.
    pub(super) fn extends(&self, now: Instant, most: usize) -> Vec<String> {
        let due = self.messages.values().filter(|it| it.extend_at <= now);
        due.take(most).map(|it| it.receipt.clone()).collect()
    }

    /// Messages are hidden until they are to be hidden for longer again.
    pub(super) fn extended(&mut self, receipts: impl IntoIterator<Item = String>, again: Instant) {
        for receipt in receipts {
            let message = self.receipts.get(&receipt).and_then(|id| self.messages.get_mut(id));
            if let Some(message) = message {
                message.extend_at = again;
            }
        }
    }

    /// Messages are not ours any more: what they name is worked on all the same, and whoever has them
    /// finds it finished.
    pub(super) fn lost(&mut self, receipts: impl IntoIterator<Item = String>) {
        for receipt in receipts {
            let Some(id) = self.receipts.remove(&receipt) else { continue };
            self.messages.remove(&id);
            for entry in self.items.values_mut() {
                entry.messages.remove(&id);
            }
            self.items.retain(|_, it| it.started || it.adopted || !it.messages.is_empty());
        }
    }

    /// When there is something to be told next.
    pub(super) fn next(&self) -> Option<Instant> {
        let extends = self.messages.values().map(|it| it.extend_at);
        self.deletes.values().copied().chain(extends).min()
    }

    /// Gives everything back. Receipts of messages that others may have at once.
    pub(super) fn give_back(&mut self, now: Instant) -> Vec<String> {
        self.items.clear();
        self.receipts.clear();
        let held = self.messages.drain().map(|(_, message)| message.receipt);
        let back = std::mem::take(&mut self.given_back).into_iter();
        held.chain(back.filter(|(_, seen_at)| *seen_at > now).map(|it| it.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Version;
    use super::*;

    const VISIBILITY: Duration = Duration::from_secs(60);

    fn object(key: &str) -> (PartitionId, Item) {
        let object = ObjectVersion {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            version: Version::Tag("t".to_owned()),
        };
        (object.partition(), Item::Object(object))
    }

    fn id(key: &str) -> PartitionId {
        object(key).0
    }

    struct Story {
        held: Held,
        now: Instant,
    }

    impl Story {
        fn new() -> Self {
            Story { held: Held::default(), now: Instant::now() }
        }

        fn receive(&mut self, message: &str, receipt: &str, keys: &[&str]) {
            self.held.next_turn();
            let items = keys.iter().map(|key| object(key)).collect();
            let extend_at = self.now + VISIBILITY / 2;
            self.held.receive(message, receipt.to_owned(), items, self.now, extend_at);
        }

        fn ended(&mut self, key: &str, finished: bool) {
            self.held.ended(&id(key), finished, self.now, VISIBILITY);
        }

        fn deletes(&self) -> Vec<String> {
            self.held.deletes(self.now, 10)
        }

        fn listed(&self) -> Vec<PartitionId> {
            self.held.listed().cloned().collect()
        }
    }

    #[test]
    fn a_message_is_deleted_when_all_that_it_names_is_finished_and_not_before() {
        let mut story = Story::new();
        story.receive("m", "r", &["a", "b"]);
        story.ended("a", true);
        assert!(story.deletes().is_empty());
        story.ended("b", true);
        assert_eq!(story.deletes(), ["r"]);
        story.held.delete_later(["r".to_owned()], story.now + Duration::from_secs(1));
        assert!(story.deletes().is_empty(), "not at once again");
        story.now += Duration::from_secs(1);
        assert_eq!(story.deletes(), ["r"]);
        story.held.deleted(["r".to_owned()]);
        assert!(story.deletes().is_empty() && story.held.next().is_none());
    }

    #[test]
    fn a_message_of_which_something_is_not_finished_is_given_back() {
        let mut story = Story::new();
        story.receive("m", "r", &["a", "b"]);
        story.ended("a", false);
        story.ended("b", true);
        assert!(story.deletes().is_empty() && story.held.len() == 0);
        assert_eq!(story.held.give_back(story.now), ["r"]);
        // One that is seen by others already is theirs.
        story.receive("m", "r", &["a"]);
        story.ended("a", false);
        assert!(story.held.give_back(story.now + VISIBILITY).is_empty());
    }

    #[test]
    fn a_message_that_comes_again_while_it_is_held_is_the_same() {
        let mut story = Story::new();
        story.receive("m", "first", &["a", "b"]);
        story.held.started(&id("a"));
        story.ended("b", true);
        story.receive("m", "second", &["a", "b"]);
        assert_eq!(story.listed(), [id("a")], "what is done is not begun again");
        assert_eq!(story.held.extends(story.now + VISIBILITY, 10), ["second"]);
        story.ended("a", true);
        assert_eq!(story.deletes(), ["second"]);
    }

    #[test]
    fn an_object_that_two_messages_name_is_worked_on_once_and_both_are_deleted() {
        let mut story = Story::new();
        story.receive("m", "r", &["a"]);
        story.receive("n", "s", &["a", "b"]);
        assert_eq!(story.held.len(), 2);
        story.held.started(&id("a"));
        story.ended("a", true);
        assert_eq!(story.deletes(), ["r"]);
        story.ended("b", true);
        assert_eq!(story.deletes(), ["r", "s"]);
    }

    #[test]
    fn who_came_first_is_begun_first_whatever_the_names() {
        let mut story = Story::new();
        story.receive("m", "r", &["y", "z"]);
        story.receive("n", "s", &["a"]);
        assert_eq!(story.listed(), [id("y"), id("z")]);
        assert!(!story.held.started(&id("y")));
        assert_eq!(story.listed(), [id("y"), id("z")]);
        assert!(story.held.started(&id("z")), "others may begin");
        assert_eq!(story.listed(), [id("a"), id("y"), id("z")]);
    }

    #[test]
    fn what_another_host_works_on_is_waited_for_by_nobody_and_may_still_begin_here() {
        let mut story = Story::new();
        story.receive("m", "r", &["y", "z"]);
        story.receive("n", "s", &["a"]);
        assert!(story.held.are_elsewhere(&[id("y")].into()));
        assert_eq!(story.listed(), [id("y"), id("z")], "one of them waits for its own turn");
        assert!(story.held.started(&id("z")), "others may begin");
        assert_eq!(story.listed(), [id("a"), id("y"), id("z")]);
        assert!(!story.held.are_elsewhere(&[id("y"), id("z")].into()), "that is known");
        story.held.started(&id("a"));
        story.held.started(&id("y"));
        story.ended("y", true);
        story.ended("z", true);
        assert_eq!(story.deletes(), ["r"]);
        // Nothing else is held of its turn.
        story.receive("o", "t", &["b"]);
        story.receive("p", "u", &["c"]);
        assert!(story.held.are_elsewhere(&[id("b")].into()));
        assert_eq!(story.listed(), [id("a"), id("b"), id("c")]);
        story.held.started(&id("c"));
        assert!(!story.held.is_waited_for(), "what ails the queue is told all the same");
        assert_eq!(story.held.extends(story.now + VISIBILITY, 10).len(), 3, "it stays hidden");
    }

    #[test]
    fn what_is_worked_on_goes_on_without_its_message_and_what_is_not_is_left_to_others() {
        let mut story = Story::new();
        story.receive("m", "r", &["a", "b"]);
        story.held.started(&id("a"));
        story.held.lost(["r".to_owned()]);
        assert_eq!(story.listed(), [id("a")]);
        story.ended("a", true);
        assert!(story.deletes().is_empty());
        story.receive("m", "again", &["a", "b"]);
        story.ended("a", true);
        story.ended("b", true);
        assert_eq!(story.deletes(), ["again"]);
    }

    #[test]
    fn what_an_earlier_run_has_begun_needs_no_message() {
        let mut story = Story::new();
        let (partition, item) = object("a");
        story.held.adopt(partition, item);
        story.receive("m", "r", &["a", "b"]);
        assert_eq!(story.listed(), [id("a")], "it came first");
        story.held.lost(["r".to_owned()]);
        assert_eq!(story.listed(), [id("a")]);
        story.receive("m", "again", &["a"]);
        story.ended("a", true);
        assert_eq!(story.deletes(), ["again"]);
    }

    #[test]
    fn a_message_that_names_nothing_is_deleted_at_once() {
        let mut story = Story::new();
        story.receive("m", "r", &[]);
        assert_eq!(story.deletes(), ["r"]);
        assert_eq!(story.held.len(), 0);
    }
}
