//! Running other programs, and saying what is missing.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A project that did not become a component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool of the language's own is not there.
    #[error("{tool} is missing: {why}; install it with `{install}`")]
    Missing {
        /// The program.
        tool: &'static str,
        /// What it is for, and which version.
        why: &'static str,
        /// The command that installs it.
        install: &'static str,
    },
    /// A command failed, and this is what it said.
    #[error("`{command}` failed\n{output}")]
    Failed {
        /// As a person would type it.
        command: String,
        /// What it printed, both streams.
        output: String,
    },
    /// What was compiled does not follow the contract's ABI.
    #[error("the module is no plugin: {0}")]
    Component(String),
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
}

impl BuildError {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        BuildError::Io { path: path.to_owned(), error }
    }
}

/// A program that a language brings, and how one comes by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version_argument: &'static str,
    pub(crate) why: &'static str,
    pub(crate) install: &'static str,
}

impl Tool {
    /// Whether it can be started.
    pub(crate) fn check(self) -> Result<(), BuildError> {
        let Tool { name, version_argument, why, install } = self;
        let mut command = Command::new(name);
        command.arg(version_argument).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(_) | Err(_) => Err(BuildError::Missing { tool: name, why, install }),
        }
    }
}

/// Runs a command to its end, quietly: what it printed is the error's where it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, BuildError> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| BuildError::io(Path::new(command.get_program()), error))?;
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(BuildError::Failed { command: line, output: printed.trim().to_owned() })
}

/// Writes a file that is not there yet, or holds something else.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), BuildError> {
    let written = || {
        if std::fs::read(path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(path, content)
    };
    written().map_err(|error| BuildError::io(path, error))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|error| BuildError::io(path, error))
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    command.get_args().fold(name, |line, arg| format!("{line} {}", arg.to_string_lossy()))
}
