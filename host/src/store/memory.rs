//! The store that keeps everything in memory, for tests and for hosts that need nothing else.
//!
//! What a host does per second passes through here on one thread, so a record costs one look-up
//! and no copy: the log, the instance's newest state and whoever reads share it. Readers hold the
//! lock for one slice at a time. At [`Config::history_bytes_max`] deleted instances are forgotten,
//! then finished ones, the first first; if there are none, the log loses its oldest records.

mod crossing;
mod instances;
mod journal;
mod keys;
mod letters;
mod retention;
mod versions;

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hashbrown::{HashMap, HashSet};
use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, EventId, InstanceId, StreamId, TenantId, Version},
    input::Found as Asked,
    owed::{Owed, TakenIn},
    record::{Body, Handled, Record, Snapshot},
    time::Timestamp,
};

use self::{
    crossing::Crossings,
    instances::{Instances, Known, is_over},
    journal::{Journal, Owner, Slot},
    keys::Keys,
    letters::Letters,
    versions::Versions,
};
use super::{
    Entry, Error, EventAt, Position, Result, Store,
    crossing::{Channel, Outlet},
    query::{
        ComponentVersion, Cursor, Found, InstanceCount, InstanceFilter, Letter, LetterFilter, Page,
        PageRequest, RecordFilter, Room, STRETCH_BYTES_MAX, Search, TRACE_BYTES_MAX, Tail,
        is_shown,
    },
    retention::{Removable, shorten},
    weight::Weighed,
};

/// Things looked at, or records taken over, while the lock is held once.
const SLICE: usize = 1_024;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of history, finished instances included; the live ones' newest states come on top.
    pub history_bytes_max: usize,
}

impl Default for Config {
    /// 256 MiB.
    fn default() -> Self {
        Self {
            history_bytes_max: 256 << 20,
        }
    }
}

/// Keeps everything in memory.
#[derive(Debug)]
pub struct Memory {
    config: Config,
    log_name: String,
    kept: RwLock<Kept>,
    versions: Mutex<Versions>,
}

/// What follows from the log.
#[derive(Debug)]
struct Kept {
    journal: Journal,
    instances: Instances,
    keys: Keys,
    letters: Letters,
    crossings: Crossings,
    /// Finished instances, the first finished first.
    finished: VecDeque<Ended>,
    /// Deleted instances that owe nothing, the first deleted first.
    deleted: VecDeque<Ended>,
}

/// The place of an instance that has ended, with the position of its creation: the place may be
/// another's by now.
type Ended = (Owner, u64);

impl Memory {
    /// An empty store.
    pub fn new(config: Config) -> Self {
        let kept = Kept {
            journal: Journal::new(),
            instances: Instances::default(),
            keys: Keys::default(),
            letters: Letters::default(),
            crossings: Crossings::default(),
            finished: VecDeque::new(),
            deleted: VecDeque::new(),
        };
        Self {
            config,
            log_name: name(),
            kept: RwLock::new(kept),
            versions: Mutex::default(),
        }
    }

    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().expect("no change to the log panics")
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().expect("no change to the log panics")
    }

    fn catalogue(&self) -> MutexGuard<'_, Versions> {
        self.versions
            .lock()
            .expect("no change to the versions panics")
    }

    /// Walks a tenant's instances, the last created first, while `visit` says so, and says where the
    /// search ended, if it did so before that.
    fn walk(
        &self,
        tenant: &TenantId,
        from: Option<Cursor>,
        mut search: Search,
        mut visit: impl FnMut(u64, &Known) -> bool,
    ) -> Option<u64> {
        let mut before = from.map_or(u64::MAX, |cursor| cursor.0);
        loop {
            let kept = self.kept();
            let mut seen = 0;
            for known in kept.instances.older(tenant, before).take(SLICE) {
                before = known.created;
                seen += 1;
                search.looked_at(known.snapshot().context.len());
                if !visit(known.created, known) {
                    return None;
                }
                if search.is_over() {
                    return Some(before);
                }
            }
            if seen < SLICE {
                return None;
            }
        }
    }

    /// Walks a tenant's parked events, the last first, while `visit` says so.
    fn walk_letters(
        &self,
        tenant: &TenantId,
        from: Option<Cursor>,
        mut visit: impl FnMut(&Letter) -> bool,
    ) {
        let mut before = from.map_or(u64::MAX, |cursor| cursor.0);
        loop {
            let kept = self.kept();
            let mut seen = 0;
            for letter in kept.letters.older(tenant, before).take(SLICE) {
                before = letter.position.0;
                seen += 1;
                if !visit(letter) {
                    return;
                }
            }
            if seen < SLICE {
                return;
            }
        }
    }
}

impl Kept {
    fn append(&mut self, entry: &Entry) {
        let position = entry.position.0;
        self.letters.note(position, &entry.record);
        self.crossings.note(entry);
        let record = entry.record.without_waiting();
        let noted = self.instances.note(position, &record, &entry.record.body);
        let (owner, before) = noted
            .as_ref()
            .map_or((None, 0), |noted| (Some(noted.owner), noted.before));
        self.journal.push(position, record, owner, before);
        if let Some(noted) = noted
            && let Some(known) = self.instances.at(noted.owner)
        {
            let ended = (noted.owner, known.created);
            self.finished.extend(noted.ended.then_some(ended));
            self.deleted.extend(noted.deleted.then_some(ended));
        }
    }

    /// Whether a record is about a deleted instance.
    fn is_of_deleted(&self, slot: &Slot) -> bool {
        let owner = slot.owner.and_then(|owner| self.instances.at(owner));
        owner.is_some_and(|known| known.snapshot().is_deleted())
    }

    /// Forgets until no more than so many bytes of history are left.
    fn trim(&mut self, history_bytes_max: usize) {
        while self.journal.bytes() > history_bytes_max {
            let next = self.deleted.pop_front();
            match next.or_else(|| self.finished.pop_front()) {
                Some(ended) => self.forget(ended),
                None => self.drop_oldest(),
            }
        }
        while self.journal.is_sparse() {
            self.drop_oldest();
        }
    }

    /// An instance that has ended, unless it is gone.
    fn ended(&self, (owner, created): Ended) -> Option<&Known> {
        let known = self.instances.at(owner);
        known.filter(|known| known.created == created)
    }

    /// Removes an instance with its history, if it is still the one created there.
    fn forget(&mut self, ended: Ended) {
        let Some(known) = self.ended(ended) else {
            return;
        };
        let mut position = known.last;
        while position != 0 {
            position = self.journal.empty(position);
        }
        self.instances.remove(ended.0);
    }

    /// Drops the oldest record. An instance whose last it was keeps its state, unless it is over.
    fn drop_oldest(&mut self) {
        let Some((position, slot)) = self.journal.pop() else {
            return;
        };
        let (Some(_), Some(owner)) = (slot.record, slot.owner) else {
            return;
        };
        if let Some(known) = self
            .instances
            .at_mut(owner)
            .filter(|known| known.last == position)
        {
            if is_over(known.snapshot()) {
                self.instances.remove(owner);
            } else {
                known.detach();
            }
        }
    }
}

impl Store for Memory {
    fn is_immediate(&self) -> bool {
        true
    }

    fn commit(&self, entries: &[Entry], _: &TakenIn) -> Result<()> {
        for slice in entries.chunks(SLICE) {
            let mut kept = self.kept_mut();
            slice.iter().for_each(|entry| kept.append(entry));
            kept.trim(self.config.history_bytes_max);
        }
        Ok(())
    }

    fn tidy(&self) -> Result<bool> {
        Ok(false)
    }

    fn shorten(&self, removable: &Removable) -> Result<bool> {
        shorten(&mut *self.kept_mut(), removable)
    }

    fn probe(&self) -> Result<()> {
        Ok(())
    }

    /// What is owed is in the same memory, and ends with it.
    fn owed(&self) -> Result<Owed> {
        Ok(Owed::nothing())
    }

    fn log_name(&self) -> Result<String> {
        Ok(self.log_name.clone())
    }

    fn streams(&self) -> Result<Vec<(TenantId, StreamId, u64)>> {
        Ok(self.kept().crossings.streams())
    }

    fn outlets(&self) -> Result<Vec<Outlet>> {
        Ok(self.kept().crossings.outlets())
    }

    fn outbox(&self, channel: &Channel, after: Position, limit: usize) -> Result<Vec<Entry>> {
        Ok(self.kept().crossings.outbox(channel, after, limit))
    }

    fn relayed(&self, channel: &Channel, _: Position, through: Position) -> Result<()> {
        self.kept_mut().crossings.relayed(channel, through);
        Ok(())
    }

    fn last_position(&self) -> Result<Position> {
        Ok(Position(self.kept().journal.last()))
    }

    fn load(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()> {
        let kept = self.kept();
        let is_wanted = |known: &&Known| known.snapshot().is_live() && wanted(&known.snapshot().id);
        let known = kept.instances.iter().filter(is_wanted);
        known.map(Known::whole).for_each(take);
        Ok(())
    }

    fn reload(&self, asked: &[(TenantId, InstanceId)]) -> Result<Asked> {
        let kept = self.kept();
        let found = asked
            .iter()
            .filter_map(|(tenant, id)| kept.instances.find(tenant, id));
        Ok(Asked {
            instances: found.map(Known::whole).collect(),
            unreadable: Vec::new(),
        })
    }

    fn recall(&self, asked: &[EventAt]) -> Result<Vec<Option<Arc<Handled>>>> {
        let kept = self.kept();
        let found = asked.iter().map(|(tenant, instance, event)| {
            let found = kept.keys.find(&kept.journal, tenant, instance, event);
            found.cloned()
        });
        Ok(found.collect())
    }

    /// Whoever asks again has forgotten the answer, for lack of room: this looks at the whole log.
    fn selections(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Record>> {
        let led_to = self.trace(tenant, std::slice::from_ref(root), usize::MAX)?;
        let records = led_to.into_iter().map(|entry| entry.record);
        let about_none = |record: &Record| record.body.snapshot().is_none();
        Ok(records.filter(about_none).collect())
    }

    fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        Ok(self.kept().instances.shown(tenant, id).map(Known::whole))
    }

    fn instances(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>> {
        let mut found = Found::new(page);
        let ended = self.walk(tenant, page.after, Search::for_page(), |created, known| {
            !filter.passes(known.snapshot()) || found.take(created, || known.whole())
        });
        ended.into_iter().for_each(|at| found.goes_on_after(at));
        Ok(found.into_page())
    }

    fn instance_counts(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
    ) -> Result<Vec<InstanceCount>> {
        let mut counts: HashMap<_, InstanceCount> = HashMap::new();
        self.walk(tenant, None, Search::for_all(), |_, known| {
            let snapshot = known.snapshot();
            if filter.passes(snapshot) {
                let version = Arc::as_ptr(&snapshot.deployment) as usize;
                let kind = (version, snapshot.machine, snapshot.state, snapshot.status);
                counts
                    .entry(kind)
                    .or_insert_with(|| InstanceCount::none_like(snapshot))
                    .instances += 1;
            }
            true
        });
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort();
        counts.dedup_by(|later, first| {
            let same = InstanceCount {
                instances: first.instances,
                ..later.clone()
            } == *first;
            first.instances += if same { later.instances } else { 0 };
            same
        });
        Ok(counts)
    }

    fn history(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        let kept = self.kept();
        let mut found = Found::new(page);
        let mut position = kept
            .instances
            .shown(tenant, instance)
            .map_or(0, |known| known.last);
        while let Some(slot) = kept.journal.slot(position) {
            let Some(record) = &slot.record else { break };
            let wanted =
                page.after.is_none_or(|after| position < after.0) && is_shown(&record.body);
            if wanted && !found.take(position, || entry(position, record)) {
                break;
            }
            position = slot.before;
        }
        Ok(found.into_page())
    }

    fn records(
        &self,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail> {
        let kept = self.kept();
        let complete_after = Position(kept.journal.dropped());
        if after < complete_after {
            return Err(Error::Gone { complete_after });
        }
        let mut tail = Tail {
            entries: Vec::new(),
            through: after,
        };
        let last = kept.journal.last().min(after.0 + SLICE as u64);
        let mut room = Room::new(STRETCH_BYTES_MAX);
        for position in after.0 + 1..=last {
            let record = kept
                .journal
                .slot(position)
                .and_then(|slot| slot.record.as_ref());
            let passing = record.filter(|record| record.tenant == *tenant && filter.passes(record));
            let is_full = tail.entries.len() == limit;
            if is_full || passing.is_some_and(|record| !room.has_room_for(record)) {
                break;
            }
            tail.through = Position(position);
            tail.entries
                .extend(passing.map(|record| entry(position, record)));
        }
        Ok(tail)
    }

    fn trace(&self, tenant: &TenantId, roots: &[EventId], limit: usize) -> Result<Vec<Entry>> {
        let roots: HashSet<&EventId> = roots.iter().collect();
        let (mut trace, mut bytes) = (Vec::new(), 0);
        let mut next = self.kept().journal.first();
        loop {
            let kept = self.kept();
            let last = kept.journal.last().min(next + SLICE as u64);
            for position in next..=last {
                let slot = kept.journal.slot(position);
                let slot = slot.filter(|slot| !kept.is_of_deleted(slot));
                let record = slot.and_then(|slot| slot.record.as_ref());
                let part =
                    record.filter(|record| record.tenant == *tenant && belongs_to(record, &roots));
                bytes += part.map_or(0, Weighed::weight);
                trace.extend(part.map(|record| entry(position, record)));
                if trace.len() == limit || bytes >= TRACE_BYTES_MAX {
                    return Ok(trace);
                }
            }
            if last >= kept.journal.last() {
                return Ok(trace);
            }
            next = last + 1;
        }
    }

    fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        Ok(self.kept().letters.find(tenant, id, instance).cloned())
    }

    fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        let mut found = Found::new(page);
        self.walk_letters(tenant, page.after, |letter| {
            !filter.passes(&letter.letter) || found.take(letter.position.0, || letter.clone())
        });
        Ok(found.into_page())
    }

    fn dead_letter_count(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64> {
        let mut count = 0;
        self.walk_letters(tenant, None, |letter| {
            count += u64::from(filter.passes(&letter.letter));
            true
        });
        Ok(count)
    }

    fn save_version(&self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        self.catalogue().save(version, artifact)
    }

    fn activate_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()> {
        self.catalogue()
            .activate(tenant, component, version, on_live, at)
    }

    fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        self.catalogue().delete(tenant, component, version)
    }

    fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        Ok(self.catalogue().list(tenant, component))
    }

    fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        Ok(self.catalogue().artifact(digest))
    }
}

fn entry(position: u64, record: &Record) -> Entry {
    Entry {
        position: Position(position),
        record: record.clone(),
    }
}

/// A name that no other log has.
fn name() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

/// Whether a record is the own one of a root event, or was caused by it.
fn belongs_to(record: &Record, roots: &HashSet<&EventId>) -> bool {
    match &record.body {
        Body::Handled(handled) => {
            roots.contains(&handled.event.id) || roots.contains(&handled.cause.root)
        }
        Body::Selected(selected) => roots.contains(&selected.cause.root),
        Body::Departed(departed) => roots.contains(&departed.outgoing.cause.root),
        Body::Parked(letter) => roots.contains(&letter.cause.root),
        Body::Received(received) => {
            let mut deliveries = received.deliveries.iter();
            deliveries.any(|outgoing| roots.contains(&outgoing.cause.root))
        }
        Body::Moved(_) | Body::Discarded { .. } => false,
    }
}
