//! Questions that the store answers, off the shards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, EventId, InstanceId, TenantId, Version},
    record::Snapshot,
};

use super::handle::Handle;
use crate::store::{
    Entry, Error, Result, Store,
    query::{
        ComponentVersion, InstanceCount, InstanceFilter, Letter, LetterFilter, Page, PageRequest,
        TRACE_MAX,
    },
    unreadable::UnreadableInstance,
};

/// How long somebody waits for an answer of the store. Only one that hangs takes so long.
const ANSWER_MAX: Duration = Duration::from_secs(30);

impl Handle {
    /// One instance, finished or not, as it was last committed.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.look_up(move |store| store.instance(&tenant, &id))
            .await
    }

    /// Instances, the last created first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn instances(
        &self,
        tenant: &TenantId,
        filter: InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>> {
        let tenant = tenant.clone();
        self.ask(move |store| store.instances(&tenant, &filter, page))
            .await
    }

    /// Instances that cannot be read, the last created first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn unreadable(
        &self,
        tenant: &TenantId,
        page: PageRequest,
    ) -> Result<Page<UnreadableInstance>> {
        let tenant = tenant.clone();
        self.ask(move |store| store.unreadable(&tenant, page)).await
    }

    /// How many instances there are of each kind, finished ones included.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn instance_counts(
        &self,
        tenant: &TenantId,
        filter: InstanceFilter,
    ) -> Result<Vec<InstanceCount>> {
        let tenant = tenant.clone();
        self.ask(move |store| store.instance_counts(&tenant, &filter))
            .await
    }

    /// What happened to an instance, the last first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn history(
        &self,
        tenant: &TenantId,
        id: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.ask(move |store| store.history(&tenant, &id, page))
            .await
    }

    /// Everything that one event from outside led to, oldest first, at most [`TRACE_MAX`] records.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn trace(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Entry>> {
        self.traces(tenant, vec![root.clone()]).await
    }

    /// The same of several events, at most [`TRACE_MAX`] records together.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn traces(&self, tenant: &TenantId, roots: Vec<EventId>) -> Result<Vec<Entry>> {
        let tenant = tenant.clone();
        self.ask(move |store| store.trace(&tenant, &roots, TRACE_MAX))
            .await
    }

    /// A parked event; `instance` tells those apart that one broadcast left behind.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        let (tenant, id, instance) = (tenant.clone(), id.clone(), instance.cloned());
        self.look_up(move |store| store.dead_letter(&tenant, &id, instance.as_ref()))
            .await
    }

    /// Parked events, the last first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        let tenant = tenant.clone();
        self.ask(move |store| store.dead_letters(&tenant, &filter, page))
            .await
    }

    /// How many events are parked.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn dead_letter_count(&self, tenant: &TenantId, filter: LetterFilter) -> Result<u64> {
        let tenant = tenant.clone();
        self.ask(move |store| store.dead_letter_count(&tenant, &filter))
            .await
    }

    /// Keeps a version and its artifact. The same once more changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::VersionExists`] if the label names another artifact.
    pub async fn save_version(&self, version: ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        self.ask(move |store| store.save_version(&version, artifact))
            .await
    }

    /// Notes in the store that a version is the active one; [`Handle::activate`] tells the shards.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownVersion`] if it was not saved.
    pub async fn mark_active(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
    ) -> Result<()> {
        let (tenant, component, version) = (tenant.clone(), component.clone(), version.clone());
        let at = self.now();
        self.ask(move |store| store.activate_version(&tenant, &component, &version, on_live, at))
            .await
    }

    /// Removes a version from the store; [`Handle::retire`] tells the shards.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownVersion`] if there is none.
    pub async fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        let (tenant, component, version) = (tenant.clone(), component.clone(), version.clone());
        self.ask(move |store| store.delete_version(&tenant, &component, &version))
            .await
    }

    /// The versions of one component, or of all.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        let (tenant, component) = (tenant.clone(), component.cloned());
        self.look_up(move |store| store.versions(&tenant, component.as_ref()))
            .await
    }

    /// The bytes of an artifact.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        self.look_up(move |store| store.artifact(digest)).await
    }

    /// Asks for one thing: at once where the store has it in memory.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.shared.store.is_immediate() {
            return question(&*self.shared.store);
        }
        self.ask(question).await
    }

    /// Asks on a thread that may wait.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.shared.store);
        let asking = Asking::of(&self.shared.questions);
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question(&*store);
            drop(store);
            drop(asking);
            answer
        });
        let answer = match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(Error::Unavailable(Some(panic.into()))),
            Err(_) => {
                let why = format!("no answer within {} s", ANSWER_MAX.as_secs());
                Err(Error::Unavailable(Some(why.into())))
            }
        };
        answer.inspect_err(|error| self.shared.read_fails(error))
    }
}

/// A question that the store is being asked.
struct Asking(Arc<AtomicUsize>);

impl Asking {
    fn of(questions: &Arc<AtomicUsize>) -> Self {
        questions.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(questions))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
