//! AWS's own emulator of the Lambda Runtime API, so that the tests' functions are invoked as Lambda
//! invokes them.

use std::{path::PathBuf, process::Command};

use crate::shell;

/// One version, so that a test is the same test everywhere.
const PACKAGE: &str = "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie\
                       @v0.0.0-20261030222936-bef5c4ba774d";

/// The program, built once and kept beside what cargo builds. None where there is no Go, or where
/// it can't be fetched: the tests say so.
pub(crate) fn program() -> Option<PathBuf> {
    let version = PACKAGE.rsplit_once('@').map_or(PACKAGE, |(_, version)| version);
    let folder = shell::target_dir().join("lambda-emulator").join(version);
    let program = folder.join("aws-lambda-rie");
    if !program.exists() {
        shell::run(Command::new("go").args(["install", PACKAGE]).env("GOBIN", &folder)).ok()?;
    }
    Some(program)
}
