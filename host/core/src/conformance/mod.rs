//! What every member of a seam must do, as suites that its tests run.
//!
//! A suite is an async function that panics with the broken promise. It needs no runtime of its
//! own, and works on the member alone: give it a real one, on real files or a real server.

mod checkpoint_store;
mod sink;
mod source;

pub use checkpoint_store::checkpoint_store;
pub use sink::sink;
pub use source::{ExpectedPartition, source};
