//! How wasmtime is set up: what code is generated, where guests live, what they are linked to.
//!
//! Fuel decides and fuel preempts: it is exact, the same everywhere, needs no ticking thread, and
//! wasmtime also charges the bytes of bulk memory instructions. Epochs would add a second check to
//! every loop and decide nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{
    Enabled, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig,
    component::Linker,
};

use super::{bindings::Component, config::Config, state::State, wasi};

/// Frames of a backtrace. Enough to tell a deep recursion from an ordinary call chain.
pub(super) const BACKTRACE_FRAMES_MAX: usize = 64;

/// Modules, memories and tables that one component may consist of. Guests of the SDK have one of
/// each and two adapters; a Python interpreter has about twenty modules around one memory.
const CORE_INSTANCES_MAX: u32 = 64;
const MEMORIES_MAX: u32 = 2;
const TABLES_MAX: u32 = 8;

/// Largest table; pointers of 8 bytes, reserved, not used.
const TABLE_ELEMENTS_MAX: usize = 50_000;

/// Address space reserved for each memory, so that code needs no bounds checks.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Stack of host functions, below that of the guest.
const HOST_STACK_BYTES: usize = 512 << 10;

/// An engine that runs guests, from a pool of slots.
pub(super) fn pooled(config: &Config) -> wasmtime::Result<Engine> {
    let sandboxes =
        u32::try_from(config.sandboxes_max + config.compile.at_once_max).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(sandboxes.saturating_mul(MEMORIES_MAX))
        .total_tables(sandboxes.saturating_mul(TABLES_MAX))
        .total_stacks(sandboxes)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_memory_size(config.memory_bytes_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instance_size(16 << 20)
        .max_component_instance_size(16 << 20)
        .linear_memory_keep_resident(config.keep_resident_bytes)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut engine = code();
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(config.stack_bytes_max)
        .async_stack_size(config.stack_bytes_max + HOST_STACK_BYTES);
    Engine::new(&engine)
}

/// An engine that only compiles; what it makes runs on a [`pooled`] one.
pub(super) fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(&code())
}

/// What an artifact must have been made for to run on `engine`.
pub(super) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Everything that decides which code is generated. Nothing in it may depend on a host's
/// configuration: the compiler's process does not know it.
fn code() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .consume_fuel(true)
        .operator_cost(costs())
        .memory_reservation(MEMORY_RESERVATION)
        .memory_may_move(false)
        // A fresh memory's few data segments are copied: faster than mapping them, which every
        // new sandbox would have to undo.
        .memory_init_cow(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .gc_support(false);
    config
}

/// What instructions cost in fuel: 1, and more for those that take several times longer than the
/// average, so that the same fuel is about the same time for a tight loop as for reading JSON.
fn costs() -> OperatorCost {
    // A backward branch comes with a check of the fuel left, a call with two and a frame.
    let (branch, call, division) = (4, 4, 10);
    OperatorCost {
        Br: branch,
        BrIf: branch / 2,
        BrTable: branch,
        Call: call,
        CallIndirect: call,
        I32DivS: division,
        I32DivU: division,
        I32RemS: division,
        I32RemU: division,
        I64DivS: division,
        I64DivU: division,
        I64RemS: division,
        I64RemU: division,
        F32Div: division,
        F64Div: division,
        F32Sqrt: division,
        F64Sqrt: division,
        ..OperatorCost::new()
    }
}

/// What guests are linked to: the project's own interfaces, and for those that ask for it WASI.
pub(super) fn linker(engine: &Engine, with_wasi: bool) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    Component::add_to_linker::<State, wasmtime::component::HasSelf<State>>(&mut linker, |state| {
        state
    })?;
    if with_wasi {
        wasi::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}
