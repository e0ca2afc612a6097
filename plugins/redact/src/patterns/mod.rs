//! What is looked for in texts.
//!
//! Each pattern is a small reader of its own rather than a regular expression: the checks that tell
//! a card number from any other number are no matter of an expression. They look at ASCII: a number
//! in other digits is not found.
//!
//! In doubt a match is one: what is redacted without need is a nuisance, what is not is a leak.

mod card;
mod email;
mod iban;
mod ip;
mod phone;

use std::{ops::BitOrAssign, ops::Range};

use crate::{
    action::{Action, Value},
    config::Pattern,
};

/// What is looked for in a text, and what becomes of it.
#[derive(Debug)]
pub(crate) struct Finder {
    finds: Vec<(Pattern, Action)>,
}

/// Which of a finder's patterns were found, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found(u8);

impl Found {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the pattern with this place in the finder was found.
    pub(crate) fn has(self, find: usize) -> bool {
        self.0 >> find & 1 == 1
    }
}

impl BitOrAssign for Found {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A stretch of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Match {
    at: Range<usize>,
    /// The place of the pattern in the finder.
    find: usize,
}

/// What a text must have for a pattern to be looked for at all.
#[derive(Clone, Copy, Debug, Default)]
struct Hints {
    digits: usize,
    /// Which of [`DOT`], [`COLON`] and [`AT`] there are.
    signs: u8,
}

const DIGIT: u8 = 1;
const DOT: u8 = 2;
const COLON: u8 = 4;
/// `@`, or `%` as in `%40`.
const AT: u8 = 8;

/// What each byte is, so that a text is looked at once and without a branch.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut digit = b'0';
    while digit <= b'9' {
        classes[digit as usize] = DIGIT;
        digit += 1;
    }
    classes[b'.' as usize] = DOT;
    classes[b':' as usize] = COLON;
    classes[b'@' as usize] = AT;
    classes[b'%' as usize] = AT;
    classes
};

impl Hints {
    fn of(text: &str) -> Self {
        let mut hints = Hints::default();
        for byte in text.bytes() {
            let class = CLASSES[usize::from(byte)];
            hints.digits += usize::from(class & DIGIT);
            hints.signs |= class;
        }
        hints
    }

    fn allow(self, pattern: Pattern) -> bool {
        let has = |sign: u8| self.signs & sign != 0;
        match pattern {
            Pattern::Card => self.digits >= 13,
            Pattern::Email => has(AT),
            Pattern::Phone => self.digits >= 7,
            Pattern::Ip => has(COLON) || has(DOT) && self.digits >= 4,
            Pattern::Iban => self.digits >= 2,
        }
    }
}

impl Finder {
    /// A finder of patterns, each of which there is once.
    pub(crate) fn new(finds: Vec<(Pattern, Action)>) -> Self {
        Finder { finds }
    }

    /// Appends the text with what was found in it redacted; nothing where nothing was found.
    pub(crate) fn redact(&self, text: &str, out: &mut String) -> Found {
        let hints = Hints::of(text);
        let mut matches = Vec::new();
        for (find, (pattern, _)) in self.finds.iter().enumerate() {
            if hints.allow(*pattern) {
                let found = |at| matches.push(Match { at, find });
                match pattern {
                    Pattern::Card => card::find(text, found),
                    Pattern::Email => email::find(text, found),
                    Pattern::Phone => phone::find(text, found),
                    Pattern::Ip => ip::find(text, found),
                    Pattern::Iban => iban::find(text, found),
                }
            }
        }
        self.replace(text, matches, out)
    }

    /// The same for the digits of a number, which can be a card's and nothing else.
    pub(crate) fn redact_number(&self, digits: &str, out: &mut String) -> Found {
        let mut matches = Vec::new();
        if let Some(find) = self.finds.iter().position(|(pattern, _)| *pattern == Pattern::Card) {
            card::find(digits, |at| matches.push(Match { at, find }));
        }
        self.replace(digits, matches, out)
    }

    fn replace(&self, text: &str, mut matches: Vec<Match>, out: &mut String) -> Found {
        matches.sort_unstable_by_key(|found| found.at.start);
        let mut found = Found::default();
        let mut copied = 0;
        let mut next = 0;
        while let Some(Match { at, find }) = matches.get(next) {
            let (start, mut end, mut first) = (at.start, at.end, *find);
            next += 1;
            // All that overlapping matches cover goes, or a part of one of them would stay.
            while let Some(Match { at, find }) = matches.get(next).filter(|it| it.at.start < end) {
                end = end.max(at.end);
                first = first.min(*find);
                next += 1;
            }
            found |= Found(1 << first);
            out.push_str(&text[copied..start]);
            self.finds[first].1.redact(Value::Text(&text[start..end]), out);
            copied = end;
        }
        if !found.is_empty() {
            out.push_str(&text[copied..]);
        }
        found
    }
}

#[cfg(test)]
mod tests;
