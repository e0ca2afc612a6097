//! The Kinesis Client Library, which the leases are shared with, and a consumer that is built on it.

use std::{fs, path::PathBuf, process::Command};

use crate::{maven, shell};

/// The newest of either line, and no others, so that a test is the same test everywhere.
const VERSIONS: [&str; 2] = ["2.7.2", "3.5.1"];

/// A folder with one for each version: its jars, fetched once and kept beside what cargo builds, and
/// in `classes` the consumer. None where there is no Java or no Maven, or where it can't be fetched:
/// the tests say so.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = shell::target_dir().join("kcl");
    let consumer = shell::root().join("tests/kcl/Consumer.java");
    for version in VERSIONS {
        let jars = folder.join(version);
        maven::fetch(&jars, "software.amazon.kinesis", "amazon-kinesis-client", version)?;
        let mut javac = Command::new("javac");
        javac.current_dir(&jars).args(["-nowarn", "-cp", "*", "-d", "classes"]).arg(&consumer);
        fs::create_dir_all(jars.join("classes")).ok()?;
        shell::run(&mut javac).ok()?;
    }
    Some(folder)
}
