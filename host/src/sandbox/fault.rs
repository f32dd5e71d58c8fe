//! From what wasmtime reports to what a person reads: a typed fault, its message, its backtrace.

use std::{fmt::Write as _, sync::Arc};

use wasmtime::{FrameInfo, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use xcomponent_core::call::{Fault, FaultCode};

use super::{
    engine::BACKTRACE_FRAMES_MAX,
    state::{State, Violation},
};

/// Frames shown; the innermost tell what happened.
const FRAMES_SHOWN_MAX: usize = 24;

/// Longest symbol shown: generated names can fill pages.
const SYMBOL_BYTES_MAX: usize = 200;

/// Begins the names of functions that only carry a panic to its end.
const PANIC_MACHINERY: [&str; 7] = [
    "__rust",
    "rust_panic",
    "rust_begin_unwind",
    "core::panicking::",
    "std::panicking::",
    "std::sys::backtrace::__rust_",
    "std::process::abort",
];

/// A fault with a message and no backtrace.
pub(super) fn plain(code: FaultCode, message: impl Into<Arc<str>>) -> Fault {
    Fault {
        code,
        message: message.into(),
        backtrace: None,
    }
}

/// What a call that ended in an error of wasmtime is called.
pub(super) fn of_error(error: &wasmtime::Error, state: &State) -> Fault {
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map_or(&[][..], WasmBacktrace::frames);
    let (code, message) = classify(error, state, frames);
    Fault {
        code,
        message: message.into(),
        backtrace: render(frames),
    }
}

fn classify(error: &wasmtime::Error, state: &State, frames: &[FrameInfo]) -> (FaultCode, String) {
    if let Some(violation) = error.downcast_ref::<Violation>() {
        return (violation.code, violation.message.clone());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (
            FaultCode::Trap,
            format!("the guest exited with status {}", exit.0),
        );
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::OutOfFuel) {
        let fuel = state.config.fuel_per_call_max;
        return (
            FaultCode::Fuel,
            format!(
                "the call used up its {fuel} units of fuel: a loop without end, or too much work"
            ),
        );
    }
    if state.memory.is_refused() {
        return (FaultCode::Memory, out_of_memory(state));
    }
    match trap {
        Some(Trap::StackOverflow) => (
            FaultCode::Stack,
            "the stack is used up: a recursion without end?".to_owned(),
        ),
        // Compilers put the guest's own stack at the start of its memory: what overflows it leaves
        // memory at the end of a chain of calls that no backtrace shows in full.
        Some(Trap::MemoryOutOfBounds) if frames.len() == BACKTRACE_FRAMES_MAX => (
            FaultCode::Stack,
            "the stack in the guest's memory is used up: a recursion without end?".to_owned(),
        ),
        Some(trap) => (
            FaultCode::Trap,
            panic_text(state).unwrap_or_else(|| trap.to_string()),
        ),
        None if is_transfer_refused(error) => too_much(state, frames),
        None => (
            FaultCode::AnswerMalformed,
            format!(
                "the guest broke the component model's rules: {}",
                error.root_cause()
            ),
        ),
    }
}

fn panic_text(state: &State) -> Option<String> {
    state.log.panic().map(|text| format!("panic: {text}"))
}

fn out_of_memory(state: &State) -> String {
    let limit = format!(
        "the limit of {} bytes for all memories and tables is reached",
        state.memory.max()
    );
    panic_text(state).map_or_else(|| limit.clone(), |panic| format!("{limit} ({panic})"))
}

/// Whether wasmtime stopped copying because of [`transfer_bytes_max`](super::Config). The type of
/// that error is private to wasmtime; a test meets this text with every upgrade.
fn is_transfer_refused(error: &wasmtime::Error) -> bool {
    error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls")
}

/// Data over the limit: in an answer if no frame of the guest is left, else in a call of the host.
fn too_much(state: &State, frames: &[FrameInfo]) -> (FaultCode, String) {
    if frames.is_empty() {
        let bytes_max = state.config.answer_bytes_max;
        return (
            FaultCode::AnswerTooLarge,
            format!("the answer is larger than {bytes_max} bytes"),
        );
    }
    let bytes_max = state.config.transfer_bytes_max;
    (
        FaultCode::BadSend,
        format!("one call of the host carried more than {bytes_max} bytes"),
    )
}

/// The frames of the guest's own code, one a line, innermost first.
fn render(frames: &[FrameInfo]) -> Option<Arc<str>> {
    let symbols: Vec<String> = frames.iter().map(symbol).collect();
    let machinery = |symbol: &String| {
        PANIC_MACHINERY
            .iter()
            .any(|prefix| symbol.starts_with(prefix))
    };
    let first = symbols
        .iter()
        .position(|symbol| !machinery(symbol))
        .unwrap_or(0);
    let mut text = String::new();
    for symbol in symbols[first..].iter().take(FRAMES_SHOWN_MAX) {
        let separator = if text.is_empty() { "" } else { "\n" };
        write!(text, "{separator}{symbol}").expect("writing to a string cannot fail");
    }
    (!text.is_empty()).then(|| text.into())
}

fn symbol(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => super::log::cut(
            &format!("{:#}", rustc_demangle::demangle(name)),
            SYMBOL_BYTES_MAX,
        )
        .into_owned(),
        None => format!("function {} without a name", frame.func_index()),
    }
}
