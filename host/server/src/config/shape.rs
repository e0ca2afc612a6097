//! Checks a document's shape against the config's JSON Schema, and finds everything at once:
//! unknown keys, missing ones, values of a wrong type.
//!
//! It is the schema that editors use, made from the config's own types; so `check`, the editor
//! and the reference can't say different things. Only the part of JSON Schema is known here that
//! those types give, and a test says so.

use serde_json::Value as Schema;

use super::{
    field::{FieldPath, PATH_FORMAT},
    tree::{Entry, Node, Text, Value, step},
    units::{ByteSize, TimeSpan},
};
use crate::finding::{Finding, SourceFile};

/// Walks a document and its schema together.
pub(super) struct Shape<'a> {
    root: &'a Schema,
    file: &'a SourceFile,
    findings: Vec<Finding>,
}

impl<'a> Shape<'a> {
    /// Checks a whole document. Texts that came out of variables are turned into the numbers and
    /// booleans that the schema wants in their place.
    pub(super) fn check(root: &'a Schema, file: &'a SourceFile, node: &mut Node) -> Vec<Finding> {
        let mut shape = Shape { root, file, findings: Vec::new() };
        shape.walk(root, node, "");
        shape.findings
    }

    fn find(&mut self, code: &'static str, node: &Node, pointer: &str, message: String) {
        self.findings.push(Finding::error(code, self.file, node.place, pointer, message));
    }

    fn suggest(&mut self, suggestion: String) {
        if let Some(finding) = self.findings.last_mut() {
            finding.suggestion = Some(suggestion);
        }
    }

    /// Follows a reference to its definition.
    fn resolve(&self, schema: &'a Schema) -> &'a Schema {
        match schema.get("$ref").and_then(Schema::as_str).and_then(|to| to.strip_prefix('#')) {
            Some(pointer) => self.root.pointer(pointer).unwrap_or(schema),
            None => schema,
        }
    }

    fn walk(&mut self, schema: &'a Schema, node: &mut Node, pointer: &str) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").and_then(Schema::as_array) {
            return self.walk_option(choices, node, pointer);
        }
        if let Some(choices) = schema.get("oneOf").and_then(Schema::as_array) {
            return self.walk_choice(choices, node, pointer);
        }
        if let Some(allowed) = schema.get("enum").and_then(Schema::as_array) {
            return self.walk_words(allowed, node, pointer);
        }
        let Some(types) = schema.get("type") else {
            // No type: anything goes, such as a plugin's config, which only the plugin knows.
            return;
        };
        let is = |name: &str| match types {
            Schema::Array(types) => types.iter().any(|it| it == name),
            one => one == name,
        };
        if matches!(node.value, Value::Null) && is("null") {
            return;
        }
        read_interpolated(node, &is);
        match &mut node.value {
            Value::Map(_) if is("object") => self.walk_map(schema, node, pointer),
            Value::List(nodes) if is("array") => {
                if let Some(items) = schema.get("items") {
                    for (i, child) in nodes.iter_mut().enumerate() {
                        self.walk(items, child, &step(pointer, i));
                    }
                }
            }
            Value::Boolean(_) if is("boolean") => {}
            Value::Number(number) if is("integer") || is("number") => {
                let whole = number.is_i64() || number.is_u64();
                let value = number.as_f64().unwrap_or_default();
                let bound = |name: &str| schema.get(name).and_then(Schema::as_f64);
                if is("integer") && !whole {
                    self.find("wrong-type", node, pointer, "expected a whole number".to_owned());
                } else if let Some(minimum) = bound("minimum").filter(|it| value < *it) {
                    let message = format!("the least that makes sense here is {minimum}");
                    self.find("out-of-range", node, pointer, message);
                } else if let Some(maximum) = bound("maximum").filter(|it| value > *it) {
                    let message = format!("the most that makes sense here is {maximum}");
                    self.find("out-of-range", node, pointer, message);
                }
            }
            Value::Text(Text { text, .. }) if is("string") => {
                let text = text.clone();
                self.check_format(schema, node, pointer, &text);
            }
            _ => self.wrong_type(schema, types, node, pointer),
        }
    }

    /// A value or nothing.
    fn walk_option(&mut self, choices: &'a [Schema], node: &mut Node, pointer: &str) {
        if matches!(node.value, Value::Null) {
            return;
        }
        if let Some(schema) = choices.iter().find(|it| it.get("type") != Some(&"null".into())) {
            self.walk(schema, node, pointer);
        }
    }

    /// One of several forms: a word, or a mapping with the one key that names the form.
    fn walk_choice(&mut self, choices: &'a [Schema], node: &mut Node, pointer: &str) {
        let mut words: Vec<&str> = Vec::new();
        let mut forms: Vec<(&str, &'a Schema)> = Vec::new();
        for choice in choices.iter().map(|choice| self.resolve(choice)) {
            match (choice.get("const"), choice.get("enum").and_then(Schema::as_array)) {
                (Some(word), _) => words.extend(word.as_str()),
                (_, Some(several)) => words.extend(several.iter().filter_map(Schema::as_str)),
                _ => forms.extend(
                    choice
                        .get("properties")
                        .and_then(Schema::as_object)
                        .into_iter()
                        .flatten()
                        .map(|(key, schema)| (key.as_str(), schema)),
                ),
            }
        }
        let names: Vec<&str> =
            words.iter().copied().chain(forms.iter().map(|(name, _)| *name)).collect();
        match &mut node.value {
            Value::Text(text) if words.contains(&text.text.as_str()) => {}
            Value::Text(text) => {
                let text = text.text.clone();
                let message = match forms.iter().any(|(name, _)| *name == text) {
                    true => format!("`{text}` needs a value of its own"),
                    false => format!("expected one of {}", list(&names)),
                };
                self.find("unknown-word", node, pointer, message);
                if let Some(near) = nearest(&text, names.iter().copied()).filter(|it| *it != text) {
                    self.suggest(format!("did you mean `{near}`?"));
                }
            }
            Value::Map(entries) if entries.len() == 1 && !forms.is_empty() => {
                let entry = &mut entries[0];
                match forms.iter().find(|(name, _)| *name == entry.key) {
                    Some((name, schema)) => {
                        self.walk(schema, &mut entry.node, &step(pointer, name));
                    }
                    None => {
                        let keys: Vec<&str> = forms.iter().map(|(name, _)| *name).collect();
                        let finding = unknown_key(self.file, entry, pointer, &keys);
                        self.findings.push(finding);
                    }
                }
            }
            Value::Map(_) if !forms.is_empty() => {
                let keys: Vec<&str> = forms.iter().map(|(name, _)| *name).collect();
                let message = format!("expected exactly one key, of {}", list(&keys));
                self.find("one-of", node, pointer, message);
            }
            _ => {
                let message = format!("expected one of {}, found {}", list(&names), node.kind());
                self.find("wrong-type", node, pointer, message);
            }
        }
    }

    fn walk_words(&mut self, allowed: &'a [Schema], node: &Node, pointer: &str) {
        let words: Vec<&str> = allowed.iter().filter_map(Schema::as_str).collect();
        match &node.value {
            Value::Null if allowed.contains(&Schema::Null) => {}
            Value::Text(text) if words.contains(&text.text.as_str()) => {}
            Value::Text(text) => {
                let near = nearest(&text.text, words.iter().copied());
                let message = format!("expected one of {}", list(&words));
                self.find("unknown-word", node, pointer, message);
                if let Some(near) = near {
                    self.suggest(format!("did you mean `{near}`?"));
                }
            }
            _ => {
                let message = format!("expected one of {}, found {}", list(&words), node.kind());
                self.find("wrong-type", node, pointer, message);
            }
        }
    }

    fn walk_map(&mut self, schema: &'a Schema, node: &mut Node, pointer: &str) {
        let place = node.place;
        let Value::Map(entries) = &mut node.value else { return };
        let properties = schema.get("properties").and_then(Schema::as_object);
        let others = schema.get("additionalProperties");
        for entry in entries.iter_mut() {
            let known = properties.and_then(|properties| properties.get(&entry.key));
            let below = step(pointer, &entry.key);
            match (known, others) {
                (Some(schema), _) => self.walk(schema, &mut entry.node, &below),
                (None, Some(Schema::Bool(false))) => {
                    let keys: Vec<&str> =
                        properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                    let finding = unknown_key(self.file, entry, pointer, &keys);
                    self.findings.push(finding);
                }
                (None, Some(schema)) => self.walk(schema, &mut entry.node, &below),
                (None, None) => {}
            }
        }
        let required = schema.get("required").and_then(Schema::as_array);
        for key in required.into_iter().flatten().filter_map(Schema::as_str) {
            if !entries.iter().any(|entry| entry.key == key) {
                let message = format!("`{key}` is missing");
                self.findings.push(Finding::error(
                    "missing-key",
                    self.file,
                    place,
                    pointer,
                    message,
                ));
            }
        }
    }

    fn check_format(&mut self, schema: &Schema, node: &Node, pointer: &str, text: &str) {
        let problem = match schema.get("format").and_then(Schema::as_str) {
            Some(TimeSpan::FORMAT) => text.parse::<TimeSpan>().err().map(|it| it.to_string()),
            Some(ByteSize::FORMAT) => text.parse::<ByteSize>().err().map(|it| it.to_string()),
            Some(PATH_FORMAT) => text.parse::<FieldPath>().err().map(|it| it.to_string()),
            _ => None,
        };
        if let Some(message) = problem {
            self.find("invalid-value", node, pointer, message);
        }
    }

    fn wrong_type(&mut self, schema: &Schema, types: &Schema, node: &Node, pointer: &str) {
        let format = schema.get("format").and_then(Schema::as_str);
        let expected = match format {
            Some(TimeSpan::FORMAT) => TimeSpan::WHAT.to_owned(),
            Some(ByteSize::FORMAT) => ByteSize::WHAT.to_owned(),
            _ => match types {
                Schema::Array(types) => {
                    types.iter().find_map(|it| type_name(it)).unwrap_or("something else").to_owned()
                }
                one => type_name(one).unwrap_or("something else").to_owned(),
            },
        };
        let message = format!("expected {expected}, found {}", node.kind());
        self.find("wrong-type", node, pointer, message);
        match (&node.value, format) {
            (Value::Number(number), Some(TimeSpan::FORMAT)) => {
                self.suggest(format!("say the unit: \"{number}s\" or \"{number}ms\""));
            }
            (Value::Number(number), Some(ByteSize::FORMAT)) => {
                self.suggest(format!("say the unit: \"{number}B\" or \"{number}MiB\""));
            }
            (Value::Number(_) | Value::Boolean(_), None) if expected == "a text" => {
                self.suggest("put it in quotes".to_owned());
            }
            _ => {}
        }
    }
}

/// A variable's value is a text to YAML; where the schema wants a number or a boolean and the
/// text is one, that is what was meant.
fn read_interpolated(node: &mut Node, is: &dyn Fn(&str) -> bool) {
    let Value::Text(Text { text, interpolated: true }) = &node.value else { return };
    if is("string") {
        return;
    }
    let read = match serde_json::from_str::<Schema>(text) {
        Ok(Schema::Number(number)) if is("integer") || is("number") => Value::Number(number),
        Ok(Schema::Bool(boolean)) if is("boolean") => Value::Boolean(boolean),
        _ => return,
    };
    node.value = read;
}

fn unknown_key(file: &SourceFile, entry: &Entry, pointer: &str, keys: &[&str]) -> Finding {
    let pointer = step(pointer, &entry.key);
    let message = format!("unknown key `{}`", entry.key);
    let finding = Finding::error("unknown-key", file, entry.place, pointer, message);
    finding.suggest(did_you_mean(&entry.key, keys))
}

/// What to do about a name that there is not.
pub(crate) fn did_you_mean(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", list(names)),
    }
}

/// The name that was probably meant, where one is near enough to say so.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn type_name(name: &Schema) -> Option<&'static str> {
    match name.as_str()? {
        "object" => Some("a mapping"),
        "array" => Some("a list"),
        "string" => Some("a text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("a boolean"),
        _ => None,
    }
}
