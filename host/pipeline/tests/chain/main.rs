//! What happens to records between a range's first batch and its cut, seen from outside: through
//! `Plan`, `RangeProcessor` and native plugins that do, or fail to do, what they are told.

mod invariants;
mod isolation;
mod letters;
mod lookups;
mod model;

mod plans;
mod plugins;
mod purity;
mod states;
mod support;
mod tables;
mod zones;
