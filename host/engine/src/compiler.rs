//! Compiles on one thread of low priority, off the data path: a component of several megabytes
//! takes ten seconds, and records flow meanwhile.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use tidegate_core::Digest;
use wasmtime::{Engine, component::Component};

use crate::{
    cache::{Cache, Package},
    error::LoadError,
};

/// Components that may wait: more than a host has plugins.
const QUEUE_JOBS_MAX: usize = 64;

/// The lowest priority: compiling takes what the data path leaves.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// A handle to the thread, which ends with it.
pub(crate) struct Compiler {
    queue: SyncSender<Job>,
}

/// Where compiled components lie.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Those of earlier runs.
    pub(crate) cache: Option<Cache>,
    /// Those of the program's own package.
    pub(crate) package: Option<Package>,
    /// The package is being made.
    pub(crate) packs: bool,
}

struct Job {
    bytes: Vec<u8>,
    digest: Digest,
    done: SyncSender<Result<Component, LoadError>>,
}

impl Compiler {
    pub(crate) fn start(engine: Engine, kept: Kept) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE_JOBS_MAX);
        thread::Builder::new()
            .name("wasm-compiler".into())
            // Cranelift recurses over deeply nested code.
            .stack_size(8 << 20)
            .spawn(move || run(&engine, &kept, &jobs))?;
        Ok(Compiler { queue })
    }

    /// Waits in the queue, then for the compiler.
    pub(crate) fn compile(&self, bytes: &[u8], digest: Digest) -> Result<Component, LoadError> {
        let (done, answer) = sync_channel(1);
        self.queue.try_send(Job { bytes: bytes.to_vec(), digest, done }).map_err(|error| {
            match error {
                TrySendError::Full(_) => LoadError::Busy,
                TrySendError::Disconnected(_) => stopped(),
            }
        })?;
        answer.recv().map_err(|_| stopped())?
    }
}

fn stopped() -> LoadError {
    LoadError::Compile("the compiler's thread has stopped".into())
}

fn run(engine: &Engine, kept: &Kept, jobs: &Receiver<Job>) {
    // On Linux a priority is a thread's own. Without the right to lower it, it stays as it was.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICENESS);
    while let Ok(job) = jobs.recv() {
        // Whoever asked may have gone; the next job is no worse off.
        let _ = job.done.send(compile(engine, kept, &job));
        drop(job);
        give_memory_back();
    }
}

/// The compiler takes tens of megabytes in small pieces, and the allocator would keep most of
/// them for the next time.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn compile(engine: &Engine, kept: &Kept, job: &Job) -> Result<Component, LoadError> {
    let Kept { cache, package, packs } = kept;
    let packed = package.as_ref().filter(|_| !packs);
    let found = packed.and_then(|package| package.find(engine, job.digest));
    let found = found.or_else(|| cache.as_ref()?.find(engine, job.digest));
    if let Some(component) = found {
        return Ok(component);
    }
    // The bytes are anybody's: a fault of the compiler costs this component and not the thread.
    let compiled = catch_unwind(AssertUnwindSafe(|| Component::new(engine, &job.bytes)))
        .map_err(|_| LoadError::Compile("the compiler panicked".into()))?
        .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
    if let Some(cache) = cache {
        cache.keep(job.digest, &compiled);
    }
    if let Some(package) = package.as_ref().filter(|_| *packs) {
        package.keep(job.digest, &compiled).map_err(LoadError::Pack)?;
    }
    Ok(compiled)
}
