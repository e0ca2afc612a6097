//! A Python with PyArrow, so that the tests have somebody else read and write Parquet.

use std::{path::PathBuf, process::Command};

use crate::shell;

/// One version, so that a test is the same test everywhere.
const PACKAGE: &str = "pyarrow==21.0.0";

/// The interpreter of a virtual environment that is made once and kept beside what cargo builds.
/// None where there is no Python, or where it can't be installed: the tests say so.
pub(crate) fn python() -> Option<PathBuf> {
    let folder = shell::target_dir().join("pyarrow");
    let python = folder.join("bin/python");
    let installed = folder.join(PACKAGE);
    if installed.exists() {
        return Some(python);
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).ok()?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    shell::run(Command::new(&python).args(pip).args(["--only-binary", ":all:", PACKAGE])).ok()?;
    std::fs::write(&installed, "").ok()?;
    Some(python)
}
