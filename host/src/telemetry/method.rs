//! The span of a method that a guest is asked.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    KeyValue,
    trace::{SpanId, SpanKind, Status},
};
use xcomponent_core::{
    call::{Call, Failure, Outcome},
    definition::MethodKind,
};

use super::{Context, Span, Tracer, faulted, ids, number};

/// A method that is being asked.
#[derive(Debug)]
pub struct MethodSpan {
    tracer: Tracer,
    context: Arc<str>,
    transition: SpanId,
    name: String,
    began: SystemTime,
    attributes: Vec<KeyValue>,
}

impl Tracer {
    /// Begins a span, if the event that it is about belongs to a trace that is wanted.
    pub fn method(&self, call: &Call) -> Option<MethodSpan> {
        let context = Context::read_wanted(call.trace_parent.as_ref())?;
        let kind = match call.kind {
            MethodKind::Guard => "guard",
            MethodKind::Action => "action",
        };
        Some(MethodSpan {
            tracer: self.clone(),
            transition: ids::handled(context.trace, &call.event.id, Some(&call.instance)),
            context: context.to_text(),
            name: format!("{kind} {}", call.method),
            began: SystemTime::now(),
            attributes: vec![
                KeyValue::new("xcomponent.component", call.definition().name.to_string()),
                KeyValue::new("xcomponent.method", call.method.to_string()),
                KeyValue::new("xcomponent.method_kind", kind),
                KeyValue::new("xcomponent.instance", call.instance.to_string()),
                KeyValue::new("xcomponent.attempts", i64::from(call.attempt)),
            ],
        })
    }
}

impl MethodSpan {
    /// It has answered, or failed to.
    pub fn done(mut self, outcome: &Outcome) {
        let Some(context) = Context::read(&self.context) else {
            return;
        };
        let fuel = KeyValue::new("xcomponent.fuel", number(outcome.fuel));
        self.attributes.push(fuel);
        let status = match &outcome.result {
            Err(Failure::Fault(fault)) => faulted(fault),
            Err(Failure::Refused(refusal)) => {
                let code = refusal.code.to_string();
                self.attributes
                    .push(KeyValue::new("xcomponent.refused", code));
                Status::Unset
            }
            Ok(_) => Status::Unset,
        };
        let span = Span {
            id: SpanId::from_bytes(fastrand::u64(1..).to_be_bytes()),
            parent: self.transition,
            is_remote: false,
            kind: SpanKind::Internal,
            name: self.name,
            began: self.began,
            ended: SystemTime::now(),
            attributes: self.attributes,
            status,
        };
        self.tracer.take(&context, span);
    }
}
