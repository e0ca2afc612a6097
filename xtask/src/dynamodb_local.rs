//! DynamoDB as Amazon has it for one machine: the reference for conditional writes.

use std::path::PathBuf;

use crate::{maven, shell};

/// One version, so that a test is the same test everywhere.
const VERSION: &str = "2.6.1";

/// A folder with its jars, fetched once and kept beside what cargo builds. None where there is no
/// Java or no Maven, or where it can't be fetched: the tests say so.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = shell::target_dir().join("dynamodb-local").join(VERSION);
    maven::fetch(&folder, "com.amazonaws", "DynamoDBLocal", VERSION)?;
    Some(folder)
}
