//! Whatever a broker delivers or a registry keeps is read or refused, and what is read is written
//! the same way again.
//!
//! The first byte of the input selects where the rest comes from. The shipments that hosts send each
//! other have a target of their own.

#![no_main]

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use libfuzzer_sys::fuzz_target;
use tokio::sync::Notify;
use xcomponent_core::{id::EventId, record::Outgoing, time::Timestamp};
use xcomponent_host::bus::{
    redis_pubsub::{heard, said},
    registry::{Catalog, Swap, Swapped, Unreachable, View, list},
};

/// The channels of xcomponent-ai.
const CHANNELS: [&str; 5] = [
    "xcomponent:Fuzzed",
    "fsm:commands:create_instance",
    "fsm:commands:cross_component_event",
    "xcomponent:external:commands",
    "xcomponent:external:broadcasts",
];

fuzz_target!(|input: &[u8]| {
    let Some((from, rest)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match CHANNELS.get(usize::from(*from) % (CHANNELS.len() + 1)) {
        Some(channel) => read_message(channel, text),
        None => read_registry(text),
    }
});

fn read_message(channel: &str, text: &str) {
    let Some(sent) = delivery(channel, text) else {
        return;
    };
    let (channel, text) = said(&sent, None);
    let mut again = delivery(&channel, &text).expect("what a host says, a host hears");
    again.event.at = sent.event.at;
    assert_eq!(said(&again, None), (channel, text));
}

fn delivery(channel: &str, text: &str) -> Option<Outgoing> {
    let id = EventId::made(Timestamp(1), 1);
    let mut shipment = heard(channel, text, id).ok()?;
    assert_eq!(shipment.receive.parcels.len(), 1);
    shipment.receive.parcels.pop()?.deliveries.pop()
}

/// Each line is a record: of a host, and of a component.
fn read_registry(text: &str) {
    let records = || (0..).map(|n: u32| n.to_string()).zip(text.lines());
    let records = || records().map(|(key, text)| (key, text.to_owned()));
    let kept = Kept(View {
        hosts: records().collect(),
        generation: 1,
        components: Some(records().collect()),
    });
    let listed = list(&kept).now_or_never().expect("nobody is waited for");
    listed.expect("what cannot be read is left out");
}

/// A registry that says what the input is.
struct Kept(View);

impl Catalog for Kept {
    fn name(&self) -> &str {
        "fuzzed"
    }

    fn read(&self, _: Option<u64>) -> BoxFuture<'_, Result<View, Unreachable>> {
        std::future::ready(Ok(self.0.clone())).boxed()
    }

    fn swap<'s>(&'s self, _: Swap<'s>) -> BoxFuture<'s, Result<Swapped, Unreachable>> {
        std::future::ready(Ok(Swapped::Other(None))).boxed()
    }

    fn watch(self: Arc<Self>, _: Arc<Notify>) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}
