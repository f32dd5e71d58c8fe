//! What a transition would send by its definition: too much of it is the definition's fault, which
//! is found before anything is sent.

use crate::{
    definition::{Machine, Mapping, StateIdx, Transition, TransitionKind},
    json::Json,
    limits::{JSON_BYTES_MAX, SENT_BYTES_MAX},
};

/// What is too large of what entering a state sends, and of what a transition creates or sends to
/// another component; `context` is the new one.
pub(crate) fn too_large(
    machine: &Machine,
    transition: Option<&Transition>,
    to: StateIdx,
    context: &Json,
    payload: &Json,
) -> Option<String> {
    let kind = transition.map(|transition| &transition.kind);
    if let Some(TransitionKind::Internal) = kind {
        return None;
    }
    let mapping = kind.and_then(mapping_of);
    if let Some(mapping) = mapping
        && mapping.size_bound(context.len() + payload.len()) > JSON_BYTES_MAX
        && mapping
            .apply_within(&context.merge(payload), JSON_BYTES_MAX)
            .is_none()
    {
        return Some(format!(
            "`contextMapping` makes more than {JSON_BYTES_MAX} bytes"
        ));
    }
    let cascades = &machine.state(to).cascades;
    let templates = || cascades.iter().filter_map(|rule| rule.payload.as_ref());
    let bounds = templates().map(|template| template.size_bound(context));
    let (mut most, mut sum) = (0, 0_usize);
    for bound in bounds {
        most = most.max(bound);
        sum = sum.saturating_add(bound);
    }
    if most <= JSON_BYTES_MAX && sum <= SENT_BYTES_MAX {
        return None;
    }
    let mut left = SENT_BYTES_MAX;
    for rule in cascades {
        let Some(template) = &rule.payload else {
            continue;
        };
        let payload = template.render_within(context, left.min(JSON_BYTES_MAX));
        let Some(payload) = payload else {
            let event = &rule.event;
            return Some(format!(
                "a cascade's payload for `{event}` has more than {JSON_BYTES_MAX} bytes, \
                 or all of them have more than {SENT_BYTES_MAX}"
            ));
        };
        left -= payload.len();
    }
    None
}

fn mapping_of(kind: &TransitionKind) -> Option<&Mapping> {
    match kind {
        TransitionKind::InterMachine { mapping, .. }
        | TransitionKind::CreateAcross { mapping, .. }
        | TransitionKind::SendAcross { mapping, .. } => mapping.as_ref(),
        TransitionKind::Regular
        | TransitionKind::Internal
        | TransitionKind::Auto { .. }
        | TransitionKind::Timeout { .. } => None,
    }
}
