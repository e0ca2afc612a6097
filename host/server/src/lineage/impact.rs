//! What would notice if a field changed or went away: whoever reads it, and whoever reads what is
//! made of it.
//!
//! A stage that notices is taken to change everything that it writes: a plugin declares what it
//! reads and writes, not which of them depends on which. What a stage writes is seen by the
//! stages behind it and by the sinks, and by nobody before.

use serde::Serialize;
use tidegate_core::{Origin, Path};

use super::{Lineage, Role, Use, User, touch};

/// Names that are less like what was asked for are not worth saying; the same bar as for keys of
/// the config.
const LIKENESS_MIN: f64 = 0.8;
/// More names than this are no help.
const NEAR_NAMES_MAX: usize = 3;

/// What would notice if a field changed or went away.
#[derive(Clone, Debug, Serialize)]
pub struct Impact {
    /// The field.
    pub field: String,
    /// Whether somebody reads or writes it, or something above or below it.
    pub is_known: bool,
    /// Whether it is noticed only as a part of the whole record, which somebody reads or writes.
    pub is_only_in_whole: bool,
    /// Fields that may have been meant, where nobody names it.
    pub near: Vec<String>,
    /// The stages that write it.
    pub written_by: Vec<String>,
    /// Who notices, in the order of the data path.
    pub noticed_by: Vec<Notice>,
    /// The written fields that may change with it, the nearest first.
    pub changes: Vec<Change>,
}

/// Somebody notices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Where.
    #[serde(flatten)]
    pub used: Use,
    /// The written fields that it got there by; none where the field itself is read.
    pub through: Vec<Step>,
}

/// A written field on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The field.
    pub field: Path,
    /// The stage that writes it.
    pub stage: String,
}

/// A written field that may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field and who writes it.
    #[serde(flatten)]
    pub written: Step,
    /// The written fields that it got there by; none where the stage reads the field itself.
    pub through: Vec<Step>,
}

/// Something that changed, and what is yet to be followed from it.
struct Changed {
    field: Origin,
    /// The stage that wrote it: only who stands behind it sees it. The field that was asked for
    /// may be the source's, and everybody sees it.
    writer: Option<usize>,
    through: Vec<Step>,
}

impl Lineage {
    /// Follows a field, or a host value, through the pipeline.
    pub fn impact(&self, field: &Origin) -> Impact {
        let mut noticed: Vec<Option<Vec<Step>>> = vec![None; self.uses.len()];
        let mut is_followed = vec![false; self.stages.len()];
        let mut changes = Vec::new();
        let mut queue = vec![Changed { field: field.clone(), writer: None, through: Vec::new() }];
        let mut next = 0;
        // In the order of the queue: the first way to get somewhere is the shortest.
        while let Some(Changed { field, writer, through }) = queue.get(next) {
            let (field, writer, through) = (field.clone(), *writer, through.clone());
            next += 1;
            for (it, notice) in self.uses.iter().zip(&mut noticed) {
                let sees = writer.is_none_or(|stage| it.position > stage);
                if !sees || !touch(&it.field, &field) || notice.is_some() {
                    continue;
                }
                *notice = Some(through.clone());
                let Some(stage) = self.changed_stage(it) else { continue };
                if std::mem::replace(&mut is_followed[stage], true) {
                    continue;
                }
                for write in &self.stages[stage].writes {
                    let name = self.stages[stage].name.clone();
                    let written = Step { field: write.field.clone(), stage: name };
                    let mut onward = through.clone();
                    onward.push(written.clone());
                    changes.push(Change { written, through: through.clone() });
                    queue.push(Changed {
                        field: Origin::Field(write.field.clone()),
                        writer: Some(stage),
                        through: onward,
                    });
                }
            }
        }
        let noticed_by: Vec<Notice> = self
            .uses
            .iter()
            .zip(noticed)
            .filter_map(|(used, through)| Some(Notice { used: used.clone(), through: through? }))
            .collect();
        let written_by = self.writers(field);
        let is_known = !noticed_by.is_empty() || !written_by.is_empty();
        let is_only_in_whole = is_known && !self.is_named(field);
        Impact {
            field: field.to_string(),
            is_known,
            is_only_in_whole,
            near: if self.is_named(field) { Vec::new() } else { self.near(field) },
            written_by,
            noticed_by,
            changes,
        }
    }

    /// The stage whose writes depend on a use. A rule is about a field and reads nothing itself.
    fn changed_stage(&self, it: &Use) -> Option<usize> {
        match (&it.user, &it.role) {
            (User::Stage(_), Role::Rule(_)) => None,
            (User::Stage(name), _) => self.stages.iter().position(|stage| stage.name == *name),
            _ => None,
        }
    }

    /// Whether somebody names it, or something above or below it that is not the whole record.
    fn is_named(&self, field: &Origin) -> bool {
        let whole = Origin::Field(Path::ROOT);
        self.fields
            .iter()
            .any(|it| touch(&it.field, field) && (it.field != whole || *field == whole))
    }

    fn writers(&self, field: &Origin) -> Vec<String> {
        let writes = |path: &Path| touch(field, &Origin::Field(path.clone()));
        let stages = self.stages.iter();
        let stages = stages.filter(|stage| stage.writes.iter().any(|it| writes(&it.field)));
        stages.map(|stage| stage.name.clone()).collect()
    }

    /// Fields whose names are like this one, the likest first.
    fn near(&self, field: &Origin) -> Vec<String> {
        let asked = field.to_string();
        let named = self.fields.iter().map(|it| it.field.to_string());
        let mut near: Vec<(f64, String)> = named
            .map(|name| (likeness(&asked, &name), name))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        near.into_iter().take(NEAR_NAMES_MAX).map(|(_, name)| name).collect()
    }
}

/// From 0 to 1. `name` is also like `merchant.name`.
fn likeness(asked: &str, name: &str) -> f64 {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::jaro_winkler(asked, name);
    whole.max(0.95 * strsim::jaro_winkler(&last(asked), &last(name)))
}
