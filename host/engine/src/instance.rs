//! One instance: a batch in, a checked reply out.

use std::sync::Arc;

use tidegate_core::{
    Batch, Reply, Transform,
    description::Capability,
    transform::{Breach, ReplyLimits, TransformError},
};
use wasmtime::Store;

use crate::{
    contract::v0_1::Exports, factory::Configured, guest::Guest, runtime::epoch_ticks,
    trap::classify,
};

/// An instance of a configured plugin, in a store of its own.
pub(crate) struct Instance {
    configured: Arc<Configured>,
    store: Store<Guest>,
    exports: Exports,
    /// How much more patient than usual the deadline is.
    factor: u32,
    /// A call failed. What it left behind is unknown, and a trapped component can't be entered.
    failed: bool,
}

impl Instance {
    pub(crate) fn new(
        configured: Arc<Configured>,
        store: Store<Guest>,
        exports: Exports,
        factor: u32,
    ) -> Self {
        Instance { configured, store, exports, factor, failed: false }
    }

    fn call(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        let limits = &self.configured.limits;
        let reply_bytes_max = limits.reply_bytes.of(batch.rows);
        let guest = self.store.data_mut();
        guest.begin(reply_bytes_max);
        guest.wasi.begin(batch.batch_time);
        self.store
            .set_fuel(limits.fuel.of(batch.rows))
            .expect("fuel is on in the engine's configuration");
        let time = limits.time_of(batch.rows).saturating_mul(self.factor);
        self.store.set_epoch_deadline(epoch_ticks(time));
        // Lifting copies what the guest's lists claim to hold, and a list may be claimed twice.
        self.store.set_hostcall_fuel(usize::try_from(reply_bytes_max).unwrap_or(usize::MAX));
        let answer = self.exports.transform(&mut self.store, batch);
        self.store.data_mut().logs.end();
        let reply = answer.map_err(|error| classify(&error, self.store.data_mut()))?;
        let limits = ReplyLimits {
            reply_bytes_max,
            findings_max: limits.findings.of(batch.rows),
            state_bytes_max: limits.state_bytes,
            fan_out: self.configured.plugin.about.capabilities.contains(&Capability::FanOut),
        };
        reply.check(&self.configured.plugin.description, batch, &limits)?;
        Ok(reply)
    }
}

impl Transform for Instance {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        if self.failed {
            let message = "the instance was called again after it had failed";
            return Err(TransformError::new(Breach::Trap, message));
        }
        let answer = self.call(batch);
        self.failed = answer.is_err();
        answer
    }

    fn memory_bytes(&self) -> u64 {
        self.store.data().memory.bytes()
    }
}
