//! What is lost, and what becomes of it.
//!
//! A stream drops what is older than its retention and tells nobody: an iterator at a record that is
//! gone begins at the oldest one that is there. So a reader begins *at* the record that it read
//! last, which has to come once more.

use std::time::Duration;

use tidegate_core::{
    Timestamp,
    source::{PartitionId, SourceError, SourceErrorKind},
};

use super::{OnTrimmed, position::SequenceNumber};

/// Records of a shard that are gone, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) shard: PartitionId,
    /// The last record that was read; none where none was.
    pub(super) after: Option<SequenceNumber>,
    /// The oldest record that is there; none where there is none.
    pub(super) before: Option<SequenceNumber>,
    /// When the last record that was read arrived, or when the shard was first seen.
    pub(super) since: Option<Timestamp>,
    /// What arrived before this is gone.
    pub(super) until: Timestamp,
}

impl Loss {
    /// Says so, or fails.
    pub(super) fn tell(&self, on_trimmed: OnTrimmed) -> Result<(), SourceError> {
        let text = self.to_string();
        match on_trimmed {
            OnTrimmed::Fail => {
                let message =
                    format!("{text}; set `on_trimmed: continue` to go on with what is there");
                Err(SourceError::plain(SourceErrorKind::Trimmed, message))
            }
            OnTrimmed::Continue => {
                tracing::error!(
                    partition = %self.shard,
                    after = self.after.map(tracing::field::display),
                    before = self.before.map(tracing::field::display),
                    since = self.since.map(tracing::field::display),
                    until = %self.until,
                    "{text}; going on with what is there"
                );
                Ok(())
            }
        }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Loss { shard, after, before, since, until } = self;
        write!(f, "records of shard `{shard}` are lost, as many as arrived ")?;
        match since {
            Some(since) => write!(f, "between {since} and {until}")?,
            None => write!(f, "before {until}")?,
        }
        match after {
            Some(after) => write!(f, ", behind record {after}")?,
            None => write!(f, ", from its beginning")?,
        }
        match before {
            Some(before) => write!(f, " and before record {before}")?,
            None => write!(f, " and to its end so far")?,
        }
        write!(f, ": the stream no longer holds them")
    }
}

/// What the stream holds goes back so far.
pub(super) fn horizon(now: Timestamp, retention: Duration) -> Timestamp {
    let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_sub(retention))
}
