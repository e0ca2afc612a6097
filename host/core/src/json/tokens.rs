//! The first pass: where the tokens of a text are.
//!
//! 64 bytes at a time are classified into bit masks, one bit a byte; arithmetic on the masks
//! finds which bytes are inside strings, and the places of all tokens come out as a list. This is
//! the method of Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019).

/// The largest text that is read.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 31;

/// How many bytes may be read behind the end of a text.
pub(super) const PADDING_BYTES: usize = 64;

/// A text and the places of its tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The text with [`PADDING_BYTES`] spaces behind it.
    pub(super) padded: Vec<u8>,
    /// How long the text is.
    pub(super) len: usize,
    /// Both quotes of each string, each of `{}[]:,`, and the first byte of everything else, in
    /// order; then `len` twice, so that a look ahead finds a space.
    pub(super) starts: Vec<u32>,
    /// Whether any string has an escape.
    pub(super) escapes: bool,
}

/// Finds the tokens of a text. False means that it is no JSON, for strings are not closed, or
/// have control characters or invalid escapes, or there is invalid UTF-8.
pub(super) fn index(text: &[u8], tokens: &mut Tokens) -> bool {
    index_portable(text, tokens)
}

/// The paths for processors that have what they need, for the tests.
#[cfg(test)]
pub(super) fn vector_paths() -> Vec<(&'static str, fn(&[u8], &mut Tokens) -> bool)> {
    vec![]
}

pub(super) fn index_portable(text: &[u8], tokens: &mut Tokens) -> bool {
    if text.len() > TEXT_BYTES_MAX {
        return false;
    }
    tokens.padded.clear();
    tokens.padded.reserve(text.len() + PADDING_BYTES);
    tokens.padded.extend_from_slice(text);
    tokens.padded.extend_from_slice(&[b' '; PADDING_BYTES]);
    tokens.len = text.len();
    tokens.starts.clear();
    tokens.escapes = false;

    let mut strings = Strings::default();
    let mut scalar_before = 0u64;
    let mut non_ascii = 0u64;
    let mut control = 0u64;
    for (block, bytes) in tokens.padded.as_chunks::<64>().0.iter().enumerate() {
        let masks = portable(bytes);
        let base = (block * 64) as u32;
        let quotes = if masks.backslash | strings.escaped_next == 0 {
            masks.quote
        } else {
            tokens.escapes = true;
            let (escapes, escaped) = strings.escapes(masks.backslash);
            if !escapes_are_valid(&tokens.padded, base as usize, escapes) {
                return false;
            }
            masks.quote & !escaped
        };
        let inside = strings.inside(quotes);
        non_ascii |= masks.non_ascii;
        control |= masks.control & inside;
        let scalar = !(masks.operator | masks.space | quotes | inside);
        let scalar_start = scalar & !(scalar << 1 | scalar_before);
        scalar_before = scalar >> 63;
        let mut bits = (masks.operator & !inside) | quotes | scalar_start;
        while bits != 0 {
            tokens.starts.push(base + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
    // The padding may have been cut off: the last block is short only by spaces.
    let len = tokens.len as u32;
    tokens.starts.extend([len, len]);
    control == 0
        && strings.inside_before == 0
        && (non_ascii == 0 || simdutf8::basic::from_utf8(text).is_ok())
}

/// What the bytes of a block are, one bit a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Masks {
    quote: u64,
    backslash: u64,
    /// Below 0x20.
    control: u64,
    /// `{}[]:,`
    operator: u64,
    space: u64,
    non_ascii: u64,
}

fn portable(bytes: &[u8; 64]) -> Masks {
    let mut masks = Masks::default();
    for (i, byte) in bytes.iter().enumerate() {
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

/// What of strings crosses from one block into the next.
#[derive(Default)]
struct Strings {
    /// Whether the next block's first byte is escaped: 0 or 1.
    escaped_next: u64,
    /// Whether it is inside a string: no bit or all.
    inside_before: u64,
}

impl Strings {
    /// Which bytes are inside strings, opening quotes included and closing ones not.
    fn inside(&mut self, quotes: u64) -> u64 {
        // A bit is set where the number of quotes up to and including it is odd.
        let mut odd = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            odd ^= odd << shift;
        }
        let inside = odd ^ self.inside_before;
        self.inside_before = ((inside as i64) >> 63) as u64;
        inside
    }

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
