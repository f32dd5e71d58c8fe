//! The context of a trace as it is written: W3C `traceparent`, and behind a space `tracestate` if
//! there is one.

use std::{str::FromStr as _, sync::Arc};

use opentelemetry::trace::{SpanId, TraceId, TraceState};

/// Longest `tracestate` that is kept; a longer one is left out, as the specification allows.
const STATE_BYTES_MAX: usize = 512;

/// Length of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// The flag of a trace that is wanted.
const SAMPLED: u8 = 1;

/// A trace, and the span in it that something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context<'t> {
    /// Which trace.
    pub(super) trace: TraceId,
    /// The span.
    pub(super) span: SpanId,
    /// Whether somebody wants it.
    pub(super) sampled: bool,
    /// What others keep beside it.
    state: Option<&'t str>,
}

impl<'t> Context<'t> {
    /// A trace that is wanted.
    pub(super) fn wanted(trace: TraceId, span: SpanId) -> Self {
        Self {
            trace,
            span,
            sampled: true,
            state: None,
        }
    }

    /// Reads one; none if it is not as the specification wants it.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        let (parent, state) = match text.split_once(' ') {
            Some((parent, state)) => (parent, Some(state)),
            None => (text, None),
        };
        let (known, later) = parent.split_at_checked(PARENT_BYTES)?;
        let is_written = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = known.split('-');
        let mut part = |length: usize| {
            let part = parts.next()?;
            (part.len() == length && is_written(part)).then_some(part)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may have more behind these.
        let goes_on = version != "00" && later.starts_with('-');
        if version == "ff" || !(later.is_empty() || goes_on) {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let is_one = trace != TraceId::INVALID && span != SpanId::INVALID;
        is_one.then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
            state,
        })
    }

    /// The same of a trace that somebody wants; none of every other.
    pub(super) fn read_wanted(text: Option<&'t Arc<str>>) -> Option<Self> {
        Self::read(text?).filter(|context| context.sampled)
    }

    /// The same trace at another span.
    pub(super) fn at(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// Its `traceparent`.
    pub(super) fn parent_text(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }

    /// As a text.
    pub(super) fn to_text(self) -> Arc<str> {
        joined(&self.parent_text(), self.state)
    }

    /// What others keep beside it.
    pub(super) fn state(&self) -> TraceState {
        let state = self.state.map(TraceState::from_str);
        state.and_then(Result::ok).unwrap_or_default()
    }
}

/// The context that two headers tell; none if they are not as the specification wants them.
pub fn received(parent: &str, state: Option<&str>) -> Option<Arc<str>> {
    let text = joined(parent, state);
    Context::read(&text).is_some().then_some(text)
}

fn joined(parent: &str, state: Option<&str>) -> Arc<str> {
    let kept = state.filter(|state| !state.is_empty() && state.len() <= STATE_BYTES_MAX);
    match kept {
        Some(state) => format!("{parent} {state}").into(),
        None => parent.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        for state in [None, Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")] {
            let text = joined(PARENT, state);
            let context = Context::read(&text).unwrap();
            assert!(context.sampled);
            assert_eq!(context.state().header(), state.unwrap_or_default());
            assert_eq!(context.to_text(), text);
        }
        let unwanted = PARENT.replace("-01", "-00");
        assert!(!Context::read(&unwanted).unwrap().sampled);
        assert_eq!(Context::read(&unwanted).unwrap().parent_text(), unwanted);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = PARENT.replacen("00-", "01-", 1);
        for text in [later.clone(), format!("{later}-what-ever")] {
            assert_eq!(
                Context::read(&text).unwrap().parent_text(),
                PARENT,
                "{text}"
            );
        }
    }

    #[test]
    fn what_the_specification_forbids_is_no_context() {
        let zero = |part: &str| PARENT.replace(part, &"0".repeat(part.len()));
        for text in [
            String::new(),
            "00-1-2-01".to_owned(),
            PARENT.to_uppercase(),
            PARENT.replacen("00-", "ff-", 1),
            zero("4bf92f3577b34da6a3ce929d0e0e4736"),
            zero("00f067aa0ba902b7"),
            format!("{PARENT}-more"),
            format!("{}é", &PARENT[..54]),
        ] {
            assert_eq!(Context::read(&text), None, "{text}");
        }
    }

    #[test]
    fn what_comes_in_headers_is_looked_at() {
        assert_eq!(
            received(PARENT, Some("a=1")),
            Some(joined(PARENT, Some("a=1")))
        );
        assert_eq!(received("00-1-2-01", None), None);
    }

    #[test]
    fn a_state_that_is_too_long_is_left_out() {
        let long = format!("a={}", "x".repeat(STATE_BYTES_MAX));
        assert_eq!(&*joined(PARENT, Some(&long)), PARENT);
        assert_eq!(&*joined(PARENT, Some("")), PARENT);
    }
}
