//! What an examiner takes upon itself before it looks at a byte.

use std::{fs, io};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::quiet::NICE;

/// Limits this process: address space, processor time, no core dump, no file of its own. It also
/// stands back behind all others.
pub(super) fn limit_this_process(
    memory_bytes_max: u64,
    cpu_seconds_max: u64,
) -> rustix::io::Result<()> {
    let exactly = |maximum| Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    setpriority_process(None, NICE)?;
    setrlimit(Resource::As, exactly(memory_bytes_max))?;
    setrlimit(Resource::Cpu, exactly(cpu_seconds_max))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Fsize, exactly(0))
}

/// Does something while this process may not grow by more than so many bytes. What does not fit
/// ends it.
pub(super) fn within_bytes<T>(bytes_max: u64, work: impl FnOnce() -> T) -> io::Result<T> {
    let before = getrlimit(Resource::As);
    let held = address_space()?;
    let lower = held.saturating_add(bytes_max);
    let current = before.current.map_or(lower, |current| current.min(lower));
    let limit = |current| Rlimit {
        current,
        maximum: before.maximum,
    };
    setrlimit(Resource::As, limit(Some(current)))?;
    let done = work();
    setrlimit(Resource::As, limit(before.current))?;
    Ok(done)
}

/// Processor time that this thread has taken.
pub(super) fn processor_time() -> std::time::Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.try_into().unwrap_or_default()
}

/// Bytes of address space of this process.
fn address_space() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:")?.strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::other("/proc/self/status does not tell the address space"))?;
    Ok(kib << 10)
}
