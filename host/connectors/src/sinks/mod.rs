//! Where records go: a directory tree, an S3 bucket, a Firehose or Kinesis stream, standard output,
//! nowhere; and where copies of dead letters go, an SQS queue.

mod blackhole;
mod directory;
#[cfg(feature = "firehose")]
pub mod firehose;
#[cfg(feature = "kinesis")]
pub mod kinesis;
#[cfg(any(feature = "firehose", feature = "kinesis", feature = "sqs"))]
mod lines;
#[cfg(any(feature = "firehose", feature = "kinesis", feature = "sqs"))]
mod meters;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "sqs")]
pub mod sqs;
mod stdout;

use tidegate_core::{
    ObjectDigest,
    sink::{Object, SinkError, SinkErrorKind},
};

pub use blackhole::Blackhole;
pub use directory::DirectorySink;
pub use stdout::StandardOutput;

/// An object that lies where one should be created: it is the same, or somebody else's.
fn same_or_occupied(object: &Object, found: ObjectDigest) -> Result<(), SinkError> {
    if found == object.digest {
        return Ok(());
    }
    let key = object.key.clone();
    let message = format!("other bytes ({found}) lie under `{key}`");
    Err(SinkError::plain(SinkErrorKind::Occupied { key, found }, message))
}
