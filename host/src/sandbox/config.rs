//! Every limit of the sandbox, each with its reason.

use std::{path::PathBuf, time::Duration};

use crate::memory::{Memory, Purpose};

/// What a host allows its guests. Being stopped at one of these is a typed fault, never a crash.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host's budget: [`Purpose::Sandboxes`] bounds the memories of all sandboxes together,
    /// idle ones included, [`Purpose::Code`] the machine code that is loaded.
    pub memory: Memory,
    /// Sandboxes that exist at one time, idle or in use. An idle component holds none after
    /// `idle_max`, so this bounds what is busy, not what is installed. 1 000 × `keep_resident_bytes`
    /// is the memory that the pool keeps at most for slots that nobody uses.
    pub sandboxes_max: usize,
    /// How long a sandbox is kept for its next call. Starting another one takes 20 µs; half a minute
    /// spares that to whoever is called at all often.
    pub idle_max: Duration,
    /// Memory of a sandbox that is kept for its next call. One that holds more is dropped when its
    /// call is done: what one large document took is not held for the next.
    pub idle_bytes_max: usize,
    /// Checkouts that may wait for a slot; further ones are refused. Each is a future of some
    /// hundred bytes.
    pub waits_max: usize,
    /// Calls after which a sandbox is thrown away. A guest that leaks 6 KiB in every call stays
    /// below its memory limit, and 20 µs for a new one, spread over so many calls, cost 2 ns each.
    pub calls_per_sandbox_max: u32,
    /// Linear memories and tables of one sandbox together: 64 MiB holds a JavaScript engine. On a host
    /// with less than 1 GiB it is half of what there is for all sandboxes.
    pub memory_bytes_max: usize,
    /// How much of a slot's memory stays mapped for its next user, who finds it set to zero. That is
    /// faster than faulting it in again, for as much as an ordinary call touches; what a memory bomb
    /// leaves behind costs every later user of its slot, so it is not more than that.
    pub keep_resident_bytes: usize,
    /// Stack of the guest's code (that of wasm itself; a guest may keep another in its memory).
    pub stack_bytes_max: usize,
    /// Work one call may do, in wasmtime's fuel: about 100 ms on the machines the project is
    /// measured on (80 ms of reading JSON, 120 ms of an empty loop). Exact and repeatable, so that the
    /// same call faults everywhere or nowhere.
    pub fuel_per_call_max: u64,
    /// Fuel after which a running call gives its thread back: about 0.2 ms. An ordinary call needs a
    /// hundredth of that, and a shard that meets an endless loop loses no more.
    pub fuel_yield_interval: u64,
    /// Work the host does for one call (see [`Config::host_call_cost`]), which fuel does not see.
    pub host_work_max: u64,
    /// What a call of the host costs besides one unit for each byte handed over.
    pub host_call_cost: u64,
    /// Time a call may keep threads busy, however little fuel it uses: ten times what the fuel is
    /// meant to take. The last resort; a call that meets it has found a gap in the metering.
    pub wall_per_call_max: Duration,
    /// Sends of one transition.
    pub sends_per_transition_max: u32,
    /// Payloads of the sends of one sandbox checkout together: without it, a thousand sends of a
    /// 1 MiB payload would be a record of a gigabyte.
    pub send_bytes_max: usize,
    /// Lines kept of one transition; further ones are counted.
    pub log_lines_max: usize,
    /// Length of one line; the rest is cut.
    pub log_line_bytes_max: usize,
    /// Largest answer; no larger than a context may be.
    pub answer_bytes_max: usize,
    /// What a guest may hand over in one call or answer before the host stops copying. Larger than
    /// `answer_bytes_max`, so that an answer slightly too large is told by its size.
    pub transfer_bytes_max: usize,
    /// Calls of one component version that run on the slow lane at one time.
    pub slow_lane_per_component_max: usize,
    /// Calls of one tenant that run on the slow lane at one time.
    pub slow_lane_per_tenant_max: usize,
    /// Calls of one component version that wait for the slow lane. Each holds a slot, so that this
    /// also keeps one component from taking the whole pool.
    pub slow_lane_waits_max: usize,
    /// Compiled components kept in memory, as far as the budget has room for them; the least recently
    /// used is dropped and read again from the cache when it is needed.
    pub loaded_max: usize,
    /// Where compiled components are kept between starts; none = a temporary folder that goes with
    /// the process.
    pub cache_dir: Option<PathBuf>,
    /// Size of that folder; the least recently used files go first.
    pub cache_bytes_max: u64,
    /// What compilation may cost.
    pub compile: CompileConfig,
}

/// What examining and compiling one component may cost.
#[derive(Clone, Debug)]
pub struct CompileConfig {
    /// The program to start as the examiner; none = this one. It must hand the arguments after
    /// [`COMMAND`](super::examiner::COMMAND) to [`child_main`](super::examiner::child_main).
    pub program: Option<PathBuf>,
    /// Largest component.
    pub component_bytes_max: usize,
    /// Most functions in all its modules together: an interpreter has ten thousand.
    pub functions_max: usize,
    /// Address space of the examiner.
    pub memory_bytes_max: u64,
    /// Processor time of the examiner, whole seconds.
    pub cpu_seconds_max: u64,
    /// Time until the examiner must have answered each question; more than its processor time, since
    /// it stands back behind everything else on the machine.
    pub wall_max: Duration,
    /// Largest result.
    pub artifact_bytes_max: usize,
    /// Examiners that run at one time.
    pub at_once_max: usize,
    /// Uploads that wait for one; further ones are refused.
    pub waits_max: usize,
}

impl Config {
    /// The limits that the budget leaves room for.
    pub(super) fn within_budget(mut self) -> Self {
        let memory = &self.memory;
        let sandbox_max = memory.max(Purpose::Sandboxes) / 2;
        self.memory_bytes_max = self.memory_bytes_max.min(sandbox_max);
        let code_max = memory.max(Purpose::Code);
        let compile = &mut self.compile;
        compile.artifact_bytes_max = compile.artifact_bytes_max.min(code_max);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: Memory::of_this_machine(),
            sandboxes_max: 1_000,
            idle_max: Duration::from_secs(30),
            idle_bytes_max: 16 << 20,
            waits_max: 10_000,
            calls_per_sandbox_max: 10_000,
            memory_bytes_max: 64 << 20,
            keep_resident_bytes: 256 << 10,
            stack_bytes_max: 512 << 10,
            fuel_per_call_max: 400_000_000,
            fuel_yield_interval: 1_000_000,
            host_work_max: 10_000_000,
            host_call_cost: 64,
            wall_per_call_max: Duration::from_secs(1),
            sends_per_transition_max: 1_000,
            send_bytes_max: 8 << 20,
            log_lines_max: 100,
            log_line_bytes_max: 4 << 10,
            answer_bytes_max: 1 << 20,
            transfer_bytes_max: 4 << 20,
            slow_lane_per_component_max: 2,
            slow_lane_per_tenant_max: 4,
            slow_lane_waits_max: 100,
            loaded_max: 1_000,
            cache_dir: None,
            cache_bytes_max: 4 << 30,
            compile: CompileConfig::default(),
        }
    }
}

impl Default for CompileConfig {
    fn default() -> Self {
        Self {
            program: None,
            component_bytes_max: 64 << 20,
            functions_max: 200_000,
            memory_bytes_max: 2 << 30,
            cpu_seconds_max: 60,
            wall_max: Duration::from_secs(120),
            artifact_bytes_max: 256 << 20,
            at_once_max: 2,
            waits_max: 16,
        }
    }
}
