//! A memory store whose commits can be delayed and made to fail.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use xcomponent_core::{
    definition::OnLive,
    id::{
        ComponentName, Digest, EventId, InstanceId, Partition, PartitionCount, TenantId, Version,
    },
    record::Snapshot,
};
use xcomponent_host::store::{
    Entry, Error, Position, Result, Store,
    memory::{Config, Memory},
    query::{
        ComponentVersion, InstanceCount, InstanceFilter, Letter, LetterFilter, Page, PageRequest,
        RecordFilter, Tail,
    },
};

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// Nothing is written, and the store says so.
    Refused,
    /// Nothing is written, and the store does not say.
    LostBatch,
    /// Everything is written, and the store does not say.
    LostAnswer,
}

/// A memory store under the control of a test.
pub(crate) struct Faulty {
    memory: Memory,
    immediate: bool,
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
struct Control {
    held: bool,
    commits_waiting: usize,
    failures: VecDeque<Option<Failure>>,
}

impl Faulty {
    /// A store that works; `immediate` decides whether shards may ask it themselves.
    pub(crate) fn new(immediate: bool) -> Self {
        let memory = Memory::new(Config::default());
        Self {
            memory,
            immediate,
            control: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Makes commits wait.
    pub(crate) fn hold(&self) {
        self.control().held = true;
    }

    /// Blocks until a commit waits.
    pub(crate) fn wait_for_commit(&self) {
        let control = self.control();
        drop(
            self.changed
                .wait_while(control, |control| control.commits_waiting == 0)
                .expect("no test panics with the lock held"),
        );
    }

    /// Lets commits go on.
    pub(crate) fn release(&self) {
        self.control().held = false;
        self.changed.notify_all();
    }

    /// The next commits go like this, one after the other; none = well.
    pub(crate) fn fail(&self, failures: impl IntoIterator<Item = Option<Failure>>) {
        self.control().failures.extend(failures);
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control
            .lock()
            .expect("no test panics with the lock held")
    }
}

impl Store for Faulty {
    fn is_immediate(&self) -> bool {
        self.immediate
    }

    fn commit(&self, entries: &[Entry]) -> Result<()> {
        let mut control = self.control();
        control.commits_waiting += 1;
        self.changed.notify_all();
        let mut control = self
            .changed
            .wait_while(control, |control| control.held)
            .expect("no test panics with the lock held");
        control.commits_waiting -= 1;
        let failure = control.failures.pop_front().flatten();
        drop(control);
        match failure {
            None => self.memory.commit(entries),
            Some(Failure::Refused) => Err(Error::Unavailable(None)),
            Some(Failure::LostBatch) => Err(Error::Unknown(None)),
            Some(Failure::LostAnswer) => {
                self.memory.commit(entries)?;
                Err(Error::Unknown(None))
            }
        }
    }

    fn last_position(&self) -> Result<Position> {
        self.memory.last_position()
    }

    fn load(
        &self,
        count: PartitionCount,
        wanted: &[Partition],
    ) -> Result<Vec<(Partition, Vec<Snapshot>)>> {
        self.memory.load(count, wanted)
    }

    fn reload(&self, asked: &[(TenantId, InstanceId)]) -> Result<Vec<Snapshot>> {
        self.memory.reload(asked)
    }

    fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        self.memory.instance(tenant, id)
    }

    fn instances(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>> {
        self.memory.instances(tenant, filter, page)
    }

    fn instance_counts(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
    ) -> Result<Vec<InstanceCount>> {
        self.memory.instance_counts(tenant, filter)
    }

    fn history(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        self.memory.history(tenant, instance, page)
    }

    fn records(
        &self,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail> {
        self.memory.records(tenant, filter, after, limit)
    }

    fn trace(&self, tenant: &TenantId, roots: &[EventId], limit: usize) -> Result<Vec<Entry>> {
        self.memory.trace(tenant, roots, limit)
    }

    fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        self.memory.dead_letter(tenant, id, instance)
    }

    fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        self.memory.dead_letters(tenant, filter, page)
    }

    fn dead_letter_count(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64> {
        self.memory.dead_letter_count(tenant, filter)
    }

    fn save_version(&self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        self.memory.save_version(version, artifact)
    }

    fn activate_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
    ) -> Result<()> {
        self.memory
            .activate_version(tenant, component, version, on_live)
    }

    fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        self.memory.delete_version(tenant, component, version)
    }

    fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        Store::versions(&self.memory, tenant, component)
    }

    fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        self.memory.artifact(digest)
    }
}
