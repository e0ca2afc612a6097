//! Names what is wrong with a text that is no JSON.
//!
//! Read only once a text has been refused, so this parser is as plain as can be. The tests hold
//! it against the fast path: both must give the same verdict on everything.

use super::DEPTH_MAX;
use crate::failure::Failure;

/// What is wrong with a record's JSON. Carries no part of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {offset}", code.message())]
pub struct JsonError {
    /// What is wrong.
    pub code: JsonErrorCode,
    /// How many bytes of the text are before it.
    pub offset: usize,
}

impl JsonError {
    /// What it asks for: the record is at fault, always.
    pub fn failure(&self) -> Failure {
        Failure::Reject
    }
}

/// A way for a text to be no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonErrorCode {
    /// It begins with a byte order mark.
    ByteOrderMark,
    /// A byte sequence that is no UTF-8.
    InvalidUtf8,
    /// It ends inside a value, or has none.
    UnexpectedEnd,
    /// Another token was due.
    UnexpectedByte,
    /// A number that the grammar does not have: `01`, `1.`, `+1`.
    InvalidNumber,
    /// A word that is not `true`, `false` or `null`.
    InvalidLiteral,
    /// An escape that the grammar does not have.
    InvalidEscape,
    /// A raw control character inside a string.
    ControlCharacter,
    /// Something follows the value.
    TrailingBytes,
    /// It is nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// It is larger than 2 GiB.
    TooLarge,
}

impl JsonErrorCode {
    /// The stable code in dead letters, metrics and docs.
    pub fn code(self) -> &'static str {
        match self {
            JsonErrorCode::ByteOrderMark => "json-byte-order-mark",
            JsonErrorCode::InvalidUtf8 => "json-invalid-utf8",
            JsonErrorCode::UnexpectedEnd => "json-unexpected-end",
            JsonErrorCode::UnexpectedByte => "json-unexpected-byte",
            JsonErrorCode::InvalidNumber => "json-invalid-number",
            JsonErrorCode::InvalidLiteral => "json-invalid-literal",
            JsonErrorCode::InvalidEscape => "json-invalid-escape",
            JsonErrorCode::ControlCharacter => "json-control-character",
            JsonErrorCode::TrailingBytes => "json-trailing-bytes",
            JsonErrorCode::TooDeep => "json-too-deep",
            JsonErrorCode::TooLarge => "json-too-large",
        }
    }

    fn message(self) -> &'static str {
        match self {
            JsonErrorCode::ByteOrderMark => "a byte order mark",
            JsonErrorCode::InvalidUtf8 => "invalid UTF-8",
            JsonErrorCode::UnexpectedEnd => "the text ends too early",
            JsonErrorCode::UnexpectedByte => "another token is due",
            JsonErrorCode::InvalidNumber => "invalid number",
            JsonErrorCode::InvalidLiteral => "invalid literal",
            JsonErrorCode::InvalidEscape => "invalid escape",
            JsonErrorCode::ControlCharacter => "a raw control character in a string",
            JsonErrorCode::TrailingBytes => "something follows the value",
            JsonErrorCode::TooDeep => "nested too deeply",
            JsonErrorCode::TooLarge => "the text is too large",
        }
    }
}

/// The first fault of a text that was refused.
#[cold]
pub(super) fn name(text: &[u8]) -> JsonError {
    // The fast path and this parser agree on every text; were they ever not to, the record would
    // still be refused.
    find(text).unwrap_or(JsonError { code: JsonErrorCode::UnexpectedByte, offset: 0 })
}

/// The first fault of a text, if it has one.
pub(super) fn find(text: &[u8]) -> Option<JsonError> {
    let fault = |code, offset| Some(JsonError { code, offset });
    if text.len() > super::tokens::TEXT_BYTES_MAX {
        return fault(JsonErrorCode::TooLarge, super::tokens::TEXT_BYTES_MAX);
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return fault(JsonErrorCode::ByteOrderMark, 0);
    }
    let grammar = Parser { text, at: 0 }.document().err();
    let utf8 = std::str::from_utf8(text).err().map(|error| error.valid_up_to());
    match (grammar, utf8) {
        (Some((code, offset)), None) => fault(code, offset),
        (Some((code, offset)), Some(invalid)) if offset < invalid => fault(code, offset),
        (_, Some(invalid)) => fault(JsonErrorCode::InvalidUtf8, invalid),
        (None, None) => None,
    }
}

type Fault = (JsonErrorCode, usize);

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        // Which of the open containers are objects, outermost first.
        let mut open: Vec<bool> = Vec::new();
        'value: loop {
            self.space();
            match self.peek()? {
                b'{' | b'[' => {
                    let object = self.text[self.at] == b'{';
                    if open.len() == DEPTH_MAX {
                        return Err((JsonErrorCode::TooDeep, self.at));
                    }
                    self.at += 1;
                    self.space();
                    if self.peek()? == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        open.push(object);
                        if object {
                            self.key()?;
                        }
                        continue 'value;
                    }
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => return self.unexpected(),
            }
            loop {
                self.space();
                let Some(&object) = open.last() else {
                    return if self.at == self.text.len() {
                        Ok(())
                    } else {
                        Err((JsonErrorCode::TrailingBytes, self.at))
                    };
                };
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.space();
                            self.key()?;
                        }
                        continue 'value;
                    }
                    b'}' if object => self.at += 1,
                    b']' if !object => self.at += 1,
                    _ => return self.unexpected(),
                }
                open.pop();
            }
        }
    }

    fn peek(&self) -> Result<u8, Fault> {
        self.text.get(self.at).copied().ok_or((JsonErrorCode::UnexpectedEnd, self.at))
    }

    fn unexpected(&self) -> Result<(), Fault> {
        Err((JsonErrorCode::UnexpectedByte, self.at))
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn key(&mut self) -> Result<(), Fault> {
        if self.peek()? != b'"' {
            return self.unexpected();
        }
        self.string()?;
        self.space();
        if self.peek()? != b':' {
            return self.unexpected();
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    let escape = self.at;
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            for _ in 0..4 {
                                self.at += 1;
                                if !self.peek()?.is_ascii_hexdigit() {
                                    return Err((JsonErrorCode::InvalidEscape, escape));
                                }
                            }
                            self.at += 1;
                        }
                        _ => return Err((JsonErrorCode::InvalidEscape, escape)),
                    }
                }
                0..0x20 => return Err((JsonErrorCode::ControlCharacter, self.at)),
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let invalid = Err((JsonErrorCode::InvalidNumber, start));
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else if self.digits() == 0 {
            return invalid;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return invalid;
            }
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return invalid;
            }
        }
        match self.text.get(self.at) {
            Some(byte) if byte.is_ascii_alphanumeric() || b".+-_".contains(byte) => invalid,
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> usize {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        digits
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err((JsonErrorCode::InvalidLiteral, self.at));
        }
        self.at += word.len();
        Ok(())
    }
}
