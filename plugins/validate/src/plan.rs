//! From rules as written to steps over columns.

use std::collections::HashSet;

use tidegate_plugin::{
    ConfigError, Description, HostValue, Kind, Origin, Path, Read, Rule as DescribedRule, Severity,
    blocks::Interval,
};

use crate::{
    config::{ByType, Check, Comparable, Config, Operator, Range, Rule, Scalar, Type, When},
    pattern::Pattern,
};

/// What to do with a batch.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The read of the event type, as codes, and how many types there are.
    pub(crate) types: Option<(usize, usize)>,
    /// Those that reject come first, so that the first finding of a rejected row names its rule.
    pub(crate) steps: Vec<Step>,
}

/// A rule over the columns of a batch.
#[derive(Debug)]
pub(crate) struct Step {
    /// The code of the type that it is for; all rows without one.
    pub(crate) of_type: Option<usize>,
    pub(crate) when: Option<Condition>,
    pub(crate) test: Test,
    pub(crate) rule: u32,
    pub(crate) rejects: bool,
}

/// What must hold. Numbers are indices of reads.
#[derive(Debug)]
pub(crate) enum Test {
    Required {
        read: usize,
    },
    /// The column has a value, or at least (`loosely`) one of the right JSON type.
    OfKind {
        read: usize,
        loosely: bool,
    },
    BeginsWith {
        read: usize,
        brace: u8,
    },
    InRange {
        read: usize,
        limits: Interval,
    },
    OfLength {
        read: usize,
        at_least: usize,
        at_most: usize,
    },
    Matches {
        read: usize,
        pattern: Pattern,
    },
    Compares {
        read: usize,
        operator: Operator,
        to: usize,
        kind: Comparable,
    },
    Recent {
        read: usize,
        now: usize,
        older_max: i64,
        ahead_max: i64,
    },
}

/// When a rule applies.
#[derive(Debug)]
pub(crate) enum Condition {
    Exists { read: usize, wanted: bool },
    OneOf { read: usize },
    Number { read: usize, wanted: f64 },
    Boolean { read: usize, wanted: bool },
}

/// Checks a config and plans it.
pub(crate) fn plan(config: Config) -> Result<(Plan, Description), ConfigError> {
    let mut planner = Planner { description: Description::default(), ids: HashSet::new() };
    let Config { always, by_type } = config;

    let mut placed = Vec::new();
    let mut types = None;
    for (i, rule) in always.into_iter().enumerate() {
        placed.push(Placed { rule, of_type: None, pointer: format!("/always/{i}") });
    }
    if let Some(ByType { field, rules }) = by_type {
        let names: Vec<String> = rules.keys().cloned().collect();
        if names.is_empty() {
            return Err(ConfigError::at("/by_type/rules", "there is no type"));
        }
        types = Some((planner.read(field, Kind::Enumeration(names.clone())), names.len()));
        for (code, (name, rules)) in rules.into_iter().enumerate() {
            let name = name.replace('~', "~0").replace('/', "~1");
            for (i, rule) in rules.into_iter().enumerate() {
                let pointer = format!("/by_type/rules/{name}/{i}");
                placed.push(Placed { rule, of_type: Some(code), pointer });
            }
        }
    }

    placed.iter().try_for_each(|placed| planner.describe(placed))?;
    // What asks for presence alone comes last: any column of the field that is read anyway tells.
    let (late, early): (Vec<_>, Vec<_>) = placed
        .into_iter()
        .enumerate()
        .partition(|(_, placed)| matches!(placed.rule.check, Check::Required | Check::Type(_)));
    let mut steps = early
        .into_iter()
        .chain(late)
        .map(|(index, placed)| planner.step(index as u32, placed))
        .collect::<Result<Vec<_>, _>>()?;
    steps.sort_by_key(|step| (!step.rejects, step.rule));
    Ok((Plan { types, steps }, planner.description))
}

/// A rule and where it stands in the config.
struct Placed {
    rule: Rule,
    of_type: Option<usize>,
    pointer: String,
}

struct Planner {
    description: Description,
    ids: HashSet<String>,
}

impl Planner {
    fn read(&mut self, path: Path, kind: Kind) -> usize {
        self.description.read(Read::field(path, kind))
    }

    /// A read of the path whose kind will do, or a new one.
    fn read_any(&mut self, path: Path, will_do: impl Fn(&Kind) -> bool, kind: Kind) -> usize {
        let origin = Origin::Field(path);
        let known = |read: &Read| read.from == origin && will_do(&read.kind);
        match self.description.reads.iter().position(known) {
            Some(read) => read,
            None => self.description.read(Read { from: origin, kind, required: false }),
        }
    }

    /// A read that tells whether there is anything: what is there as a boolean is as good as any.
    fn read_presence(&mut self, path: Path) -> usize {
        self.read_any(path, |kind| *kind != Kind::Json, Kind::Boolean)
    }

    fn describe(&mut self, Placed { rule, pointer, .. }: &Placed) -> Result<(), ConfigError> {
        if rule.id.is_empty() || !self.ids.insert(rule.id.clone()) {
            let why = format!("`{}` names no rule, or another one too", rule.id);
            return Err(ConfigError::at(format!("{pointer}/id"), why));
        }
        self.description.rule(DescribedRule {
            id: rule.id.clone(),
            dimension: rule.dimension(),
            severity: rule.severity,
            field: Some(rule.field.clone()),
            text: rule.text(),
        });
        Ok(())
    }

    fn step(&mut self, index: u32, placed: Placed) -> Result<Step, ConfigError> {
        let Placed { rule, of_type, pointer } = placed;
        let when = match rule.when {
            Some(when) => Some(self.condition(when, &pointer)?),
            None => None,
        };
        Ok(Step {
            of_type,
            when,
            test: self.test(rule.field, rule.check, &pointer)?,
            rule: index,
            rejects: rule.severity == Severity::Reject,
        })
    }

    fn test(&mut self, field: Path, check: Check, pointer: &str) -> Result<Test, ConfigError> {
        let refuse =
            |key: &str, why: &str| Err(ConfigError::at(format!("{pointer}/check/{key}"), why));
        Ok(match check {
            Check::Required => Test::Required { read: self.read_presence(field) },
            Check::Type(wanted) => {
                let read = self.read_any(field, |kind| wanted.is_told_by(kind), wanted.kind());
                match wanted {
                    Type::Object => Test::BeginsWith { read, brace: b'{' },
                    Type::Array => Test::BeginsWith { read, brace: b'[' },
                    Type::String | Type::Number => Test::OfKind { read, loosely: true },
                    _ => Test::OfKind { read, loosely: false },
                }
            }
            Check::Range(range) if range.is_empty() => {
                return refuse("range", "it needs `above`, `at_least`, `below` or `at_most`");
            }
            Check::Range(range) => {
                let Range { above, at_least, below, at_most } = range;
                let limits = Interval::new(above, at_least, below, at_most);
                Test::InRange { read: self.read(field, Kind::Float64), limits }
            }
            Check::Length(length) => {
                let at_least = length.at_least.unwrap_or(0) as usize;
                let at_most = length.at_most.map_or(usize::MAX, |most| most as usize);
                if at_least > at_most {
                    return refuse("length", "`at_least` is more than `at_most`");
                }
                Test::OfLength { read: self.read(field, Kind::Utf8), at_least, at_most }
            }
            Check::Pattern(pattern) => match Pattern::new(&pattern) {
                Ok(pattern) => Test::Matches { read: self.read(field, Kind::Utf8), pattern },
                Err(error) => return refuse("pattern", &error),
            },
            Check::OneOf(texts) if texts.is_empty() => return refuse("one_of", "there is no text"),
            Check::OneOf(texts) => {
                Test::OfKind { read: self.dictionary(field, texts), loosely: false }
            }
            Check::Compare(compare) => Test::Compares {
                read: self.read(field, compare.kind.kind()),
                operator: compare.is,
                to: self.read(compare.to, compare.kind.kind()),
                kind: compare.kind,
            },
            Check::Recent(recent) => {
                if recent.older_by_at_most.is_none() && recent.ahead_by_at_most.is_none() {
                    return refuse("recent", "it needs `older_by_at_most` or `ahead_by_at_most`");
                }
                Test::Recent {
                    read: self.read(field, Kind::Timestamp(recent.format)),
                    now: self.description.read(Read::host(HostValue::BatchTime)),
                    older_max: recent.older_by_at_most.map_or(i64::MAX, |span| span.0),
                    ahead_max: recent.ahead_by_at_most.map_or(i64::MAX, |span| span.0),
                }
            }
        })
    }

    fn condition(&mut self, when: When, pointer: &str) -> Result<Condition, ConfigError> {
        let When { field, exists, equals, one_of } = when;
        Ok(match (exists, equals, one_of) {
            (Some(wanted), None, None) => {
                Condition::Exists { read: self.read_presence(field), wanted }
            }
            (None, Some(Scalar::Text(text)), None) => {
                Condition::OneOf { read: self.dictionary(field, vec![text]) }
            }
            (None, Some(Scalar::Number(wanted)), None) => {
                Condition::Number { read: self.read(field, Kind::Float64), wanted }
            }
            (None, Some(Scalar::Boolean(wanted)), None) => {
                Condition::Boolean { read: self.read(field, Kind::Boolean), wanted }
            }
            (None, None, Some(texts)) => Condition::OneOf { read: self.dictionary(field, texts) },
            _ => {
                let why = "it needs exactly one of `exists`, `equals` and `in`";
                return Err(ConfigError::at(format!("{pointer}/when"), why));
            }
        })
    }

    /// A read that has a value where the text is one of these.
    fn dictionary(&mut self, field: Path, mut texts: Vec<String>) -> usize {
        texts.sort_unstable();
        texts.dedup();
        self.read(field, Kind::Enumeration(texts))
    }
}
