//! Who runs next: a fair queue of two levels. Tenants are served in turn, and within a tenant its
//! components, each for as much work as its turn allows (deficit round robin). So a busy component
//! delays a quiet one by at most one turn.
//!
//! A component's lane also knows how much of what is not durable yet is the component's: what it
//! causes is held against it, not against the others.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    engine::{figures::Figures, instances::Slot, selection::Selecting},
    id::{ComponentName, TenantId},
};

/// Work that a component, and then a tenant, may do in one turn, in events.
const TURN: i64 = 8;

/// What a slice of a selection costs, in events.
const SELECTION_COST: i64 = 64;

/// Something that can be done now.
#[derive(Debug)]
pub(crate) enum Work {
    /// The next event of an instance.
    Instance(Slot),
    /// The next slice of a selection.
    Selection(Box<Selecting>),
}

impl Work {
    fn selections(&self) -> usize {
        usize::from(matches!(self, Self::Selection(_)))
    }
}

/// A component of a tenant. Lanes are never given away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneIdx(u32);

/// The lane of what belongs to no component.
const COMMON: LaneIdx = LaneIdx(0);

/// What can be done now.
#[derive(Debug)]
pub(crate) struct Schedule {
    lanes: Vec<Lane>,
    tenants: Vec<Tenant>,
    /// Tenants that have work, the next one first.
    ring: VecDeque<usize>,
    names: HashMap<(TenantId, ComponentName), LaneIdx, FixedState>,
    numbers: HashMap<TenantId, usize, FixedState>,
    /// By pool of instances: its component's lane, and where its letters are counted.
    of_pool: Vec<Option<(LaneIdx, Arc<Account>)>>,
    len: usize,
    selections: usize,
    /// Lanes that have work or records that are not durable.
    active: usize,
    /// Bytes of records that are not durable.
    undurable_bytes: usize,
    /// Bytes of letters that wait, of all lanes.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Tenant {
    /// Lanes that have work, the next one first.
    ring: VecDeque<LaneIdx>,
    credit: i64,
}

#[derive(Debug)]
struct Lane {
    tenant: usize,
    queue: VecDeque<Work>,
    credit: i64,
    /// Records that are not durable.
    undurable: usize,
    undurable_bytes: usize,
    account: Arc<Account>,
}

/// Bytes of letters that wait for instances of a component.
#[derive(Debug, Default)]
pub(crate) struct Account {
    bytes: Arc<AtomicUsize>,
    /// The same of all components.
    all: Arc<AtomicUsize>,
    /// Where the letters of a machine are counted; none where the machine is not known.
    figures: Option<Arc<Figures>>,
}

impl Account {
    /// So many bytes more wait.
    pub(crate) fn add(&self, bytes: usize) {
        change(&self.bytes, |level| level.wrapping_add(bytes));
        change(&self.all, |level| level.wrapping_add(bytes));
    }

    /// So many bytes less.
    pub(crate) fn take(&self, bytes: usize) {
        change(&self.bytes, |level| level.wrapping_sub(bytes));
        change(&self.all, |level| level.wrapping_sub(bytes));
    }

    /// Instead of `before` letters, `after` letters wait somewhere.
    pub(crate) fn queue(&self, before: usize, after: usize) {
        if let Some(figures) = &self.figures {
            figures.queue(before, after);
        }
    }
}

/// Changes a level that nobody but the engine writes.
fn change(level: &AtomicUsize, to: impl FnOnce(usize) -> usize) {
    level.store(to(level.load(Ordering::Relaxed)), Ordering::Relaxed);
}

/// What one component has of everything that waits on the shard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Work and records that are not durable.
    pub(crate) items: usize,
    /// Bytes of these records.
    pub(crate) undurable_bytes: usize,
    /// Bytes of letters that wait.
    pub(crate) waiting_bytes: usize,
}

impl Lane {
    fn items(&self) -> usize {
        self.queue.len() + self.undurable
    }
}

impl Schedule {
    /// Nothing to do, for nobody.
    pub(crate) fn new() -> Self {
        let mut schedule = Self {
            lanes: Vec::new(),
            tenants: vec![Tenant::default()],
            ring: VecDeque::new(),
            names: HashMap::default(),
            numbers: HashMap::default(),
            of_pool: Vec::new(),
            len: 0,
            selections: 0,
            active: 0,
            undurable_bytes: 0,
            waiting: Arc::default(),
        };
        schedule.add_lane(0);
        schedule
    }

    /// How much there is to do.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether slices of selections are among it.
    pub(crate) fn has_selections(&self) -> bool {
        self.selections > 0
    }

    /// Bytes of letters that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes of records that are not durable.
    pub(crate) fn undurable_bytes(&self) -> usize {
        self.undurable_bytes
    }

    /// Components that have something to do, or records that are not durable.
    pub(crate) fn active(&self) -> usize {
        self.active
    }

    /// The lane of a component if it has one, else that of everything that has none: names come from
    /// outside, too, and lanes are never given away.
    pub(crate) fn known_lane(&self, tenant: &TenantId, component: &ComponentName) -> LaneIdx {
        let name = (tenant.clone(), component.clone());
        self.names.get(&name).copied().unwrap_or(COMMON)
    }

    /// The lane of a component that is deployed.
    pub(crate) fn lane(&mut self, tenant: &TenantId, component: &ComponentName) -> LaneIdx {
        let name = (tenant.clone(), component.clone());
        if let Some(lane) = self.names.get(&name) {
            return *lane;
        }
        let Self {
            tenants, numbers, ..
        } = self;
        let tenant = *numbers.entry(tenant.clone()).or_insert_with(|| {
            tenants.push(Tenant::default());
            tenants.len() - 1
        });
        let lane = self.add_lane(tenant);
        self.names.insert(name, lane);
        lane
    }

    fn add_lane(&mut self, tenant: usize) -> LaneIdx {
        let lane = LaneIdx(u32::try_from(self.lanes.len()).expect("components are limited"));
        self.lanes.push(Lane {
            tenant,
            queue: VecDeque::new(),
            credit: 0,
            undurable: 0,
            undurable_bytes: 0,
            account: Arc::new(Account {
                bytes: Arc::default(),
                all: Arc::clone(&self.waiting),
                figures: None,
            }),
        });
        lane
    }

    /// The lane of a pool's component; `name` says which that is, if it is not known yet.
    pub(crate) fn lane_of_pool<'n>(
        &mut self,
        pool: u32,
        name: impl FnOnce() -> (&'n TenantId, &'n ComponentName),
        figures: impl FnOnce() -> Arc<Figures>,
    ) -> LaneIdx {
        let place = pool as usize;
        if let Some(Some((lane, _))) = self.of_pool.get(place) {
            return *lane;
        }
        let (tenant, component) = name();
        let lane = self.lane(tenant, component);
        if self.of_pool.len() <= place {
            self.of_pool.resize(place + 1, None);
        }
        let component = self.account(lane);
        let account = Account {
            bytes: Arc::clone(&component.bytes),
            all: Arc::clone(&component.all),
            figures: Some(figures()),
        };
        self.of_pool[place] = Some((lane, Arc::new(account)));
        lane
    }

    /// Where the letters that wait for a pool's instances are counted, once its lane is known.
    pub(crate) fn account_of_pool(&self, pool: u32) -> &Arc<Account> {
        let of_pool = self.of_pool.get(pool as usize).and_then(Option::as_ref);
        of_pool.map_or_else(|| self.common_account(), |(_, account)| account)
    }

    /// Where the letters that wait for a component's instances are counted.
    pub(crate) fn account(&self, lane: LaneIdx) -> &Arc<Account> {
        &self.lanes[lane.0 as usize].account
    }

    /// The same for instances whose component is not known yet.
    pub(crate) fn common_account(&self) -> &Arc<Account> {
        self.account(COMMON)
    }

    /// What a component has of everything that waits.
    pub(crate) fn load(&self, lane: LaneIdx) -> Load {
        let lane = &self.lanes[lane.0 as usize];
        Load {
            items: lane.items(),
            undurable_bytes: lane.undurable_bytes,
            waiting_bytes: lane.account.bytes.load(Ordering::Relaxed),
        }
    }

    /// Puts work at the end of a component's queue.
    pub(crate) fn push(&mut self, idx: LaneIdx, work: Work) {
        self.selections += work.selections();
        self.len += 1;
        let lane = &mut self.lanes[idx.0 as usize];
        self.active += usize::from(lane.items() == 0);
        lane.queue.push_back(work);
        if lane.queue.len() == 1 {
            let number = lane.tenant;
            let tenant = &mut self.tenants[number];
            tenant.ring.push_back(idx);
            if tenant.ring.len() == 1 {
                self.ring.push_back(number);
            }
        }
    }

    /// The next work of whoever's turn it is, but of those components only that have at most so
    /// many bytes of records that are not durable.
    pub(crate) fn pop(&mut self, undurable_bytes_max: usize) -> Option<Work> {
        let (mut held, held_max) = (0, 16 * self.lanes.len());
        // A turn that is over costs one round; so do the lanes that are held.
        while let Some(number) = self.ring.front().copied() {
            let tenant = &mut self.tenants[number];
            let idx = *tenant.ring.front()?;
            let lane = &mut self.lanes[idx.0 as usize];
            let is_held = lane.undurable_bytes > undurable_bytes_max;
            if is_held || lane.credit <= 0 || tenant.credit <= 0 {
                if is_held {
                    held += 1;
                    if held > held_max {
                        return None;
                    }
                }
                if is_held || lane.credit <= 0 {
                    lane.credit = (lane.credit + TURN).min(TURN);
                    tenant.ring.rotate_left(1);
                }
                if is_held || tenant.credit <= 0 {
                    tenant.credit = (tenant.credit + TURN).min(TURN);
                    self.ring.rotate_left(1);
                }
                continue;
            }
            let work = lane.queue.pop_front()?;
            let cost = match work {
                Work::Instance(_) => 1,
                Work::Selection(_) => SELECTION_COST,
            };
            lane.credit -= cost;
            tenant.credit -= cost;
            self.active -= usize::from(lane.items() == 0);
            self.selections -= work.selections();
            self.len -= 1;
            if lane.queue.is_empty() {
                tenant.ring.pop_front();
                if tenant.ring.is_empty() {
                    self.ring.pop_front();
                }
            }
            return Some(work);
        }
        None
    }

    /// A component has a record more that is not durable.
    pub(crate) fn appended(&mut self, idx: LaneIdx, bytes: usize) {
        let lane = &mut self.lanes[idx.0 as usize];
        self.active += usize::from(lane.items() == 0);
        lane.undurable += 1;
        lane.undurable_bytes += bytes;
        self.undurable_bytes += bytes;
    }

    /// A record of a component is durable, or never will be.
    pub(crate) fn settled(&mut self, idx: LaneIdx, bytes: usize) {
        let lane = &mut self.lanes[idx.0 as usize];
        lane.undurable -= 1;
        lane.undurable_bytes -= bytes;
        self.undurable_bytes -= bytes;
        self.active -= usize::from(lane.items() == 0);
    }

    /// The selections among it.
    pub(crate) fn selections(&mut self) -> impl Iterator<Item = &mut Selecting> {
        let work = self.lanes.iter_mut().flat_map(|lane| &mut lane.queue);
        work.filter_map(|work| match work {
            Work::Selection(selecting) => Some(&mut **selecting),
            Work::Instance(_) => None,
        })
    }

    /// Drops the work that `keep` refuses; for truncation.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Work) -> bool) {
        for lane in &mut self.lanes {
            let before = lane.items();
            lane.queue.retain(&mut keep);
            self.active -= usize::from(before > 0 && lane.items() == 0);
        }
        let lanes = &self.lanes;
        for tenant in &mut self.tenants {
            tenant
                .ring
                .retain(|idx| !lanes[idx.0 as usize].queue.is_empty());
        }
        let tenants = &self.tenants;
        self.ring.retain(|number| !tenants[*number].ring.is_empty());
        let work = || lanes.iter().flat_map(|lane| &lane.queue);
        self.len = work().count();
        self.selections = work().map(Work::selections).sum();
    }
}
