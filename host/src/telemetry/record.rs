//! The spans of what was committed: of transitions, and of what other hosts sent.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};
use xcomponent_core::{
    record::{Body, DeadLetter, Disposition, Handled, Received, Record},
    time::Timestamp,
};

use super::{Context, Span, Tracer, faulted, ids, number, shipment::each_once};

impl Tracer {
    /// Records are durable.
    pub fn committed<'r>(&self, records: impl Iterator<Item = &'r Record>) {
        for record in records {
            match &record.body {
                Body::Handled(handled) => self.handled(handled),
                Body::Parked(letter) => self.parked(letter),
                Body::Received(received) => self.received(received, record.at),
                Body::Selected(_) | Body::Departed(_) | Body::Moved(_) | Body::Discarded(_) => {}
            }
        }
    }

    fn handled(&self, handled: &Handled) {
        let Some(context) = Context::read_wanted(handled.cause.trace_parent.as_ref()) else {
            return;
        };
        let (after, event) = (&handled.after, &handled.event);
        let comes_again = matches!(
            handled.disposition,
            Disposition::Retrying | Disposition::Deferred
        );
        let id = match comes_again {
            true => ids::looked_at(context.trace, &event.id, &after.id, after.seq),
            false => ids::handled(context.trace, &event.id, Some(&after.id)),
        };
        let component = after.component();
        let (machine, to) = (&after.machine().name, handled.to_name());
        let mut attributes = vec![
            KeyValue::new("xcomponent.component", component.to_string()),
            KeyValue::new(
                "xcomponent.version",
                after.deployment.definition.version.to_string(),
            ),
            KeyValue::new("xcomponent.machine", machine.to_string()),
            KeyValue::new("xcomponent.instance", after.id.to_string()),
            KeyValue::new("xcomponent.event", event.name.to_string()),
            KeyValue::new("xcomponent.event_id", event.id.to_string()),
            KeyValue::new("xcomponent.to", to.to_string()),
            KeyValue::new("xcomponent.disposition", handled.disposition.as_str()),
            KeyValue::new("xcomponent.attempts", i64::from(handled.attempts)),
            KeyValue::new("xcomponent.fuel", number(handled.fuel)),
        ];
        if let Some(from) = handled.from_name() {
            attributes.push(KeyValue::new("xcomponent.from", from.to_string()));
        }
        let fault = handled.fault.as_deref();
        let status = match (fault, handled.disposition) {
            (Some(fault), _) => faulted(fault),
            (None, Disposition::DeadLettered) => Status::error("dead-lettered"),
            (None, _) => Status::Unset,
        };
        let span = Span {
            id,
            parent: ids::parent(&context, &handled.cause, component),
            is_remote: false,
            kind: SpanKind::Internal,
            name: format!("{component}/{machine} {}", event.name),
            began: time(event.at),
            ended: SystemTime::now(),
            attributes,
            status,
        };
        self.take(&context, span);
    }

    fn parked(&self, letter: &DeadLetter) {
        let Some(context) = Context::read_wanted(letter.cause.trace_parent.as_ref()) else {
            return;
        };
        let event = &letter.event;
        let span = Span {
            id: ids::handled(context.trace, &event.id, letter.instance.as_ref()),
            parent: ids::parent(&context, &letter.cause, &letter.component),
            is_remote: false,
            kind: SpanKind::Internal,
            name: format!("{} {}", letter.component, event.name),
            began: time(event.at),
            ended: SystemTime::now(),
            attributes: vec![
                KeyValue::new("xcomponent.component", letter.component.to_string()),
                KeyValue::new("xcomponent.event", event.name.to_string()),
                KeyValue::new("xcomponent.event_id", event.id.to_string()),
                KeyValue::new("xcomponent.disposition", "dead-lettered"),
            ],
            status: Status::error(letter.why.code()),
        };
        self.take(&context, span);
    }

    /// One span for what one transition sent, however much that is.
    fn received(&self, received: &Received, at: Timestamp) {
        for (context, outgoing, id) in each_once(&received.deliveries, ids::taken_in) {
            let component = outgoing.to.component();
            let span = Span {
                id,
                parent: ids::sent(context.trace, &outgoing.cause, component),
                is_remote: true,
                kind: SpanKind::Consumer,
                name: format!("take in for {component}"),
                began: time(at),
                ended: SystemTime::now(),
                attributes: vec![
                    KeyValue::new("xcomponent.component", component.to_string()),
                    KeyValue::new("xcomponent.stream", received.stream.to_string()),
                ],
                status: Status::Unset,
            };
            self.take(&context, span);
        }
    }
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.0)
}
