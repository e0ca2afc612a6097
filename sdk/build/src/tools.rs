//! Running other programs, and saying what is missing.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Project;

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
    /// A tool is there, and too old.
    #[error("{tool} is version {found}, and {why}; install it with `{install}`")]
    TooOld {
        /// The program.
        tool: &'static str,
        /// Its version.
        found: String,
        /// What it is for, and which version.
        why: &'static str,
        /// The command that installs a newer one.
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
    /// The oldest version that will do; zeros where any does.
    pub(crate) minimum: (u32, u32),
}

impl Tool {
    /// Whether it can be started, and is new enough.
    pub(crate) fn check(self) -> Result<(), BuildError> {
        let Tool { name, version_argument, why, install, minimum } = self;
        let mut command = Command::new(name);
        command.arg(version_argument).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => {
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                match version(&printed) {
                    Some(found) if found < minimum => {
                        let found = format!("{}.{}", found.0, found.1);
                        Err(BuildError::TooOld { tool: name, found, why, install })
                    }
                    _ => Ok(()),
                }
            }
            Ok(_) | Err(_) => Err(BuildError::Missing { tool: name, why, install }),
        }
    }
}

/// The first thing in a text that is a version: `go version go1.26.8 linux/amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    text.split(|it: char| !it.is_ascii_digit() && it != '.').find_map(|word| {
        let mut numbers = word.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

/// Runs a command to its end, after it was said which: what it printed is the error's where it
/// fails.
pub(crate) fn run(project: &Project<'_>, command: &mut Command) -> Result<String, BuildError> {
    let line = describe(command);
    (project.say)(&line);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| BuildError::io(Path::new(command.get_program()), error))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    // Cargo's messages for programs are none for people.
    let mut printed: String =
        printed.lines().filter(|line| !line.starts_with('{')).map(|it| format!("{it}\n")).collect();
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
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={} ", name.to_string_lossy(), value?.to_string_lossy()))
    });
    let line = variables.collect::<String>() + &name;
    command.get_args().fold(line, |line, arg| format!("{line} {}", arg.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(version("Debian clang version 14.0.6\nTarget: x86_64"), Some((14, 0)));
        assert_eq!(version("Python 3.11.7"), Some((3, 11)));
        assert_eq!(version("none"), None);
    }
}
