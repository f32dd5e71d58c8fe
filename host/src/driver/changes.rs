//! The newest state of each instance that changed, for who copies it elsewhere.
//!
//! Nobody waits for that one: what changes again before it was fetched is there once, and beyond a
//! number of instances or bytes all of it is forgotten, which is told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::Notify;
use xcomponent_core::{
    id::{InstanceId, TenantId},
    record::{Body, Snapshot},
};

use super::handle::Handle;
use crate::store::Entry;

/// Instances whose newest state waits, and their bytes. Beyond that whoever fetches them is away or
/// far too slow.
const WAITING_MAX: usize = 65_536;
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What changed since it was fetched last.
#[derive(Default)]
pub(super) struct Changes {
    waiting: Mutex<Option<Waiting>>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    newest: HashMap<(TenantId, InstanceId), Body, foldhash::fast::RandomState>,
    /// Bytes of these.
    bytes: usize,
    /// How many were forgotten.
    dropped: u64,
}

impl Waiting {
    fn add(&mut self, body: Body, is_newer: bool) {
        let Some(snapshot) = body.snapshot() else {
            return;
        };
        let key = (snapshot.tenant().clone(), snapshot.id.clone());
        let known = self.newest.get(&key).map(Body::bytes);
        if known.is_some() && !is_newer {
            return;
        }
        let bytes = self.bytes - known.unwrap_or(0) + body.bytes();
        let is_full = known.is_none() && self.newest.len() >= WAITING_MAX;
        if !is_full && bytes <= WAITING_BYTES_MAX {
            self.bytes = bytes;
            self.newest.insert(key, body);
            return;
        }
        if is_newer {
            self.newest.remove(&key);
            self.dropped += self.newest.len() as u64;
            self.newest.clear();
            self.bytes = body.bytes();
            self.newest.insert(key, body);
        } else {
            self.dropped += 1;
        }
    }
}

impl Changes {
    /// Takes over what was committed, if anybody wants it.
    pub(super) fn committed(&self, entries: &[Entry]) {
        if let Some(waiting) = &mut *self.waiting() {
            for entry in entries {
                if entry.record.body.snapshot().is_some() {
                    waiting.add(entry.record.body.clone(), true);
                }
            }
            self.news.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// States that are durable, each of another instance.
pub struct Changed {
    bodies: Vec<Body>,
    /// How many others there were that nobody will be told of.
    pub dropped: u64,
}

impl Changed {
    /// The instances.
    pub fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.bodies.iter().filter_map(Body::snapshot)
    }
}

/// Fetches what changes; one per host.
pub struct Watch(Handle);

impl Handle {
    /// From now on what changes is kept for this one.
    pub fn watch_changes(&self) -> Watch {
        *self.shared.changes.waiting() = Some(Waiting::default());
        Watch(self.clone())
    }
}

impl Watch {
    /// What changed since the last time, at once or as soon as something does. Dropping the future
    /// loses nothing.
    pub async fn next(&self) -> Changed {
        loop {
            if let Some(changed) = self.take() {
                return changed;
            }
            self.0.shared.changes.news.notified().await;
        }
    }

    /// What changed since the last time, if anything did.
    pub fn take(&self) -> Option<Changed> {
        let waiting = self.0.shared.changes.waiting().replace(Waiting::default());
        let waiting =
            waiting.filter(|waiting| !waiting.newest.is_empty() || waiting.dropped > 0)?;
        Some(Changed {
            bodies: waiting.newest.into_values().collect(),
            dropped: waiting.dropped,
        })
    }

    /// Takes back what nothing was done with: it comes again, unless something newer does.
    pub fn give_back(&self, changed: Changed) {
        if let Some(waiting) = &mut *self.0.shared.changes.waiting() {
            for body in changed.bodies {
                waiting.add(body, false);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.0.shared.changes.waiting() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use xcomponent_core::{
        call::Deployment,
        definition::{Strictness, check},
        id::Digest,
        json::Json,
        record::Status,
        time::Timestamp,
    };

    use super::*;

    const YAML: &str = "{name: Shop, version: '1', stateMachines: [{name: Order, \
                        initialState: Open, states: [{name: Open}], transitions: []}]}";

    static SHOP: LazyLock<Arc<Deployment>> = LazyLock::new(|| {
        let checked = check(YAML, Strictness::Lenient);
        Arc::new(Deployment {
            tenant: TenantId::default_tenant(),
            definition: checked.definition.expect("it is sound"),
            artifact: Digest([1; 32]),
        })
    });

    fn order(n: usize, seq: u64) -> Body {
        with_context(n, seq, Json::empty())
    }

    fn with_context(n: usize, seq: u64, context: Json) -> Body {
        let deployment = Arc::clone(&SHOP);
        let (machine, found) = deployment.definition.find("Order").unwrap();
        let initial = found.initial;
        Body::Moved(Arc::new(Snapshot {
            id: InstanceId::parse(&format!("O-{n}")).unwrap(),
            deployment,
            machine,
            state: initial,
            status: Status::Active,
            context,
            seq,
            entry: 0,
            created: Timestamp(1),
            updated: Timestamp(1),
            entered: Timestamp(1),
            origin: 7,
            entry_point: false,
            parent: None,
            timers: Default::default(),
            extra: None,
        }))
    }

    #[test]
    fn the_newest_state_waits_and_beyond_a_number_none_does() {
        let mut waiting = Waiting::default();
        for seq in 1..=3 {
            waiting.add(order(0, seq), true);
        }
        waiting.add(order(0, 1), false);
        let newest: Vec<u64> = waiting
            .newest
            .values()
            .filter_map(|body| body.snapshot().map(|snapshot| snapshot.seq))
            .collect();
        assert_eq!((newest, waiting.dropped), (vec![3], 0));
        for n in 1..WAITING_MAX {
            waiting.add(order(n, 1), true);
        }
        assert_eq!((waiting.newest.len(), waiting.dropped), (WAITING_MAX, 0));
        // What comes back finds no room, what is new makes some.
        waiting.add(order(WAITING_MAX, 1), false);
        assert_eq!((waiting.newest.len(), waiting.dropped), (WAITING_MAX, 1));
        waiting.add(order(WAITING_MAX, 1), true);
        let all = WAITING_MAX as u64 + 1;
        assert_eq!((waiting.newest.len(), waiting.dropped), (1, all));
    }

    #[test]
    fn large_states_wait_up_to_a_number_of_bytes() {
        let mut waiting = Waiting::default();
        let context = Json::parse(&format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000))).unwrap();
        let large = |n, seq| with_context(n, seq, context.clone());
        for (n, seq) in [(0, 1), (0, 2), (0, 3)] {
            waiting.add(large(n, seq), true);
        }
        assert!(waiting.bytes < 2 << 20, "only the newest of one counts");
        let fit = WAITING_BYTES_MAX / context.len();
        for n in 1..fit {
            waiting.add(large(n, 1), true);
        }
        assert_eq!((waiting.newest.len(), waiting.dropped), (fit, 0));
        waiting.add(large(fit, 1), true);
        assert_eq!((waiting.newest.len(), waiting.dropped), (1, fit as u64));
        assert!(waiting.bytes < 2 << 20, "{}", waiting.bytes);
    }
}
