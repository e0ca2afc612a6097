//! The engine that all components share: its configuration, the thread that ticks its epochs, the
//! thread that compiles, and the cache of what was compiled.

use std::{
    fmt,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{
    cache::{Cache, Package},
    compiler::{Compiler, Kept},
    component::Component,
    error::LoadError,
    error::RuntimeError,
    guest::TABLE_ELEMENTS_MAX,
    limits::Limits,
};

/// How often the epoch moves, and so how exactly a deadline is kept.
const EPOCH_TICK: Duration = Duration::from_millis(10);

/// The stack of a guest. Worker threads have 2 MiB, and the host needs some of it below.
const STACK_BYTES_MAX: usize = 512 << 10;

/// Frames of a backtrace: the innermost say what happened.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// What one component may be made of. CPython and its libraries are some twenty core modules with
/// one memory and one table; most plugins are three with one each.
const CORE_INSTANCES_MAX: u32 = 64;
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 8;

/// The host's own record of an instance, which grows with its functions and globals.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// How much of a free slot's memory and table stays mapped: what a plugin in Rust touches.
const RESIDENT_BYTES_MAX: usize = 2 << 20;
const TABLE_RESIDENT_BYTES_MAX: usize = 16 << 10;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Instances at the same time: stages × partitions, and some for isolation and purity runs.
    /// Each reserves 4 GiB of address space, which costs no memory.
    pub instances_max: u32,
    /// The most that any plugin's memory limit may be.
    pub memory_bytes_max: u64,
    /// Where compiled components are kept: a directory of this user's alone. None: compile anew.
    pub cache: Option<PathBuf>,
    /// The directory of compiled components in the deployment package that the program is part of.
    pub package: Option<PathBuf>,
    /// That package is being made: what is compiled is put there, for any processor that AWS Lambda
    /// has of this architecture.
    pub packs: bool,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        RuntimeOptions {
            // Eight stages of sixteen partitions, and as many again. It is 1 TiB of the 128 TiB
            // that a process may reserve.
            instances_max: 256,
            // Four times the default limit of a plugin.
            memory_bytes_max: 256 << 20,
            cache: None,
            package: None,
            packs: false,
        }
    }
}

/// Compiles and runs components. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    engine: Engine,
    compiler: Compiler,
    memory_bytes_max: u64,
    _ticker: Ticker,
}

impl Runtime {
    /// Starts the engine and its two threads.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let engine = new_engine(&options)?;
        let kept = Kept {
            cache: options.cache.map(|path| Cache::open(path, &engine)).transpose()?,
            package: options.package.map(Package::open),
            packs: options.packs,
        };
        let shared = Shared {
            compiler: Compiler::start(engine.clone(), kept).map_err(RuntimeError::Thread)?,
            _ticker: Ticker::start(engine.clone()).map_err(RuntimeError::Thread)?,
            memory_bytes_max: options.memory_bytes_max,
            engine,
        };
        Ok(Runtime(Arc::new(shared)))
    }

    /// Makes a component of its bytes: reads which contract it is built for, compiles it (or finds
    /// it compiled), and asks it who it is. Blocks for as long as the compiler takes, up to some
    /// seconds for a large one: call it off the data path.
    pub fn load(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        self.load_within(bytes, &Limits::default())
    }

    /// The same, where asking it who it is may use up no more than `limits`.
    pub fn load_within(&self, bytes: &[u8], limits: &Limits) -> Result<Component, LoadError> {
        Component::load(self, bytes, limits)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.0.memory_bytes_max
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

/// How many ticks of the epoch a call may live through. One more than fit: the first may come at
/// once.
pub(crate) fn epoch_ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(EPOCH_TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX / 2).saturating_add(1).min(u64::MAX / 2)
}

fn new_engine(options: &RuntimeOptions) -> Result<Engine, RuntimeError> {
    let mut pooling = config();
    if options.packs {
        for_any_lambda(&mut pooling)?;
    }
    pooling.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
    Engine::new(&pooling).or_else(|error| {
        // Where the process may not reserve so much (`ulimit -v`), each memory is mapped when it
        // is wanted and its accesses are checked one by one: slower, and the same otherwise.
        tracing::warn!(
            "no address space for a pool of instances, so plugins run slower: raise the limit of \
             the process's address space (`ulimit -v`): {error:#}"
        );
        let mut on_demand = config();
        if options.packs {
            for_any_lambda(&mut on_demand)?;
        }
        on_demand
            .allocation_strategy(InstanceAllocationStrategy::OnDemand)
            .memory_reservation(options.memory_bytes_max)
            .memory_guard_size(64 << 10);
        Engine::new(&on_demand).map_err(|error| RuntimeError::Engine(format!("{error:#}")))
    })
}

/// Slots for instances. Each memory has 4 GiB of address space, which makes every access of a
/// 32-bit memory safe without a check.
fn pool(options: &RuntimeOptions) -> PoolingAllocationConfig {
    let instances = options.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(usize::try_from(options.memory_bytes_max).unwrap_or(usize::MAX))
        // Each range has fresh instances. What the last one touched is wiped and stays mapped: a
        // page that has to be found again costs more than the rows in it.
        .linear_memory_keep_resident(RESIDENT_BYTES_MAX)
        .table_keep_resident(TABLE_RESIDENT_BYTES_MAX)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// What all engines have in common.
fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        // Support for async guests triples the cost of a call.
        .concurrency_support(false)
        // A NaN has the same bits everywhere, and a relaxed operation one result.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    config
}

/// What the processors of AWS Lambda can do, whatever this machine's can. Lambda promises AVX2 on x86,
/// and has no arm before Graviton2.
fn for_any_lambda(config: &mut Config) -> Result<(), RuntimeError> {
    let failed = |error: wasmtime::Error| RuntimeError::Engine(format!("{error:#}"));
    config
        .target(&format!("{}-unknown-{}-gnu", std::env::consts::ARCH, std::env::consts::OS))
        .map_err(failed)?;
    #[cfg(target_arch = "x86_64")]
    for (flag, is_here) in [
        ("has_sse3", std::is_x86_feature_detected!("sse3")),
        ("has_ssse3", std::is_x86_feature_detected!("ssse3")),
        ("has_sse41", std::is_x86_feature_detected!("sse4.1")),
        ("has_sse42", std::is_x86_feature_detected!("sse4.2")),
        ("has_popcnt", std::is_x86_feature_detected!("popcnt")),
        ("has_avx", std::is_x86_feature_detected!("avx")),
        ("has_avx2", std::is_x86_feature_detected!("avx2")),
        ("has_bmi1", std::is_x86_feature_detected!("bmi1")),
        ("has_bmi2", std::is_x86_feature_detected!("bmi2")),
        ("has_fma", std::is_x86_feature_detected!("fma")),
        ("has_lzcnt", std::is_x86_feature_detected!("lzcnt")),
    ] {
        if is_here {
            // SAFETY: this processor has it, and code that is loaded elsewhere is checked there.
            unsafe { config.cranelift_flag_enable(flag) };
        }
    }
    Ok(())
}

/// Moves the engine's epoch, without which no deadline passes.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("wasm-epochs".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(EPOCH_TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Ticker { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It holds nothing that could panic.
            let _ = thread.join();
        }
    }
}
