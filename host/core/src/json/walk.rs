//! The second pass: walks the tokens, holds them against the grammar and notes where the declared
//! fields lie.

use std::{mem::MaybeUninit, sync::LazyLock};

use super::{
    DEPTH_MAX,
    convert::unescape,
    digits,
    tokens::{LOOK_AHEAD, PADDING_BYTES, Tokens},
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

/// Whether the tokens are one JSON value. Where the tree's fields lie is in the notes then.
///
/// The inner loops are bound by the number of instructions, hence the raw pointers and the two
/// versions.
pub(super) fn walk(tokens: &Tokens, tree: &Tree, notes: &mut Notes<'_>) -> bool {
    // Only what `index` has filled may be walked; it keeps the rest of what the cursor relies on.
    assert!(tokens.count + LOOK_AHEAD <= tokens.starts.len());
    let cursor = Cursor { tokens, text: tokens.padded.as_ptr(), next: tokens.starts.as_ptr() };
    match tokens.escapes {
        true => Walk::<true> { cursor, tree, notes }.record(),
        false => Walk::<false> { cursor, tree, notes }.record(),
    }
}

/// A look at the tokens from one on.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    tokens: &'a Tokens,
    /// The padded text.
    text: *const u8,
    /// The place of the next token: at most one behind the last. Who steps over a token has seen
    /// it there; what is behind the last one looks like a space, which is no token.
    next: *const u32,
}

impl Cursor<'_> {
    /// How many tokens are behind us.
    fn passed(self) -> usize {
        // SAFETY: both point into `starts`.
        unsafe { self.next.offset_from(self.tokens.starts.as_ptr()) as usize }
    }

    /// Where the token that is `ahead` of the next one begins.
    #[inline(always)]
    fn place(self, ahead: usize) -> u32 {
        debug_assert!(self.passed() <= self.tokens.count && ahead < LOOK_AHEAD);
        // SAFETY: `starts` has `LOOK_AHEAD` places behind its tokens.
        unsafe { *self.next.add(ahead) }
    }

    /// The byte at a place.
    #[inline(always)]
    fn byte(self, place: u32) -> u8 {
        debug_assert!(place as usize + PADDING_BYTES <= self.tokens.padded.len());
        // SAFETY: places are at most the length of the text, and there is padding behind it.
        unsafe { *self.text.add(place as usize) }
    }

    /// The bytes from a place on.
    #[inline(always)]
    fn window<const N: usize>(self, place: u32) -> [u8; N] {
        const { assert!(N <= PADDING_BYTES) };
        debug_assert!(place as usize + PADDING_BYTES <= self.tokens.padded.len());
        // SAFETY: places are at most the length of the text, and there is padding behind it.
        unsafe { self.text.add(place as usize).cast::<[u8; N]>().read_unaligned() }
    }

    /// Where the token that was stepped over last begins.
    #[inline(always)]
    fn before(self) -> u32 {
        debug_assert!(self.passed() > 0);
        // SAFETY: there is one.
        unsafe { *self.next.sub(1) }
    }

    #[inline(always)]
    fn step(&mut self, tokens: usize) {
        // SAFETY: the tokens were seen to be there.
        self.next = unsafe { self.next.add(tokens) };
    }
}

/// A container that is open.
#[derive(Clone, Copy)]
struct Frame<'a> {
    node: NodeId,
    /// The index of the element that is being walked, or [`OBJECT`].
    index: u32,
    /// The declared keys of an object, if there are any.
    keys: Option<&'a Keys>,
}

/// No array has as many elements as this: texts are smaller.
const OBJECT: u32 = u32::MAX;

struct Walk<'a, 'n, const ESCAPES: bool> {
    cursor: Cursor<'a>,
    tree: &'a Tree,
    notes: &'a mut Notes<'n>,
}

/// What a value begins with.
enum Begin {
    /// It is whole, and ends here.
    Leaf(u32),
    /// A container with something in it, of this first byte.
    Container(u8),
    Nothing,
}

impl<'a, const ESCAPES: bool> Walk<'a, '_, ESCAPES> {
    fn record(&mut self) -> bool {
        // The containers around the one that is being walked, outermost first.
        let mut stack = [const { MaybeUninit::<Frame<'a>>::uninit() }; DEPTH_MAX];
        let mut depth = 0;
        let start = self.cursor.place(0);
        let mut frame = match self.begin(start, 0) {
            Begin::Leaf(end) => {
                self.notes.found(self.tree, ROOT, Span { member: start, start, end });
                return self.is_at_end();
            }
            Begin::Container(first) => self.open(ROOT, start, start, first),
            Begin::Nothing => return false,
        };
        'container: loop {
            // A member or an element is due, or the next of them.
            let inner = if frame.index == OBJECT {
                loop {
                    let member = self.cursor.place(0);
                    let (close, colon) = (self.cursor.place(1), self.cursor.place(2));
                    if self.cursor.byte(member) != b'"' || self.cursor.byte(colon) != b':' {
                        return false;
                    }
                    let node = match frame.keys {
                        Some(keys) => self.child(keys, member, close),
                        None => NONE,
                    };
                    self.cursor.step(3);
                    let start = self.cursor.place(0);
                    match self.begin(start, depth + 1) {
                        Begin::Leaf(end) if node != NONE => {
                            self.notes.found(self.tree, node, Span { member, start, end });
                        }
                        Begin::Leaf(_) => {}
                        Begin::Container(_) => break Some((node, member)),
                        Begin::Nothing => return false,
                    }
                    match self.cursor.byte(self.cursor.place(0)) {
                        b',' => self.cursor.step(1),
                        b'}' => break None,
                        _ => return false,
                    }
                }
            } else {
                loop {
                    let node = match frame.node {
                        NONE => NONE,
                        node => self.tree.node(node).element(frame.index),
                    };
                    let start = self.cursor.place(0);
                    match self.begin(start, depth + 1) {
                        Begin::Leaf(end) if node != NONE => {
                            self.notes.found(self.tree, node, Span { member: start, start, end });
                        }
                        Begin::Leaf(_) => {}
                        Begin::Container(_) => break Some((node, start)),
                        Begin::Nothing => return false,
                    }
                    match self.cursor.byte(self.cursor.place(0)) {
                        b',' => self.cursor.step(1),
                        b']' => break None,
                        _ => return false,
                    }
                    frame.index += 1;
                }
            };
            if let Some((node, member)) = inner {
                stack[depth].write(frame);
                depth += 1;
                // `begin` has stepped over the bracket.
                let start = self.cursor.before();
                frame = self.open(node, member, start, self.cursor.byte(start));
                continue 'container;
            }
            // It ends, and maybe others with it.
            loop {
                let end = self.cursor.place(0) + 1;
                self.cursor.step(1);
                if frame.node != NONE {
                    self.notes.spans[frame.node as usize].end = end;
                }
                if depth == 0 {
                    return self.is_at_end();
                }
                depth -= 1;
                // SAFETY: it was written when the depth grew beyond it.
                frame = unsafe { stack[depth].assume_init() };
                match self.cursor.byte(self.cursor.place(0)) {
                    b',' => {
                        self.cursor.step(1);
                        frame.index = frame.index.saturating_add(1);
                        continue 'container;
                    }
                    b'}' if frame.index == OBJECT => {}
                    b']' if frame.index != OBJECT => {}
                    _ => return false,
                }
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.cursor.passed() == self.cursor.tokens.count
    }

    /// Steps over a leaf, or over the bracket that opens a container, inside so many others.
    #[inline(always)]
    fn begin(&mut self, start: u32, depth: usize) -> Begin {
        let first = self.cursor.byte(start);
        if first == b'"' {
            // Quotes come in pairs: the first pass has seen to it.
            let end = self.cursor.place(1) + 1;
            self.cursor.step(2);
            return Begin::Leaf(end);
        }
        if first.wrapping_sub(b'0') <= 9 || first == b'-' {
            let length = match digits::number(&self.cursor.window(start)) {
                Some(length) => length,
                None => digits::number_of_any_length(&self.cursor.tokens.padded[start as usize..]),
            };
            return self.scalar(start, length);
        }
        // In ASCII a closing bracket is its opening one plus two.
        if first | 0x20 == b'{' {
            if depth == DEPTH_MAX {
                return Begin::Nothing;
            }
            let next = self.cursor.place(1);
            if self.cursor.byte(next) == first + 2 {
                self.cursor.step(2);
                return Begin::Leaf(next + 1);
            }
            self.cursor.step(1);
            return Begin::Container(first);
        }
        let word: [u8; 4] = self.cursor.window(start);
        let length = match &word {
            b"true" | b"null" => 4,
            b"fals" if self.cursor.byte(start + 4) == b'e' => 5,
            _ => 0,
        };
        self.scalar(start, length)
    }

    /// Steps over a number or literal of a length; of none where there is neither.
    #[inline(always)]
    fn scalar(&mut self, start: u32, length: usize) -> Begin {
        if length == 0 {
            return Begin::Nothing;
        }
        self.cursor.step(1);
        // What follows must be a token of its own.
        let end = start + length as u32;
        let is_whole = end == self.cursor.place(0)
            || matches!(self.cursor.byte(end), b' ' | b'\t' | b'\n' | b'\r');
        if is_whole { Begin::Leaf(end) } else { Begin::Nothing }
    }

    /// Opens the container that begins with `first`.
    #[inline(always)]
    fn open(&mut self, node: NodeId, member: u32, start: u32, first: u8) -> Frame<'a> {
        let index = if first == b'{' { OBJECT } else { 0 };
        if node == NONE {
            return Frame { node, index, keys: None };
        }
        self.notes.found(self.tree, node, Span { member, start, end: 0 });
        let keys = Some(&self.tree.node(node).keys).filter(|keys| !keys.is_empty());
        Frame { node, index, keys }
    }

    /// The node of the member whose key has its quotes at `open` and `close`.
    #[inline(always)]
    fn child(&self, keys: &Keys, open: u32, close: u32) -> NodeId {
        let padded = &self.cursor.tokens.padded;
        let (start, end) = (open as usize + 1, close as usize);
        if ESCAPES && padded[start..end].contains(&b'\\') {
            return find_escaped(keys, &padded[start..end]);
        }
        debug_assert!(start <= end && end + PADDING_BYTES <= padded.len());
        // SAFETY: a key lies in the text, and there is padding behind the text.
        unsafe { keys.find_at(self.cursor.text.add(start), end - start) }
    }
}

impl Notes<'_> {
    /// A value of a declared path is whole, or begins: its end is 0 then.
    #[inline(always)]
    fn found(&mut self, tree: &Tree, node: NodeId, span: Span) {
        if self.spans[node as usize].is_found() {
            self.void(tree, node);
        }
        self.spans[node as usize] = span;
    }

    /// What was found at a node and under it was a duplicate's.
    #[cold]
    fn void(&mut self, tree: &Tree, node: NodeId) {
        let Span { member, end, .. } = self.spans[node as usize];
        self.duplicates.push(Duplicate { row: self.row, node, member, end });
        self.spans[node as usize..tree.node(node).end as usize].fill(Span::default());
    }
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
