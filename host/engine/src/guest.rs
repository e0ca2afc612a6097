//! What the host keeps for one instance: how much memory it has, what it logged, why it is about
//! to trap. The host's side of the contract's `host` interface, whatever its version.

use std::{fmt, sync::Arc};

use wasmtime::ResourceLimiter;

use crate::{limits::Limits, usage::Used, wasi::Wasi};

/// How much of a panic's text or a log line is kept, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Elements of all tables of an instance: the functions that a guest can point to. CPython has
/// about 10,000.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the usual levels")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// A line that a plugin logged.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// How grave it says it is.
    pub level: LogLevel,
    /// The text, cut to 4 KiB.
    pub message: &'a str,
}

/// Where plugins' log lines go. Called on the data path: it must not block.
#[derive(Clone)]
pub struct LogSink(Arc<dyn Fn(LogLine<'_>) + Send + Sync>);

impl LogSink {
    /// A sink that calls a function with each line.
    pub fn new(write: impl Fn(LogLine<'_>) + Send + Sync + 'static) -> Self {
        LogSink(Arc::new(write))
    }
}

impl Default for LogSink {
    /// The host's own log.
    fn default() -> Self {
        LogSink::new(|line| {
            let LogLine { plugin, level, message } = line;
            match level {
                LogLevel::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
                LogLevel::Info => tracing::info!(target: "plugin", plugin, "{message}"),
                LogLevel::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
                LogLevel::Error => tracing::error!(target: "plugin", plugin, "{message}"),
            }
        })
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// Why the guest says it is about to trap.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) row: Option<u32>,
    pub(crate) message: String,
}

/// The least that a call of the host is charged: an empty line costs the host something too.
const CALL_BYTES_MIN: u64 = 64;

/// A call made the host copy or make more than it may.
#[derive(Debug, thiserror::Error)]
#[error("copies more to and from the host than it may")]
pub(crate) struct Overdrawn;

/// What a guest was granted, the machine did not have.
#[derive(Debug, thiserror::Error)]
#[error("the machine has no room for the instance")]
pub(crate) struct NoRoom;

/// The host's side of one instance.
pub(crate) struct Guest {
    pub(crate) memory: MemoryMeter,
    pub(crate) logs: LogBudget,
    pub(crate) fault: Option<Fault>,
    pub(crate) wasi: Wasi,
    /// What the calls of the host may still copy. The guest's fuel does not pay for the host's
    /// work, and time must not be what stops it.
    credit_bytes: u64,
}

impl Guest {
    pub(crate) fn new(limits: &Limits, logs: LogBudget, wasi: Wasi) -> Self {
        let memory = MemoryMeter { bytes: 0, bytes_max: limits.memory_bytes, refused: None };
        Guest { memory, logs, fault: None, wasi, credit_bytes: limits.reply_bytes.base }
    }

    /// Before a call: what it may cost the host, and nothing known of a failure.
    pub(crate) fn begin(&mut self, credit_bytes: u64) {
        self.credit_bytes = credit_bytes;
        self.memory.refused = None;
        self.fault = None;
        self.logs.begin();
    }

    /// Charges the guest for what it makes the host do.
    pub(crate) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let bytes = (bytes as u64).max(CALL_BYTES_MIN);
        self.credit_bytes = self.credit_bytes.checked_sub(bytes).ok_or(Overdrawn)?;
        Ok(())
    }

    /// The guest's `log`.
    pub(crate) fn log(&mut self, level: LogLevel, message: String) -> wasmtime::Result<()> {
        self.charge(message.len())?;
        self.logs.line(level, message);
        Ok(())
    }

    /// The guest's `fault`. The last word counts: a panic while panicking says more.
    pub(crate) fn fault(&mut self, row: Option<u32>, mut message: String) -> wasmtime::Result<()> {
        self.charge(message.len())?;
        truncate(&mut message);
        self.fault = Some(Fault { row, message });
        Ok(())
    }
}

/// Counts the memory of an instance and remembers what it refused, so that a refused allocation
/// can be told from a panic.
pub(crate) struct MemoryMeter {
    bytes: u64,
    bytes_max: u64,
    refused: Option<u64>,
}

impl MemoryMeter {
    /// What all memories and tables hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it may hold.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// What the guest would have held, had the last refused growth been granted. None where this
    /// call was refused nothing.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let wanted = self.bytes.saturating_add(bytes);
        if wanted > self.bytes_max {
            self.refused = Some(wanted);
            return false;
        }
        self.bytes = wanted;
        true
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond its own maximum a memory can't grow, whatever is answered here.
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = Some(desired as u64);
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    /// It was granted, and the machine had no memory. A guest that is told so aborts, which would
    /// look like its own fault, or its record's.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context(NoRoom))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        Ok(self.grow((desired.saturating_sub(current) * size_of::<usize>()) as u64))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context(NoRoom))
    }
}

/// Writes a call's first lines and counts the others.
pub(crate) struct LogBudget {
    plugin: Arc<str>,
    sink: LogSink,
    lines_max: u32,
    lines: u32,
    suppressed: u64,
}

impl LogBudget {
    pub(crate) fn new(plugin: Arc<str>, sink: LogSink, lines_max: u32) -> Self {
        LogBudget { plugin, sink, lines_max, lines: 0, suppressed: 0 }
    }

    fn begin(&mut self) {
        self.lines = 0;
        self.suppressed = 0;
    }

    /// How many lines the call had, and how many it may have.
    pub(crate) fn lines(&self) -> Used {
        let used = u64::from(self.lines).saturating_add(self.suppressed);
        Used { used, max: u64::from(self.lines_max) }
    }

    /// A line of the guest's.
    pub(crate) fn line(&mut self, level: LogLevel, mut message: String) {
        if self.lines == self.lines_max {
            self.suppressed += 1;
            return;
        }
        self.lines += 1;
        truncate(&mut message);
        self.write(level, message.trim_end());
    }

    /// After a call: says how much was left out.
    pub(crate) fn end(&mut self) {
        if self.suppressed > 0 {
            self.write(LogLevel::Warn, &format!("suppressed {} lines", self.suppressed));
            self.suppressed = 0;
        }
    }

    fn write(&self, level: LogLevel, message: &str) {
        (self.sink.0)(LogLine { plugin: &self.plugin, level, message });
    }
}

/// Cuts a guest's text to what is kept of it.
fn truncate(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
}
