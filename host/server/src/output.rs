//! What a command leaves: results on standard output, everything else on standard error, and an
//! exit code that scripts can rely on.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    config::ConfigError,
    finding::{self, Finding},
    supply::SupplyError,
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked.
    Ok = 0,
    /// Something failed on the way.
    Failure = 1,
    /// The command line or the config is wrong.
    Invalid = 2,
    /// Something that it needs can't be reached: a file, a directory, a port.
    Environment = 3,
    /// It did what it was asked, and the answer is no.
    Gate = 4,
}

/// What a command has to say.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// For programs.
    pub data: Value,
    /// For people, on standard output.
    pub text: String,
    /// For both.
    pub findings: Vec<Finding>,
}

impl Outcome {
    /// It did what it was asked.
    pub fn ok(data: Value, text: String) -> Self {
        Outcome { exit: Exit::Ok, data, text, findings: Vec::new() }
    }
}

/// Why a command has nothing to say.
#[derive(Debug)]
pub struct Failed {
    /// How it ended.
    pub exit: Exit,
    /// What is wrong with the config.
    pub findings: Vec<Finding>,
    /// What went wrong.
    pub error: anyhow::Error,
}

impl Failed {
    /// Something failed on the way.
    pub fn runtime(error: impl Into<anyhow::Error>) -> Self {
        Failed { exit: Exit::Failure, findings: Vec::new(), error: error.into() }
    }

    /// Something can't be reached.
    pub fn environment(error: impl Into<anyhow::Error>) -> Self {
        Failed { exit: Exit::Environment, findings: Vec::new(), error: error.into() }
    }

    /// The config, or what it names, is wrong.
    pub fn invalid(findings: Vec<Finding>) -> Self {
        let error = anyhow::anyhow!("the pipeline's config is invalid");
        Failed { exit: Exit::Invalid, findings, error }
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Read { .. } => Failed::environment(error),
            ConfigError::Invalid(findings) => Failed::invalid(findings),
        }
    }
}

impl From<SupplyError> for Failed {
    fn from(error: SupplyError) -> Self {
        match error.is_refusal() {
            // It was found, and the answer is no.
            true => Failed { exit: Exit::Gate, ..Failed::runtime(error) },
            false => Failed::environment(error),
        }
    }
}

/// The one envelope of `--json`.
#[derive(Serialize)]
struct Envelope<'a> {
    ok: bool,
    command: &'a str,
    data: &'a Value,
    findings: &'a [Finding],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints what a command left and turns it into the process's exit code.
pub fn print(command: &str, json: bool, result: Result<Outcome, Failed>) -> ExitCode {
    let (exit, data, text, findings, error) = match result {
        Ok(Outcome { exit, data, text, findings }) => (exit, data, text, findings, None),
        Err(Failed { exit, findings, error }) => {
            (exit, Value::Null, String::new(), findings, Some(error))
        }
    };
    let mut stdout = io::stdout().lock();
    let printed = if json {
        let envelope = Envelope {
            ok: exit == Exit::Ok,
            command,
            data: &data,
            findings: &findings,
            error: error.as_ref().map(|error| format!("{error:#}")),
        };
        serde_json::to_writer(&mut stdout, &envelope)
            .map_err(io::Error::from)
            .and_then(|()| stdout.write_all(b"\n"))
    } else {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        eprint!("{}", finding::render(&findings, colour));
        if let Some(error) = error {
            eprintln!("tidegate: {error:#}");
        }
        stdout.write_all(text.as_bytes())
    };
    // A closed pipe (`| head`) is the reader's choice; anything else means that the result is lost.
    match printed.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("tidegate: failed to write the result: {error}");
            ExitCode::from(Exit::Failure as u8)
        }
        _ => ExitCode::from(exit as u8),
    }
}
