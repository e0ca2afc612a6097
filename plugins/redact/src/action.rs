//! What becomes of a value: the actions of a config, made ready.

use hmac::Mac as _;
use tidegate_plugin::ConfigError;

use crate::{
    config::{self, Form, Hash, Mask, Tokenize},
    secret::{Guarded, Keys, Mac},
};

/// An action that is ready to be taken.
#[derive(Clone)]
pub(crate) enum Action {
    Drop,
    Replace(String),
    Mask(Mask),
    Hash { mac: Mac, digits: usize, prefix: String },
    Token(Token),
}

/// How a token is made.
#[derive(Clone)]
pub(crate) struct Token {
    mac: Mac,
    form: Form,
    prefix: String,
    length: usize,
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Action::Drop => "Drop",
            Action::Replace(_) => "Replace",
            Action::Mask(_) => "Mask",
            Action::Hash { .. } => "Hash",
            Action::Token(_) => "Token",
        })
    }
}

/// A value as an action takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Text, unescaped.
    Text(&'a str),
    /// A number as it is written.
    Number(&'a str),
    /// The JSON of anything else: an object, `true`, `false`.
    Other(&'a str),
}

impl<'a> Value<'a> {
    fn as_str(self) -> &'a str {
        match self {
            Value::Text(text) | Value::Number(text) | Value::Other(text) => text,
        }
    }
}

/// How many mask characters stand for a value of which not even the length may be told: `true` and
/// `false` have four and five.
const MASK_OF_OTHERS: usize = 8;

/// What keeps the tokens of a key apart from its hashes.
const OPAQUE: &[u8] = b"\0token\0";
const SAME: &[u8] = b"\0form\0";

impl Action {
    /// The action that stands at a JSON Pointer into the config.
    pub(crate) fn new(
        action: config::Action,
        keys: &Keys,
        pointer: &str,
    ) -> Result<Self, ConfigError> {
        let refuse = |key: &str, why: &str| Err(ConfigError::at(format!("{pointer}/{key}"), why));
        Ok(match action {
            config::Action::Drop => Action::Drop,
            config::Action::Replace(text) => Action::Replace(text),
            config::Action::Mask(mask) => {
                if mask.length.is_some() && mask.keep_punctuation {
                    let why = "it can't be had together with `keep_punctuation`, which tells it";
                    return refuse("mask/length", why);
                }
                if mask.length == Some(0) {
                    return refuse("mask/length", "it must be 1 or more");
                }
                if mask.masked_min == 0 {
                    return refuse("mask/masked_min", "it must be 1 or more, or values are shown");
                }
                Action::Mask(mask)
            }
            config::Action::Hash(Guarded(Hash { key, length, prefix })) => {
                if !(16..=64).contains(&length) {
                    return refuse("hash/length", "it must be 16 to 64");
                }
                let mac = keys.mac(&key, &format!("{pointer}/hash"))?;
                Action::Hash { mac, digits: length.into(), prefix }
            }
            config::Action::Tokenize(Guarded(Tokenize { key, form, prefix, length })) => {
                if !(8..=51).contains(&length) {
                    return refuse("tokenize/length", "it must be 8 to 51");
                }
                if form == Form::Same && !prefix.is_empty() {
                    let why = "a token of the value's form has no prefix";
                    return refuse("tokenize/prefix", why);
                }
                let mac = keys.mac(&key, &format!("{pointer}/tokenize"))?;
                Action::Token(Token { mac, form, prefix, length: length.into() })
            }
        })
    }

    /// Appends what takes the place of a value: text, unescaped. Says whether that is a whole
    /// number, which may stand without quotes.
    pub(crate) fn redact(&self, value: Value<'_>, out: &mut String) -> bool {
        match self {
            Action::Drop => {}
            Action::Replace(text) => out.push_str(text),
            Action::Mask(mask) => mask.redact(value, out),
            Action::Hash { mac, digits, prefix } => {
                out.push_str(prefix);
                push_hex(&sum(mac, &[value.as_str().as_bytes()]), *digits, out);
            }
            Action::Token(token) => return token.redact(value, out),
        }
        false
    }
}

impl Mask {
    fn redact(&self, value: Value<'_>, out: &mut String) {
        let text = match value {
            Value::Text(text) | Value::Number(text) => text,
            Value::Other(_) => {
                let length = self.length.map_or(MASK_OF_OTHERS, usize::from);
                return out.extend(std::iter::repeat_n(self.character, length));
            }
        };
        let counts = |c: char| !(self.keep_punctuation && (c == ' ' || c.is_ascii_punctuation()));
        let characters = text.chars().filter(|c| counts(*c)).count();
        let [first, last, masked_min] =
            [self.keep_first, self.keep_last, self.masked_min].map(usize::from);
        let (first, last) = match characters >= first + last + masked_min {
            true => (first, characters - last),
            false => (0, characters),
        };
        let mut at = 0;
        for c in text.chars() {
            if !counts(c) {
                out.push(c);
                continue;
            }
            match (at < first || at >= last, self.length) {
                (true, _) => out.push(c),
                (false, None) => out.push(self.character),
                (false, Some(length)) if at == first => {
                    out.extend(std::iter::repeat_n(self.character, length.into()));
                }
                (false, Some(_)) => {}
            }
            at += 1;
        }
        // An empty text has no first character, and its length is not told either.
        if let Some(length) = self.length.filter(|_| characters == 0) {
            out.extend(std::iter::repeat_n(self.character, length.into()));
        }
    }
}

impl Token {
    fn redact(&self, value: Value<'_>, out: &mut String) -> bool {
        let (text, is_number) = match value {
            Value::Text(text) => (text, false),
            Value::Number(text) => (text, true),
            Value::Other(text) => return self.opaque(text, out),
        };
        match self.form {
            Form::Opaque => self.opaque(text, out),
            Form::Same => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let is_whole = is_number && digits.bytes().all(|byte| byte.is_ascii_digit());
                self.same(text, is_whole, out);
                is_whole
            }
        }
    }

    fn opaque(&self, text: &str, out: &mut String) -> bool {
        // RFC 4648's base 32 in lower case, five bits a character.
        const CHARACTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        out.push_str(&self.prefix);
        let sum = sum(&self.mac, &[OPAQUE, text.as_bytes()]);
        let bit = |at: usize| usize::from(sum[at / 8] >> (7 - at % 8) & 1);
        for character in 0..self.length {
            let five = (0..5).fold(0, |five, i| five << 1 | bit(5 * character + i));
            out.push(char::from(CHARACTERS[five]));
        }
        false
    }

    /// A keyed character for each. Whatever is not ASCII becomes a letter.
    fn same(&self, text: &str, is_whole: bool, out: &mut String) {
        let mut stream = Stream { token: self, text, block: [0; 32], used: 32, blocks: 0 };
        let mut first_digit = is_whole;
        for c in text.chars() {
            out.push(match c {
                // A number does not begin with a zero, unless that is all of it.
                '0'..='9' if std::mem::take(&mut first_digit) => stream.below(9, b'1'),
                '0'..='9' => stream.below(10, b'0'),
                'A'..='Z' => stream.below(26, b'A'),
                'a'..='z' => stream.below(26, b'a'),
                c if c.is_ascii() => c,
                _ => stream.below(26, b'a'),
            });
        }
    }
}

/// Characters that depend on a key, a text and their place: HMACs of the text with a counter.
struct Stream<'a> {
    token: &'a Token,
    text: &'a str,
    block: [u8; 32],
    used: usize,
    blocks: u32,
}

impl Stream<'_> {
    /// One of `count` characters from `first` on, each as likely.
    fn below(&mut self, count: u8, first: u8) -> char {
        loop {
            if self.used == self.block.len() {
                let counter = self.blocks.to_be_bytes();
                self.block = sum(&self.token.mac, &[SAME, &counter, self.text.as_bytes()]);
                self.blocks += 1;
                self.used = 0;
            }
            let byte = self.block[self.used];
            self.used += 1;
            // The bytes above the last whole multiple would favour the first characters.
            if byte < u8::MAX / count * count {
                return char::from(first + byte % count);
            }
        }
    }
}

fn sum(mac: &Mac, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = mac.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn push_hex(bytes: &[u8], digits: usize, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    out.extend(halves.take(digits).map(|half| char::from(DIGITS[usize::from(half)])));
}
