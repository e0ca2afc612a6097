//! Moves a lease that nobody has.

use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_core::checkpoint::StoreError;

use super::{
    LeaseRecord, LeaseStore, fenced,
    row::{EXPIRES, TRIM_HORIZON, checkpoint_of},
    table::{Change, Written},
    to_json,
};
use tidegate_core::source::Resume;

/// Where a lease is moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseReset {
    /// Behind this record; none where the partition begins anew, as its note says.
    pub resume: Option<Resume>,
    /// The note from then on; none where it stays.
    pub note: Option<String>,
    /// Whether its states are forgotten.
    pub forgets_states: bool,
}

impl LeaseStore {
    /// Moves a lease, if nobody has touched it since it was read: it is nobody's then. What pends is
    /// gone, and the number of its range is never given again.
    ///
    /// # Errors
    /// Where the lease has changed, as [`tidegate_core::checkpoint::StoreErrorKind::Fenced`].
    pub async fn reset(&self, lease: &LeaseRecord, reset: &LeaseReset) -> Result<(), StoreError> {
        let number = |it: u64| AttributeValue::N(it.to_string());
        let LeaseReset { resume, note, forgets_states } = reset;
        let (checkpoint, sub) = resume
            .as_ref()
            .map_or((TRIM_HORIZON.to_owned(), 0), |resume| checkpoint_of(resume.position));
        let next = lease.intended.map_or(lease.checkpoint.next_range, |intended| {
            lease.checkpoint.next_range.max(intended + 1)
        });
        let change = Change::default()
            .if_is("leaseCounter", Some(number(lease.counter)))
            .set_number("leaseCounter", lease.counter + 1)
            .set_text("checkpoint", checkpoint)
            .set_number("checkpointSubSequenceNumber", sub)
            .set_number("tgRange", next)
            .remove("leaseOwner")
            .remove("checkpointOwner")
            .remove("pendingCheckpoint")
            .remove("pendingCheckpointSubSequenceNumber")
            .remove("pendingCheckpointState")
            .remove("tgEnded")
            .remove(EXPIRES);
        let change = match resume {
            Some(resume) => change.set_text("tgResume", to_json(resume)?),
            None => change.remove("tgResume"),
        };
        let change = match note {
            Some(note) => change.set_text("tgNote", note),
            None => change,
        };
        let change = match forgets_states {
            true => change.remove("tgStates").remove("tgTaken"),
            false => change,
        };
        match self.shared.table.update(&lease.partition, change).await? {
            Written::Done(_) => Ok(()),
            Written::Refused(_) => Err(fenced(&lease.partition)),
        }
    }
}
