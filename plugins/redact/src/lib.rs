//! Redacts fields and what it finds in texts: drop, mask, keyed hash, token.
//!
//! Invariant: what is not understood is redacted or the record is rejected; it never passes.
//! - A field is read as JSON, so a value of any type is there, and is redacted.
//! - Every field is written in every record, also one that is missing, null or clean: the host then
//!   removes earlier members of the same name, which a reader that takes the first would see.
//! - A record is rejected in which something above a field is no object, or no array where the path
//!   has an index: the value may be anywhere in it.
//!
//! No value and no key gets into a finding, an error or a log.

mod action;
mod config;
mod json;
mod patterns;
mod secret;

use tidegate_plugin::{
    About, Absence, Batch, ConfigError, Description, Dimension, Kind, Path, Plugin, Read, Reply,
    Rule, Segment, Severity, Write,
    batch::Texts,
    export,
    reply::{Column, Field as Change, TextBuilder, Values},
};

use action::Action;
pub use config::{Config, Field, Find, Form, Hash, Mask, Pattern, Text, Tokenize};
use patterns::Finder;
pub use secret::{Guarded, KeyName, Keys};

export!(Redact);

/// What a host takes by default. A record of which more is found is described well enough, and must
/// not count as one that breaks the plugin.
const FINDINGS_PER_ROW_MAX: usize = 16;

/// The plugin under one config.
#[derive(Debug)]
pub struct Redact {
    targets: Vec<Target>,
}

/// A field that is redacted, and its place in the record.
#[derive(Debug)]
struct Target {
    /// What lies above it, from the top.
    parents: Vec<Parent>,
    /// The rule of a record in which it can't be looked for.
    reachable: u32,
    work: Work,
}

/// Something above a field.
#[derive(Clone, Copy, Debug)]
struct Parent {
    read: usize,
    /// What its JSON must begin with to hold the field.
    begins: u8,
}

/// What is done to a field.
#[derive(Debug)]
enum Work {
    /// It is removed. Its value is not read.
    Drop,
    /// The element of an array is set to null: to remove it would move the others. It is read as a
    /// boolean, which says whether it is there and brings no value.
    DropElement { read: usize },
    /// All of it is redacted.
    Whole { read: usize, action: Action },
    /// Its texts are searched; the rules of what may be found begin with this one.
    Search { read: usize, finder: Finder, patterns: u32, rules: u32 },
}

impl Plugin for Redact {
    type Config = Config;

    fn about() -> About {
        About {
            name: "redact",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: Vec::new(),
            state_version: 0,
            may_be_passed_by: false,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        config.check()?;
        config.keys.check()?;
        let Config { keys, fields, texts } = config;
        let mut description = Description::default();
        let mut targets = Vec::new();
        for (i, Field { field, action }) in fields.into_iter().enumerate() {
            let action = Action::new(action, &keys, &format!("/fields/{i}/action"))?;
            let work = match action {
                Action::Drop => match field.0.last() {
                    Some(Segment::Index(_)) => {
                        let element = Read::field(field.clone(), Kind::Boolean);
                        Work::DropElement { read: description.read(element) }
                    }
                    _ => Work::Drop,
                },
                action => Work::Whole { read: read(&mut description, &field), action },
            };
            targets.push(Target::new(field, work, &mut description));
        }
        for (i, Text { fields, find }) in texts.into_iter().enumerate() {
            let mut finds = Vec::new();
            for (j, Find { pattern, action }) in find.into_iter().enumerate() {
                let pointer = format!("/texts/{i}/find/{j}/action");
                finds.push((pattern, Action::new(action, &keys, &pointer)?));
            }
            for field in fields {
                let work = Work::search(&field, &finds, &mut description);
                targets.push(Target::new(field, work, &mut description));
            }
        }
        Ok((Redact { targets }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let mut reply = Reply::default();
        // A rejected row names its rule first, so what hides a field is looked for before patterns.
        for target in &self.targets {
            target.reject_hidden(batch, &mut reply);
        }
        for target in &self.targets {
            let column = target.work.column(batch, &mut reply);
            reply.columns.push(column);
        }
        reply.findings.keep_first(FINDINGS_PER_ROW_MAX);
        reply
    }
}

fn read(description: &mut Description, path: &Path) -> usize {
    description.read(Read::field(path.clone(), Kind::Json))
}

impl Target {
    fn new(field: Path, work: Work, description: &mut Description) -> Self {
        let parent = |depth: usize| Parent {
            read: read(description, &Path(field.0[..depth].to_vec())),
            begins: match field.0[depth] {
                Segment::Key(_) => b'{',
                Segment::Index(_) => b'[',
            },
        };
        // The record itself is an object, or the host can't write to it and rejects it.
        let parents = (1..field.0.len()).map(parent).collect();
        let reachable = description.rule(Rule {
            id: format!("reachable:{field}"),
            dimension: Dimension::Validity,
            severity: Severity::Reject,
            text: format!("`{field}` can be looked for: what lies above it is of the right type"),
            field: Some(field.clone()),
        });
        description.writes.push(Write { path: field, kind: Kind::Json });
        Target { parents, reachable, work }
    }

    /// Rejects rows in which something above the field can't hold it.
    fn reject_hidden(&self, batch: &Batch<'_>, reply: &mut Reply) {
        for parent in &self.parents {
            let values = batch.json(parent.read);
            for row in batch.rows() {
                // Below what can't hold the field there is nothing, so there is one finding a row.
                let begins = values.get(row).ok().and_then(|json| json.bytes().next());
                if begins.is_some_and(|begins| begins != parent.begins) {
                    reply.reject(batch.rows, row, self.reachable);
                }
            }
        }
    }
}

impl Work {
    fn search(field: &Path, finds: &[(Pattern, Action)], description: &mut Description) -> Self {
        let rules = description.rules.len() as u32;
        for (pattern, _) in finds {
            description.rule(Rule {
                id: format!("{}-in:{field}", pattern.name()),
                dimension: Dimension::Validity,
                severity: Severity::Info,
                text: format!("`{field}` holds no {}", pattern.noun()),
                field: Some(field.clone()),
            });
        }
        Work::Search {
            read: read(description, field),
            finder: Finder::new(finds.to_vec()),
            patterns: finds.len() as u32,
            rules,
        }
    }

    fn column(&self, batch: &Batch<'_>, reply: &mut Reply) -> Column {
        match self {
            Work::Drop => {
                let mut column = TextBuilder::with_capacity(batch.rows, 0);
                batch.rows().for_each(|_| column.push(Change::Remove));
                column.finish(Values::Json)
            }
            Work::DropElement { read } => {
                let elements = batch.presence(*read);
                let mut column = TextBuilder::with_capacity(batch.rows, 0);
                for row in batch.rows() {
                    column.push(match elements.get(row) {
                        // Where the array ends before, null can't be written.
                        Err(Absence::Missing) => Change::Remove,
                        _ => Change::Null,
                    });
                }
                column.finish(Values::Json)
            }
            Work::Whole { read, action } => {
                let mut scratch = String::new();
                rewritten(batch.json(*read), batch, |_, json, out| {
                    json::redact_whole(json, action, &mut scratch, out);
                })
            }
            Work::Search { read, finder, patterns, rules } => {
                let mut scratch = String::new();
                rewritten(batch.json(*read), batch, |row, json, out| {
                    let found = json::redact_texts(json, finder, &mut scratch, out);
                    if !found.is_empty() {
                        let found = (0..*patterns).filter(|find| found.has(*find as usize));
                        found.for_each(|find| reply.findings.add(row, rules + find));
                    }
                })
            }
        }
    }
}

/// A column of what `rewrite` makes of each value. A field that is missing is removed, and one that
/// is null set to null: that changes nothing, except that earlier members of its name go.
fn rewritten(
    values: Texts<'_>,
    batch: &Batch<'_>,
    mut rewrite: impl FnMut(usize, &str, &mut String),
) -> Column {
    let mut column = TextBuilder::with_capacity(batch.rows, values.texts.bytes.len());
    let mut out = String::new();
    for row in batch.rows() {
        match values.get(row) {
            Ok(json) => {
                out.clear();
                rewrite(row, json, &mut out);
                column.set(&out);
            }
            Err(Absence::Missing) => column.push(Change::Remove),
            Err(_) => column.push(Change::Null),
        }
    }
    column.finish(Values::Json)
}

#[cfg(test)]
mod tests;
