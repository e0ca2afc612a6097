//! The config of `redact`.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{ConfigError, Path};

use crate::secret::{Guarded, KeyName, Keys};

/// Redacts fields, and what it finds in texts.
///
/// A field of any JSON type is redacted; one that is missing or null stays so. A record in which a
/// field can't be looked for, because something above it is of another type, is rejected. What is
/// written needs the layout `flat`: the others keep the original record.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The keys of hashes and tokens, by names of your own: `{ customers: "${REDACT_KEY}" }`. A key
    /// has 16 bytes or more, and is never shown.
    pub keys: Keys,
    /// Fields that are redacted as a whole.
    pub fields: Vec<Field>,
    /// Fields in whose texts patterns are looked for.
    pub texts: Vec<Text>,
}

/// A field that is redacted as a whole, whatever it holds. The elements of an array are redacted
/// one by one, an object as one value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The field.
    pub field: Path,
    /// What becomes of it.
    pub action: Action,
}

/// Fields in whose texts patterns are looked for: texts anywhere in them, the names of members and
/// the digits of numbers too.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The fields, of any type.
    pub fields: Vec<Path>,
    /// What is looked for. Where two overlap, all that they cover is redacted, by the action of the
    /// one that stands first.
    pub find: Vec<Find>,
}

/// A pattern and what becomes of its matches.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// What is looked for.
    pub pattern: Pattern,
    /// What becomes of a match; `drop` takes it out of the text.
    pub action: Action,
}

/// What can be found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// A card number: 13 to 19 digits whose last one is right by the Luhn formula, in groups apart
    /// by a space or a hyphen or in one. One in ten other numbers of that length passes for one.
    Card,
    /// An e-mail address, in a URL too (`%40`).
    Email,
    /// A telephone number: from `+` or `00` on, from a `0` on, or as `(212) 555-0100` and
    /// `212-555-0100`; 7 to 15 digits.
    Phone,
    /// An IP address, version 4 or 6.
    Ip,
    /// An IBAN whose check digits are right, in groups or in one.
    Iban,
}

/// What becomes of a value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is removed; as the element of an array, it becomes null.
    Drop,
    /// This text takes its place.
    Replace(String),
    /// Its characters are masked.
    Mask(Mask),
    /// Its HMAC-SHA-256 takes its place, in hex: the same for the same value, so that records can
    /// still be joined by it, and not to be had from the value without the key.
    Hash(#[schemars(with = "Hash")] Guarded<Hash>),
    /// A token takes its place: the same for the same value, made with a key, of a form of its own
    /// or of the value's.
    Tokenize(#[schemars(with = "Tokenize")] Guarded<Tokenize>),
}

/// How characters are masked. Of a value that is no text and no number nothing is kept, and it
/// becomes 8 mask characters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// So many characters at the beginning stay.
    pub keep_first: u8,
    /// So many characters at the end stay.
    pub keep_last: u8,
    /// Where fewer characters than this would be masked, all are: a value too short to keep a part
    /// of is not shown.
    pub masked_min: u8,
    /// What stands for a masked character.
    pub character: char,
    /// So many mask characters stand between what stays, however many were masked, so that the
    /// length is not told. Left out, one stands for each.
    pub length: Option<u8>,
    /// Spaces and ASCII punctuation stay and are not counted: `****-****-****-1111`. Not together
    /// with `length`.
    pub keep_punctuation: bool,
}

impl Default for Mask {
    fn default() -> Self {
        // Four: the last four of a card stay, those of a code of six digits don't.
        Mask {
            keep_first: 0,
            keep_last: 0,
            masked_min: 4,
            character: '*',
            length: None,
            keep_punctuation: false,
        }
    }
}

/// How a hash is made: of a text's UTF-8 bytes unescaped, of any other value's JSON as it is
/// written. So the number `1` and the text `"1"` have one hash, and `1` and `1.0` have two.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// The name of the key, one of `keys`.
    pub key: KeyName,
    /// How many hex digits are kept, 16 to 64. Of n values, two share a hash of d digits with a
    /// probability of about n²/(2·16^d).
    #[serde(default = "hex_digits")]
    pub length: u8,
    /// What stands before the digits.
    #[serde(default)]
    pub prefix: String,
}

fn hex_digits() -> u8 {
    64
}

/// How a token is made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokenize {
    /// The name of the key, one of `keys`.
    pub key: KeyName,
    /// What a token looks like.
    #[serde(default)]
    pub form: Form,
    /// What stands before an opaque token: `cus_`.
    #[serde(default)]
    pub prefix: String,
    /// How many characters an opaque token has behind its prefix, 8 to 51; each carries 5 bits. 26
    /// by default: 130 bits.
    #[serde(default = "characters")]
    pub length: u8,
}

fn characters() -> u8 {
    26
}

/// What a token looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Letters and digits.
    #[default]
    Opaque,
    /// Like the value: a digit for a digit, a letter for a letter of the same case; spaces and
    /// ASCII punctuation stay. A whole number stays a number. Short values share tokens: two of n
    /// digits do with a probability of 10^-n. A value that is no text and no number gets an opaque
    /// token.
    Same,
}

impl Config {
    /// Checks that no field is written twice: what one action redacts, another would write again
    /// from the original.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let fields = self.fields.iter().enumerate();
        let fields = fields.map(|(i, it)| (&it.field, format!("/fields/{i}/field")));
        let texts = self.texts.iter().enumerate().flat_map(|(i, it)| {
            let fields = it.fields.iter().enumerate();
            fields.map(move |(j, path)| (path, format!("/texts/{i}/fields/{j}")))
        });
        let all: Vec<(&Path, String)> = fields.chain(texts).collect();
        if self.fields.is_empty() && self.texts.is_empty() {
            return Err(ConfigError::at("", "it needs `fields`, `texts` or both"));
        }
        for (i, (path, pointer)) in all.iter().enumerate() {
            if path.is_root() {
                let why = "the whole record can't be redacted: list its fields";
                return Err(ConfigError::at(pointer, why));
            }
            let overlaps = |other: &&(&Path, String)| {
                path.0.starts_with(&other.0.0) || other.0.0.starts_with(&path.0)
            };
            if let Some((other, _)) = all[..i].iter().find(overlaps) {
                let why = format!("`{path}` and `{other}` are one field, or one lies in the other");
                return Err(ConfigError::at(pointer, why));
            }
        }
        for (i, Text { fields, find }) in self.texts.iter().enumerate() {
            if fields.is_empty() {
                return Err(ConfigError::at(format!("/texts/{i}/fields"), "there is no field"));
            }
            if find.is_empty() {
                return Err(ConfigError::at(format!("/texts/{i}/find"), "there is no pattern"));
            }
            for (j, Find { pattern, .. }) in find.iter().enumerate() {
                if find[..j].iter().any(|other| other.pattern == *pattern) {
                    let why = format!("`{}` is listed twice", pattern.name());
                    return Err(ConfigError::at(format!("/texts/{i}/find/{j}/pattern"), why));
                }
            }
        }
        Ok(())
    }
}

impl Pattern {
    /// The name in configs and rules.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::Card => "card",
            Pattern::Email => "email",
            Pattern::Phone => "phone",
            Pattern::Ip => "ip",
            Pattern::Iban => "iban",
        }
    }

    /// What a match is, for people.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Pattern::Card => "card number",
            Pattern::Email => "e-mail address",
            Pattern::Phone => "telephone number",
            Pattern::Ip => "IP address",
            Pattern::Iban => "IBAN",
        }
    }
}
