//! A second Kinesis, so that the tests don't take one server's habits for the service's.

use std::{path::PathBuf, process::Command};

use crate::shell;

/// One version, so that a test is the same test everywhere.
const PACKAGE: &str = "kinesis-local@0.6.2";

/// The package's folder, installed once and kept beside what cargo builds. None where there is no
/// Node, or where it can't be installed: the tests say so.
pub(crate) fn folder() -> Option<PathBuf> {
    let prefix = shell::target_dir().join("kinesis-local");
    let folder = prefix.join("node_modules/kinesis-local");
    let installed = prefix.join(PACKAGE);
    if installed.exists() {
        return Some(folder);
    }
    std::fs::create_dir_all(&prefix).ok()?;
    let npm = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
    shell::run(Command::new("npm").args(npm).arg(&prefix).arg(PACKAGE)).ok()?;
    std::fs::write(&installed, "").ok()?;
    Some(folder)
}
