//! Effects as lines of text, to compare two runs by.

use xcomponent_core::{effect::Effect, record::Body};

/// An effect as text; a deployment is its name.
pub(super) fn line(effect: &Effect) -> String {
    match effect {
        Effect::Invoke { lease, call } => format!(
            "invoke {} {} {} {} {:?} {}",
            lease.0, call.method, call.instance, call.context, call.event, call.sends
        ),
        Effect::Append { seq, record } => {
            let body = match &record.body {
                Body::Handled(handled) => {
                    let after = &handled.after;
                    format!(
                        "{:?} {} {:?} {} {} {:?} {:?} {:?} {:?} {:?}",
                        handled.event,
                        handled.disposition,
                        handled.reason,
                        after.id,
                        after.context,
                        after.state,
                        after.timers,
                        handled.cause,
                        handled.deliveries,
                        handled.fault,
                    )
                }
                Body::Departed(departed) => format!("{:?}", departed.outgoing),
                Body::Moved(after) => format!("moved {}", after.id),
                Body::Selected(selected) => format!("{selected:?}"),
                Body::Parked(letter) => format!("{letter:?}"),
                Body::Discarded(discarded) => format!("discarded {}", discarded.id),
                Body::Received(received) => format!("{received:?}"),
            };
            format!("append {} {} {} {body}", seq.0, record.tenant, record.at.0)
        }
        Effect::Release { lease, healthy } => format!("release {} {healthy}", lease.0),
        Effect::Deliver { outgoing, .. } => format!("deliver {outgoing:?}"),
        Effect::Reply { ticket, after, .. } => format!("reply {} {}", ticket.0, after.0),
        Effect::Reload { instances } => format!("reload {instances:?}"),
        Effect::Recall { event, .. } => format!("recall {event}"),
        Effect::RecallBroadcast { event, .. } => format!("recall broadcast {event}"),
        Effect::Unused { .. } => "unused".to_owned(),
    }
}
