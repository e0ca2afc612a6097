//! The second pass: walks the tokens, holds them against the grammar and notes where the declared
//! fields lie.

use std::{mem::MaybeUninit, sync::LazyLock};

use super::{
    DEPTH_MAX,
    convert::unescape,
    digits,
    tokens::{LOOK_AHEAD, Tokens},
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
    static NO_PATHS: LazyLock<Tree> = LazyLock::new(|| Tree::new([]));
    let mut duplicates = Vec::new();
    let mut notes = Notes { spans: &mut [Span::default()], duplicates: &mut duplicates, row: 0 };
    walk(tokens, &NO_PATHS, &mut notes)
}

/// A container that is open.
#[derive(Clone, Copy)]
struct Frame {
    node: NodeId,
    /// The index of the element that is being walked, or [`OBJECT`].
    index: u32,
}

/// No array has as many elements as this: texts are smaller.
const OBJECT: u32 = u32::MAX;

/// A look at the tokens from one on.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    tokens: &'a Tokens,
    /// Which token comes next: at most one behind the last.
    at: usize,
}

impl Cursor<'_> {
    /// Where the token that is `ahead` of the next one begins.
    #[inline(always)]
    fn place(self, ahead: usize) -> u32 {
        debug_assert!(ahead < LOOK_AHEAD && self.at <= self.tokens.count);
        debug_assert!(self.at + ahead < self.tokens.starts.len());
        // SAFETY: `starts` has `LOOK_AHEAD` places behind its tokens, and a cursor is never
        // further than behind the last token: it steps over tokens that were seen to be there,
        // and the places behind the last hold a space, which is no token.
        unsafe { *self.tokens.starts.get_unchecked(self.at + ahead) }
    }

    /// The byte at a place.
    #[inline(always)]
    fn byte(self, place: u32) -> u8 {
        debug_assert!((place as usize) < self.tokens.padded.len());
        // SAFETY: places are at most the length of the text, and there is padding behind it.
        unsafe { *self.tokens.padded.get_unchecked(place as usize) }
    }
}

/// Whether the tokens are one JSON value. Where the tree's fields lie is in the notes then.
pub(super) fn walk(tokens: &Tokens, tree: &Tree, notes: &mut Notes<'_>) -> bool {
    // The containers around the one that is being walked, outermost first.
    let mut stack = [const { MaybeUninit::<Frame>::uninit() }; DEPTH_MAX];
    let mut depth = 0;
    // The container that is being walked: at first one that holds just the record.
    let mut frame = Frame { node: NONE, index: 0 };
    let mut node = ROOT;
    let mut cursor = Cursor { tokens, at: 0 };
    loop {
        // A member or an element is due.
        let member = cursor.place(0);
        if frame.index == OBJECT {
            let (close, colon) = (cursor.place(1), cursor.place(2));
            if cursor.byte(member) != b'"' || cursor.byte(colon) != b':' {
                return false;
            }
            node = child(tokens, tree, frame.node, member, close);
            cursor.at += 3;
        }
        let start = cursor.place(0);
        let end;
        let first = cursor.byte(start);
        if first == b'"' {
            // Quotes come in pairs: the first pass has seen to it.
            end = cursor.place(1) + 1;
            cursor.at += 2;
        } else if first == b'{' || first == b'[' {
            let next = cursor.place(1);
            if depth == DEPTH_MAX {
                return false;
            }
            // In ASCII a closing bracket is its opening one plus two.
            if cursor.byte(next) != first + 2 {
                if node != NONE {
                    notes.begin(tree, node, member, start);
                }
                cursor.at += 1;
                stack[depth].write(frame);
                depth += 1;
                frame = Frame { node, index: if first == b'{' { OBJECT } else { 0 } };
                if first == b'[' {
                    node = element(tree, node, 0);
                }
                continue;
            }
            end = next + 1;
            cursor.at += 2;
        } else {
            end = start + scalar(tokens, start, first) as u32;
            cursor.at += 1;
            // What follows must be a token of its own.
            if end == start || (end != cursor.place(0) && !is_space(cursor.byte(end))) {
                return false;
            }
        }
        if node != NONE {
            notes.begin(tree, node, member, start);
            notes.spans[node as usize].end = end;
        }
        // The containers that end here.
        loop {
            let place = cursor.place(0);
            let byte = cursor.byte(place);
            if byte == b',' && depth != 0 {
                cursor.at += 1;
                if frame.index != OBJECT {
                    frame.index += 1;
                    node = element(tree, frame.node, frame.index);
                }
                break;
            }
            if depth == 0 || byte != if frame.index == OBJECT { b'}' } else { b']' } {
                return depth == 0 && cursor.at == tokens.count;
            }
            if frame.node != NONE {
                notes.spans[frame.node as usize].end = place + 1;
            }
            cursor.at += 1;
            depth -= 1;
            // SAFETY: it was written when the depth grew beyond it.
            frame = unsafe { stack[depth].assume_init() };
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

/// The node of the member whose key has its quotes at `open` and `close`.
#[inline(always)]
fn child(tokens: &Tokens, tree: &Tree, parent: NodeId, open: u32, close: u32) -> NodeId {
    if parent == NONE {
        return NONE;
    }
    let keys = &tree.node(parent).keys;
    let (start, end) = (open as usize + 1, close as usize);
    if tokens.escapes && tokens.padded[start..end].contains(&b'\\') {
        return find_escaped(keys, &tokens.padded[start..end]);
    }
    keys.find(&tokens.padded, start, end - start)
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

#[inline(always)]
fn element(tree: &Tree, parent: NodeId, index: u32) -> NodeId {
    if parent == NONE { NONE } else { tree.node(parent).element(index) }
}

#[inline(always)]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The length of the number or literal at `start`; 0 where there is neither.
#[inline(always)]
fn scalar(tokens: &Tokens, start: u32, first: u8) -> usize {
    let text = &tokens.padded[start as usize..];
    if first == b'-' || first.is_ascii_digit() {
        return digits::number(text);
    }
    match first {
        b't' if text.starts_with(b"true") => 4,
        b'f' if text.starts_with(b"false") => 5,
        b'n' if text.starts_with(b"null") => 4,
        _ => 0,
    }
}
