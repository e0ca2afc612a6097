//! A project whose reads come from a sample of records: what the templates in each SDK's `sample`
//! folder are rendered with.

use minijinja::{
    AutoEscape, Environment, UndefinedBehavior, context, syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;

use crate::Language;

/// What a project begins with instead of its template's own transactions.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it reads.
    pub fields: Vec<SampleField>,
    /// The one field that it writes.
    pub write: SampleWrite,
    /// Its golden cases: the content of their file.
    pub golden: String,
    /// The records that its test runs on, as lines.
    pub records: String,
}

/// A field that is read.
#[derive(Clone, Debug)]
pub struct SampleField {
    /// A name for it: lower-case words joined by `_`, unique in the sample.
    pub name: String,
    /// Where it lies.
    pub path: String,
    /// What it holds.
    pub kind: SampleKind,
    /// Some records lack it.
    pub optional: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kinds of the contract")]
pub enum SampleKind {
    Boolean,
    Int64,
    Float64,
    Timestamp,
    Date,
    Utf8,
    Json,
}

impl SampleKind {
    /// As the contract has it.
    pub fn name(self) -> &'static str {
        match self {
            SampleKind::Boolean => "boolean",
            SampleKind::Int64 => "int64",
            SampleKind::Float64 => "float64",
            SampleKind::Timestamp => "timestamp",
            SampleKind::Date => "date",
            SampleKind::Utf8 => "utf8",
            SampleKind::Json => "json",
        }
    }
}

/// What is written, and made of which field.
#[derive(Clone, Debug)]
pub struct SampleWrite {
    /// The name of the member.
    pub name: String,
    /// What it says.
    pub says: Says,
    /// The place of the field that it says that of.
    pub field: usize,
    /// What comes of the first record, as JSON; none where the field is left as it is.
    pub first: Option<String>,
}

/// What a written field says of one that is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Says {
    /// Whether the number is at least this one, which the operator can change.
    IsLarge(f64),
    /// The day of the timestamp.
    Day,
    /// Whether the text is empty.
    IsEmpty,
    /// Whether there is a value.
    IsThere,
}

impl Says {
    fn name(self) -> &'static str {
        match self {
            Says::IsLarge(_) => "is_large",
            Says::Day => "day",
            Says::IsEmpty => "is_empty",
            Says::IsThere => "is_there",
        }
    }
}

/// A field as a template sees it.
#[derive(Serialize)]
struct Spelled {
    /// As the language writes it.
    name: String,
    /// Where it lies, as the inside of a string literal.
    path: String,
    /// It is the member of its name.
    is_member: bool,
    kind: &'static str,
    #[serde(rename = "type")]
    of_type: String,
    optional: bool,
    /// The name and the type with blanks behind them, for languages that are written in columns.
    padded_name: String,
    padded_type: String,
}

/// Renders one of a language's templates.
///
/// # Panics
/// When the template is wrong: a test renders all of them.
pub(crate) fn render(template: &str, name: &str, language: Language, sample: &Sample) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A tag that has a line to itself leaves none.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
    let mut fields: Vec<Spelled> = sample.fields.iter().map(|it| spelled(language, it)).collect();
    let width = |of: fn(&Spelled) -> &str| {
        fields.iter().map(|field| of(field).chars().count()).max().unwrap_or_default()
    };
    let (names, types) = (width(|it| &it.name), width(|it| &it.of_type));
    for field in &mut fields {
        field.padded_name = format!("{:names$}", field.name);
        field.padded_type = format!("{:types$}", field.of_type);
    }
    let SampleWrite { name: written, says, field, first } = &sample.write;
    let source = &sample.fields[*field];
    let limit = match says {
        Says::IsLarge(limit) => format!("{limit:?}"),
        _ => String::new(),
    };
    let has = |kind: SampleKind| sample.fields.iter().any(|field| field.kind == kind);
    let context = context! {
        name => name,
        fields => Serde(&fields),
        has_timestamp => has(SampleKind::Timestamp),
        has_date => has(SampleKind::Date) || *says == Says::Day,
        has_json => has(SampleKind::Json),
        has_text => has(SampleKind::Utf8) || has(SampleKind::Json),
        has_optional => sample.fields.iter().any(|field| field.optional),
        has_paths => fields.iter().any(|field| !field.is_member),
        written => written,
        Written => pascal(written),
        says => says.name(),
        limit => limit,
        first => first,
        from => Serde(&fields[*field]),
        // Whether a row without the field leaves what is written as it is.
        leaves => source.optional && *says != Says::IsThere,
    };
    let rendered = environment.render_str(template, context);
    rendered.unwrap_or_else(|error| panic!("a template is wrong: {error:#}"))
}

fn spelled(language: Language, field: &SampleField) -> Spelled {
    let SampleField { name, path, kind, optional } = field;
    let name = match language {
        Language::Go => pascal(name),
        _ if keywords(language).contains(&name.as_str()) => format!("{name}_"),
        _ => name.clone(),
    };
    let column = type_name(language, *kind);
    let of_type = match (language, optional) {
        (_, false) | (Language::JavaScript, _) => column.to_owned(),
        (Language::Rust, true) => format!("Option<{column}>"),
        (Language::Go, true) => format!("tidegate.Optional[{column}]"),
        (Language::Python, true) => format!("{column} | None"),
        (Language::C, true) => format!("TG_OPTIONAL({column})"),
    };
    Spelled {
        is_member: *path == name,
        name,
        path: path.clone(),
        kind: kind.name(),
        of_type,
        optional: *optional,
        padded_name: String::new(),
        padded_type: String::new(),
    }
}

/// A kind as a language's SDK writes it.
fn type_name(language: Language, kind: SampleKind) -> &'static str {
    use SampleKind::{Boolean, Date, Float64, Int64, Json, Timestamp, Utf8};
    match (language, kind) {
        (Language::Rust, Boolean) | (Language::Go, Boolean) | (Language::C, Boolean) => "bool",
        (Language::Rust, Int64) => "i64",
        (Language::Rust, Float64) => "f64",
        (Language::Rust | Language::Python, Timestamp) => "Timestamp",
        (Language::Rust | Language::Python, Date) => "Date",
        (Language::Rust, Utf8) => "&'a str",
        (Language::Rust, Json) => "Json<'a>",
        (Language::Go, Int64) => "int64",
        (Language::Go, Float64) => "float64",
        (Language::Go, Timestamp) => "tidegate.Timestamp",
        (Language::Go, Date) => "tidegate.Date",
        (Language::Go, Utf8) => "string",
        (Language::Go, Json) => "tidegate.JSON",
        (Language::JavaScript, Boolean) => "boolean",
        (Language::JavaScript, Int64) => "int64",
        (Language::JavaScript, Float64) => "float64",
        (Language::JavaScript, Timestamp) => "timestamp",
        (Language::JavaScript, Date) => "date",
        (Language::JavaScript, Utf8) => "utf8",
        (Language::JavaScript, Json) => "json",
        (Language::Python, Boolean) => "bool",
        (Language::Python, Int64) => "int",
        (Language::Python, Float64) => "float",
        (Language::Python, Utf8) => "str",
        (Language::Python, Json) => "Json",
        (Language::C, Int64 | Timestamp) => "int64_t",
        (Language::C, Float64) => "double",
        (Language::C, Date) => "int32_t",
        (Language::C, Utf8 | Json) => "tg_text",
    }
}

/// `merchant_id` → `MerchantId`.
fn pascal(name: &str) -> String {
    let capitalized = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>())
    };
    name.split('_').filter_map(capitalized).collect()
}

/// The words that can't be the name of a struct's member.
fn keywords(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &[
            "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum",
            "extern", "false", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "match",
            "mod", "move", "mut", "pub", "ref", "return", "self", "static", "struct", "super",
            "trait", "true", "type", "unsafe", "use", "where", "while", "abstract", "become",
            "box", "do", "final", "macro", "override", "priv", "try", "typeof", "unsized",
            "virtual", "yield",
        ],
        Language::Python => &[
            "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
            "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in",
            "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
            "with", "yield",
        ],
        Language::C => &[
            "auto", "bool", "break", "case", "char", "const", "continue", "default", "do",
            "double", "else", "enum", "extern", "false", "float", "for", "goto", "if", "inline",
            "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static",
            "struct", "switch", "true", "typedef", "union", "unsigned", "void", "volatile",
            "while",
        ],
        Language::Go | Language::JavaScript => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [SampleKind; 7] = [
        SampleKind::Boolean,
        SampleKind::Int64,
        SampleKind::Float64,
        SampleKind::Timestamp,
        SampleKind::Date,
        SampleKind::Utf8,
        SampleKind::Json,
    ];

    #[test]
    fn every_template_renders_whatever_a_sample_has() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut made = 0;
        for kind in KINDS {
            for optional in [false, true] {
                let says = match kind {
                    SampleKind::Int64 | SampleKind::Float64 => Says::IsLarge(1.5),
                    SampleKind::Timestamp => Says::Day,
                    SampleKind::Utf8 => Says::IsEmpty,
                    _ => Says::IsThere,
                };
                let field = |name: &str, path: &str| SampleField {
                    name: name.to_owned(),
                    path: path.to_owned(),
                    kind,
                    optional,
                };
                let sample = Sample {
                    fields: vec![field("type", "type"), field("a_b", "a.b")],
                    write: SampleWrite { name: "w".to_owned(), says, field: 0, first: None },
                    golden: "cases: []\n".to_owned(),
                    records: "{}\n".to_owned(),
                };
                for language in Language::ALL {
                    made += 1;
                    let project = folder.path().join(made.to_string());
                    crate::create("size-up", language, &project, Some(&sample)).expect("made");
                    assert!(project.join("sample.ndjson").is_file());
                    let kit = project.join(".tidegate/sdk").join(language.name());
                    assert!(!kit.join("sample").exists(), "a project has no use for templates");
                    assert!(!kit.join("template").exists(), "a project has no use for templates");
                }
            }
        }
    }
}
