//! One instance: a batch in, a checked reply out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_core::{
    Batch, Reply, Transform,
    description::Capability,
    transform::{Breach, ReplyLimits, TransformError},
};
use wasmtime::Store;

use crate::{
    contract::v0_1::Exports,
    factory::Configured,
    guest::Guest,
    runtime::epoch_ticks,
    trap::classify,
    usage::{CallUsage, Used},
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
        #[allow(clippy::disallowed_methods, reason = "the time that is passed is what is measured")]
        let started = self.configured.usage.as_ref().map(|_| Instant::now());
        let answer = self.exports.transform(&mut self.store, batch);
        let mut usage = started.map(|started| self.usage(batch, started.elapsed(), time));
        self.store.data_mut().logs.end();
        let checked = self.checked(batch, answer);
        if let (Some(sink), Some(usage)) = (&self.configured.usage, &mut usage) {
            note_reply(usage, checked.as_ref().ok());
            sink.take(usage);
        }
        checked
    }

    /// The reply to a batch, or how the call failed.
    fn checked(
        &mut self,
        batch: &Batch<'_>,
        answer: wasmtime::Result<Reply>,
    ) -> Result<Reply, TransformError> {
        let reply = answer.map_err(|error| classify(&error, self.store.data_mut()))?;
        let limits = &self.configured.limits;
        let limits = ReplyLimits {
            reply_bytes_max: limits.reply_bytes.of(batch.rows),
            findings_max: limits.findings.of(batch.rows),
            state_bytes_max: limits.state_bytes,
            fan_out: self.configured.plugin.about.capabilities.contains(&Capability::FanOut),
        };
        reply.check(&self.configured.plugin.description, batch, &limits)?;
        Ok(reply)
    }

    /// What a call used up that does not show in its reply.
    fn usage(&self, batch: &Batch<'_>, time: Duration, time_max: Duration) -> CallUsage {
        let limits = &self.configured.limits;
        let of = |max| Used { used: 0, max };
        let fuel_max = limits.fuel.of(batch.rows);
        let fuel_left = self.store.get_fuel().unwrap_or_default();
        let guest = self.store.data();
        CallUsage {
            rows: batch.rows,
            time,
            time_max,
            fuel: Used { used: fuel_max.saturating_sub(fuel_left), max: fuel_max },
            memory_bytes: Used {
                used: guest.memory.refused().unwrap_or_else(|| guest.memory.bytes()),
                max: guest.memory.bytes_max(),
            },
            reply_bytes: of(limits.reply_bytes.of(batch.rows)),
            findings: of(limits.findings.of(batch.rows)),
            log_lines: guest.logs.lines(),
            state_bytes: of(limits.state_bytes),
            failed: true,
        }
    }
}

/// What a reply shows of what its call used up.
fn note_reply(usage: &mut CallUsage, reply: Option<&Reply>) {
    let Some(reply) = reply else { return };
    let states = &reply.states.values;
    let largest = (0..states.len()).map(|key| states.get(key).len()).max();
    usage.reply_bytes.used = reply.size_bytes();
    usage.findings.used = reply.findings.rows.len() as u64;
    usage.state_bytes.used = largest.unwrap_or_default() as u64;
    usage.failed = false;
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
