//! A policy is looked at for as long as a pipeline runs: what an operator blocks must stop soon.

use std::time::Duration;

use tidegate_pipeline::{SwapHandle, causes};
use tokio::{task::AbortHandle, time::sleep};

use super::{Policy, Supply};
use crate::{config::ConfigError, watch::stamps};

/// How often. A change is taken when it has stood still from one look to the next: half of a block
/// list must not be taken for the whole.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Takes changes of the policy until what is returned is dropped. Partitions that wait for a
/// component to be unblocked are woken.
pub(crate) fn follow(supply: Supply, swaps: SwapHandle) -> Following {
    let task = tokio::spawn(async move {
        let policy = supply.policy();
        let Some(path) = policy.path().map(ToOwned::to_owned) else { return };
        let mut files = policy.files();
        // It was read a while ago: the first look may find it changed already.
        let (mut taken, mut before) = (Vec::new(), Vec::new());
        loop {
            let now = stamps(&files);
            if now == before && now != taken {
                // Reading some small files takes no longer than looking at them.
                let read = Policy::load(&path, &|name: &str| std::env::var(name).ok());
                if stamps(&files) != now {
                    // It changed meanwhile.
                    continue;
                }
                taken = now;
                match read {
                    Ok(policy) => {
                        files = policy.files();
                        taken = stamps(&files);
                        before.clone_from(&taken);
                        let blocked = policy.blocked();
                        supply.take(policy);
                        swaps.wake();
                        tracing::info!(blocked, "{} holds from here on", supply.policy());
                    }
                    Err(error) => tracing::error!(
                        "{} can't be taken as it is now, and holds as it was: {}",
                        supply.policy(),
                        what_is_wrong(&error)
                    ),
                }
            } else {
                before = now;
            }
            sleep(LOOK_EVERY).await;
        }
    });
    Following(task.abort_handle())
}

fn what_is_wrong(error: &ConfigError) -> String {
    match error {
        ConfigError::Invalid(findings) => {
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        error => causes(error),
    }
}

/// A policy is watched until this is dropped.
pub(crate) struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}
