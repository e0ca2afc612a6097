//! The states of keys, as a range sees and changes them.

use async_trait::async_trait;
use tidegate_core::checkpoint::{StateRow, StoreError};

/// Where a range finds the states that its predecessor left.
///
/// Called by a range's processor, from one task, at most once for each key of a stage in a range:
/// what it has loaded and changed it keeps until it is cut. Retries are the loader's business: an
/// error discards the range.
#[async_trait]
pub trait StateLoader: Send + Sync {
    /// The states of some keys of a stage, in the keys' order.
    async fn load(&self, stage: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError>;
}

/// No states at all: for plans without a stateful stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStates;

#[async_trait]
impl StateLoader for NoStates {
    async fn load(&self, _: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError> {
        Ok(vec![None; keys.len()])
    }
}
