//! Digests: SHA-256 of components, configs and records, BLAKE3 of objects.

mod pair;

use std::{fmt, io, str::FromStr};

use sha2::Digest as _;

/// A SHA-256 digest. The text form is `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The digests of two texts, in about the time of the longer one.
    pub fn of_two(texts: [&[u8]; 2]) -> [Self; 2] {
        pair::digests(texts).map(Digest)
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first eight hex digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// Makes the digest of bytes that come in pieces.
#[derive(Clone, Debug, Default)]
pub struct DigestHasher(sha2::Sha256);

impl DigestHasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// A BLAKE3 digest of an object's content. The text form is `blake3:` and 64 hex digits.
///
/// Each delivered byte is digested, so this is the part of the data path where another function
/// pays: it takes a quarter of SHA-256's time on a processor that has instructions for that one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectDigest(pub [u8; 32]);

impl ObjectDigest {
    /// The digest of some content.
    pub fn of(content: &[u8]) -> Self {
        ObjectDigest(blake3::hash(content).into())
    }

    /// The digest of all that can be read.
    pub fn of_reader(content: impl io::Read) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(content)?;
        Ok(ObjectDigest(hasher.finalize().into()))
    }
}

/// Makes the digest of content that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct ObjectHasher(blake3::Hasher);

impl ObjectHasher {
    /// Takes the next piece. Powers of two of at least 16 KiB are taken fastest.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces.
    pub fn finish(&self) -> ObjectDigest {
        ObjectDigest(self.0.finalize().into())
    }
}

/// The text is not the name of the digest's function, a colon and 64 hex digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a digest: expected `{function}:` and 64 hex digits")]
pub struct InvalidDigest {
    text: String,
    function: &'static str,
}

/// The text form of a digest: in messages, in manifests and back.
macro_rules! as_text {
    ($type:ident, $function:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", $function, hex::encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = InvalidDigest;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0u8; 32];
                text.strip_prefix(concat!($function, ":"))
                    .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
                    .map(|()| $type(bytes))
                    .ok_or_else(|| InvalidDigest { text: text.to_owned(), function: $function })
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Digest, "sha256");
as_text!(ObjectDigest, "blake3");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let mut hasher = DigestHasher::default();
        ["a", "", "bc"].iter().for_each(|piece| hasher.update(piece.as_bytes()));
        assert_eq!(hasher.finish(), Digest::of(b"abc"));
    }

    #[test]
    fn texts_name_their_function() {
        let object = ObjectDigest::of(b"content");
        assert_eq!(object.to_string().parse(), Ok(object));
        assert_eq!(ObjectDigest::of_reader(&b"content"[..]).expect("memory can be read"), object);
        let error = object.to_string().parse::<Digest>().expect_err("another function's");
        assert!(error.to_string().ends_with("expected `sha256:` and 64 hex digits"), "{error}");
    }
}
