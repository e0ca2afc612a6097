//! Lines for the host's log.
//!
//! The host counts lines past its limit and suppresses them. Never log a record's values.
//! Natively the lines go to standard error.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For whoever wonders what happened.
    Info,
    /// Something is off, and work goes on.
    Warn,
    /// A person must look.
    Error,
}

/// Writes a line to the host's log, under the plugin's name.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::guest::bindings::tidegate::plugin::host;
        let level = match level {
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Writes a line of level debug.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Writes a line of level info.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Writes a line of level warn.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Writes a line of level error.
pub fn error(message: &str) {
    log(Level::Error, message);
}
