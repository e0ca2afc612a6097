//! Where records go: a directory tree, an S3 bucket, a Firehose stream, standard output, nowhere.

mod blackhole;
mod directory;
#[cfg(feature = "firehose")]
pub mod firehose;
#[cfg(feature = "s3")]
pub mod s3;
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
