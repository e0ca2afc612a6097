//! Turns what wasmtime says about a failed call into the breach that it was.

use std::time::Duration;

use tidegate_core::transform::{Breach, TransformError};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::guest::{Guest, NoRoom, Overdrawn};

/// How long the pipeline should wait for a slot of the pool: about the length of a batch.
const EXHAUSTED_DELAY: Duration = Duration::from_millis(50);

/// The error of an instance that could not be made. What the guest has no part in is the machine's
/// fault: no slot, no address space, no memory.
pub(crate) fn not_instantiated(error: &wasmtime::Error, guest: &mut Guest) -> TransformError {
    let is_guests = error.is::<Trap>()
        || error.downcast_ref::<WasmBacktrace>().is_some()
        || guest.memory.refused().is_some();
    if is_guests { classify(error, guest) } else { exhausted(error) }
}

/// The host had no room.
fn exhausted(error: &wasmtime::Error) -> TransformError {
    let message = match error.downcast_ref::<PoolConcurrencyLimitError>() {
        Some(_) => "the pool of instances is used up".to_owned(),
        None => format!("{NoRoom}: {}", root_cause(error)),
    };
    let error = TransformError::new(Breach::Exhausted, message);
    TransformError { after: Some(EXHAUSTED_DELAY), ..error }
}

/// The error of a call that failed.
pub(crate) fn classify(error: &wasmtime::Error, guest: &mut Guest) -> TransformError {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let (breach, cause) = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => (Breach::Fuel, "used up its fuel".to_owned()),
        Some(Trap::Interrupt) => (Breach::Time, "ran past its deadline".to_owned()),
        Some(Trap::StackOverflow) => (Breach::Stack, "recursed too deeply".to_owned()),
        Some(trap) => (Breach::Trap, trap.to_string()),
        None if error.is::<PoolConcurrencyLimitError>() || error.is::<NoRoom>() => {
            return exhausted(error);
        }
        None if error.is::<Overdrawn>() || is_hostcall_fuel(error) => {
            (Breach::ReplyBytes, Overdrawn.to_string())
        }
        // Without guest frames the guest had returned: its answer could not be lifted.
        None if backtrace.is_none() => (Breach::Reply, root_cause(error)),
        None => (Breach::Trap, root_cause(error)),
    };
    let fault = guest.fault.take();
    let row = fault.as_ref().and_then(|fault| fault.row);
    // What a guest printed is the next best thing to what its SDK tells.
    let said = fault
        .map(|fault| fault.message)
        .filter(|said| !said.is_empty())
        .or_else(|| guest.wasi.complaint().map(str::to_owned));
    // A guest that was refused memory aborts, panics or throws, as its language has it, or was
    // not even instantiated.
    let (breach, message) = match guest.memory.refused() {
        Some(wanted) if matches!(breach, Breach::Trap | Breach::Reply) => {
            let max = guest.memory.bytes_max();
            let refused = format!("wanted {wanted} bytes of memory of {max} allowed");
            let message = match said {
                Some(said) => format!("{refused}: {said}"),
                None => refused,
            };
            (Breach::Memory, message)
        }
        _ => (breach, said.unwrap_or(cause)),
    };
    let backtrace = backtrace.map(frames).unwrap_or_default();
    TransformError { row, backtrace, ..TransformError::new(breach, message) }
}

/// The functions on the guest's stack, innermost first; a panic's own come before the culprit.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        // `{:#}` leaves out the hash, which differs from build to build.
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().map(name).collect()
}

/// wasmtime keeps the type of this error to itself; a test with a guest whose reply is too large
/// says when its text changes.
fn is_hostcall_fuel(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted")
}

fn root_cause(error: &wasmtime::Error) -> String {
    let text = error.root_cause().to_string();
    let import = text
        .strip_prefix("unknown import: `")
        .and_then(|rest| rest.strip_suffix("` has not been defined"));
    match import {
        Some(import) => format!("called `{import}`, which plugins do not have"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tidegate_core::failure::Failure;
    use wasmtime::ResourceLimiter;

    use super::*;
    use crate::{
        guest::{LogBudget, LogSink},
        limits::Limits,
        wasi::Wasi,
    };

    #[test]
    fn memory_that_the_machine_has_not_got_is_nobodys_fault() {
        let logs = LogBudget::new("plugin".into(), LogSink::default(), 1);
        let mut guest = Guest::new(&Limits::default(), logs, Wasi::new(0));
        assert!(guest.memory.memory_growing(0, 1 << 20, None).expect("an answer"), "it is granted");
        let none_left = io::Error::from(io::ErrorKind::OutOfMemory);
        let trap = guest.memory.memory_grow_failed(none_left.into()).expect_err("the guest ends");
        let error = classify(&trap, &mut guest);
        assert_eq!(error.breach, Breach::Exhausted, "{error}");
        assert!(matches!(error.failure(), Failure::Retry { after: Some(_) }), "{error}");
        assert!(error.message.starts_with("the machine has no room"), "{error}");
    }
}
