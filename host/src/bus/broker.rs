//! Transports that others send through as well, and those of them that keep shipments until their
//! components take them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{AbortHandle, BoxFuture, abortable},
    stream::FuturesUnordered,
};
use hashbrown::HashMap;
use tokio::{sync::watch, time::timeout};
use xcomponent_core::id::{ComponentName, TenantId};

use super::{Inlet, Listening, SendError, Transport, event::Published};

/// Wait before a broker that went away is asked again: doubled from the first to the last.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// A consumer that goes on for so long is well: a connection comes or fails sooner.
const WELL_AFTER: Duration = Duration::from_secs(5);

/// A component that something may be for.
pub type Place = (TenantId, ComponentName);

/// What is behind the door through which a broker's messages come.
#[derive(Clone)]
pub struct Door {
    /// The components that are here.
    pub here: watch::Receiver<HashSet<Place>>,
    /// Takes in what is for them.
    pub inlet: Arc<dyn Inlet>,
    /// Whether anybody who can reach the broker may give commands.
    pub external_api: bool,
    /// Told how it goes with listening.
    pub listening: Arc<Listening>,
    /// Who this host is, for others that ask.
    pub runtime: Runtime,
}

/// Who a host is.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Its own id, the same after each start on the same store.
    pub id: String,
    /// Where it is reached over HTTP, if it is.
    pub address: Option<(String, u16)>,
}

/// A transport that others send through as well.
pub trait Broker: Transport {
    /// Listens for as long as this is polled.
    fn listen(self: Arc<Self>, door: Door) -> BoxFuture<'static, ()>;

    /// Tells whoever listens what happened.
    fn publish<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>>;
}

/// A transport that keeps shipments until whoever has their component takes them.
pub(super) trait Keeper: Transport + Sized {
    /// Gives what is for a component to the inlet behind a door, for as long as this is polled; what it
    /// gives in the end is why it cannot go on, and nothing is lost then.
    fn consume(self: Arc<Self>, place: Place, door: Door) -> BoxFuture<'static, String>;

    /// Tells whoever listens what happened.
    fn tell<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>>;
}

impl<K: Keeper> Broker for K {
    fn listen(self: Arc<Self>, door: Door) -> BoxFuture<'static, ()> {
        consume_all(self, door).boxed()
    }

    fn publish<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>> {
        self.tell(events)
    }
}

/// Listens for all components that are here, for as long as this is polled.
async fn consume_all<K: Keeper>(broker: Arc<K>, door: Door) {
    let (mut here, told) = (door.here.clone(), Arc::clone(&door.listening));
    // Not tasks of their own: they end at once when this does.
    let mut consumers = FuturesUnordered::new();
    let mut listening: HashMap<Place, AbortHandle> = HashMap::new();
    loop {
        let wanted = here.borrow_and_update().clone();
        listening.retain(|place, consumer| {
            let stays = wanted.contains(place);
            if !stays {
                consumer.abort();
                told.goes_on(place.1.as_str());
            }
            stays
        });
        for place in wanted {
            if !listening.contains_key(&place) {
                let consumer = keep_consuming(Arc::clone(&broker), place.clone(), door.clone());
                let (consumer, handle) = abortable(consumer);
                consumers.push(consumer);
                listening.insert(place, handle);
            }
        }
        tokio::select! {
            changed = here.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = consumers.next() => {}
        }
    }
}

async fn keep_consuming<K: Keeper>(broker: Arc<K>, place: Place, door: Door) {
    let told = &door.listening;
    let mut failures = 0_u32;
    loop {
        let mut consuming = Arc::clone(&broker).consume(place.clone(), door.clone());
        let why = match timeout(WELL_AFTER, &mut consuming).await {
            Ok(why) => why,
            Err(_) => {
                failures = 0;
                told.goes_on(place.1.as_str());
                consuming.await
            }
        };
        told.stopped(place.1.as_str());
        if failures == 0 {
            tracing::warn!(component = %place.1, broker = broker.name(), "listening stopped: {why}");
        }
        let wait = AGAIN_AFTER[0] * 2_u32.saturating_pow(failures.min(16));
        failures += 1;
        tokio::time::sleep(wait.min(AGAIN_AFTER[1]).mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// A name as brokers take it: whatever is not a letter, a digit, `_` or `-` is written as `=` and
/// its bytes in hexadecimal digits.
pub(super) fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            plain.push_str(&format!("={byte:02x}"));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_stay_different() {
        assert_eq!(plain("Order_2-a"), "Order_2-a");
        assert_eq!(plain("a.b"), "a=2eb");
        assert_eq!(plain("é"), "=c3=a9");
    }
}
