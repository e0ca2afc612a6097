//! The config's JSON Schema and its reference, rendered from the types: what editors use and what
//! people read. Both are committed, and a test says when they are stale.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    SCHEMA,
    field::PATH_FORMAT,
    policy::SCHEMA as POLICY_SCHEMA,
    tests::SCHEMA as TESTS_SCHEMA,
    units::{ByteSize, TimeSpan},
};

/// The JSON Schema as it is committed at `docs/pipeline.schema.json`.
pub fn schema_text() -> String {
    format!("{:#}\n", *SCHEMA)
}

/// The JSON Schema of test files as it is committed at `docs/tests.schema.json`.
pub fn tests_schema_text() -> String {
    format!("{:#}\n", *TESTS_SCHEMA)
}

/// The JSON Schema of policies as it is committed at `docs/policy.schema.json`.
pub fn policy_schema_text() -> String {
    format!("{:#}\n", *POLICY_SCHEMA)
}

/// The reference as it is committed at `docs/configuration.md`.
pub fn reference_text() -> String {
    page("Configuration", PREFACE, "A pipeline", &SCHEMA)
}

/// The reference of policies as it is committed at `docs/policy.md`.
pub fn policy_reference_text() -> String {
    page("Policy", POLICY_PREFACE, "A policy", &POLICY_SCHEMA)
}

/// A page of a type and of all types that it mentions.
fn page(title: &str, preface: &str, root: &str, schema: &Value) -> String {
    let mut page = format!("# {title}\n\n");
    page.push_str(
        "<!-- Generated from the types in host/server/src/config: `TIDEGATE_BLESS=1 cargo test -p \
         tidegate-server` rewrites it. -->\n\n",
    );
    page.push_str(&description(schema));
    page.push_str(preface);
    let mut sections = Sections { page, seen: Vec::new(), waiting: Vec::new() };
    sections.keys(root, schema);
    while let Some(name) = sections.next() {
        let definition = &schema["$defs"][name.as_str()];
        let _ = writeln!(sections.page, "\n<a id=\"{}\"></a>", anchor(&name));
        match definition.get("oneOf").and_then(Value::as_array) {
            Some(forms) => sections.choice(&name, definition, forms),
            None => sections.object(&name, definition),
        }
    }
    sections.page
}

/// What holds for all keys.
const PREFACE: &str = "\n\nUnknown keys are errors. Times and sizes are texts with a unit: `\"5s\"`, \
    `\"250ms\"`, `\"8MiB\"`. A field is a path such as `merchant.id`, `items[0].sku` or \
    `['a.b'].c`; where a condition takes a field, it also takes what the host knows of a record: `@record-id`, `@partition`, `@position`, `@partition-key`, \
    `@arrival-time`, `@batch-time`, `@source`. `tidegate check` finds everything that is wrong \
    with a file at once.\n\n\
    In editors with a YAML language server, a first line of\n\
    `# yaml-language-server: $schema=…/docs/pipeline.schema.json` gives completion and these \
    texts.\n";

/// What holds for all keys of a policy.
const POLICY_PREFACE: &str = "\n\nUnknown keys are errors. What it is for, and what follows where it \
    says no, is told in [security](security.md).\n\nIn editors with a YAML language server, a first \
    line of\n`# yaml-language-server: $schema=…/docs/policy.schema.json` gives completion and these \
    texts.\n";

/// The page so far, and the types whose sections are still to come, in order of first mention.
struct Sections {
    page: String,
    seen: Vec<String>,
    waiting: Vec<String>,
}

impl Sections {
    fn next(&mut self) -> Option<String> {
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0))
    }

    /// A type with keys.
    fn object(&mut self, title: &str, schema: &Value) {
        let _ = writeln!(self.page, "\n## {title}\n\n{}", description(schema));
        self.keys_of(schema);
    }

    /// The type that the page is about, and that its introduction has described.
    fn keys(&mut self, title: &str, schema: &Value) {
        let _ = writeln!(self.page, "\n## {title}");
        self.keys_of(schema);
    }

    fn keys_of(&mut self, schema: &Value) {
        self.page.push('\n');
        let properties = schema["properties"].as_object();
        if properties.is_none_or(Map::is_empty) {
            return;
        }
        let required = schema["required"].as_array();
        self.page.push_str("| key | takes | default | |\n|---|---|---|---|\n");
        for (key, property) in properties.into_iter().flatten() {
            let takes = self.takes(property);
            let default = match required.is_some_and(|it| it.contains(&key.as_str().into())) {
                true => "required".to_owned(),
                false => default(property),
            };
            let text = cell(&description(property));
            let _ = writeln!(self.page, "| `{key}` | {takes} | {default} | {text} |");
        }
    }

    /// A type that is one of several words or forms.
    fn choice(&mut self, title: &str, schema: &Value, forms: &[Value]) {
        let _ = writeln!(self.page, "\n## {title}\n\n{}\n", description(schema));
        for form in forms {
            let text = description(form);
            if let Some(word) = form["const"].as_str() {
                let _ = writeln!(self.page, "- `{word}`: {text}");
            }
            for (key, property) in form["properties"].as_object().into_iter().flatten() {
                let takes = self.takes(property);
                let _ = writeln!(self.page, "- `{key}:` {takes}. {text}");
            }
        }
    }

    /// What a value may be, with links to types that have sections of their own.
    fn takes(&mut self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
            if !self.seen.iter().any(|it| it == name) {
                self.seen.push(name.to_owned());
                self.waiting.push(name.to_owned());
            }
            return format!("[{name}](#{})", anchor(name));
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let real = choices.iter().find(|it| it["type"] != "null");
            return real.map(|it| self.takes(it)).unwrap_or_default();
        }
        let names: Vec<&str> = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            Value::String(name) => vec![name],
            _ => return "anything".to_owned(),
        };
        let names = names.into_iter().filter(|name| *name != "null");
        let words: Vec<String> = names.map(|name| self.type_name(name, schema)).collect();
        words.join(" or ")
    }

    fn type_name(&mut self, name: &str, schema: &Value) -> String {
        let bounds = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(least), Some(most)) if most < 1e9 => format!(" from {least} to {most}"),
            (Some(least), _) if least > 0.0 => format!(" from {least}"),
            _ => String::new(),
        };
        match (name, schema["format"].as_str()) {
            ("string", Some(TimeSpan::FORMAT)) => "time".to_owned(),
            ("string", Some(ByteSize::FORMAT)) => "size".to_owned(),
            ("string", Some(PATH_FORMAT)) => "field".to_owned(),
            ("string", _) => "text".to_owned(),
            ("integer", _) => format!("whole number{bounds}"),
            ("number", _) => format!("number{bounds}"),
            ("array", _) => format!("list of {}", self.takes(&schema["items"])),
            ("object", _) => match &schema["additionalProperties"] {
                Value::Object(_) => {
                    format!("for each field {}", self.takes(&schema["additionalProperties"]))
                }
                _ => "mapping".to_owned(),
            },
            (other, _) => other.to_owned(),
        }
    }
}

fn anchor(name: &str) -> String {
    name.to_lowercase()
}

/// A default that fits a cell; a mapping's defaults stand in the section of its type.
fn default(schema: &Value) -> String {
    match schema.get("default") {
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => format!("`{value}`"),
        _ => String::new(),
    }
}

/// The description of a type or a key, its line breaks undone and its paragraphs kept.
fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let paragraphs: Vec<String> =
        text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n")
}

/// A text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace("\n\n", " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The documents say what the types say.
    #[test]
    fn committed_schema_and_reference_are_fresh() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let pages = [
            ("pipeline.schema.json", schema_text()),
            ("tests.schema.json", tests_schema_text()),
            ("policy.schema.json", policy_schema_text()),
            ("configuration.md", reference_text()),
            ("policy.md", policy_reference_text()),
            ("metrics.md", crate::metrics::reference_text()),
        ];
        for (name, fresh) in pages {
            let path = docs.join(name);
            if std::env::var_os("TIDEGATE_BLESS").is_some() {
                fs::write(&path, &fresh).expect("docs are writable");
            }
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == fresh,
                "docs/{name} is stale: `TIDEGATE_BLESS=1 cargo test -p tidegate-server` rewrites it"
            );
        }
    }

    /// `shape` knows only a part of JSON Schema: no other may appear.
    #[test]
    fn schema_uses_only_what_the_shape_check_knows() {
        const KNOWN: &[&str] = &[
            "$ref",
            "additionalProperties",
            "anyOf",
            "const",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "maximum",
            "minimum",
            "oneOf",
            "pattern",
            "properties",
            "required",
            "type",
        ];
        fn walk(schema: &Value) {
            let Some(object) = schema.as_object() else { return };
            for (keyword, value) in object {
                assert!(KNOWN.contains(&keyword.as_str()), "`{keyword}` in {schema:#}");
                match keyword.as_str() {
                    "properties" => value.as_object().expect("a map").values().for_each(walk),
                    "items" | "additionalProperties" => walk(value),
                    "anyOf" | "oneOf" => value.as_array().expect("a list").iter().for_each(walk),
                    _ => {}
                }
            }
        }
        for schema in [&*SCHEMA, &*TESTS_SCHEMA, &*POLICY_SCHEMA] {
            let mut root = schema.as_object().expect("a map").clone();
            let definitions = root.remove("$defs").expect("there are types");
            for keyword in ["$schema", "title"] {
                root.remove(keyword);
            }
            walk(&Value::Object(root));
            definitions.as_object().expect("a map").values().for_each(walk);
        }
    }
}
