//! Regular expressions, compiled to a table.
//!
//! A pattern is run once a record, and compiled once an instance, so it is made into a dense
//! deterministic automaton: one look-up a byte, a hundredth of what an engine takes that follows
//! alternatives as it goes. The price is its size, which is limited.
//!
//! What most rules ask of a code, so many characters of certain kinds and no others, needs less:
//! a set of characters for each place.

use regex_automata::{
    Anchored,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson::{self, WhichCaptures},
    util::{primitives::StateID, start, syntax},
};
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use tidegate_plugin::blocks::AsciiSet;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// One set of characters for each place of the text.
    Places(Vec<Places>, Option<Even>),
    Automaton(Box<Automaton>),
}

/// So many places in a row that take the same ASCII characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    length: usize,
    /// A bit a character, in two words: a component has no wider ones.
    takes: [u64; 2],
}

/// So many characters of the same kind and nothing else, which many rows are asked for at once.
#[derive(Clone, Debug)]
pub(crate) struct Even {
    pub(crate) length: usize,
    pub(crate) characters: AsciiSet,
}

#[derive(Debug)]
pub(crate) struct Automaton {
    table: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// More than any pattern over a field should need: `^[a-z0-9._%+-]+@[a-z0-9.-]+[.][a-z]{2,}$`
/// takes a thirtieth.
const TABLE_BYTES_MAX: usize = 256 * 1024;

/// A set of more ranges than this is asked faster for one character at a time.
const RANGES_MAX: usize = 4;

/// A text with more places than this is better matched by an automaton.
const PLACES_MAX: u32 = 64;

impl Pattern {
    /// Compiles a pattern.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let pattern = with_ascii_classes(pattern)?;
        match regex_syntax::parse(&pattern).ok().and_then(|pattern| places(&pattern)) {
            Some(places) => {
                let even = Even::of(&places);
                Ok(Pattern::Places(places, even))
            }
            None => Ok(Pattern::Automaton(Automaton::new(&pattern)?.into())),
        }
    }

    /// Whether it is the same for all characters of a text.
    pub(crate) fn even(&self) -> Option<&Even> {
        match self {
            Pattern::Places(_, even) => even.as_ref(),
            Pattern::Automaton(_) => None,
        }
    }

    /// Whether there is a match anywhere in the text, which is UTF-8.
    #[inline]
    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Pattern::Places(places, _) => takes(places, text),
            Pattern::Automaton(automaton) => automaton.is_match(text),
        }
    }
}

impl Even {
    /// What all places take, where they take the same.
    fn of(places: &[Places]) -> Option<Self> {
        let takes = places.first()?.takes;
        if places.iter().any(|place| place.takes != takes) {
            return None;
        }
        let is_taken = |byte: &u8| takes[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1;
        let taken: Vec<u8> = (0..0x80).filter(is_taken).collect();
        let ranges = taken.chunk_by(|one, next| one + 1 == *next);
        let ranges = ranges.map(|range| range[0]..=range[range.len() - 1]);
        let characters = AsciiSet::new(ranges)?;
        let length = places.iter().map(|place| place.length).sum();
        (characters.ranges() <= RANGES_MAX).then_some(Even { length, characters })
    }
}

#[inline]
fn takes(places: &[Places], mut text: &[u8]) -> bool {
    for Places { length, takes } in places {
        let Some((here, rest)) = text.split_at_checked(*length) else { return false };
        let word = |byte: &u8| takes.get(usize::from(byte >> 6)).copied().unwrap_or_default();
        let is_taken = |byte: &u8| word(byte) >> (byte & 63) & 1 == 1;
        if !here.iter().all(is_taken) {
            return false;
        }
        text = rest;
    }
    text.is_empty()
}

/// The places of a pattern that is nothing but places, from the text's start to its end.
fn places(pattern: &Hir) -> Option<Vec<Places>> {
    let HirKind::Concat(parts) = pattern.kind() else { return None };
    let [first, between @ .., last] = &parts[..] else { return None };
    let is = |part: &Hir, look| matches!(part.kind(), HirKind::Look(found) if *found == look);
    if !is(first, Look::Start) || !is(last, Look::End) {
        return None;
    }
    let mut places = Vec::new();
    for part in between {
        match part.kind() {
            HirKind::Literal(text) => {
                let place = |byte: &u8| Some(Places { length: 1, takes: one(*byte)? });
                let text: Option<Vec<_>> = text.0.iter().map(place).collect();
                places.extend(text?);
            }
            HirKind::Class(class) => places.push(Places { length: 1, takes: ascii(class)? }),
            HirKind::Repetition(part) if Some(part.min) == part.max && part.min <= PLACES_MAX => {
                let HirKind::Class(class) = part.sub.kind() else { return None };
                places.push(Places { length: part.min as usize, takes: ascii(class)? });
            }
            _ => return None,
        }
    }
    (places.len() <= PLACES_MAX as usize).then_some(places)
}

fn one(byte: u8) -> Option<[u64; 2]> {
    match byte {
        0..64 => Some([1 << byte, 0]),
        64..128 => Some([0, 1 << (byte - 64)]),
        _ => None,
    }
}

/// The characters of a class, if all of them are ASCII.
fn ascii(class: &Class) -> Option<[u64; 2]> {
    let bytes = match class {
        Class::Unicode(class) => class.to_byte_class()?,
        Class::Bytes(class) => class.clone(),
    };
    let bytes = bytes.ranges().iter().flat_map(|range| range.start()..=range.end());
    bytes.map(one).try_fold([0, 0], |all, one| {
        let one = one?;
        Some([all[0] | one[0], all[1] | one[1]])
    })
}

impl Automaton {
    fn new(pattern: &str) -> Result<Self, String> {
        let table = dense::Builder::new()
            .syntax(syntax::Config::new())
            .thompson(
                thompson::Config::new()
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(TABLE_BYTES_MAX)),
            )
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(TABLE_BYTES_MAX))
                    .determinize_size_limit(Some(4 * TABLE_BYTES_MAX)),
            )
            .build(pattern)
            .map_err(|error| message(&error))?;
        let at_begin = start::Config::new().anchored(Anchored::No);
        let start = table.start_state(&at_begin).map_err(|error| error.to_string())?;
        Ok(Automaton { table, start })
    }

    fn is_match(&self, text: &[u8]) -> bool {
        let mut state = self.start;
        for &byte in text {
            state = self.table.next_state(state, byte);
            if self.table.is_special_state(state) {
                if self.table.is_match_state(state) {
                    return true;
                }
                if self.table.is_dead_state(state) {
                    return false;
                }
            }
        }
        self.table.is_match_state(self.table.next_eoi_state(state))
    }
}

/// The error that explains the others: what is wrong with the pattern, on one line.
fn message(error: &dense::BuildError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    text.rsplit("error: ").next().unwrap_or(&text).trim().to_owned()
}

/// Spells `\d`, `\w`, `\s` and `\b` out in ASCII. The tables of Unicode's would be most of the
/// component, and an id that may contain any digit of Unicode is not what a rule means.
fn with_ascii_classes(pattern: &str) -> Result<String, String> {
    let mut spelled = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut in_class = 0_u32;
    while let Some(c) = chars.next() {
        match c {
            '[' => in_class += 1,
            ']' => in_class = in_class.saturating_sub(1),
            _ => {}
        }
        if c != '\\' {
            spelled.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => spelled.push_str("[0-9]"),
            Some('D') => spelled.push_str("[^0-9]"),
            Some('w') => spelled.push_str("[0-9A-Za-z_]"),
            Some('W') => spelled.push_str("[^0-9A-Za-z_]"),
            Some('s') => spelled.push_str(r"[\t\n\x0B\f\r ]"),
            Some('S') => spelled.push_str(r"[^\t\n\x0B\f\r ]"),
            Some('p' | 'P') => return Err("classes of Unicode are not supported".to_owned()),
            Some('b') if in_class == 0 => spelled.push_str(r"(?-u:\b)"),
            Some(escaped) => spelled.extend(['\\', escaped]),
            None => spelled.push('\\'),
        }
    }
    Ok(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 21] = [
        "",
        "a",
        "^a",
        "a$",
        "^a$",
        "^[A-Z]{3}$",
        "^user-1[0-9]$",
        "b+",
        "^(ab|a)c?$",
        r"^\d{4}-\d\d$",
        r"^\w+@\w+$",
        r"^[\w.+-]+@[\w-]+[.][a-z]{2,}$",
        r"\bcat\b",
        r"^\S+$",
        "^.{2,3}$",
        "[^a-c]",
        r"^user-[0-9]+$",
        r"\\",
        r"^[\]\[]$",
        "^(?:0|[1-9][0-9]*)$",
        "é+",
    ];

    const TEXTS: [&str; 26] = [
        "",
        "a",
        "b",
        "ab",
        "abc",
        "ac",
        "EUR",
        "EURO",
        "eur",
        "2026-03",
        "2026-3",
        "x@y",
        "a@b.de",
        "first.last+tag@some-host.org",
        "the cat sat",
        "concatenate",
        "äö",
        "äöü",
        "äöüß",
        "user-12",
        "user-",
        "\\",
        "]",
        "0",
        "012",
        "éé",
    ];

    /// The meaning of a pattern is that of an engine that is written to be simple.
    #[test]
    fn matches_are_those_of_another_engine() {
        for pattern in PATTERNS {
            let ours = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            let theirs = regex_lite::Regex::new(pattern).unwrap();
            for text in TEXTS {
                assert_eq!(
                    ours.is_match(text.as_bytes()),
                    theirs.is_match(text),
                    "{pattern} on {text}"
                );
            }
        }
    }

    #[test]
    fn what_is_nothing_but_places_needs_no_automaton() {
        let is_places = |pattern| matches!(Pattern::new(pattern), Ok(Pattern::Places(..)));
        for pattern in ["^[A-Z]{3}$", "^a$", r"^\d{4}-\d\d$", "^EU[0-9]{2}$"] {
            assert!(is_places(pattern), "{pattern}");
        }
        for pattern in ["a", "^a", "[A-Z]{3}$", "^[A-Z]{2,3}$", "^é$", "^(ab|cd)$", "^.$"] {
            assert!(!is_places(pattern), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_too_large_a_one_is_refused() {
        for pattern in ["(", "[a", "a{2", "*", r"\p{Greek}", r"(.{1,200}x){5}"] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(!error.contains('\n') && !error.is_empty(), "{pattern}: {error}");
        }
    }
}
