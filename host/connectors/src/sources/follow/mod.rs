//! Files that grow and are rotated, read while they are written.
//!
//! What a file is, is not its name: a partition is one file with what it holds, from when it was
//! first seen until it is finished, wherever it is moved. What happens to it:
//!
//! | event | what is done |
//! |---|---|
//! | lines are added | they are read; a last line without its line feed waits |
//! | a file appears | it is a new partition, once it holds something |
//! | it is renamed, or another takes its place | it is read to its end, and then finished |
//! | it is deleted | the same, as long as it was open |
//! | it is copied and truncated | the rest is read from the copy; what comes is a new partition |
//! | it is truncated, without a copy | the rest is lost, unless all that was seen had been read |
//! | it is gone at a restart | it is looked for in its directory, else the rest is lost |
//! | a copy of it appears | it is not read |
//! | something is added to a finished one | it is not read, and the log says so |
//!
//! A file is finished when nothing was added to it for [`Follow::settle`]; its last line may then
//! lack its line feed. It is looked for by its identity and then by what it holds, compressed or
//! not. What is lost is never passed over in silence: see [`OnLost`].

mod content;
mod identity;
mod registry;
mod stream;
mod watch;

use std::time::Duration;

use tidegate_core::source::{PartitionId, Resume};

pub(super) use registry::{Live, Located, Registry};

/// How to follow files.
#[derive(Clone, Debug)]
pub struct Follow {
    /// What earlier runs have read, from where progress is kept.
    pub known: Vec<KnownPartition>,
    /// What becomes of a partition of which something is lost.
    pub on_lost: OnLost,
    /// Files are looked at so often, whether or not the system tells of changes.
    pub poll_every: Duration,
    /// A file that is no longer where it was is finished when nothing was added to it for so long:
    /// whoever writes it may not have noticed yet.
    pub settle: Duration,
}

impl Default for Follow {
    fn default() -> Self {
        Follow {
            known: Vec::new(),
            on_lost: OnLost::default(),
            // What network file systems never tell is seen before anybody gets impatient.
            poll_every: Duration::from_secs(1),
            // `logrotate` tells the writer right after it has renamed its file.
            settle: Duration::from_secs(5),
        }
    }
}

/// A partition as an earlier run has left it.
#[derive(Clone, Debug)]
pub struct KnownPartition {
    /// Its name.
    pub id: PartitionId,
    /// How far it has been read.
    pub resume: Option<Resume>,
    /// Whether there will be no more of it.
    pub finished: bool,
}

/// What becomes of a partition of which something is lost: its file is gone, or was truncated,
/// before it was read to its end, and nothing in its directory holds the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// It stops with an error, until the file is put back or somebody says otherwise. The others go
    /// on.
    #[default]
    Stop,
    /// It is finished where it stands, and the log says so as an error.
    Finish,
}
