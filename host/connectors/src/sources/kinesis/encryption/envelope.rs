//! The envelope in which a producer sends a payload: what it has encrypted, and the data key that it has
//! encrypted it by as KMS gave it.
//!
//! It is JSON, so that any language makes one of what its own library gives it; `docs/kinesis.md` says
//! how. The cipher is AWS-LC's.

use std::{borrow::Cow, collections::HashMap};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// What an envelope says that it is, and what is authenticated with what is encrypted.
const FORMAT: &str = "tidegate-envelope-1";

/// What is said of one.
const MEMBERS: &str =
    "JSON with `format`, `key`, `data_key`, `context`, `nonce` and `ciphertext`, and nothing else";

/// What a payload can be decrypted with.
pub(super) struct Offer {
    /// The key of KMS that the data key is encrypted under, as the payload names it.
    pub(super) key: String,
    /// The data key as it was encrypted.
    pub(super) encrypted: Vec<u8>,
    /// The encryption context.
    pub(super) context: HashMap<String, String>,
}

/// Texts are borrowed, but for those in which something is escaped: some libraries do so with a slash.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    key: String,
    #[serde(borrow)]
    data_key: Cow<'a, str>,
    #[serde(default)]
    context: HashMap<String, String>,
    #[serde(borrow)]
    nonce: Cow<'a, str>,
    /// With the sixteen bytes of its tag behind it.
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
}

/// A payload that was taken out of its envelope.
pub(super) struct Sealed {
    nonce: [u8; NONCE_LEN],
    ciphertext: Vec<u8>,
}

/// Takes a payload out of its envelope. Says why it can't, without anything of the payload.
pub(super) fn parse(payload: &[u8]) -> Result<(Offer, Sealed), String> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(payload).map_err(|_| format!("it is no envelope: {MEMBERS}"))?;
    if envelope.format != FORMAT {
        return Err(format!("it is no envelope of the format `{FORMAT}`"));
    }
    let decode = |name: &str, text: &str| {
        STANDARD.decode(text).map_err(|_| format!("`{name}` of its envelope is not base64"))
    };
    let nonce = decode("nonce", &envelope.nonce)?;
    let nonce = nonce
        .try_into()
        .map_err(|_| format!("`nonce` of its envelope has not {NONCE_LEN} bytes"))?;
    let sealed = Sealed { nonce, ciphertext: decode("ciphertext", &envelope.ciphertext)? };
    let encrypted = decode("data_key", &envelope.data_key)?;
    Ok((Offer { key: envelope.key, encrypted, context: envelope.context }, sealed))
}

impl Sealed {
    /// Decrypts it by its data key.
    pub(super) fn open(self, data_key: &[u8]) -> Result<Vec<u8>, String> {
        let key = UnboundKey::new(&AES_256_GCM, data_key)
            .map_err(|_| "its data key has not 32 bytes".to_owned())?;
        let (mut bytes, nonce) = (self.ciphertext, Nonce::assume_unique_for_key(self.nonce));
        let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(FORMAT), &mut bytes);
        let length =
            opened.map_err(|_| "it was changed, or its data key is another".to_owned())?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(plaintext: &[u8], authenticated: &str) -> String {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("32 bytes"));
        let mut bytes = plaintext.to_vec();
        let nonce = Nonce::assume_unique_for_key([3; NONCE_LEN]);
        key.seal_in_place_append_tag(nonce, Aad::from(authenticated), &mut bytes)
            .expect("it is short");
        STANDARD.encode(bytes)
    }

    fn envelope(ciphertext: &str) -> serde_json::Value {
        json!({ "format": FORMAT, "key": "k", "data_key": "AAEC", "context": { "a": "b" },
                "nonce": STANDARD.encode([3; NONCE_LEN]), "ciphertext": ciphertext })
    }

    fn parsed(envelope: &serde_json::Value) -> Result<(Offer, Sealed), String> {
        parse(envelope.to_string().as_bytes())
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_data_key_alone() {
        for plaintext in [&b""[..], b"x", &[0xff; 5_000]] {
            let (offer, it) = parsed(&envelope(&sealed(plaintext, FORMAT))).expect("an envelope");
            assert_eq!((offer.key.as_str(), &offer.encrypted[..]), ("k", &[0, 1, 2][..]));
            assert_eq!(offer.context["a"], "b");
            assert_eq!(it.open(&KEY).as_deref(), Ok(plaintext));
        }
        let it = || parsed(&envelope(&sealed(b"x", FORMAT))).expect("an envelope").1;
        assert!(it().open(&[8; 32]).is_err(), "another key");
        for length in [0, 16, 31, 33] {
            assert!(it().open(&vec![7; length]).is_err(), "a key of {length} bytes");
        }
        let (_, other) = parsed(&envelope(&sealed(b"x", "something else"))).expect("an envelope");
        assert!(other.open(&KEY).is_err(), "the format is authenticated");
    }

    #[test]
    fn what_is_escaped_is_read() {
        let text = envelope(&sealed(&[0xff; 300], FORMAT)).to_string();
        let escaped = text.replace('/', "\\/").replace("tide", "\\u0074ide");
        assert!(escaped.len() > text.len() + 5, "{escaped}");
        let (_, it) = parse(escaped.as_bytes()).expect("an envelope");
        assert_eq!(it.open(&KEY).as_deref(), Ok(&[0xff; 300][..]));
    }

    #[test]
    fn what_is_no_envelope_is_told_without_anything_of_it() {
        let good = envelope(&sealed(b"x", FORMAT));
        let mut wrong = Vec::new();
        for (name, value) in [
            ("format", json!("tidegate-envelope-2")),
            ("key", json!(1)),
            ("data_key", json!("secret!")),
            ("context", json!({ "a": 1 })),
            ("nonce", json!(STANDARD.encode([3; 11]))),
            ("ciphertext", json!("secret!")),
            ("secret", json!("more")),
        ] {
            let mut envelope = good.clone();
            envelope[name] = value;
            wrong.push(envelope.to_string());
            if let Some(members) = envelope.as_object_mut() {
                members.remove(name);
            }
            if name != "context" && name != "secret" {
                wrong.push(envelope.to_string());
            }
        }
        wrong.extend(
            ["", "{}", "[]", "secret", "{\"secret\":1}", "\u{1f}secret"].map(str::to_owned),
        );
        for text in &wrong {
            let why = parse(text.as_bytes()).err().unwrap_or_else(|| panic!("{text}"));
            assert!(!why.contains("secret"), "{why}");
        }
        assert!(parse(&[0xff; 100]).is_err());
        let (_, short) = parsed(&envelope("AAAA")).expect("an envelope");
        assert!(short.open(&KEY).is_err(), "shorter than a tag");
    }
}
