//! Tidegate's edges: where records come from, where they go, and where progress is kept.
//!
//! This crate owns the members of the seams that `tidegate-core` defines: sources (files, objects of
//! S3, standard input, Kinesis streams, generated events), sinks (a directory tree, an S3 bucket, a Firehose or
//! Kinesis stream, standard output, a blackhole; an SQS queue for copies of dead letters), look-up
//! tables and the checkpoint stores, the embedded one and the leases of a fleet; and the
//! ledger of ranges. A module each.
//!
//! Architecture invariant: an edge never retries, never backs off and never decides what a failure
//! means for a record. It says what kind of failure it was, and the pipeline acts. No edge knows
//! another, a plugin, or JSON beyond what its own format is made of.

#[cfg(feature = "kinesis")]
mod aggregate;
#[cfg(feature = "aws")]
pub mod aws;
mod blocking;
pub mod files;
pub mod generator;
#[cfg(feature = "dynamodb")]
pub mod leases;
#[cfg(feature = "dynamodb")]
pub mod ledger;
#[cfg(feature = "dynamodb")]
pub mod objects;
pub mod probe;
pub mod sinks;
pub mod sources;
#[cfg(any(feature = "dynamodb", feature = "sqlite"))]
mod states;
#[cfg(feature = "sqlite")]
pub mod store;
pub mod tables;
