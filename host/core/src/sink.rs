//! The seam to where records go.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    column::Binary,
    digest::{Digest, ObjectDigest},
    failure::Failure,
    source::PartitionId,
};

/// Whether what is written can be found again by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Objects have names derived from the range, are created once and never changed: effectively
    /// exactly-once.
    Named,
    /// Writes can't be found again: at-least-once, and the pipeline says so at its start.
    Unnamed,
}

/// What one range, or a part of it, is for one destination.
#[derive(Clone)]
pub struct Object {
    /// Its name: relative, `/`-separated, percent-encoded where values of fields stand in it.
    pub key: String,
    /// Its content.
    pub content: Bytes,
    /// The content's digest.
    pub digest: ObjectDigest,
    /// Where it comes from, for sinks that can keep that beside the content.
    pub provenance: Option<Arc<Provenance>>,
    /// For each line of the content its partition key, where the plan gives the sink any.
    pub keys: Option<Arc<Binary>>,
}

impl Object {
    /// An object of which nobody asks where it comes from, without keys.
    pub fn new(key: impl Into<String>, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let digest = ObjectDigest::of(&content);
        Object { key: key.into(), content, digest, provenance: None, keys: None }
    }
}

/// Without its content and keys, which are somebody's records: errors hold objects.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("key", &self.key)
            .field("bytes", &self.content.len())
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Where an object comes from: enough to find its manifest, and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The pipeline's name.
    pub pipeline: String,
    /// The digest of the plugins and of the config that decides what becomes of a record.
    pub generation: Digest,
    /// The partition.
    pub partition: PartitionId,
    /// The range's number in its partition.
    pub range: u64,
    /// The range's revision.
    pub revision: u32,
}

/// Somewhere to write to. Called by the pipeline only; objects of one partition in order,
/// objects of different partitions concurrently.
///
/// A sink never sleeps, never loops and never buffers past a return: the pipeline backs off.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Its name in config, metrics and records.
    fn name(&self) -> &str;

    /// Whether its objects can be named.
    fn naming(&self) -> Naming;

    /// Writes objects of one range, all at once, so that a file tree can make many durable with few
    /// syncs and a bucket can upload side by side. Returning `Ok` means that each is durable under
    /// its key with exactly its content, whether this call or an earlier one made it so; other
    /// content under a key is [`SinkErrorKind::Occupied`]. After any error some of them may be
    /// there: writing the same objects again is how to go on, or only what the error says is left.
    async fn write(&self, objects: &[Object]) -> Result<(), SinkError>;

    /// The digest of what lies under a key; for named sinks, after a crash. What it finds is
    /// durable when it returns: the checkpoint moves past it without another write.
    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError>;

    /// Puts an empty object under the key of one that a later revision supersedes: in the place of
    /// `superseded` if that lies there, else where a delayed write of a dead host would bring it
    /// back. Superseded keys are never deleted. Returning `Ok` means that the empty object is
    /// durable under the key; other content there is [`SinkErrorKind::Occupied`]. For named sinks,
    /// after a replay that could not make the same bytes.
    async fn occupy(&self, empty: &Object, superseded: ObjectDigest) -> Result<(), SinkError> {
        let _ = superseded;
        let message = format!("sink `{}` can't supersede object `{}`", self.name(), empty.key);
        Err(SinkError::plain(SinkErrorKind::Broken, message))
    }
}

/// What kind of thing went wrong with a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkErrorKind {
    /// It may work later.
    Unavailable {
        /// The delay that the far side asked for.
        after: Option<std::time::Duration>,
    },
    /// Other bytes lie under a key.
    Occupied {
        /// The key.
        key: String,
        /// Their digest.
        found: ObjectDigest,
    },
    /// Some of it was taken, nothing went wrong, and more is left than one call should do: what
    /// [`SinkError::rest`] says is to be written at once. Of unnamed sinks.
    Unfinished,
    /// It will not work without a person: no permission, no such place.
    Broken,
}

/// A sink failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// The kind.
    pub kind: SinkErrorKind,
    /// What, where, and what to do.
    pub message: String,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// What of the objects was not taken, where the sink knows it; else all of it has to be written
    /// again. Of unnamed sinks. An object in it has its key, and only those of its lines that are
    /// left: its digest is not the one that the manifest has.
    pub rest: Option<Vec<Object>>,
}

impl SinkError {
    /// An error without a cause.
    pub fn plain(kind: SinkErrorKind, message: impl Into<String>) -> Self {
        SinkError { kind, message: message.into(), cause: None, rest: None }
    }

    /// An error with a cause.
    pub fn new(
        kind: SinkErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        SinkError { kind, message: message.into(), cause: Some(cause.into()), rest: None }
    }

    /// The same, and what is left to be written.
    #[must_use]
    pub fn with_rest(self, rest: Vec<Object>) -> Self {
        SinkError { rest: Some(rest), ..self }
    }

    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self.kind {
            SinkErrorKind::Unavailable { after } => Failure::Retry { after },
            SinkErrorKind::Unfinished => Failure::RETRY,
            SinkErrorKind::Occupied { .. } | SinkErrorKind::Broken => Failure::Fatal,
        }
    }
}
