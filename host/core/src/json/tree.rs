//! The paths that a chain reads and writes, as one tree of members and elements.
//!
//! Nodes are numbered so that a node's descendants follow it: clearing what was found under a
//! duplicate member is one range. Children stand in the order in which their paths were declared,
//! which is the order in which new members are written.

use std::collections::HashMap;

use super::write;
use crate::path::{Path, Segment};

pub(super) type NodeId = u32;

/// No declared path leads here.
pub(super) const NONE: NodeId = u32::MAX;

/// The whole record.
pub(super) const ROOT: NodeId = 0;

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Node {
    /// The step that leads here from the parent; an arbitrary one for the root.
    pub(super) segment: Segment,
    /// The key as it is written, with its quotes and colon; empty for an element.
    pub(super) member: Vec<u8>,
    /// [`NONE`] for the root.
    pub(super) parent: NodeId,
    /// One behind the last descendant.
    pub(super) end: NodeId,
    pub(super) keys: Keys,
    /// The elements that are declared, when the value is an array, by their index.
    elements: Vec<(u32, NodeId)>,
}

impl Node {
    /// The child at an index of an array, or [`NONE`].
    #[inline]
    pub(super) fn element(&self, index: u32) -> NodeId {
        match self.elements.last() {
            Some((last, _)) if index <= *last => {
                let found = self.elements.binary_search_by_key(&index, |(index, _)| *index);
                found.map_or(NONE, |at| self.elements[at].1)
            }
            _ => NONE,
        }
    }
}

impl Tree {
    /// The tree of `paths`.
    pub(super) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut root = Sprout { segment: Segment::Index(0), children: Vec::new() };
        for path in paths {
            let mut sprout = &mut root;
            for segment in &path.0 {
                let known = sprout.children.iter().position(|child| child.segment == *segment);
                let at = known.unwrap_or_else(|| {
                    let children = Vec::new();
                    sprout.children.push(Sprout { segment: segment.clone(), children });
                    sprout.children.len() - 1
                });
                sprout = &mut sprout.children[at];
            }
        }
        let mut tree = Tree { nodes: Vec::new() };
        tree.number(root, NONE);
        tree
    }

    fn number(&mut self, sprout: Sprout, parent: NodeId) -> NodeId {
        let id = self.nodes.len() as NodeId;
        let mut member = Vec::new();
        if let (Segment::Key(key), true) = (&sprout.segment, id != ROOT) {
            write::write_string(key.as_bytes(), &mut member);
            member.push(b':');
        }
        self.nodes.push(Node {
            segment: sprout.segment,
            member,
            parent,
            end: 0,
            keys: Keys::new(Vec::new()),
            elements: Vec::new(),
        });
        let mut keys = Vec::new();
        for child in sprout.children {
            let segment = child.segment.clone();
            let node = self.number(child, id);
            match segment {
                Segment::Key(key) => keys.push((key, node)),
                Segment::Index(index) => self.nodes[id as usize].elements.push((index, node)),
            }
        }
        let end = self.nodes.len() as NodeId;
        let node = &mut self.nodes[id as usize];
        node.keys = Keys::new(keys);
        node.elements.sort_unstable();
        node.end = end;
        id
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The node of a path of this tree.
    pub(super) fn find(&self, path: &Path) -> Option<NodeId> {
        path.0.iter().try_fold(ROOT, |node, segment| {
            self.children(node).find(|child| self.node(*child).segment == *segment)
        })
    }

    pub(super) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(node).end;
        let mut next = node + 1;
        std::iter::from_fn(move || {
            let child = next;
            (child < end).then(|| {
                next = self.node(child).end;
                child
            })
        })
    }

    /// The path of a node.
    pub(super) fn path(&self, mut node: NodeId) -> Path {
        let mut segments = Vec::new();
        while node != ROOT {
            segments.push(self.node(node).segment.clone());
            node = self.node(node).parent;
        }
        segments.reverse();
        Path(segments)
    }
}

/// A node before it has its number.
struct Sprout {
    segment: Segment,
    children: Vec<Sprout>,
}

/// The declared keys of an object, as a hash table over a key's length and its first and last
/// eight bytes in which each key has the slot it hashes to. Most keys of a record are not
/// declared: most look-ups end after one comparison.
#[derive(Debug)]
pub(super) struct Keys {
    /// A power of two of them; all empty where no such table was found.
    slots: Vec<Slot>,
    multiplier: u64,
    shift: u32,
    /// All keys.
    entries: Vec<(Vec<u8>, NodeId)>,
    /// The same, where there is no table.
    map: HashMap<Vec<u8>, NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    ends: Ends,
    /// No key's length where the slot is empty.
    len: usize,
    node: NodeId,
    entry: u32,
}

impl Keys {
    /// The table of `keys`. Of equal ones the first counts.
    pub(super) fn new(keys: Vec<(String, NodeId)>) -> Self {
        let entries: Vec<_> =
            keys.into_iter().map(|(key, node)| (key.into_bytes(), node)).collect();
        let slots = Vec::new();
        let mut keys = Keys { slots, multiplier: 0, shift: 0, entries, map: HashMap::new() };
        let smallest = (keys.entries.len() * 2).next_power_of_two().trailing_zeros().max(1);
        // Under one in a few multipliers no two keys share a slot once there is room. Keys with
        // the same length and ends can't be told apart by any, and hundreds of keys have no such
        // luck: those are looked up the ordinary way.
        for bits in smallest..smallest + 4 {
            for attempt in 0..64u64 {
                let multiplier = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * attempt + 1);
                if keys.fill(bits, multiplier) {
                    return keys;
                }
            }
        }
        for (key, node) in std::mem::take(&mut keys.entries) {
            keys.map.entry(key).or_insert(node);
        }
        keys.fill(1, 0);
        keys
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.map.is_empty()
    }

    /// Builds the table; says whether each key has a slot of its own.
    fn fill(&mut self, bits: u32, multiplier: u64) -> bool {
        let ends = Ends { first: 0, last: 0 };
        let empty = Slot { ends, len: usize::MAX, node: NONE, entry: 0 };
        self.shift = 64 - bits;
        self.multiplier = multiplier;
        self.slots = vec![empty; 1 << bits];
        for (i, (key, node)) in self.entries.iter().enumerate() {
            let mut padded = key.clone();
            padded.resize(key.len() + 8, 0);
            // SAFETY: eight bytes were added.
            let ends = unsafe { Ends::at(padded.as_ptr(), key.len()) };
            let at = self.hash(ends, key.len());
            if self.slots[at].node != NONE {
                return false;
            }
            self.slots[at] = Slot { ends, len: key.len(), node: *node, entry: i as u32 };
        }
        true
    }

    #[inline(always)]
    fn hash(&self, ends: Ends, len: usize) -> usize {
        let mixed = (ends.first ^ ends.last.rotate_left(29)).wrapping_add(len as u64);
        (mixed.wrapping_mul(self.multiplier) >> self.shift) as usize
    }

    /// The node of the key `text[start..start + len]`, or [`NONE`].
    ///
    /// # Panics
    /// When not at least eight bytes follow the key in `text`.
    #[inline]
    pub(super) fn find(&self, text: &[u8], start: usize, len: usize) -> NodeId {
        assert!(start + len + 8 <= text.len());
        // SAFETY: the bytes are there.
        unsafe { self.find_at(text.as_ptr().add(start), len) }
    }

    /// The node of the key of `len` bytes at `key`, or [`NONE`].
    ///
    /// # Safety
    /// `len + 8` bytes from `key` on may be read.
    #[inline(always)]
    pub(super) unsafe fn find_at(&self, key: *const u8, len: usize) -> NodeId {
        // SAFETY: the caller's promise.
        let ends = unsafe { Ends::at(key, len) };
        // SAFETY: there are two to the power of 64 - `shift` slots, and a hash has that many bits.
        let slot = unsafe { self.slots.get_unchecked(self.hash(ends, len)) };
        if slot.len != len || slot.ends != ends {
            if self.map.is_empty() {
                return NONE;
            }
        } else if len <= 16 {
            return slot.node;
        }
        // SAFETY: the caller's promise.
        self.find_long(slot, unsafe { std::slice::from_raw_parts(key, len) })
    }

    /// The node of a key that a slot can't decide on.
    #[inline(never)]
    fn find_long(&self, slot: &Slot, key: &[u8]) -> NodeId {
        match self.entries.get(slot.entry as usize) {
            Some((entry, node)) if entry == key => *node,
            _ => self.map.get(key).copied().unwrap_or(NONE),
        }
    }
}

/// The first eight bytes of a key and the last eight; twice all of it where it has fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
}

impl Ends {
    /// # Safety
    /// `len + 8` bytes from `key` on may be read.
    #[inline(always)]
    unsafe fn at(key: *const u8, len: usize) -> Self {
        const MASKS: [u64; 9] = {
            let mut masks = [u64::MAX; 9];
            let mut len = 0;
            while len < 8 {
                masks[len] = (1 << (8 * len)) - 1;
                len += 1;
            }
            masks
        };
        // SAFETY: both words end at most eight bytes behind the key, or eight behind its start.
        let word = |at: usize| u64::from_le(unsafe { key.add(at).cast::<u64>().read_unaligned() });
        let mask = MASKS[len.min(8)];
        Ends { first: word(0) & mask, last: word(len.max(8) - 8) & mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let mut keys: Vec<String> = ["", "a", "b", "ab", "ba", "amount", "currency", "timestamp"]
            .map(str::to_owned)
            .to_vec();
        // The same length and ends, so that hashing can't tell them apart.
        keys.extend((0..20).map(|i| format!("beginning{i:02}theendis")));
        for count in [0, 1, 3, keys.len()] {
            let declared: Vec<_> = keys[..count].iter().cloned().zip(1..).collect();
            let table = Keys::new(declared);
            for (i, key) in keys.iter().enumerate() {
                let text = format!("\"{key}\":        ");
                let want = if i < count { i as NodeId + 1 } else { NONE };
                assert_eq!(table.find(text.as_bytes(), 1, key.len()), want, "{key}");
            }
        }
        let many: Vec<_> = (0..1000).map(|i| format!("k{i}")).zip(1..).collect();
        assert_eq!(Keys::new(many).find(b"k999        ", 0, 4), 1000);
    }
}
