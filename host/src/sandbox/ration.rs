//! Who may hold how much of the memory for sandboxes.
//!
//! A component may hold as much as it leaves free: one alone gets half of the memory, two get a third
//! each, and however many there are, a newcomer finds room. Its first sandbox needs room only.
//! Memory that nobody uses at present is taken back first, from the sandbox that has been idle for
//! longest. What finds no room even so waits, each component behind itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use xcomponent_core::{
    call::{Fault, FaultCode},
    id::{ComponentName, TenantId},
};

use super::{fault, pool::Pool};
use crate::memory::{Memory, Purpose, Share};

/// The memory for sandboxes, and who holds some of it.
pub(super) struct Rations {
    memory: Memory,
    pool: Weak<Pool>,
    waits_max: usize,
    /// Calls of all components that wait.
    waits: AtomicUsize,
    holders: Mutex<HashMap<Key, Weak<Holder>, foldhash::fast::RandomState>>,
}

/// A component: all of its versions count as one.
type Key = (TenantId, ComponentName);

/// A component that has sandboxes, or wants one.
pub(super) struct Holder {
    rations: Arc<Rations>,
    key: Key,
    used: AtomicUsize,
    /// Who waits, first come, first served; how many there are.
    turn: tokio::sync::Mutex<()>,
    waits: AtomicUsize,
}

/// Memory that one sandbox may use. It grows with the sandbox and goes back with it.
pub(super) struct Ration {
    holder: Arc<Holder>,
    share: Share,
}

impl Rations {
    /// Nobody holds anything. Idle sandboxes are taken out of `pool` when memory is short; at most
    /// `waits_max` calls of a component wait.
    pub(super) fn new(memory: Memory, pool: &Arc<Pool>, waits_max: usize) -> Arc<Self> {
        Arc::new(Self {
            memory,
            pool: Arc::downgrade(pool),
            waits_max,
            waits: AtomicUsize::new(0),
            holders: Mutex::default(),
        })
    }

    /// The component as a holder.
    pub(super) fn holder(
        self: &Arc<Self>,
        tenant: &TenantId,
        component: &ComponentName,
    ) -> Arc<Holder> {
        let key = (tenant.clone(), component.clone());
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = holders.get(&key).and_then(Weak::upgrade) {
            return holder;
        }
        let holder = Arc::new(Holder {
            rations: Arc::clone(self),
            key: key.clone(),
            used: AtomicUsize::new(0),
            turn: tokio::sync::Mutex::default(),
            waits: AtomicUsize::new(0),
        });
        holders.insert(key, Arc::downgrade(&holder));
        holder
    }

    /// Whether somebody waits: then no idle sandbox is kept.
    pub(super) fn are_short(&self) -> bool {
        self.waits.load(Ordering::SeqCst) > 0
    }

    fn free(&self) -> usize {
        let max = self.memory.max(Purpose::Sandboxes);
        max.saturating_sub(self.memory.used(Purpose::Sandboxes))
    }
}

impl Holder {
    /// An empty ration: the sandbox takes what it needs as it grows.
    pub(super) fn nothing(self: &Arc<Self>) -> Ration {
        let share = self.rations.memory.force(Purpose::Sandboxes, 0);
        Ration {
            holder: Arc::clone(self),
            share,
        }
    }

    /// Waits for so many bytes.
    ///
    /// # Errors
    ///
    /// If too many calls of this component wait already.
    pub(super) async fn wait_for(self: &Arc<Self>, bytes: usize) -> Result<Ration, Fault> {
        let _waiting = Waiting::new(&self.waits);
        // Counted before the first look for idle sandboxes: who releases one later sees it.
        let _short = Waiting::new(&self.rations.waits);
        let waits_max = self.rations.waits_max;
        if self.waits.load(Ordering::Relaxed) > waits_max {
            let message = format!(
                "the memory for sandboxes is used up, and {waits_max} calls of the component wait \
                 for some"
            );
            return Err(fault::plain(FaultCode::Unavailable, message));
        }
        let _turn = self.turn.lock().await;
        let attempt = || self.take(bytes);
        let memory = &self.rations.memory;
        let share = memory.wait_until(Purpose::Sandboxes, attempt).await;
        Ok(Ration {
            holder: Arc::clone(self),
            share,
        })
    }

    /// Takes bytes if they are this component's due, from idle sandboxes if need be.
    fn take(&self, bytes: usize) -> Option<Share> {
        loop {
            if let Some(share) = self.take_free(bytes) {
                return Some(share);
            }
            drop(self.rations.pool.upgrade()?.evict()?);
        }
    }

    fn take_free(&self, bytes: usize) -> Option<Share> {
        let rations = &self.rations;
        let used = self.used.load(Ordering::Relaxed);
        let left = rations.free().checked_sub(bytes)?;
        if used > 0 && used.saturating_add(bytes) > left {
            return None;
        }
        let share = rations.memory.take(Purpose::Sandboxes, bytes)?;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Some(share)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut holders = self
            .rations
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Another one may have taken this one's place.
        if holders
            .get(&self.key)
            .is_some_and(|known| known.strong_count() == 0)
        {
            holders.remove(&self.key);
        }
    }
}

impl Ration {
    /// How many bytes it is.
    pub(super) fn bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Makes it so many bytes, if it is not as many; says whether that is possible.
    pub(super) fn reach(&mut self, bytes: usize) -> bool {
        let Some(missing) = bytes
            .checked_sub(self.bytes())
            .filter(|missing| *missing > 0)
        else {
            return true;
        };
        let Some(more) = self.holder.take(missing) else {
            return false;
        };
        self.share.merge(more);
        true
    }

    /// Gives back all but so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let rest = self.bytes().saturating_sub(bytes);
        self.holder.used.fetch_sub(rest, Ordering::Relaxed);
        self.share.shrink_to(bytes);
    }
}

impl Drop for Ration {
    fn drop(&mut self) {
        self.holder
            .used
            .fetch_sub(self.share.bytes(), Ordering::Relaxed);
    }
}

/// One that waits, counted from its beginning to its end.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn new(waits: &'w AtomicUsize) -> Self {
        waits.fetch_add(1, Ordering::SeqCst);
        Self(waits)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 400 bytes for all sandboxes together.
    fn rations() -> (Arc<Pool>, Arc<Rations>) {
        let pool = Arc::new(Pool::new(1, 1));
        let rations = Rations::new(Memory::new(10_000), &pool, 1);
        (pool, rations)
    }

    fn component(rations: &Arc<Rations>, name: &str) -> Arc<Holder> {
        rations.holder(&TenantId::default_tenant(), &ComponentName::new(name))
    }

    #[test]
    fn a_component_leaves_as_much_as_it_holds() {
        let (_pool, rations) = rations();
        let mut greedy = component(&rations, "Greedy").nothing();
        assert!(greedy.reach(700));
        assert!(!greedy.reach(701));
        let mut second = component(&rations, "Greedy").nothing();
        assert!(
            !second.reach(1),
            "all sandboxes of a component count as one"
        );
        let mut polite = component(&rations, "Polite").nothing();
        assert!(polite.reach(350));
        drop(greedy);
        assert!(second.reach(500));
    }

    #[test]
    fn the_first_sandbox_of_a_component_needs_room_only() {
        let (_pool, rations) = rations();
        let mut first = component(&rations, "Shop").nothing();
        assert!(first.reach(1_000));
        let mut other = component(&rations, "Bank").nothing();
        assert!(!other.reach(401));
        assert!(other.reach(400));
        assert_eq!(rations.free(), 0);
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let (_pool, rations) = rations();
        let mut first = component(&rations, "Shop").nothing();
        assert!(first.reach(1_400));
        let bank = component(&rations, "Bank");
        let waiting = tokio::spawn(async move { bank.wait_for(100).await.map(|got| got.bytes()) });
        drop(first);
        assert_eq!(waiting.await.unwrap().unwrap(), 100);
        assert!(!rations.are_short());
    }
}
