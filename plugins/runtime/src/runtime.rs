//! The runtime: one engine with settings that give the same answer everywhere, its pools, its
//! clock and its one compiler thread at a time.

use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, Strategy,
};

use crate::cache::{Cache, CacheUse, Functions};
use crate::child::{CompilerProcess, Known};
use crate::error::{LoadError, RuntimeError, explain};
use crate::limits::{
    CORE_INSTANCES, MEMORIES_PER_INSTANCE, MEMORY_BYTES, STACK_BYTES, TABLE_ELEMENTS,
    TABLES_PER_INSTANCE, TOTAL_INSTANCES, check_all,
};
use crate::ticker::{Running, Ticker};

/// Memory of an instance that stays in place when the instance is given back, in bytes: what makes
/// a fresh one cheap.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// Most bytes of what the engine keeps for one instance beside its memory and tables.
const INSTANCE_BYTES_MAX: usize = 1 << 20;
/// Stack of the compiler's thread in bytes: deep expressions make it deep.
pub(crate) const COMPILE_STACK_BYTES: usize = 16 << 20;

/// How a runtime is set up; [`RuntimeConfig::default`] has the default of every bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// See [`TOTAL_INSTANCES`].
    pub total_instances: u64,
    /// See [`STACK_BYTES`].
    pub stack_bytes: u64,
    /// See [`CORE_INSTANCES`].
    pub core_instances: u64,
    /// Most memory that any plugin's limits may allow; see [`MEMORY_BYTES`].
    pub memory_bytes: u64,
    /// Most table elements that any plugin's limits may allow; see [`TABLE_ELEMENTS`].
    pub table_elements: u64,
    /// Directory for compiled code, made if it is not there; `None` compiles at each start.
    pub cache_dir: Option<PathBuf>,
    /// What compiles a component that is not in the directory yet; `None` compiles it in this
    /// process, which a component that breaks the compiler takes along.
    pub compiler: Option<CompilerProcess>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            total_instances: TOTAL_INSTANCES.default,
            stack_bytes: STACK_BYTES.default,
            core_instances: CORE_INSTANCES.default,
            memory_bytes: MEMORY_BYTES.default,
            table_elements: TABLE_ELEMENTS.default,
            cache_dir: None,
            compiler: None,
        }
    }
}

impl RuntimeConfig {
    fn check(&self) -> Result<(), RuntimeError> {
        check_all(&[
            (TOTAL_INSTANCES, self.total_instances),
            (STACK_BYTES, self.stack_bytes),
            (CORE_INSTANCES, self.core_instances),
            (MEMORY_BYTES, self.memory_bytes),
            (TABLE_ELEMENTS, self.table_elements),
        ])?;
        Ok(())
    }
}

/// Runs plugins: one WebAssembly engine, shared by all of them. Cheap to clone.
///
/// # Example
///
/// ```
/// use onhand_plugin_runtime::{Runtime, RuntimeConfig};
///
/// let runtime = Runtime::new(RuntimeConfig { total_instances: 8, ..RuntimeConfig::default() })?;
/// assert_eq!(runtime.config().total_instances, 8);
/// # Ok::<(), onhand_plugin_runtime::RuntimeError>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("config", &self.shared.config).finish()
    }
}

/// A plugin that keeps warm instances.
pub(crate) trait Warm: Send + Sync {
    /// Drops those that no call uses.
    fn cool(&self);
}

struct Shared {
    /// The plugins that are loaded, so that one may have the room that others keep.
    plugins: Mutex<Vec<Weak<dyn Warm>>>,
    engine: Engine,
    config: RuntimeConfig,
    compiler: Arc<Compiler>,
    ticker: Ticker,
}

/// The one place where code is compiled, and what it keeps.
struct Compiler {
    functions: Arc<Functions>,
    cache: Option<Cache>,
    process: Option<CompilerProcess>,
    busy: Mutex<bool>,
    free: Condvar,
}

/// A compiled component and what the cache did for it.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) cache: CacheUse,
}

impl Runtime {
    /// Sets up an engine, its pools and its clock.
    ///
    /// # Errors
    ///
    /// Returns a limit outside its range, settings that this machine cannot fulfil, or a directory
    /// for compiled code that cannot be trusted.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        config.check()?;
        let functions = Arc::new(Functions::default());
        let engine =
            engine(&config, &functions).map_err(|error| RuntimeError::Engine(explain(&error)))?;
        let cache = config.cache_dir.as_deref().map(|dir| Cache::open(dir, &engine)).transpose()?;
        let process = config.compiler.clone();
        let (busy, free) = (Mutex::new(false), Condvar::new());
        let compiler = Compiler { functions, cache, process, busy, free };
        let ticker = Ticker::start(engine.clone()).map_err(RuntimeError::Thread)?;
        let compiler = Arc::new(compiler);
        Ok(Self {
            shared: Arc::new(Shared {
                plugins: Mutex::default(),
                engine,
                config,
                compiler,
                ticker,
            }),
        })
    }

    /// Returns how the runtime was set up.
    pub fn config(&self) -> &RuntimeConfig {
        &self.shared.config
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Takes note of a plugin that keeps warm instances.
    pub(crate) fn enlist(&self, plugin: Weak<dyn Warm>) {
        let mut plugins = self.shared.plugins.lock();
        plugins.retain(|known| known.strong_count() > 0);
        plugins.push(plugin);
    }

    /// Drops all warm instances that no call uses.
    pub(crate) fn cool_all(&self) {
        let plugins: Vec<_> = self.shared.plugins.lock().iter().filter_map(Weak::upgrade).collect();
        for plugin in plugins {
            plugin.cool();
        }
    }

    /// Keeps deadlines going until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.ticker.run()
    }

    /// Compiles on a thread of its own, one component at a time: after a process of its own has
    /// done so, if there is one and the directory does not know the component.
    ///
    /// A component that takes too long keeps that thread until it is done, so that further ones
    /// are refused meanwhile instead of taking one processor each; a process is ended.
    pub(crate) fn compile(&self, wasm: &[u8], max_ms: u64) -> Result<Compiled, LoadError> {
        let late = LoadError::CompileTime { max_ms };
        let until = Instant::now() + Duration::from_millis(max_ms);
        let compiler = Arc::clone(&self.shared.compiler);
        {
            let mut busy = compiler.busy.lock();
            while *busy {
                if compiler.free.wait_until(&mut busy, until).timed_out() && *busy {
                    return Err(late);
                }
            }
            *busy = true;
        }
        let slot = Slot(compiler);
        let known = slot.0.known(wasm, max_ms, until)?;
        let (give, take) = mpsc::sync_channel(1);
        let (engine, wasm) = (self.shared.engine.clone(), wasm.to_vec());
        let started = thread::Builder::new()
            .name("onhand-plugin-compile".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn(move || {
                let compiled = slot.0.compile(&engine, &wasm, known);
                drop(slot);
                // Nobody waits any more if it took too long.
                drop(give.send(compiled));
            });
        if let Err(error) = started {
            return Err(LoadError::Compile(format!("no thread: {error}")));
        }
        let left = until.saturating_duration_since(Instant::now());
        match take.recv_timeout(left) {
            Ok(compiled) => compiled,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(late),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(LoadError::Compile("the compiler gave up on it".to_owned()))
            }
        }
    }
}

/// Gives the compiler back, also if it panics.
struct Slot(Arc<Compiler>);

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.busy.lock() = false;
        self.0.free.notify_one();
    }
}

/// Functions that need not be compiled, and whether a process has just done so.
#[derive(Default)]
struct Ready {
    functions: Known,
    apart: bool,
}

impl Compiler {
    /// Finds the functions of a component, or lets a process compile them.
    fn known(&self, wasm: &[u8], max_ms: u64, until: Instant) -> Result<Ready, LoadError> {
        let cached = self.cache.as_ref().and_then(|cache| cache.known(&blake3::hash(wasm)));
        match (cached, &self.process) {
            // This host has made it: the compiler has survived it once.
            (Some(functions), _) => Ok(Ready { functions, apart: false }),
            (None, Some(process)) => {
                let functions = process.compile(wasm, max_ms, until)?;
                Ok(Ready { functions, apart: true })
            }
            (None, None) => Ok(Ready::default()),
        }
    }

    fn compile(&self, engine: &Engine, wasm: &[u8], ready: Ready) -> Result<Compiled, LoadError> {
        let Ready { functions, apart } = ready;
        self.functions.begin(functions);
        let compiled = Component::from_binary(engine, wasm);
        let made = self.functions.end();
        let component = compiled.map_err(|error| LoadError::Compile(explain(&error)))?;
        if let Some(cache) = &self.cache
            && (made.added > 0 || apart)
        {
            cache.keep(&blake3::hash(wasm), &made.used);
        }
        let (hits, compiled_apart) = if apart { (0, made.hits) } else { (made.hits, 0) };
        let cache = CacheUse { hits, compiled: made.added, compiled_apart };
        Ok(Compiled { component, cache })
    }
}

/// Compiles a component without room for instances of it: the same code as [`engine`] makes.
pub(crate) fn compile_only(functions: &Arc<Functions>, wasm: &[u8]) -> wasmtime::Result<()> {
    let mut settings = settings(STACK_BYTES.default);
    settings.enable_incremental_compilation(Arc::clone(functions) as _)?;
    let engine = Engine::new(&settings)?;
    engine.precompile_component(wasm).map(drop)
}

/// Returns an engine that gives the same answer, and takes the same fuel, on every machine.
fn engine(config: &RuntimeConfig, functions: &Arc<Functions>) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    let instances = config.total_instances as u32;
    let core_instances = config.core_instances as u32;
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(core_instances))
        .max_core_instances_per_component(core_instances)
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .max_memories_per_component(MEMORIES_PER_INSTANCE)
        .max_memories_per_module(MEMORIES_PER_INSTANCE)
        .max_memory_size(config.memory_bytes as usize)
        .total_tables(instances.saturating_mul(TABLES_PER_INSTANCE))
        .max_tables_per_component(TABLES_PER_INSTANCE)
        .max_tables_per_module(TABLES_PER_INSTANCE)
        .table_elements(config.table_elements as usize)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);

    let mut settings = settings(config.stack_bytes);
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    if config.cache_dir.is_some() || config.compiler.is_some() {
        settings.enable_incremental_compilation(Arc::clone(functions) as _)?;
    }
    Engine::new(&settings)
}

/// Returns all that compiled code depends on.
fn settings(stack_bytes: u64) -> Config {
    let mut settings = Config::new();
    settings
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .memory_init_cow(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes as usize)
        .concurrency_support(false);
    // What may differ from machine to machine, or is not needed, is off or forced.
    settings
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    settings
}
