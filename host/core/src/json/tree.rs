//! The paths that a chain reads and writes, as one tree of members and elements.
//!
//! Nodes are numbered so that a node's descendants follow it: clearing what was found under a
//! duplicate member is one range. Children stand in the order in which their paths were declared,
//! which is the order in which new members are written.

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
    /// The elements that are declared, when the value is an array.
    elements: Vec<(u32, NodeId)>,
}

impl Node {
    /// The child at an index of an array, or [`NONE`].
    #[inline]
    pub(super) fn element(&self, index: u32) -> NodeId {
        self.elements.iter().find(|(i, _)| *i == index).map_or(NONE, |(_, node)| *node)
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
            keys: Keys::default(),
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

/// The declared keys of an object, as a small hash table over a key's length and its first and
/// last eight bytes. Most keys of a record are not declared; most look-ups end at an empty slot
/// or at one comparison of two words.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Indices into `entries` plus one; a power of two of them.
    slots: Vec<u8>,
    entries: Vec<Entry>,
    multiplier: u64,
    shift: u32,
}

#[derive(Debug)]
struct Entry {
    first: u64,
    last: u64,
    node: NodeId,
    key: Vec<u8>,
}

impl Keys {
    fn new(keys: Vec<(String, NodeId)>) -> Self {
        let entries: Vec<Entry> = keys
            .into_iter()
            .map(|(key, node)| {
                let mut padded = key.clone().into_bytes();
                padded.resize(key.len() + 8, 0);
                let (first, last) = ends(&padded, 0, key.len());
                Entry { first, last, node, key: key.into_bytes() }
            })
            .collect();
        if entries.is_empty() || entries.len() > usize::from(u8::MAX) {
            // Too many for a slot's byte: looked up one by one.
            return Keys { entries, ..Keys::default() };
        }
        let mut keys = Keys { entries, ..Keys::default() };
        let mut bits = (keys.entries.len() * 4).next_power_of_two().trailing_zeros();
        // A multiplier under which no two keys share a slot. Keys that have the same length, first
        // and last bytes can't be told apart by any: for them linear probing has to do.
        loop {
            for attempt in 0..64u64 {
                let multiplier =
                    0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * attempt + 1).rotate_left(7) | 1;
                if keys.fill(bits, multiplier) || bits >= 12 {
                    return keys;
                }
            }
            bits += 1;
        }
    }

    /// Builds the table; says whether each key has the slot it hashes to.
    fn fill(&mut self, bits: u32, multiplier: u64) -> bool {
        self.shift = 64 - bits;
        self.multiplier = multiplier;
        self.slots = vec![0; 1 << bits];
        let mut perfect = true;
        for (i, entry) in self.entries.iter().enumerate() {
            let mut slot = self.slot(entry.first, entry.last, entry.key.len());
            while self.slots[slot] != 0 {
                perfect = false;
                slot = (slot + 1) % self.slots.len();
            }
            self.slots[slot] = i as u8 + 1;
        }
        perfect
    }

    #[inline]
    fn slot(&self, first: u64, last: u64, len: usize) -> usize {
        let mixed = (first ^ last.rotate_left(29)).wrapping_add(len as u64);
        (mixed.wrapping_mul(self.multiplier) >> self.shift) as usize
    }

    /// The node of the key `text[start..start + len]`, or [`NONE`]. At least eight bytes follow
    /// `start` in `text`.
    #[inline]
    pub(super) fn find(&self, text: &[u8], start: usize, len: usize) -> NodeId {
        if self.slots.is_empty() {
            return self.search(&text[start..start + len]);
        }
        let (first, last) = ends(text, start, len);
        let mut slot = self.slot(first, last, len);
        loop {
            let i = self.slots[slot];
            if i == 0 {
                return NONE;
            }
            let entry = &self.entries[usize::from(i) - 1];
            if entry.first == first
                && entry.last == last
                && entry.key.len() == len
                && (len <= 16 || entry.key == text[start..start + len])
            {
                return entry.node;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    #[cold]
    fn search(&self, key: &[u8]) -> NodeId {
        self.entries.iter().find(|entry| entry.key == key).map_or(NONE, |entry| entry.node)
    }
}

/// The first eight bytes of a key, or all of it; and the last eight, or none.
#[inline]
fn ends(text: &[u8], start: usize, len: usize) -> (u64, u64) {
    let word = |at: usize| {
        let bytes = text[at..at + 8].first_chunk().expect("eight bytes were taken");
        u64::from_le_bytes(*bytes)
    };
    if len >= 8 {
        (word(start), word(start + len - 8))
    } else {
        (word(start) & ((1 << (8 * len)) - 1), 0)
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
