//! A slow and obvious reading of JSON texts that are known to be valid: a tree of raw texts in
//! which duplicates stay.

use crate::{Path, Segment};

/// A value with its raw text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A number, string or literal, as written.
    Leaf(String),
    /// Raw keys, quotes included, and values.
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
}

/// What a raw string stands for; nothing where it is no text.
pub(super) fn unquote(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

impl Node {
    /// Parses a valid text.
    pub(super) fn parse(text: &str) -> Node {
        let (node, rest) = Node::take(text.trim_start());
        assert!(rest.trim().is_empty(), "something follows: {rest}");
        node
    }

    fn take(text: &str) -> (Node, &str) {
        match text.as_bytes()[0] {
            b'{' => {
                let mut members = Vec::new();
                let mut rest = text[1..].trim_start();
                while !rest.starts_with('}') {
                    let end = string_end(rest);
                    let value = rest[end..].trim_start().strip_prefix(':').expect("a colon");
                    let (node, behind) = Node::take(value.trim_start());
                    members.push((rest[..end].to_owned(), node));
                    rest = behind.trim_start();
                    rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
                }
                (Node::Object(members), &rest[1..])
            }
            b'[' => {
                let mut elements = Vec::new();
                let mut rest = text[1..].trim_start();
                while !rest.starts_with(']') {
                    let (node, behind) = Node::take(rest);
                    elements.push(node);
                    rest = behind.trim_start();
                    rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
                }
                (Node::Array(elements), &rest[1..])
            }
            b'"' => {
                let end = string_end(text);
                (Node::Leaf(text[..end].to_owned()), &text[end..])
            }
            _ => {
                let end = text.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(text.len());
                (Node::Leaf(text[..end].to_owned()), &text[end..])
            }
        }
    }

    /// What lies at a path: the last of duplicates.
    pub(super) fn get(&self, path: &[Segment]) -> Option<&Node> {
        let Some((segment, rest)) = path.split_first() else { return Some(self) };
        match (self, segment) {
            (Node::Object(members), Segment::Key(key)) => members
                .iter()
                .rfind(|(raw, _)| unquote(raw).as_ref() == Some(key))
                .and_then(|(_, node)| node.get(rest)),
            (Node::Array(elements), Segment::Index(index)) => {
                elements.get(*index as usize).and_then(|node| node.get(rest))
            }
            _ => None,
        }
    }

    /// The same without white space.
    pub(super) fn compact(&self) -> String {
        match self {
            Node::Leaf(raw) => raw.clone(),
            Node::Object(members) => {
                let members: Vec<String> =
                    members.iter().map(|(key, node)| format!("{key}:{}", node.compact())).collect();
                format!("{{{}}}", members.join(","))
            }
            Node::Array(elements) => {
                let elements: Vec<String> = elements.iter().map(Node::compact).collect();
                format!("[{}]", elements.join(","))
            }
        }
    }

    /// Members in a fixed order, duplicates in theirs.
    pub(super) fn sorted(&self) -> Node {
        match self {
            Node::Leaf(raw) => Node::Leaf(raw.clone()),
            Node::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(key, node)| (key.clone(), node.sorted())).collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Node::Object(members)
            }
            Node::Array(elements) => Node::Array(elements.iter().map(Node::sorted).collect()),
        }
    }

    /// Sets, or removes, what lies at a path; false where it conflicts.
    pub(super) fn edit(&mut self, path: &Path, value: Option<&Node>) -> bool {
        let mut path = path.0.as_slice();
        let mut node = self;
        loop {
            let Some((segment, rest)) = path.split_first() else {
                let Some(value) = value else { return false };
                *node = value.clone();
                return true;
            };
            path = rest;
            let there = match (&mut *node, segment) {
                (Node::Object(members), Segment::Key(key)) => {
                    let is = |raw: &str| unquote(raw).as_ref() == Some(key);
                    let last = members.iter().rposition(|(raw, _)| is(raw));
                    let remove_last = rest.is_empty() && value.is_none();
                    let mut at = 0;
                    members.retain(|(raw, _)| {
                        let keep = !is(raw) || (Some(at) == last && !remove_last);
                        at += 1;
                        keep
                    });
                    if remove_last || (last.is_none() && value.is_none()) {
                        return true;
                    }
                    if last.is_none() {
                        let raw = serde_json::to_string(key).expect("a string");
                        members.push((raw, Node::Object(Vec::new())));
                        if rest.iter().any(|segment| matches!(segment, Segment::Index(_))) {
                            return false;
                        }
                    }
                    members.iter_mut().find(|(raw, _)| is(raw)).map(|(_, node)| node)
                }
                (Node::Array(elements), Segment::Index(index)) => {
                    let there = elements.get_mut(*index as usize);
                    if there.is_some() && rest.is_empty() && value.is_none() {
                        return false;
                    }
                    there
                }
                _ => None,
            };
            match there {
                Some(there) => node = there,
                // There is nothing to be removed.
                None => return value.is_none(),
            }
        }
    }
}

fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}
