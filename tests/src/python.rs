//! Other people's libraries, by way of Python.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// A Python with a library, where `cargo xtask test` could install one, and put its place into a
/// variable: `TIDEGATE_FASTAVRO`. A test that misses it says so and does nothing.
pub fn python(test: &str, variable: &str) -> Option<PathBuf> {
    let python = std::env::var_os(variable).map(PathBuf::from);
    if python.is_none() {
        println!("SKIPPED: {test}: there is no Python with what it takes, in {variable}");
    }
    python
}

/// Runs a program of Python, which prints one JSON value.
///
/// # Panics
/// When it fails.
pub fn run(python: &Path, program: &str, argument: &Path) -> Value {
    let output = Command::new(python)
        .args(["-c", program])
        .arg(argument)
        .output()
        .expect("Python can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}
