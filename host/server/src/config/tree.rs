//! A YAML document as a tree that knows where each value stands.
//!
//! The types of the config are read from this tree and not from the text, so that one pass can
//! find everything that is wrong with it: a deserializer stops at the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use crate::finding::{Finding, Place, SourceFile};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) place: Place,
    /// What it is.
    pub(super) value: Value,
}

/// What stands in a document.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "YAML's own terms")]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A string leaf.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// The text, after interpolation.
    pub(super) text: String,
    /// Whether a variable stood in it: it may then mean a number or a boolean, which YAML could
    /// not see.
    pub(super) interpolated: bool,
}

/// An entry of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) place: Place,
    /// Its value.
    pub(super) node: Node,
}

impl Node {
    /// Reads one YAML document. A text that is no YAML gives one finding: what follows a syntax
    /// error means nothing.
    pub(super) fn parse(file: &SourceFile) -> Result<Node, Box<Finding>> {
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::Error,
            // YAML 1.2: `no` is Norway.
            strict_booleans: true,
        };
        serde_saphyr::from_str_with_options::<Spanned<Raw>>(&file.text, options)
            .map(|raw| raw.value.placed(raw.referenced, &file.text))
            .map_err(|error| {
                let location = error.location().unwrap_or(Location::UNKNOWN);
                let full = error.without_snippet().to_string();
                // The place has fields of its own.
                let message = match full.rfind(" at line ") {
                    Some(end) => full[..end].to_owned(),
                    None => full,
                };
                let (code, message) = match message.strip_prefix("duplicate mapping key: ") {
                    Some(rest) => {
                        let key = rest.split(',').next().unwrap_or(rest);
                        ("duplicate-key", format!("the key `{key}` stands here twice"))
                    }
                    None => ("invalid-yaml", message),
                };
                Box::new(Finding::error(code, file, place(location, &file.text), "", message))
            })
    }

    /// The word for what it is, in messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        match &self.value {
            Value::List(nodes) => nodes.len(),
            Value::Map(entries) => entries.len(),
            _ => 0,
        }
    }

    /// The value that a JSON Pointer leads to.
    pub(super) fn pointer(&self, pointer: &str) -> Option<&Node> {
        pointer.split('/').skip(1).try_fold(self, Node::child)
    }

    fn child(&self, token: &str) -> Option<&Node> {
        let token = token.replace("~1", "/").replace("~0", "~");
        match &self.value {
            Value::Map(_) => self.get(&token),
            Value::List(nodes) => nodes.get(token.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// Where a JSON Pointer leads, or the deepest value on the way there: a finding about what is
    /// missing stands at what it is missing from.
    pub(super) fn place_of(&self, pointer: &str) -> Place {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let Some(next) = node.child(token) else { break };
            node = next;
        }
        node.place
    }

    /// The same without places.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Boolean(boolean) => (*boolean).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => text.text.as_str().into(),
            Value::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// One step further in a JSON Pointer.
pub(super) fn step(pointer: &str, token: impl fmt::Display) -> String {
    let token = token.to_string().replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{token}")
}

/// Where the parser's location lies in the text. It knows characters everywhere and bytes only
/// sometimes; collections have no length.
fn place(location: Location, text: &str) -> Place {
    let (line, column) = (location.line().max(1), location.column().max(1));
    let start = text.split_inclusive('\n').take(line as usize - 1).map(str::len).sum::<usize>();
    let of_line = text[start..].lines().next().unwrap_or_default();
    let bytes =
        |characters: usize| -> usize { of_line.chars().take(characters).map(char::len_utf8).sum() };
    let before = bytes(column as usize - 1);
    let length = usize::try_from(location.span().len()).unwrap_or(0).max(1);
    let end = bytes(column as usize - 1 + length);
    Place {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        offset: start + before,
        length: end - before,
    }
}

/// A value as the parser hands it over, its parts with their locations.
enum Raw {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    fn placed(self, at: Location, text: &str) -> Node {
        let value = match self {
            Raw::Null => Value::Null,
            Raw::Boolean(boolean) => Value::Boolean(boolean),
            Raw::Number(number) => Value::Number(number),
            Raw::Text(text) => Value::Text(Text { text, interpolated: false }),
            Raw::List(nodes) => Value::List(
                nodes.into_iter().map(|node| node.value.placed(node.referenced, text)).collect(),
            ),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry {
                        key: key.value,
                        place: place(key.referenced, text),
                        node: node.value.placed(node.referenced, text),
                    })
                    .collect(),
            ),
        };
        Node { place: place(at, text), value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(Raw::Number).ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Raw::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some((key, node)) = access.next_entry::<Spanned<String>, _>()? {
            if entries.iter().any(|(other, _)| other.value == key.value) {
                return Err(A::Error::custom(format!("duplicate mapping key: {}", key.value)));
            }
            entries.push((key, node));
        }
        Ok(Raw::Map(entries))
    }
}
