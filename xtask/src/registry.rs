//! A registry for the tests: a real one, which lies in memory and listens on this machine alone.

use std::{path::PathBuf, process::Command};

use crate::shell;

/// One version, so that a test is the same test everywhere.
const PACKAGE: &str = "github.com/google/go-containerregistry/cmd/registry@v0.22.1";

/// The program, built once and kept beside what cargo builds. None where there is no Go, or where
/// it can't be fetched: the tests say so.
pub(crate) fn program() -> Option<PathBuf> {
    let version = PACKAGE.rsplit_once('@').map_or(PACKAGE, |(_, version)| version);
    let folder = shell::target_dir().join("registry").join(version);
    let program = folder.join("registry");
    if !program.exists() {
        shell::run(Command::new("go").args(["install", PACKAGE]).env("GOBIN", &folder)).ok()?;
    }
    Some(program)
}
