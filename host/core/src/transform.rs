//! The seam to plugins: a batch of columns in, a reply out.
//!
//! Two members stand behind it: instances of WebAssembly components (`tidegate-engine`) and
//! plugins linked natively (benchmarks and tests). What follows a failure (a fresh instance,
//! isolation of the poison record, the breaker) is the pipeline's business and the same for both.

mod check;

use std::time::Duration;

pub use self::check::{ReplyLimits, check_migrated};
use crate::{
    column::{Binary, Column},
    description::{About, Description},
    digest::Digest,
    failure::Failure,
    time::Timestamp,
};

/// The states of the distinct keys of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// For each row, the index of its key in `values`. Empty for a plugin without state.
    pub rows: Vec<u32>,
    /// One state a key; an empty one means that the key has none yet.
    pub values: Binary,
}

/// The rows that a plugin is called with: one column for each read of its description.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many rows; every column has this many.
    pub rows: u32,
    /// One column for each read of the description, in its order.
    pub columns: &'a [&'a Column],
    /// The states of the batch's keys.
    pub states: &'a States,
    /// When the range was opened. A guest that asks its WASI clock is told this.
    pub batch_time: Timestamp,
}

/// What the plugin says about rows: row `rows[i]` met rule `rules[i]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Input rows, in any order.
    pub rows: Vec<u32>,
    /// Indices into the rules of the description.
    pub rules: Vec<u32>,
    /// Empty, or one text a finding.
    pub details: Binary,
}

/// The keys whose state changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangedStates {
    /// Indices into the batch's states, each at most once.
    pub keys: Vec<u32>,
    /// One state for each of `keys`; an empty one removes the state.
    pub values: Binary,
}

/// What becomes of an input row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It goes on.
    Emit = 0,
    /// The plugin wants it gone: not delivered, and not a dead letter.
    Drop = 1,
    /// It breaks a rule: to the dead letters.
    Reject = 2,
}

/// What a plugin answers for a batch. Hostile until [`Reply::check`] has passed it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Empty: every row is emitted. Else a [`Verdict`] byte an input row.
    pub verdicts: Vec<u8>,
    /// Empty: one output row for each input row. Else the input row of each output row, never
    /// decreasing.
    pub parents: Vec<u32>,
    /// One column for each write of the description, one row an output row.
    pub columns: Vec<Column>,
    /// Rules that rows met.
    pub findings: Findings,
    /// States to keep.
    pub states: ChangedStates,
}

/// What a stage's plugin is once it is configured: fixed for all its instances.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Who it says it is.
    pub about: About,
    /// What this configuration reads, writes, keeps and rules on.
    pub description: Description,
    /// The digest of the component's bytes.
    pub component: Digest,
    /// The digest of its config.
    pub config: Digest,
}

/// One instance of a configured plugin. Serves one partition, and is never called again after an
/// error: what a failed call left in its memory would depend on how rows were cut into batches.
pub trait Transform: Send {
    /// One call a batch, from one thread at a time. The reply has passed [`Reply::check`].
    /// Returning means that nothing of the batch is kept in the instance that matters.
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError>;

    /// How much memory the instance holds: above a watermark the pipeline takes a fresh one.
    fn memory_bytes(&self) -> u64;
}

/// Makes instances of one configured plugin. Called at the start of each range and after a trap,
/// from any thread.
pub trait TransformFactory: Send + Sync {
    /// What it makes instances of.
    fn plugin(&self) -> &Plugin;

    /// A fresh, configured instance.
    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError>;

    /// The same as [`TransformFactory::instantiate`], with `factor` times the time limit: for a
    /// row on its own, where running out of time may be the machine's fault.
    fn instantiate_patient(&self, factor: u32) -> Result<Box<dyn Transform>, TransformError> {
        let _ = factor;
        self.instantiate()
    }

    /// Whether states of other versions can be tried to be migrated at all.
    fn migrates(&self) -> bool {
        false
    }

    /// Turns states that another version of the plugin wrote into states of this one, one for one.
    /// Pure: the same states give the same states. Called off the data path for all states before
    /// a version serves, and for those that a range meets.
    fn migrate(&self, from: u32, states: &Binary) -> Result<Binary, MigrateError> {
        let _ = states;
        Err(MigrateError::Unsupported { from, to: self.plugin().about.state_version })
    }
}

/// States could not be migrated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MigrateError {
    /// The plugin does not say how.
    #[error(
        "the plugin reads states of version {to} and can't migrate those of version {from}: it \
         exports no `migration`"
    )]
    Unsupported {
        /// The version of the states.
        from: u32,
        /// The version that the plugin keeps.
        to: u32,
    },
    /// The plugin refuses.
    #[error("the plugin refuses states of version {from}: {message}")]
    Refused {
        /// The version of the states.
        from: u32,
        /// What it says.
        message: String,
    },
    /// The call failed.
    #[error(transparent)]
    Failed(#[from] TransformError),
}

/// How a call failed: the reason code of its dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// It trapped: a panic, an unreachable instruction, an access out of bounds.
    Trap,
    /// It used up its fuel.
    Fuel,
    /// It ran past its deadline. Never poison by itself: it may be the machine's fault.
    Time,
    /// It wanted more memory than it may have.
    Memory,
    /// It recursed too deeply.
    Stack,
    /// Its reply is larger than it may be.
    ReplyBytes,
    /// Its reply has more findings than it may have.
    Findings,
    /// A state is larger than it may be.
    StateBytes,
    /// Its reply lies about counts, offsets, UTF-8, rows or codes.
    Reply,
    /// It refused its config on a fresh instance, which it had taken before.
    Configure,
    /// The host had no room for another instance. Never poison.
    Exhausted,
    /// An operator has blocked the component. Never poison: the records wait.
    Blocked,
}

impl Breach {
    /// The stable code in dead letters, metrics and docs.
    pub fn code(self) -> &'static str {
        match self {
            Breach::Trap => "plugin-trap",
            Breach::Fuel => "plugin-fuel",
            Breach::Time => "plugin-time",
            Breach::Memory => "plugin-memory",
            Breach::Stack => "plugin-stack",
            Breach::ReplyBytes => "plugin-reply-bytes",
            Breach::Findings => "plugin-findings",
            Breach::StateBytes => "plugin-state-bytes",
            Breach::Reply => "plugin-reply-invalid",
            Breach::Configure => "plugin-configure",
            Breach::Exhausted => "plugin-exhausted",
            Breach::Blocked => "plugin-blocked",
        }
    }

    /// The error class of the dead-letter record.
    pub fn class(self) -> &'static str {
        match self {
            Breach::Fuel => "fuel",
            Breach::Time => "timeout",
            Breach::Memory => "memory",
            Breach::Exhausted | Breach::Blocked => "transient",
            _ => "trap",
        }
    }
}

/// A call of a plugin failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", breach.code())]
pub struct TransformError {
    /// How.
    pub breach: Breach,
    /// What the guest or the host says about it: the panic's text, the trap, the broken rule.
    pub message: String,
    /// The row that the guest says it was at. A hint, never trusted.
    pub row: Option<u32>,
    /// The guest's stack, innermost first, symbolized where there are symbols; else empty.
    pub backtrace: Vec<String>,
    /// How long to wait, where the host is out of room.
    pub after: Option<Duration>,
}

impl TransformError {
    /// A failure with a message and nothing else.
    pub fn new(breach: Breach, message: impl Into<String>) -> Self {
        TransformError {
            breach,
            message: message.into(),
            row: None,
            backtrace: Vec::new(),
            after: None,
        }
    }

    /// What it asks for, when it happened to a row on its own on a fresh instance.
    pub fn failure(&self) -> Failure {
        match self.breach {
            Breach::Time | Breach::Exhausted | Breach::Blocked => {
                Failure::Retry { after: self.after }
            }
            Breach::Configure => Failure::Fatal,
            _ => Failure::Reject,
        }
    }
}
