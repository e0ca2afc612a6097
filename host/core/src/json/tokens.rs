//! The first pass: where the tokens of a text are.
//!
//! 64 bytes at a time are classified into bit masks, one bit a byte; arithmetic on the masks
//! finds which bytes are inside strings, and the places of all tokens come out as a list. This is
//! the method of Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019).

use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use super::simd;

/// The largest text that is read.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 31;

/// How many bytes may be read behind the end of a text.
pub(super) const PADDING_BYTES: usize = 64;

/// How many places may be looked at behind the last token: both quotes of a key and its colon are
/// looked at before any of them is.
pub(super) const LOOK_AHEAD: usize = 4;

/// How many bytes, and tokens, of room are kept for the next text; what a larger one took beyond
/// that is given back.
const ROOM_KEPT: usize = 1 << 20;

/// A text and the places of its tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The text with [`PADDING_BYTES`] spaces behind it.
    pub(super) padded: Vec<u8>,
    /// Both quotes of each string, each of `{}[]:,`, and the first byte of everything else, in
    /// order; then the length of the text [`LOOK_AHEAD`] times, so that who looks ahead finds a
    /// space. Invariant: each is at most the length of the text.
    pub(super) starts: Vec<u32>,
    /// How many tokens there are; what is in `starts` behind the look-ahead has no meaning.
    pub(super) count: usize,
    /// Whether any string has an escape.
    pub(super) escapes: bool,
    /// Whether there is a control character: a tab or a line break, between tokens.
    pub(super) controls: bool,
}

impl Tokens {
    /// Closes the list of tokens.
    fn end_at(&mut self, count: usize) {
        let len = (self.padded.len() - PADDING_BYTES) as u32;
        self.starts[count..count + LOOK_AHEAD].fill(len);
        self.count = count;
    }
}

/// A way to find the tokens.
pub(super) type Index = fn(&[u8], &mut Tokens) -> bool;

/// Finds the tokens of a text. False means that it is no JSON: strings are not closed, or have
/// control characters or invalid escapes, or there is invalid UTF-8. Whatever it says, the text
/// may break any other rule.
#[inline]
pub(super) fn index(text: &[u8], tokens: &mut Tokens) -> bool {
    static BEST: LazyLock<Index> =
        LazyLock::new(|| available().last().map_or(index_portable, |(_, index)| *index));
    BEST(text, tokens)
}

/// The ways that this processor has, the best last.
pub(super) fn available() -> Vec<(&'static str, Index)> {
    let mut ways: Vec<(&'static str, Index)> = vec![("portable", index_portable)];
    #[cfg(target_arch = "x86_64")]
    ways.extend(simd::available());
    ways
}

fn index_portable(text: &[u8], tokens: &mut Tokens) -> bool {
    index_with::<Portable>(text, tokens)
}

/// What a processor does in its own way.
pub(super) trait Classify {
    /// The masks of a block.
    fn masks(block: &[u8; 64]) -> Masks;

    /// Bit `i` of the result is the parity of bits 0 to `i`.
    fn prefix_parity(bits: u64) -> u64;

    /// Writes `base` plus the place of each set bit to `places` and says how many there are. May
    /// write anything to the places behind them.
    fn places(bits: u64, base: u32, places: &mut [u32; 64]) -> usize;
}

/// What the bytes of a block are, one bit a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) quote: u64,
    pub(super) backslash: u64,
    /// Below 0x20.
    pub(super) control: u64,
    /// `{}[]:,`
    pub(super) operator: u64,
    pub(super) space: u64,
    /// Not zero where a byte is not ASCII.
    pub(super) non_ascii: u64,
}

#[inline(always)]
pub(super) fn index_with<C: Classify>(text: &[u8], tokens: &mut Tokens) -> bool {
    if text.len() > TEXT_BYTES_MAX {
        return false;
    }
    // A copy costs less than care about the end of the text at every load.
    tokens.padded.clear();
    if tokens.padded.capacity() > text.len() + ROOM_KEPT {
        tokens.padded.shrink_to(ROOM_KEPT);
    }
    tokens.padded.reserve(text.len() + PADDING_BYTES);
    tokens.padded.extend_from_slice(text);
    tokens.padded.extend_from_slice(&[b' '; PADDING_BYTES]);
    tokens.escapes = false;
    // Each block has up to 64 tokens, and room for 64 is wanted before the last.
    let room = text.len() + 128 + LOOK_AHEAD;
    if tokens.starts.len() < room || tokens.starts.capacity() > room + ROOM_KEPT {
        tokens.starts.clear();
        tokens.starts.shrink_to(ROOM_KEPT);
        tokens.starts.resize(room, 0);
    }
    // Whatever becomes of this text, nothing of the last one is left.
    tokens.end_at(0);

    let (mut count, mut strings) = (0, Strings::default());
    let (mut scalar_before, mut non_ascii) = (0, 0);
    let (mut control, mut control_inside) = (0, 0);
    let blocks = &tokens.padded.as_chunks::<64>().0[..text.len().div_ceil(64)];
    for (i, block) in blocks.iter().enumerate() {
        let base = i as u32 * 64;
        let masks = C::masks(block);
        let mut quotes = masks.quote;
        if masks.backslash | strings.escaped_next != 0 {
            tokens.escapes = true;
            let (escapes, escaped) = strings.escapes(masks.backslash);
            if !escapes_are_valid(&tokens.padded, base as usize, escapes) {
                return false;
            }
            quotes &= !escaped;
        }
        // Inside strings, opening quotes included and closing ones not.
        let inside = C::prefix_parity(quotes) ^ strings.inside_before;
        strings.inside_before = ((inside as i64) >> 63) as u64;
        non_ascii |= masks.non_ascii;
        control |= masks.control;
        control_inside |= masks.control & inside;
        let scalar = !(masks.operator | masks.space | quotes | inside);
        let scalar_start = scalar & !(scalar << 1 | scalar_before);
        scalar_before = scalar >> 63;
        let starts = (masks.operator & !inside) | quotes | scalar_start;
        let Some(places) = tokens.starts[count..].first_chunk_mut() else { return false };
        count += C::places(starts, base, places);
    }
    tokens.end_at(count);
    tokens.controls = control != 0;
    control_inside == 0
        && strings.inside_before == 0
        && (non_ascii == 0 || simdutf8::basic::from_utf8(text).is_ok())
}

/// What of strings crosses from one block into the next.
#[derive(Default)]
struct Strings {
    /// Whether the next block's first byte is escaped: 0 or 1.
    escaped_next: u64,
    /// Whether it is inside a string: no bit or all.
    inside_before: u64,
}

impl Strings {
    /// Which backslashes begin an escape, and which bytes are the second of one.
    fn escapes(&mut self, backslash: u64) -> (u64, u64) {
        const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        // Of a run of backslashes every other one begins an escape, from its first on: the
        // subtraction carries along each run and so turns its parity into that pattern.
        let candidates = backslash & !self.escaped_next;
        let pattern = (((candidates << 1) | ODD).wrapping_sub(candidates)) ^ ODD;
        let escaped = pattern ^ (backslash | self.escaped_next);
        let escapes = pattern & backslash;
        self.escaped_next = escapes >> 63;
        (escapes, escaped)
    }
}

/// Whether the escapes whose backslashes are at `base` plus these bits are in the grammar.
#[cold]
#[inline(never)]
fn escapes_are_valid(padded: &[u8], base: usize, mut escapes: u64) -> bool {
    while escapes != 0 {
        let at = base + escapes.trailing_zeros() as usize;
        escapes &= escapes - 1;
        let valid = match padded.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
            Some(b'u') => padded
                .get(at + 2..at + 6)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
            _ => false,
        };
        if !valid {
            return false;
        }
    }
    true
}

/// For processors without vectors that we know, and the one that the others are tested against.
struct Portable;

impl Classify for Portable {
    fn masks(block: &[u8; 64]) -> Masks {
        let mut masks = Masks::default();
        for (i, byte) in block.iter().enumerate() {
            let bit = 1 << i;
            match byte {
                b'"' => masks.quote |= bit,
                b'\\' => masks.backslash |= bit,
                b'{' | b'}' | b'[' | b']' | b':' | b',' => masks.operator |= bit,
                b' ' => masks.space |= bit,
                b'\t' | b'\n' | b'\r' => {
                    masks.space |= bit;
                    masks.control |= bit;
                }
                0..0x20 => masks.control |= bit,
                0x80.. => masks.non_ascii |= bit,
                _ => {}
            }
        }
        masks
    }

    fn prefix_parity(mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }

    fn places(mut bits: u64, base: u32, places: &mut [u32; 64]) -> usize {
        let count = bits.count_ones() as usize;
        for place in &mut places[..count] {
            *place = base + bits.trailing_zeros();
            bits &= bits - 1;
        }
        count
    }
}
