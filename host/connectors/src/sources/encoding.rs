//! Character sets: which one a text is in, and what it says in UTF-8.

use std::borrow::Cow;

use super::{line_feed::LineFeed, records::Fault};

/// A character set that text may come in. Nothing is guessed, and nothing is replaced: bytes that
/// are none of its characters make their line a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextEncoding(&'static encoding_rs::Encoding);

/// A name is not one of a character set that text can be read in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncodingError {
    /// Nobody knows it.
    #[error(
        "`{0}` is no character set: names are those of the Encoding Standard, such as `utf-8`, \
         `utf-16le`, `windows-1252`, `iso-8859-15`, `shift_jis`, `gb18030`"
    )]
    Unknown(String),
    /// Which bytes come first is not said.
    #[error("`utf-16` does not say which byte comes first: `utf-16le` or `utf-16be`")]
    EitherOrder,
}

impl Default for TextEncoding {
    fn default() -> Self {
        TextEncoding(encoding_rs::UTF_8)
    }
}

impl TextEncoding {
    /// The one of a name, by the labels of the Encoding Standard.
    pub fn named(name: &str) -> Result<Self, EncodingError> {
        if name.trim().eq_ignore_ascii_case("utf-16") {
            return Err(EncodingError::EitherOrder);
        }
        let encoding = encoding_rs::Encoding::for_label_no_replacement(name.as_bytes());
        encoding.map(TextEncoding).ok_or_else(|| EncodingError::Unknown(name.to_owned()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether it is UTF-8, which needs no conversion.
    pub fn is_utf8(self) -> bool {
        self.0 == encoding_rs::UTF_8
    }

    /// What ends a line in it.
    pub(super) fn line_feed(self) -> LineFeed {
        if self.0 == encoding_rs::UTF_16LE {
            LineFeed::LowFirst
        } else if self.0 == encoding_rs::UTF_16BE {
            LineFeed::HighFirst
        } else {
            LineFeed::Byte
        }
    }

    /// How long the byte order mark is that a file begins with: 0 without one, or with another's.
    pub(super) fn mark(self, beginning: &[u8]) -> usize {
        match encoding_rs::Encoding::for_bom(beginning) {
            Some((encoding, length)) if encoding == self.0 => length,
            _ => 0,
        }
    }

    /// What some bytes say; none where they are no text.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        self.0.decode_without_bom_handling_and_without_replacement(bytes)
    }

    /// A line is no text in it.
    pub(super) fn fault(self) -> Fault {
        let message = format!(
            "the line is not {}: convert the file, or say with `encoding` what it is in",
            self.name()
        );
        Fault::new("invalid-encoding", message)
    }

    /// What some bytes say, with a replacement for each part that is no text: for those who look
    /// where something ends, and don't show it.
    pub(super) fn decode_lossy(self, bytes: &[u8]) -> String {
        self.0.decode_without_bom_handling(bytes).0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_encoding_standard() {
        for (name, expected) in
            [("UTF-8", "UTF-8"), ("latin1", "windows-1252"), ("utf-16be", "UTF-16BE")]
        {
            assert_eq!(TextEncoding::named(name).unwrap().name(), expected);
        }
        assert_eq!(TextEncoding::named("UTF-16"), Err(EncodingError::EitherOrder));
        for name in ["", "utf-9", "iso-2022-cn", "replacement"] {
            assert_eq!(TextEncoding::named(name), Err(EncodingError::Unknown(name.to_owned())));
        }
    }

    #[test]
    fn text_is_converted_and_never_guessed() {
        let named = |name| TextEncoding::named(name).unwrap();
        assert_eq!(named("windows-1252").decode(b"caf\xe9 \x80").unwrap(), "caf\u{e9} \u{20ac}");
        assert_eq!(named("utf-16le").decode(b"a\0\xac\x20").unwrap(), "a\u{20ac}");
        assert_eq!(named("shift_jis").decode(b"\x93\xfa").unwrap(), "\u{65e5}");
        assert_eq!(named("utf-8").decode(b"caf\xe9"), None);
        assert_eq!(named("utf-16le").decode(b"a\0b"), None, "half a character");
        assert_eq!(named("utf-16le").decode(b"\x00\xd8"), None, "half a pair");
        assert_eq!(named("utf-16le").mark(b"\xff\xfea\0"), 2);
        assert_eq!(named("utf-16be").mark(b"\xff\xfea\0"), 0);
        assert_eq!(named("utf-8").mark(b"\xef\xbb\xbfa"), 3);
    }
}
