//! Patterns that take a line apart, and the JSON that is made of what they find.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use grok::Grok;
use regex::Regex;

use crate::sources::{
    csv::{CsvMismatch, CsvType},
    records::Fault,
};

/// A pattern as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternText {
    /// A regular expression with named groups, in the syntax of the crate `regex`.
    Regex(String),
    /// A grok pattern, with names of patterns in `%{NAME:field}`.
    Grok {
        /// The pattern.
        pattern: String,
        /// Patterns by name, besides those that grok brings.
        definitions: BTreeMap<String, String>,
    },
}

/// Why there is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// It is no regular expression, or one that could take for ever.
    #[error("it is no pattern: {0}")]
    Syntax(String),
    /// A pattern that it is made of is not known.
    #[error("there is no pattern `{name}`{}", did_you_mean(nearest.as_deref()))]
    UnknownPattern {
        /// Its name.
        name: String,
        /// One that is called almost the same.
        nearest: Option<String>,
    },
    /// Without a name nothing is found.
    #[error("it finds nothing: name what becomes a field, as in {0}")]
    NoFields(&'static str),
    /// A type is given to what the pattern does not find.
    #[error("it finds no field `{name}`; it finds {found}")]
    UnknownField {
        /// The field.
        name: String,
        /// All that there are.
        found: String,
    },
    /// A type is none.
    #[error(
        "`{holds}` of field `{name}` is no type: `int`, `integer`, `float`, `number`, \
         `boolean` or `string`"
    )]
    UnknownType {
        /// The field.
        name: String,
        /// What it says.
        holds: String,
    },
}

/// Takes lines apart. The whole line has to match.
#[derive(Debug)]
pub struct LinePattern {
    matcher: Matcher,
    /// In the order of their names.
    fields: Vec<Field>,
    mismatch: CsvMismatch,
}

#[derive(Debug)]
enum Matcher {
    Regex(Regex),
    Grok(grok::Pattern),
}

#[derive(Debug)]
struct Field {
    name: String,
    /// The name as a member's, with the colon.
    member: Vec<u8>,
    holds: CsvType,
}

/// Patterns of grok's that look around or can't give back what they took, said in another way: the
/// time that a match takes grows with the line, whatever is on it.
const WITHOUT_LOOKING_AROUND: [(&str, &str); 11] = [
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("BASE16NUM", r"[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("BASE16FLOAT", r"\b[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)\b"),
    ("QUOTEDSTRING", r#""(?:\\.|[^\\"])*"|'(?:\\.|[^\\'])*'|`(?:\\.|[^\\`])*`"#),
    (
        "IPV4",
        r"(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})",
    ),
    ("TIME", "%{HOUR}:%{MINUTE}(?::%{SECOND})"),
    ("YEAR", "(?:[0-9]{2}){1,2}"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+"),
    ("HAPROXYTIME", "%{HOUR:haproxy_hour}:%{MINUTE:haproxy_minute}(?::%{SECOND:haproxy_second})"),
    ("IPTABLES4_FRAG", "(?:CE|DF|MF)?"),
    ("RUUID", "[0-9A-Fa-f]{32}"),
];

impl LinePattern {
    /// Compiles a pattern. `types` says what fields hold; all others hold text, or what a grok
    /// pattern says (`%{NUMBER:bytes:int}`).
    pub fn new(
        text: PatternText,
        types: BTreeMap<String, CsvType>,
        mismatch: CsvMismatch,
    ) -> Result<Self, PatternError> {
        let mut given = BTreeMap::new();
        let (matcher, mut names) = match &text {
            PatternText::Regex(pattern) => {
                let regex = Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| PatternError::Syntax(short(&error.to_string())))?;
                let names = regex.capture_names().flatten().map(str::to_owned).collect::<Vec<_>>();
                (Matcher::Regex(regex), names)
            }
            PatternText::Grok { pattern, definitions } => {
                let pattern = compile(pattern, definitions)?;
                let names = pattern.capture_names().map(str::to_owned).collect::<Vec<_>>();
                for name in &names {
                    if let Some(holds) = pattern.get_extract(name) {
                        given.insert(name.clone(), type_named(name, holds)?);
                    }
                }
                (Matcher::Grok(pattern), names)
            }
        };
        names.sort();
        if names.is_empty() {
            return Err(PatternError::NoFields(match text {
                PatternText::Regex(_) => "`(?<status>[0-9]+)`",
                PatternText::Grok { .. } => "`%{NUMBER:status}`",
            }));
        }
        if let Some(name) = types.keys().find(|name| !names.contains(name)) {
            let found = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let (name, found) = (name.clone(), found.join(", "));
            return Err(PatternError::UnknownField { name, found });
        }
        let fields = names.into_iter().map(|name| {
            let mut member = serde_json::to_vec(&name).expect("a text can be written as JSON");
            member.push(b':');
            let holds = types.get(&name).or(given.get(&name)).copied();
            Field { name, member, holds: holds.unwrap_or(CsvType::String) }
        });
        let fields = fields.collect();
        Ok(LinePattern { matcher, fields, mismatch })
    }

    /// Writes what is found in a line as a JSON object. What a pattern did not need is no member.
    pub(super) fn write(&self, line: &str, output: &mut BytesMut) -> Result<(), Fault> {
        let no_match = || {
            let message = "the line does not match the pattern: the whole of it has to";
            Fault::new("text-no-match", message.to_owned())
        };
        match &self.matcher {
            Matcher::Regex(regex) => {
                let found = regex.captures(line).ok_or_else(no_match)?;
                self.write_fields(|name| found.name(name).map(|it| it.as_str()), output)
            }
            Matcher::Grok(pattern) => {
                let found = pattern.match_against(line).ok_or_else(no_match)?;
                self.write_fields(|name| found.get(name), output)
            }
        }
    }

    fn write_fields<'t>(
        &self,
        find: impl Fn(&str) -> Option<&'t str>,
        output: &mut BytesMut,
    ) -> Result<(), Fault> {
        let mut before = b'{';
        for field in &self.fields {
            let Some(text) = find(&field.name) else { continue };
            output.put_u8(before);
            before = b',';
            output.put_slice(&field.member);
            if field.holds != CsvType::String && field.holds.admits(text) {
                output.put_slice(text.as_bytes());
            } else if field.holds == CsvType::String || self.mismatch == CsvMismatch::Text {
                serde_json::to_writer(output.writer(), text)
                    .expect("a text is written as JSON, and a buffer grows");
            } else {
                let (name, kind) = (&field.name, field.holds.name());
                return Err(Fault::new(
                    "text-wrong-type",
                    format!("field `{name}` holds no {kind}"),
                ));
            }
        }
        if before == b'{' {
            output.put_u8(b'{');
        }
        output.put_u8(b'}');
        Ok(())
    }
}

fn compile(
    pattern: &str,
    definitions: &BTreeMap<String, String>,
) -> Result<grok::Pattern, PatternError> {
    let mut grok = Grok::with_default_patterns();
    for (name, pattern) in WITHOUT_LOOKING_AROUND {
        grok.add_pattern(name, pattern);
    }
    for (name, pattern) in definitions {
        grok.add_pattern(name.as_str(), pattern.as_str());
    }
    grok.compile(&format!("^(?:{pattern})$"), true).map_err(|error| match error {
        grok::Error::DefinitionNotFound(name) => {
            let known = grok::patterns().iter().map(|it| it.0);
            let mut known = known.chain(definitions.keys().map(String::as_str));
            let nearest = known.find(|it| it.eq_ignore_ascii_case(&name));
            PatternError::UnknownPattern { nearest: nearest.map(str::to_owned), name }
        }
        other => PatternError::Syntax(short(&other.to_string())),
    })
}

/// What a grok pattern says that a field holds.
fn type_named(name: &str, holds: &str) -> Result<CsvType, PatternError> {
    match holds {
        "int" | "integer" | "long" => Ok(CsvType::Integer),
        "float" | "double" | "number" => Ok(CsvType::Number),
        "boolean" => Ok(CsvType::Boolean),
        "string" => Ok(CsvType::String),
        other => Err(PatternError::UnknownType { name: name.to_owned(), holds: other.to_owned() }),
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|it| format!(": did you mean `{it}`?")).unwrap_or_default()
}

/// The last line of an error's text: those before it show the pattern, which may be pages long once
/// its names have been put in.
fn short(message: &str) -> String {
    let last = message.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let last = last.unwrap_or("its syntax is wrong");
    last.strip_prefix("error: ").unwrap_or(last).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grok(pattern: &str) -> LinePattern {
        let text = PatternText::Grok { pattern: pattern.to_owned(), definitions: BTreeMap::new() };
        LinePattern::new(text, BTreeMap::new(), CsvMismatch::Reject).unwrap()
    }

    fn made(pattern: &LinePattern, line: &str) -> Result<String, &'static str> {
        let mut output = BytesMut::new();
        pattern.write(line, &mut output).map_err(|fault| fault.code)?;
        Ok(String::from_utf8(output.to_vec()).unwrap())
    }

    #[test]
    fn groups_become_members_in_the_order_of_their_names() {
        let text = PatternText::Regex(r#"(?<zone>\w+) (?<code>\d+)(?: "(?<note>.*)")?"#.to_owned());
        let types = BTreeMap::from([("code".to_owned(), CsvType::Integer)]);
        let pattern = LinePattern::new(text, types, CsvMismatch::Reject).unwrap();
        assert_eq!(
            made(&pattern, r#"north 12 "a "b"""#).unwrap(),
            r#"{"code":12,"note":"a \"b\"","zone":"north"}"#
        );
        assert_eq!(made(&pattern, "north 12").unwrap(), r#"{"code":12,"zone":"north"}"#);
        assert_eq!(made(&pattern, "north 007"), Err("text-wrong-type"), "no number of JSON's");
        assert_eq!(made(&pattern, "north 12 and more"), Err("text-no-match"));
        assert_eq!(made(&pattern, ""), Err("text-no-match"));
    }

    #[test]
    fn common_logs_are_taken_apart() {
        let combined = grok("%{COMBINEDAPACHELOG}");
        let line = r#"192.0.2.7 - ana [10/Oct/2026:13:55:36 +0200] "GET /a?b=c HTTP/1.1" 200 512 "-" "curl/8""#;
        let record: serde_json::Value =
            serde_json::from_str(&made(&combined, line).unwrap()).unwrap();
        for (field, expected) in [
            ("clientip", "192.0.2.7"),
            ("auth", "ana"),
            ("verb", "GET"),
            ("request", "/a?b=c"),
            ("response", "200"),
            ("bytes", "512"),
            ("agent", "\"curl/8\""),
        ] {
            assert_eq!(record[field], expected, "{field}: {record}");
        }
        let line = r#"host.example - - [10/Oct/2026:13:55:36 +0200] "-" 408 - "-" "-""#;
        let record = made(&combined, line).unwrap();
        assert!(
            !record.contains("\"bytes\"") && record.contains("\"rawrequest\":\"-\""),
            "{record}"
        );
        let syslog = grok("%{SYSLOGLINE}");
        let record = made(&syslog, "Oct  1 08:00:00 gate sshd[812]: session opened").unwrap();
        assert!(
            record.contains(r#""program":"sshd""#) && record.contains(r#""pid":"812""#),
            "{record}"
        );
        let syslog = grok("%{SYSLOG5424LINE}");
        let record =
            made(&syslog, "<34>1 2026-10-11T22:14:15.003Z gate su - ID47 - 'su root' failed")
                .unwrap();
        assert!(record.contains(r#""syslog5424_app":"su""#), "{record}");
    }

    #[test]
    fn all_patterns_that_grok_brings_can_be_used_but_a_few() {
        let unusable: Vec<&str> = grok::patterns()
            .iter()
            .map(|it| it.0)
            .filter(|name| compile(&format!("%{{{name}:it}}"), &BTreeMap::new()).is_err())
            .collect();
        // They look around for more than where a word ends, or are not written for this library.
        let expected = [
            "CISCO_TAGGED_SYSLOG",
            "MONGO_QUERY",
            "MONGO_SLOWQUERY",
            "RAILS3",
            "RPROCESSING",
            "SYSLOGPAMSESSION",
        ];
        assert_eq!(unusable, expected);
    }

    #[test]
    fn a_grok_pattern_may_say_types_and_bring_patterns() {
        let text = PatternText::Grok {
            pattern: "%{LEVEL:level} %{NUMBER:took:float} %{NUMBER:n:int}".to_owned(),
            definitions: BTreeMap::from([("LEVEL".to_owned(), "low|high".to_owned())]),
        };
        let pattern = LinePattern::new(text, BTreeMap::new(), CsvMismatch::Text).unwrap();
        assert_eq!(made(&pattern, "low 1.5 3").unwrap(), r#"{"level":"low","n":3,"took":1.5}"#);
        assert_eq!(made(&pattern, "low .5 3").unwrap(), r#"{"level":"low","n":3,"took":".5"}"#);
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said() {
        let new = |text, types: &[&str]| {
            let types = types.iter().map(|it| ((*it).to_owned(), CsvType::Integer)).collect();
            LinePattern::new(text, types, CsvMismatch::Reject).unwrap_err().to_string()
        };
        let regex = |text: &str| PatternText::Regex(text.to_owned());
        let grok = |text: &str| PatternText::Grok {
            pattern: text.to_owned(),
            definitions: BTreeMap::new(),
        };
        assert_eq!(new(regex("(?<a>x"), &[]), "it is no pattern: unclosed group");
        assert!(new(regex("(?=x)"), &[]).contains("look-around"));
        assert!(new(regex("x"), &[]).starts_with("it finds nothing"));
        assert_eq!(
            new(regex("(?<a>x)(?<b>y)"), &["c"]),
            "it finds no field `c`; it finds `a`, `b`"
        );
        assert_eq!(
            new(grok("%{number:n}"), &[]),
            "there is no pattern `number`: did you mean `NUMBER`?"
        );
        assert!(new(grok("%{NUMBER:n:date}"), &[]).contains("`date` of field `n` is no type"));
    }
}
