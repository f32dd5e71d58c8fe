//! What guests may ask of the host: send, look at the call at hand, write a line.
//!
//! Sends are checked here and buffered; they leave when the transition commits. Whatever breaks the
//! contract ends the guest's call with a typed fault.

use std::sync::Arc;

use xcomponent_core::{
    call::{Call, FaultCode, LogLevel, Send},
    definition::MethodKind,
    id::{ComponentName, EventId, EventName, InstanceId, MachineName, StateName},
    json::Json,
    limits::{DELAY_MAX, NAME_BYTES_MAX},
    time::Duration,
};

use super::{
    bindings::xcomponent::component::{current, logging, sender, types},
    state::{State, Violation},
};

/// Longest id of a send that a guest may name. Versions before this one did not shorten them, and a
/// context may hold one of those; it is compared and not kept.
const SEND_ID_BYTES_MAX: usize = 1 << 20;

impl types::Host for State {}

impl sender::Host for State {
    fn send_to_self(
        &mut self,
        event: String,
        payload: String,
        delay_ms: Option<u64>,
    ) -> wasmtime::Result<String> {
        let call = self.sending(payload.len())?;
        let send = Send::ToSelf {
            event: event_name(&event)?,
            payload: json(&payload)?,
            delay: delay(delay_ms)?,
        };
        Ok(self.push(&call, send))
    }

    fn send(
        &mut self,
        instance_id: String,
        event: String,
        payload: String,
        delay_ms: Option<u64>,
    ) -> wasmtime::Result<String> {
        self.send_to(None, &instance_id, &event, &payload, delay_ms)
    }

    fn send_to_component(
        &mut self,
        component: String,
        instance_id: String,
        event: String,
        payload: String,
        delay_ms: Option<u64>,
    ) -> wasmtime::Result<String> {
        self.send_to(Some(component), &instance_id, &event, &payload, delay_ms)
    }

    fn broadcast(
        &mut self,
        component: Option<String>,
        machine: String,
        state: Option<String>,
        event: String,
        payload: String,
        delay_ms: Option<u64>,
    ) -> wasmtime::Result<String> {
        let call = self.sending(payload.len())?;
        let send = Send::Broadcast {
            component: component_name(component)?,
            machine: MachineName::new(name("a machine", &machine)?),
            state: state
                .map(|state| name("a state", &state).map(StateName::new))
                .transpose()?,
            event: event_name(&event)?,
            payload: json(&payload)?,
            delay: delay(delay_ms)?,
        };
        Ok(self.push(&call, send))
    }

    fn create_instance(
        &mut self,
        component: Option<String>,
        machine: String,
        context: String,
    ) -> wasmtime::Result<String> {
        let call = self.sending(context.len())?;
        let context = json(&context)?;
        let id = call.child_id(self.next_number(&call), &context);
        let machine = MachineName::new(name("a machine", &machine)?);
        self.push(
            &call,
            Send::Create {
                component: component_name(component)?,
                machine,
                context,
            },
        );
        Ok(id.to_string())
    }

    fn cancel(&mut self, id: String) -> wasmtime::Result<()> {
        let call = self.sending(id.len())?;
        if id.is_empty() || id.len() > SEND_ID_BYTES_MAX {
            return Err(bad_send(format!(
                "the id of a send has 1 to {SEND_ID_BYTES_MAX} bytes, this has {}",
                id.len()
            ))
            .into());
        }
        self.push(
            &call,
            Send::Cancel {
                id: EventId::from_stored(&id),
            },
        );
        Ok(())
    }
}

impl current::Host for State {
    fn attempt(&mut self) -> wasmtime::Result<u32> {
        Ok(self.asking()?.attempt)
    }

    fn cause(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.asking()?.cause.as_ref().map(ToString::to_string))
    }

    fn trace_parent(&mut self) -> wasmtime::Result<Option<String>> {
        let asking = self.asking()?;
        let trace = asking.trace_parent.as_deref();
        // Behind it stands what the host keeps beside it.
        let parent = trace.and_then(|trace| trace.split(' ').next());
        Ok(parent.map(ToOwned::to_owned))
    }

    fn tenant(&mut self) -> wasmtime::Result<String> {
        Ok(self.asking()?.deployment.tenant.to_string())
    }

    fn component(&mut self) -> wasmtime::Result<String> {
        Ok(self.asking()?.definition().name.to_string())
    }

    fn version(&mut self) -> wasmtime::Result<String> {
        Ok(self.asking()?.definition().version.to_string())
    }
}

impl logging::Host for State {
    fn log(&mut self, level: logging::Level, message: String) -> wasmtime::Result<()> {
        self.charge(message.len())?;
        let level = match level {
            logging::Level::Trace => LogLevel::Trace,
            logging::Level::Debug => LogLevel::Debug,
            logging::Level::Info => LogLevel::Info,
            logging::Level::Warn => LogLevel::Warn,
            logging::Level::Error => LogLevel::Error,
        };
        self.log.write(level, &message);
        Ok(())
    }
}

impl State {
    fn send_to(
        &mut self,
        component: Option<String>,
        instance: &str,
        event: &str,
        payload: &str,
        delay_ms: Option<u64>,
    ) -> wasmtime::Result<String> {
        let call = self.sending(payload.len())?;
        let send = Send::ToInstance {
            component: component_name(component)?,
            instance: InstanceId::parse(instance)
                .map_err(|error| bad_send(format!("instance id {instance:?}: {error}")))?,
            event: event_name(event)?,
            payload: json(payload)?,
            delay: delay(delay_ms)?,
        };
        Ok(self.push(&call, send))
    }

    /// The call at hand, for a question about it.
    fn asking(&mut self) -> Result<Arc<Call>, Violation> {
        self.charge(0)?;
        let call = self.call.as_ref().map(Arc::clone);
        call.ok_or_else(|| {
            Violation::new(
                FaultCode::Trap,
                "`current` was asked outside a guard or action",
            )
        })
    }

    /// The call at hand, if it may send so many bytes more.
    fn sending(&mut self, bytes: usize) -> Result<Arc<Call>, Violation> {
        self.charge(bytes)?;
        let call = self.call.as_ref().map(Arc::clone);
        let call = call.ok_or_else(|| {
            Violation::new(
                FaultCode::BadSend,
                "`sender` was called outside a guard or action",
            )
        })?;
        if call.kind == MethodKind::Guard {
            return Err(Violation::new(
                FaultCode::SendInGuard,
                "`sender` was called in a guard",
            ));
        }
        let sends_max = self.config.sends_per_transition_max;
        if self.next_number(&call) > sends_max {
            return Err(Violation::new(
                FaultCode::TooManySends,
                format!("more than {sends_max} sends in one transition"),
            ));
        }
        self.send_bytes = self.send_bytes.saturating_add(bytes);
        let bytes_max = self.config.send_bytes_max;
        if self.send_bytes > bytes_max {
            let message = format!("more than {bytes_max} bytes of payload sent in one transition");
            return Err(Violation::new(FaultCode::TooManySends, message));
        }
        Ok(call)
    }

    /// The number of the next send in its transition, from 1.
    fn next_number(&self, call: &Call) -> u32 {
        let n_sends = u32::try_from(self.sends.len()).unwrap_or(u32::MAX);
        call.sends.saturating_add(n_sends).saturating_add(1)
    }

    /// Buffers a send and gives its id.
    fn push(&mut self, call: &Call, send: Send) -> String {
        let id = call.event.id.derive(self.next_number(call));
        self.sends.push(send);
        id.to_string()
    }
}

fn bad_send(message: impl Into<String>) -> Violation {
    Violation::new(FaultCode::BadSend, message)
}

fn json(text: &str) -> Result<Json, Violation> {
    Json::parse(text).map_err(|error| bad_send(format!("payload: {error}")))
}

fn event_name(text: &str) -> Result<EventName, Violation> {
    Ok(EventName::new(name("an event", text)?))
}

fn component_name(text: Option<String>) -> Result<Option<ComponentName>, Violation> {
    text.map(|text| name("a component", &text).map(ComponentName::new))
        .transpose()
}

fn name<'t>(what: &str, text: &'t str) -> Result<&'t str, Violation> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(bad_send(format!(
            "the name of {what} has 1 to {NAME_BYTES_MAX} bytes and no control characters"
        )));
    }
    Ok(text)
}

fn delay(ms: Option<u64>) -> Result<Option<Duration>, Violation> {
    match ms.map(Duration) {
        Some(span) if span > DELAY_MAX => Err(bad_send(format!(
            "a delay of {span}, at most {DELAY_MAX} are accepted"
        ))),
        span => Ok(span),
    }
}
