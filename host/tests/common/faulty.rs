//! A store whose commits can be delayed and made to fail.

#![allow(
    dead_code,
    clippy::unwrap_in_result,
    reason = "helpers of tests are tests, and not every test needs every fault"
)]

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use tokio::sync::Notify;
use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, EventId, InstanceId, StreamId, TenantId, Version},
    input::Found,
    owed::{Owed, TakenIn},
    record::{Handled, Record, Snapshot},
    time::Timestamp,
};
use xcomponent_host::store::{
    Entry, Error, EventAt, Position, Result, Store,
    crossing::{Channel, Outlet},
    memory::{Config, Memory},
    query::{
        ComponentVersion, InstanceCount, InstanceFilter, Letter, LetterFilter, Page, PageRequest,
        RecordFilter, Tail,
    },
    retention::Removable,
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

/// A store under the control of a test.
pub(crate) struct Faulty {
    inner: Box<dyn Store>,
    immediate: bool,
    control: Mutex<Control>,
    changed: Condvar,
    cut_off: Notify,
}

#[derive(Default)]
struct Control {
    held: bool,
    commits_waiting: usize,
    failures: VecDeque<Option<Failure>>,
    /// Records after which nothing gets durable any more.
    left: Option<usize>,
    /// What the last commit said of the shards.
    taken_in: Option<TakenIn>,
    refuses: bool,
    is_unreadable: bool,
    unstorable: Option<Rule>,
    /// The most instances that were asked for at once.
    asked_at_once: usize,
}

/// Whether a record is one that the store cannot take.
type Rule = Box<dyn Fn(&Record) -> bool + Send>;

impl Faulty {
    /// A store that works; `immediate` decides whether shards may ask it themselves.
    pub(crate) fn new(immediate: bool) -> Self {
        Self {
            immediate,
            ..Self::cut_off(Box::new(Memory::new(Config::default())), None)
        }
    }

    /// A store in which nothing gets durable after so many more records: commits wait for ever.
    pub(crate) fn cut_off(inner: Box<dyn Store>, records: Option<usize>) -> Self {
        let control = Control {
            left: records,
            ..Control::default()
        };
        Self {
            inner,
            immediate: false,
            control: Mutex::new(control),
            changed: Condvar::new(),
            cut_off: Notify::new(),
        }
    }

    /// Waits until nothing gets durable any more.
    pub(crate) async fn is_cut_off(&self) {
        self.cut_off.notified().await;
    }

    /// Refuses all commits from now on, also those that wait.
    pub(crate) fn refuse_all(&self) {
        let mut control = self.control();
        control.refuses = true;
        control.held = false;
        drop(control);
        self.changed.notify_all();
    }

    /// From now on nothing that shards ask can be read, or it can again.
    pub(crate) fn be_unreadable(&self, is_unreadable: bool) {
        self.control().is_unreadable = is_unreadable;
    }

    /// The most instances that were asked for at once.
    pub(crate) fn asked_at_once(&self) -> usize {
        self.control().asked_at_once
    }

    fn read(&self) -> Result<()> {
        match self.control().is_unreadable {
            true => Err(Error::Unavailable(Some("it cannot be read".into()))),
            false => Ok(()),
        }
    }

    /// From now on these records are refused for what is in them, with all others of their batch.
    pub(crate) fn cannot_take(&self, rule: impl Fn(&Record) -> bool + Send + 'static) {
        self.control().unstorable = Some(Box::new(rule));
    }

    /// Commits what may still get durable, and is cut off if that is not all.
    fn commit_some(&self, entries: &[Entry], taken_in: &TakenIn) -> Result<()> {
        let mut control = self.control();
        if let Some(left) = &mut control.left {
            let some = entries.len().min(*left);
            *left -= some;
            if some < entries.len() {
                control.held = true;
                // What the shards say holds for all of the batch only.
                let before = control.taken_in.clone();
                drop(control);
                let nothing = TakenIn::all(taken_in.placement, 0);
                self.inner
                    .commit(&entries[..some], before.as_ref().unwrap_or(&nothing))?;
                self.cut_off.notify_one();
                let waiting = self.control();
                drop(
                    self.changed
                        .wait_while(waiting, |control| control.held)
                        .expect("no test panics with the lock held"),
                );
                return Err(Error::Unavailable(None));
            }
        }
        control.taken_in = Some(taken_in.clone());
        drop(control);
        self.inner.commit(entries, taken_in)
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

    fn commit(&self, entries: &[Entry], taken_in: &TakenIn) -> Result<()> {
        let mut control = self.control();
        control.commits_waiting += 1;
        self.changed.notify_all();
        let mut control = self
            .changed
            .wait_while(control, |control| control.held)
            .expect("no test panics with the lock held");
        control.commits_waiting -= 1;
        let failure = control.failures.pop_front().flatten();
        let refuses = control.refuses;
        if let Some(rule) = &control.unstorable
            && entries.iter().any(|entry| rule(&entry.record))
        {
            return Err(Error::Unstorable("it is poison".into()));
        }
        drop(control);
        match failure {
            None if refuses => Err(Error::Unavailable(None)),
            None => self.commit_some(entries, taken_in),
            Some(Failure::Refused) => Err(Error::Unavailable(None)),
            Some(Failure::LostBatch) => Err(Error::Unknown(None)),
            Some(Failure::LostAnswer) => {
                self.inner.commit(entries, taken_in)?;
                Err(Error::Unknown(None))
            }
        }
    }

    fn tidy(&self) -> Result<bool> {
        self.inner.tidy()
    }

    fn shorten(&self, removable: &Removable) -> Result<bool> {
        self.inner.shorten(removable)
    }

    fn probe(&self) -> Result<()> {
        let control = self.control();
        match control.failures.front() {
            Some(Some(_)) => Err(Error::Unavailable(None)),
            Some(None) | None if control.refuses => Err(Error::Unavailable(None)),
            Some(None) | None if control.is_unreadable => Err(Error::Unavailable(None)),
            Some(None) | None => self.inner.probe(),
        }
    }

    fn check(&self) -> Result<()> {
        self.read()?;
        self.inner.check()
    }

    fn owed(&self) -> Result<Owed> {
        self.inner.owed()
    }

    fn log_name(&self) -> Result<String> {
        self.inner.log_name()
    }

    fn streams(&self) -> Result<Vec<(TenantId, StreamId, u64)>> {
        self.inner.streams()
    }

    fn outlets(&self) -> Result<Vec<Outlet>> {
        self.inner.outlets()
    }

    fn outbox(&self, channel: &Channel, after: Position, limit: usize) -> Result<Vec<Entry>> {
        self.inner.outbox(channel, after, limit)
    }

    fn relayed(&self, channel: &Channel, after: Position, through: Position) -> Result<()> {
        self.inner.relayed(channel, after, through)
    }

    fn last_position(&self) -> Result<Position> {
        self.inner.last_position()
    }

    fn last_time(&self) -> Result<Timestamp> {
        self.inner.last_time()
    }

    fn load(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()> {
        self.inner.load(wanted, take)
    }

    fn reload(&self, asked: &[(TenantId, InstanceId)]) -> Result<Found> {
        self.read()?;
        let mut control = self.control();
        control.asked_at_once = control.asked_at_once.max(asked.len());
        drop(control);
        self.inner.reload(asked)
    }

    fn recall(&self, asked: &[EventAt]) -> Result<Vec<Option<Arc<Handled>>>> {
        self.read()?;
        self.inner.recall(asked)
    }

    fn selections(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Record>> {
        self.read()?;
        self.inner.selections(tenant, root)
    }

    fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        self.read()?;
        self.inner.instance(tenant, id)
    }

    fn instances(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>> {
        self.inner.instances(tenant, filter, page)
    }

    fn instance_counts(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
    ) -> Result<Vec<InstanceCount>> {
        self.inner.instance_counts(tenant, filter)
    }

    fn history(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        self.inner.history(tenant, instance, page)
    }

    fn records(
        &self,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail> {
        self.inner.records(tenant, filter, after, limit)
    }

    fn trace(&self, tenant: &TenantId, roots: &[EventId], limit: usize) -> Result<Vec<Entry>> {
        self.inner.trace(tenant, roots, limit)
    }

    fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        self.inner.dead_letter(tenant, id, instance)
    }

    fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        self.inner.dead_letters(tenant, filter, page)
    }

    fn dead_letter_count(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64> {
        self.inner.dead_letter_count(tenant, filter)
    }

    fn save_version(&self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        self.inner.save_version(version, artifact)
    }

    fn activate_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()> {
        self.inner
            .activate_version(tenant, component, version, on_live, at)
    }

    fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        self.inner.delete_version(tenant, component, version)
    }

    fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        Store::versions(&*self.inner, tenant, component)
    }

    fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        self.inner.artifact(digest)
    }
}
