//! Tidegate's vocabulary and seams.
//!
//! This crate owns the nouns (record, batch, column, verdict, position, range), the pure parts of
//! the data path (projection of JSON into typed columns, splicing of columns back into the
//! original bytes, conditions, tracking, batching), and the traits that the edges implement.
//!
//! Architecture invariant: no I/O, no task, no clock, no randomness and no WebAssembly in here.
//! Time and randomness are arguments. Everything is checked by plain unit and model tests.

pub mod batcher;
pub mod checkpoint;
pub mod column;
pub mod condition;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod coordinator;
pub mod description;
pub mod digest;
pub mod failure;
pub mod json;
pub mod ledger;
pub mod lookup;
pub mod parquet;
pub mod path;
pub mod position;
pub mod record;
pub mod sink;
pub mod source;
pub mod time;
pub mod tracker;
pub mod transform;

pub use checkpoint::CheckpointStore;
pub use column::{Binary, Column, Presence, Values, Write};
pub use condition::Condition;
pub use coordinator::Coordinator;
pub use description::{About, Description, Kind, Origin, Read, Rule};
pub use digest::{Digest, ObjectDigest};
pub use failure::Failure;
pub use lookup::LookupTable;
pub use path::{Path, Segment};
pub use position::Position;
pub use record::RecordBatch;
pub use sink::Sink;
pub use source::Source;
pub use time::Timestamp;
pub use transform::{Batch, Reply, Transform, TransformFactory};
