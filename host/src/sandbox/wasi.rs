//! WASI 0.2 for guests of other toolchains: everything is denied, everything is repeatable.
//!
//! Files, sockets, environment and arguments are wasmtime's own implementation with nothing
//! granted. Clocks and random numbers are made here, from the call at hand: the clock shows when the
//! host accepted the event, random numbers come from the instance's id and sequence number. Sleeping
//! moves the clock of the call and takes no time. Output becomes log lines.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncWrite, Empty, empty};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream},
    p2::{
        DynPollable, OutputStream, Pollable, StreamResult,
        bindings::{
            clocks::{monotonic_clock, wall_clock},
            random::{insecure, insecure_seed, random},
        },
        subscribe,
    },
};
use xcomponent_core::{
    call::{Call, FaultCode, LogLevel},
    id::stable_hash,
};

use super::{
    config::Config,
    log::Log,
    state::{State, Violation},
};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What one write to an output may carry; WASI's usual size.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What a guest that imports WASI has on the host's side.
pub(super) struct Wasi {
    denied: WasiCtx,
    table: ResourceTable,
    /// Nanoseconds since 1970 at which the host accepted the event.
    accepted: u64,
    /// Nanoseconds slept since; shared with what the guest waits for.
    slept: Arc<AtomicU64>,
    random: u64,
    random_bytes_max: usize,
    output: Arc<Mutex<Output>>,
}

impl Wasi {
    /// WASI with nothing granted.
    pub(super) fn new(config: &Config) -> Self {
        let bytes_max = config
            .log_lines_max
            .saturating_mul(config.log_line_bytes_max);
        let output = Arc::new(Mutex::new(Output {
            written: Vec::new(),
            n_bytes: 0,
            bytes_max,
        }));
        let stream = |level| Stream {
            level,
            output: Arc::clone(&output),
        };
        let denied = WasiCtx::builder()
            .allow_tcp(false)
            .allow_udp(false)
            .stdout(stream(LogLevel::Info))
            .stderr(stream(LogLevel::Warn))
            .build();
        Self {
            denied,
            table: ResourceTable::new(),
            accepted: 0,
            slept: Arc::default(),
            random: 0,
            random_bytes_max: config.transfer_bytes_max,
            output,
        }
    }

    /// Begins a call: its clock, and its seed.
    pub(super) fn begin(&mut self, call: &Call) {
        self.accepted = call.event.at.0.saturating_mul(NANOS_PER_MILLI);
        self.slept.store(0, Ordering::Relaxed);
        self.random = stable_hash(format!("{}.{}", call.instance, call.seq).as_bytes());
    }

    /// Moves what was written to the outputs into the log.
    pub(super) fn drain(&self, log: &mut Log) {
        let written = self
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for (level, bytes) in written {
            let text = String::from_utf8_lossy(&bytes);
            let panicked = level == LogLevel::Warn && text.contains("panicked at");
            if panicked {
                log.write(LogLevel::Error, &format!("panic: {}", text.trim()));
            } else {
                text.lines().for_each(|line| log.write(level, line));
            }
        }
    }

    fn now(&self) -> u64 {
        self.accepted
            .saturating_add(self.slept.load(Ordering::Relaxed))
    }

    /// The next number of SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len <= self.random_bytes_max);
        let len = len.ok_or_else(|| {
            Violation::new(
                FaultCode::Memory,
                "too many random bytes asked for at one time",
            )
        })?;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next_random().to_le_bytes());
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Something to wait for that is ready at once and then has moved the clock to `wake`.
    fn sleep_until(&mut self, wake: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let sleep = Sleep {
            wake: wake.saturating_sub(self.accepted),
            slept: Arc::clone(&self.slept),
            yielded: false,
        };
        let sleep = self.table.push(sleep)?;
        subscribe(&mut self.table, sleep)
    }
}

/// Adds WASI to a linker.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<State, Repeatable>(linker, State::wasi)?;
    monotonic_clock::add_to_linker::<State, Repeatable>(linker, State::wasi)?;
    random::add_to_linker::<State, Repeatable>(linker, State::wasi)?;
    insecure::add_to_linker::<State, Repeatable>(linker, State::wasi)?;
    insecure_seed::add_to_linker::<State, Repeatable>(linker, State::wasi)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The part of WASI that is made here.
struct Repeatable;

impl HasData for Repeatable {
    type Data<'a> = &'a mut Wasi;
}

impl State {
    fn wasi(&mut self) -> &mut Wasi {
        self.wasi
            .as_mut()
            .expect("only components that import WASI are linked to it, and their state has it")
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi();
        WasiCtxView {
            ctx: &mut wasi.denied,
            table: &mut wasi.table,
        }
    }
}

impl wall_clock::Host for Wasi {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let now = std::time::Duration::from_nanos(Self::now(self));
        Ok(wall_clock::Datetime {
            seconds: now.as_secs(),
            nanoseconds: now.subsec_nanos(),
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime {
            seconds: 0,
            nanoseconds: 1_000_000,
        })
    }
}

impl monotonic_clock::Host for Wasi {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(Self::now(self))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(NANOS_PER_MILLI)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.sleep_until(when)
    }

    fn subscribe_duration(&mut self, span: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.sleep_until(Self::now(self).saturating_add(span))
    }
}

impl random::Host for Wasi {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next_random())
    }
}

impl insecure::Host for Wasi {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next_random())
    }
}

impl insecure_seed::Host for Wasi {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.next_random(), self.next_random()))
    }
}

/// A guest that sleeps. It gives its thread back once, so that a loop of sleeps is metered by the
/// slow lane, and wakes with the clock moved.
struct Sleep {
    wake: u64,
    slept: Arc<AtomicU64>,
    yielded: bool,
}

impl Future for &mut Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.yielded {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.slept.fetch_max(self.wake, Ordering::Relaxed);
        Poll::Ready(())
    }
}

impl Pollable for Sleep {
    fn ready<'s, 'f>(&'s mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(self)
    }
}

/// What the guest wrote to its outputs, in order.
struct Output {
    written: Vec<(LogLevel, Vec<u8>)>,
    n_bytes: usize,
    bytes_max: usize,
}

impl Output {
    /// Adds to the last piece if it came from the same stream. What is over the limit is dropped.
    fn write(&mut self, level: LogLevel, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.bytes_max - self.n_bytes)];
        self.n_bytes += bytes.len();
        match self.written.last_mut() {
            Some((last, written)) if *last == level => written.extend_from_slice(bytes),
            _ => self.written.push((level, bytes.to_vec())),
        }
    }

    fn take(&mut self) -> Vec<(LogLevel, Vec<u8>)> {
        self.n_bytes = 0;
        std::mem::take(&mut self.written)
    }
}

/// Standard output or standard error.
#[derive(Clone)]
struct Stream {
    level: LogLevel,
    output: Arc<Mutex<Output>>,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        let nowhere: Empty = empty();
        Box::new(nowhere)
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for Stream {
    fn ready<'s, 'f>(&'s mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(std::future::ready(()))
    }
}
