//! The second pass: walks the tokens, holds them against the grammar and notes where the declared
//! fields lie.

use super::{
    DEPTH_MAX,
    convert::unescape,
    tokens::Tokens,
    tree::{Keys, NONE, NodeId, ROOT, Tree},
};

/// Where a field lies in a record, as byte offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// The opening quote of the key; that of the value for an element and for the record.
    pub(super) member: u32,
    /// The value's first byte.
    pub(super) start: u32,
    /// One behind the value's last byte; 0 where the field is not there.
    pub(super) end: u32,
}

impl Span {
    pub(super) fn is_found(&self) -> bool {
        self.end != 0
    }
}

/// An occurrence of a declared member that a later one makes void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) row: u32,
    pub(super) node: NodeId,
    /// The opening quote of the key.
    pub(super) member: u32,
    /// One behind the value's last byte.
    pub(super) end: u32,
}

/// What the walk notes down.
pub(super) struct Notes<'a> {
    /// One a node, of nothing found.
    pub(super) spans: &'a mut [Span],
    pub(super) duplicates: &'a mut Vec<Duplicate>,
    pub(super) row: u32,
}

/// Whether the tokens are one JSON value.
pub(super) fn is_json(tokens: &Tokens) -> bool {
    let mut duplicates = Vec::new();
    let mut notes = Notes { spans: &mut [Span::default()], duplicates: &mut duplicates, row: 0 };
    thread_local! {
        static NO_PATHS: Tree = Tree::new([]);
    }
    NO_PATHS.with(|tree| walk(tokens, tree, &mut notes))
}

/// An open container.
#[derive(Clone, Copy)]
struct Frame {
    node: NodeId,
    /// The index of the element that is being walked, or [`OBJECT`].
    index: u32,
}

/// No array has as many elements as this: texts are smaller.
const OBJECT: u32 = u32::MAX;

/// Whether the tokens are one JSON value. Where the tree's fields lie is in the notes then.
pub(super) fn walk(tokens: &Tokens, tree: &Tree, notes: &mut Notes<'_>) -> bool {
    let text = tokens.padded.as_slice();
    let starts = tokens.starts.as_slice();
    let mut stack = [Frame { node: NONE, index: 0 }; DEPTH_MAX];
    let mut depth = 0;
    // The token that comes next.
    let mut at = 0;
    // The node of the value that comes next, and where its member begins.
    let mut node = ROOT;
    let mut member = starts[0];
    loop {
        // A value is due.
        let start = starts[at];
        let end;
        match text[start as usize] {
            b'"' => {
                end = starts[at + 1] + 1;
                at += 2;
            }
            open @ (b'{' | b'[') => {
                if depth == DEPTH_MAX {
                    return false;
                }
                let next = starts[at + 1];
                // In ASCII a closing bracket is its opening one plus two.
                if text[next as usize] == open + 2 {
                    end = next + 1;
                    at += 2;
                } else {
                    if node != NONE {
                        notes.begin(tree, node, member, start);
                    }
                    at += 1;
                    let index = if open == b'{' { OBJECT } else { 0 };
                    stack[depth] = Frame { node, index };
                    depth += 1;
                    if open == b'{' {
                        let Some(child) = key(tokens, tree, node, &mut at) else { return false };
                        (node, member) = child;
                    } else {
                        (node, member) = (element(tree, node, 0), starts[at]);
                    }
                    continue;
                }
            }
            first => {
                let length = scalar(&text[start as usize..], first);
                end = start + length as u32;
                at += 1;
                let ended = end == starts[at] || is_space(text[end as usize]);
                if length == 0 || !ended {
                    return false;
                }
            }
        }
        if node != NONE {
            notes.begin(tree, node, member, start);
            notes.spans[node as usize].end = end;
        }
        // A value is behind us.
        loop {
            if depth == 0 {
                return at == tokens.count;
            }
            let frame = &mut stack[depth - 1];
            let place = starts[at];
            match text[place as usize] {
                b',' if frame.index == OBJECT => {
                    at += 1;
                    let Some(child) = key(tokens, tree, frame.node, &mut at) else { return false };
                    (node, member) = child;
                    break;
                }
                b',' => {
                    at += 1;
                    frame.index += 1;
                    (node, member) = (element(tree, frame.node, frame.index), starts[at]);
                    break;
                }
                b'}' if frame.index == OBJECT => {}
                b']' if frame.index != OBJECT => {}
                _ => return false,
            }
            if frame.node != NONE {
                notes.spans[frame.node as usize].end = place + 1;
            }
            at += 1;
            depth -= 1;
        }
    }
}

impl Notes<'_> {
    /// A value of a declared path begins.
    #[inline]
    fn begin(&mut self, tree: &Tree, node: NodeId, member: u32, start: u32) {
        if self.spans[node as usize].is_found() {
            self.void(tree, node);
        }
        self.spans[node as usize] = Span { member, start, end: 0 };
    }

    /// What was found at a node and under it was a duplicate's.
    #[cold]
    fn void(&mut self, tree: &Tree, node: NodeId) {
        let Span { member, end, .. } = self.spans[node as usize];
        self.duplicates.push(Duplicate { row: self.row, node, member, end });
        self.spans[node as usize..tree.node(node).end as usize].fill(Span::default());
    }
}

/// Steps over a key and its colon: the node of its member, and where the key begins.
#[inline]
fn key(tokens: &Tokens, tree: &Tree, parent: NodeId, at: &mut usize) -> Option<(NodeId, u32)> {
    let text = tokens.padded.as_slice();
    let [open, close, colon] = *tokens.starts[*at..].first_chunk()?;
    if text[open as usize] != b'"' || text[colon as usize] != b':' {
        return None;
    }
    *at += 3;
    if parent == NONE {
        return Some((NONE, open));
    }
    let keys = &tree.node(parent).keys;
    let (start, end) = (open as usize + 1, close as usize);
    let node = if tokens.escapes && text[start..end].contains(&b'\\') {
        find_escaped(keys, &text[start..end])
    } else {
        keys.find(text, start, end - start)
    };
    Some((node, open))
}

/// The node of a key with escapes in it.
#[cold]
fn find_escaped(keys: &Keys, escaped: &[u8]) -> NodeId {
    let mut key = Vec::with_capacity(escaped.len() + 8);
    // A key that is no text is no declared one.
    if !unescape(escaped, &mut key) {
        return NONE;
    }
    let len = key.len();
    key.resize(len + 8, 0);
    keys.find(&key, 0, len)
}

#[inline]
fn element(tree: &Tree, parent: NodeId, index: u32) -> NodeId {
    if parent == NONE { NONE } else { tree.node(parent).element(index) }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The length of the number or literal that `text` begins with; 0 where it begins with neither.
#[inline]
fn scalar(text: &[u8], first: u8) -> usize {
    match first {
        b'-' | b'0'..=b'9' => number(text),
        b't' if text.starts_with(b"true") => 4,
        b'f' if text.starts_with(b"false") => 5,
        b'n' if text.starts_with(b"null") => 4,
        _ => 0,
    }
}

/// The length of the number that `text`, which does not end with it, begins with; or 0.
#[inline]
fn number(text: &[u8]) -> usize {
    let digits = |mut at: usize| {
        while text[at].is_ascii_digit() {
            at += 1;
        }
        at
    };
    let integer = usize::from(text[0] == b'-');
    let mut at = digits(integer);
    if at == integer || (text[integer] == b'0' && at > integer + 1) {
        return 0;
    }
    if text[at] == b'.' {
        let fraction = at + 1;
        at = digits(fraction);
        if at == fraction {
            return 0;
        }
    }
    if text[at] | 0x20 == b'e' {
        let exponent = at + 1 + usize::from(matches!(text[at + 1], b'+' | b'-'));
        at = digits(exponent);
        if at == exponent {
            return 0;
        }
    }
    at
}
