//! What belongs to one sandbox on the host's side: the call at hand, what it sent and wrote, and
//! how much it used.

use std::sync::Arc;

use xcomponent_core::call::{Call, FaultCode, Send};

use super::{config::Config, log::Log, memory::MemoryMeter, ration::Ration, wasi::Wasi};

/// The data of a store.
pub(super) struct State {
    /// The limits that hold.
    pub(super) config: Arc<Config>,
    /// The call at hand; none while the guest starts or lists its methods.
    pub(super) call: Option<Arc<Call>>,
    /// What the call sent, in order.
    pub(super) sends: Vec<Send>,
    /// Bytes of payload sent since the sandbox was checked out.
    pub(super) send_bytes: usize,
    /// Work the host did for the call.
    pub(super) work: u64,
    /// What the call wrote.
    pub(super) log: Log,
    /// Memory of the sandbox.
    pub(super) memory: MemoryMeter,
    /// Present if the component imports WASI.
    pub(super) wasi: Option<Box<Wasi>>,
}

/// A rule of the contract that a guest broke in a call of the host; it ends the guest's call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Violation {
    /// What kind of fault it is.
    pub(super) code: FaultCode,
    /// For people.
    pub(super) message: String,
}

impl Violation {
    /// A violation with its message.
    pub(super) fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl State {
    /// The state of a new sandbox that may use this memory.
    pub(super) fn new(config: &Arc<Config>, with_wasi: bool, ration: Ration) -> Self {
        Self {
            config: Arc::clone(config),
            call: None,
            sends: Vec::new(),
            send_bytes: 0,
            work: 0,
            log: Log::new(config.log_lines_max, config.log_line_bytes_max),
            memory: MemoryMeter::new(config.memory_bytes_max, ration),
            wasi: with_wasi.then(|| Box::new(Wasi::new(config))),
        }
    }

    /// Begins a transition: what is counted per transition starts again.
    pub(super) fn renew(&mut self) {
        self.send_bytes = 0;
        self.log.renew();
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, call: Arc<Call>) {
        if let Some(wasi) = &mut self.wasi {
            wasi.begin(&call);
        }
        self.call = Some(call);
        self.work = 0;
        self.memory.begin();
    }

    /// Ends a call: output becomes log lines, and nothing of the call stays.
    pub(super) fn end(&mut self) {
        if let Some(wasi) = &mut self.wasi {
            wasi.drain(&mut self.log);
        }
        self.call = None;
    }

    /// Counts one call of the host that handed over so many bytes.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Violation> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.work = self
            .work
            .saturating_add(self.config.host_call_cost)
            .saturating_add(bytes);
        if self.work > self.config.host_work_max {
            return Err(Violation::new(
                FaultCode::Fuel,
                "the work the host does for one call is used up by calls of the host",
            ));
        }
        Ok(())
    }
}
