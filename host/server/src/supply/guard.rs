//! What a policy blocks stops where it runs: between two batches.

use std::sync::Arc;

use tidegate_core::{
    Binary, Digest, Reply, Transform, TransformFactory,
    transform::{Batch, Breach, MigrateError, Plugin, TransformError},
};
use tokio::sync::watch;

use super::{Policy, because};

/// Whether a component may run at this moment.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    policy: watch::Receiver<Arc<Policy>>,
    component: Digest,
}

impl Guard {
    pub(super) fn new(policy: watch::Receiver<Arc<Policy>>, component: Digest) -> Self {
        Guard { policy, component }
    }

    fn check(&self) -> Result<(), TransformError> {
        let policy = self.policy.borrow();
        match policy.blocks(self.component) {
            None => Ok(()),
            Some(reason) => {
                let why = because(&reason.map(str::to_owned));
                let message = format!("{} blocks its component {}{why}", **policy, self.component);
                Err(TransformError::new(Breach::Blocked, message))
            }
        }
    }
}

/// Instances of a plugin, for as long as its component is not blocked.
pub(crate) struct Guarded<F> {
    factory: F,
    guard: Guard,
}

impl<F> Guarded<F> {
    pub(crate) fn new(factory: F, guard: Guard) -> Self {
        Guarded { factory, guard }
    }

    fn guard(&self, instance: Box<dyn Transform>) -> Box<dyn Transform> {
        Box::new(GuardedInstance { instance, guard: self.guard.clone() })
    }
}

impl<F: TransformFactory> TransformFactory for Guarded<F> {
    fn plugin(&self) -> &Plugin {
        self.factory.plugin()
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        self.guard.check()?;
        Ok(self.guard(self.factory.instantiate()?))
    }

    fn instantiate_patient(&self, factor: u32) -> Result<Box<dyn Transform>, TransformError> {
        self.guard.check()?;
        Ok(self.guard(self.factory.instantiate_patient(factor)?))
    }

    fn migrates(&self) -> bool {
        self.factory.migrates()
    }

    fn migrate(&self, from: u32, states: &Binary) -> Result<Binary, MigrateError> {
        self.guard.check()?;
        self.factory.migrate(from, states)
    }
}

struct GuardedInstance {
    instance: Box<dyn Transform>,
    guard: Guard,
}

impl Transform for GuardedInstance {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        self.guard.check()?;
        self.instance.transform(batch)
    }

    fn memory_bytes(&self) -> u64 {
        self.instance.memory_bytes()
    }
}
