//! Rows as structs: what the derive macros and [`#[plugin]`](macro@crate::plugin) build on.
//!
//! A plugin whose fields are known when it is written says them as the fields of two structs, one
//! that is read and one that is written, and is a function from one to the other. The macros only
//! turn syntax into the traits of this module; what a type can do is said by its implementations
//! here.

mod outcome;
mod reads;
mod rules;
mod writes;

use outcome::WritesOf;
pub use outcome::{Children, Dropped, Found, Outcome, Refusal, Refused, Reject, run};
pub use reads::{Json, ReadValue, Reads, Value, absent};
pub use rules::{NoRules, Rejected, Rules};
pub use tidegate_plugin_macros::{Enumeration, Reads, Rules, Writes};
pub use writes::{Builder, JsonText, WriteValue, Writes, Written};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Capability, Description, Kind, Origin};

/// A type whose values are labels: an enum that stands in a record as one of some strings.
///
/// `#[derive(Enumeration)]` implements it for enums without data. A label is the variant's name in
/// kebab case (`HighValue` is `high-value`), or what `#[label("…")]` says.
pub trait Enumeration: Copy {
    /// The labels, by code.
    const LABELS: &'static [&'static str];

    /// The code of a value.
    fn code(self) -> u32;

    /// The value of a code.
    fn from_code(code: u32) -> Option<Self>;
}

/// The kind of a column of an enumeration.
pub fn enumeration_kind<E: Enumeration>() -> Kind {
    Kind::Enumeration(E::LABELS.iter().map(|label| (*label).to_owned()).collect())
}

/// The config of a plugin that takes none.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// The description of a function from `In` to `Out`, with the key of its state where it keeps one.
pub fn describe<'a, In: Reads<'a>, Out: Outcome>(keeps_state: bool) -> Description {
    Description {
        reads: In::reads(),
        writes: WritesOf::<Out>::writes(),
        rules: Out::Rules::rules(),
        state_key: keeps_state.then(In::key),
    }
}

/// What a function to `Out` asks of the host under a description.
pub fn capabilities<Out: Outcome>(description: &Description) -> Vec<Capability> {
    let Description { reads, writes, state_key, .. } = description;
    let is_document = |origin: &Origin| matches!(origin, Origin::Field(path) if path.is_root());
    let asked = [
        (Capability::State, state_key.is_some()),
        (Capability::FanOut, Out::Children::FAN_OUT),
        (
            Capability::Document,
            reads.iter().any(|read| is_document(&read.from))
                || writes.iter().any(|write| write.path.is_root()),
        ),
        (Capability::Lookups, reads.iter().any(|read| matches!(read.from, Origin::Lookup(_)))),
    ];
    asked.into_iter().filter_map(|(capability, asked)| asked.then_some(capability)).collect()
}
