//! Regular expressions, compiled to a table.
//!
//! A pattern is run once a record, and compiled once an instance, so it is made into a dense
//! deterministic automaton: one look-up a byte, a hundredth of what an engine takes that follows
//! alternatives as it goes. The price is its size, which is limited.

use regex_automata::{
    Anchored,
    dfa::{Automaton, StartKind, dense},
    nfa::thompson::{self, WhichCaptures},
    util::{primitives::StateID, start, syntax},
};

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    table: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// More than any pattern over a field should need: `^[a-z0-9._%+-]+@[a-z0-9.-]+[.][a-z]{2,}$`
/// takes a thirtieth.
const TABLE_BYTES_MAX: usize = 256 * 1024;

impl Pattern {
    /// Compiles a pattern.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
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
            .build(&with_ascii_classes(pattern)?)
            .map_err(|error| message(&error))?;
        let at_begin = start::Config::new().anchored(Anchored::No);
        let start = table.start_state(&at_begin).map_err(|error| error.to_string())?;
        Ok(Pattern { table, start })
    }

    /// Whether there is a match anywhere in the text.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let mut state = self.start;
        for &byte in text.as_bytes() {
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

    const PATTERNS: [&str; 20] = [
        "",
        "a",
        "^a",
        "a$",
        "^a$",
        "^[A-Z]{3}$",
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
                assert_eq!(ours.is_match(text), theirs.is_match(text), "{pattern} on {text}");
            }
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
