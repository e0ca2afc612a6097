//! Enums that are rules.

use crate::{Dimension, Rule, Severity};

/// An enum whose variants are the rules of a plugin.
///
/// `#[derive(Rules)]` implements it for enums without data. A rule's id is the variant's name in
/// kebab case, its text the variant's doc comment, and `#[rule(…)]` may say the rest:
/// a dimension (`validity` by default), a severity (`reject` by default), `field = "path"`,
/// `id = "…"`, `text = "…"`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no set of rules",
    label = "rules are the variants of an enum with `#[derive(Rules)]`"
)]
pub trait Rules: Copy {
    /// The rules, by index.
    fn rules() -> Vec<Rule>;

    /// The index of a rule.
    fn index(self) -> u32;
}

/// The rules of a plugin that never refuses and never finds.
#[derive(Clone, Copy, Debug)]
pub enum NoRules {}

impl Rules for NoRules {
    fn rules() -> Vec<Rule> {
        Vec::new()
    }

    fn index(self) -> u32 {
        match self {}
    }
}

/// The one rule of a plugin that rejects without naming rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

impl Rules for Rejected {
    fn rules() -> Vec<Rule> {
        vec![Rule {
            id: "rejected".into(),
            dimension: Dimension::Validity,
            severity: Severity::Reject,
            field: None,
            text: "the plugin takes the record".into(),
        }]
    }

    fn index(self) -> u32 {
        0
    }
}
