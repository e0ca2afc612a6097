//! What the tests of the whole share. The tests themselves lie in `tests/`, a file each story.

pub mod dynamodb;
pub mod guests;
pub mod kinesis;
pub mod kms;
pub mod program;
pub mod proxy;
pub mod python;
pub mod running;
pub mod s3;
pub mod server;
pub mod simulation;
pub mod sqs;
