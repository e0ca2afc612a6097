//! Tests of a pipeline: given records go through the real plan, from the projection to the encoded
//! objects, and what comes out is held against what is expected.
//!
//! Each case is one range in memory, over fresh instances and no states. No source, no sink and no
//! data directory is touched.

mod compare;
mod run;

pub(crate) use compare::{check_names, compare};
pub(crate) use run::{Pipeline, Produced};
