//! What callers hold: cheap to clone, used from any thread.

use std::{sync::Arc, time::Duration};

use tokio::{runtime, sync::oneshot};
use xcomponent_core::{
    call::Deployment,
    definition::OnLive,
    effect::{Migrated, Refused, Reply},
    id::{ComponentName, EventId, EventName, InstanceId, PartitionCount, TenantId, Version},
    input::{Broadcast, Elsewhere, Migrate, Request},
    json::Json,
    owed::letter_route,
    record::{Cause, DeadLetter, Selector, Snapshot, Target},
    time::Timestamp,
};

use super::{
    gauges::{CommitGauges, Gauges, ShardGauges},
    inbox::{Message, Order},
    machines,
    shared::{Phase, Shared},
    waiter::{Batch, Pending, PendingBatch, Waiter},
};
use crate::{
    memory::Memory,
    store::{Error, Position, Result},
    telemetry::Tracer,
};

/// Requests of one batch that are in the inboxes at a time; a longer batch follows as these are
/// answered.
pub const BATCH_MAX: usize = 8_192;

/// Wait before it is asked again whether something is in flight: a call that yielded takes longer.
const QUIET_PAUSE: Duration = Duration::from_millis(1);

/// Asks the engines. Every answer is durable when it arrives.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    slow_lane: runtime::Handle,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, slow_lane: runtime::Handle) -> Self {
        Self { shared, slow_lane }
    }

    /// The host's budget.
    pub(crate) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    /// Threads for work that takes a while: they step back behind all others.
    pub fn slow_lane(&self) -> &runtime::Handle {
        &self.slow_lane
    }

    /// Asks, and waits for the answer. What concerns all shards is asked of all and merged.
    pub async fn request(&self, tenant: &TenantId, request: Request) -> Reply {
        match request {
            Request::Migrate(migrate) => self.migrate(tenant, migrate).await,
            request => self.submit(tenant, request).await,
        }
    }

    /// An instance, finished or not: as its shard has it, else as it is stored. What may have
    /// changed it before is durable.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn read(
        &self,
        tenant: &TenantId,
        id: &InstanceId,
    ) -> Result<Result<Snapshot, Refused>> {
        let request = Request::Read {
            instance: id.clone(),
        };
        match self.request(tenant, request).await {
            Reply::Instance(instance) => Ok(Ok(*instance)),
            Reply::Refused(Refused::UnknownInstance(id)) => {
                let stored = self.instance(tenant, &id).await?;
                Ok(stored.ok_or(Refused::UnknownInstance(id)))
            }
            Reply::Refused(refused) => Ok(Err(refused)),
            other => unreachable!("a read is answered with an instance or refused: {other:?}"),
        }
    }

    /// Asks; the answer may be waited for later. A `Migrate` submitted like this is asked of every
    /// shard with its whole limit.
    pub fn submit(&self, tenant: &TenantId, request: Request) -> Pending {
        let (waiter, pending) = Waiter::one();
        self.send(tenant, request, waiter);
        pending
    }

    /// The same, where somebody else wants to know that it was taken in: every shard that it
    /// concerns has it in its inbox.
    ///
    /// # Errors
    ///
    /// If one of them has no room. Others may have it, and know it again by its id.
    pub fn admit(&self, tenant: &TenantId, request: Request) -> Result<Pending, Refused> {
        let (waiter, pending) = Waiter::one();
        let closed = self.closed_to(&request);
        match self.send_as(tenant, request, waiter, false) {
            true => Ok(pending),
            false => Err(closed.unwrap_or_else(|| self.busy())),
        }
    }

    /// Asks many things and waits for all answers, which are in the order of the requests.
    pub async fn request_batch(&self, tenant: &TenantId, requests: Vec<Request>) -> Vec<Reply> {
        if requests.len() <= BATCH_MAX {
            return self.submit_batch(tenant, requests).await;
        }
        let mut replies = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        let mut before: Option<PendingBatch> = None;
        while requests.peek().is_some() {
            let slice = requests.by_ref().take(BATCH_MAX / 2).collect();
            let pending = self.submit_batch(tenant, slice);
            if let Some(before) = before.replace(pending) {
                replies.extend(before.await);
            }
        }
        if let Some(last) = before {
            replies.extend(last.await);
        }
        replies
    }

    /// Asks many things; the answers may be waited for later. Those for which there is no room are
    /// refused, so give no more than [`BATCH_MAX`] at once.
    pub fn submit_batch(&self, tenant: &TenantId, requests: Vec<Request>) -> PendingBatch {
        let (batch, pending) = Batch::new(requests.len());
        let mut by_shard: Vec<Vec<(usize, Request)>> = vec![Vec::new(); self.shared.posts.len()];
        for (line, request) in requests.into_iter().enumerate() {
            if let Some(refused) = self.closed_to(&request) {
                Waiter::line(&batch, line).answer(Reply::Refused(refused));
                continue;
            }
            match self.owner(&request) {
                Some(shard) => by_shard[shard].push((line, request)),
                // Whoever has no room says so in the line's answer.
                None => {
                    self.send(tenant, request, Waiter::line(&batch, line));
                }
            }
        }
        for (shard, lines) in by_shard.into_iter().enumerate() {
            if lines.is_empty() {
                continue;
            }
            let room = self.shared.room(shard, false);
            let inbox = &self.shared.posts[shard].inbox;
            let rest = inbox.admit_lines(tenant, lines, &batch, room);
            for (line, _) in rest {
                Waiter::line(&batch, line).answer(Reply::Refused(self.busy()));
            }
        }
        pending
    }

    /// A broadcast that begins a chain of causes of its own.
    pub fn broadcast(
        &self,
        selector: Arc<Selector>,
        event: EventName,
        payload: Json,
        id: Option<EventId>,
        trace_parent: Option<Arc<str>>,
    ) -> Request {
        let repeatable = id.is_some();
        let id = id.unwrap_or_else(|| self.new_event_id());
        let cause = Cause {
            spread: self.shards() > 1,
            ..Cause::outside(&id, trace_parent)
        };
        Request::Broadcast(Broadcast {
            selector,
            event,
            payload,
            id,
            repeatable,
            cause,
        })
    }

    /// An id for an instance: with these routing bits, or anywhere.
    pub fn new_instance_id(&self, route: Option<u16>) -> InstanceId {
        self.shared.ids.instance(route)
    }

    /// An id for an event.
    pub fn new_event_id(&self) -> EventId {
        self.shared.ids.event(self.now())
    }

    /// The time as the engines know it.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Into how many partitions the instances are divided.
    pub fn partitions(&self) -> PartitionCount {
        self.shared.placement.partitions
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shared.posts.len()
    }

    /// Gives a version to every shard.
    pub async fn deploy(&self, deployment: Arc<Deployment>) {
        self.order(&Order::Deploy(deployment)).await;
    }

    /// Makes a version the active one on every shard.
    pub async fn activate(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
    ) {
        self.shared.components.set(tenant, component, true);
        let (tenant, component, version) = (tenant.clone(), component.clone(), version.clone());
        self.order(&Order::Activate {
            tenant,
            component,
            version,
            on_live,
        })
        .await;
    }

    /// Takes a version, or a whole component, from every shard. Nothing may live on it.
    pub async fn retire(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: Option<&Version>,
    ) {
        if version.is_none() {
            self.shared.components.set(tenant, component, false);
        }
        let (tenant, component, version) = (tenant.clone(), component.clone(), version.cloned());
        self.order(&Order::Retire {
            tenant,
            component,
            version,
        })
        .await;
    }

    /// Tells every shard which components are on other hosts.
    pub async fn tell_elsewhere(&self, elsewhere: Elsewhere) {
        self.order(&Order::Elsewhere(Arc::new(elsewhere))).await;
    }

    /// The last position that is durable.
    pub fn durable_position(&self) -> Position {
        *self.shared.durable.borrow()
    }

    /// The driver's numbers at this moment.
    pub fn gauges(&self) -> Gauges {
        let shards = self.shared.posts.iter().map(|post| {
            let gauges = post.counters.read(post.inbox.waiting());
            ShardGauges {
                inbox_bytes: post.inbox.bytes(),
                ..gauges
            }
        });
        let machines = self.shared.posts.iter();
        let machines = machines.map(|post| &post.counters.machines);
        Gauges {
            shards: shards.collect(),
            machines: machines::sum(&self.shared.admitted, machines),
            commit: CommitGauges {
                queued_bytes: self.shared.log.queued_bytes(),
                batch_bytes_max: self.shared.pace.batch_bytes(),
                ..self.shared.commits.read(self.shared.log.queued())
            },
        }
    }

    /// Waits until nothing is in flight and every deadline that has come was met. Only of use where
    /// nobody else asks, and the clock stands still.
    pub async fn quiet(&self, tenant: &TenantId) {
        loop {
            // A shard that answers has looked at the clock.
            let look = Request::Census { component: None };
            self.request(tenant, look).await;
            if self.shared.is_quiet() || !self.admits() {
                return;
            }
            tokio::time::sleep(QUIET_PAUSE).await;
        }
    }

    /// Why nothing can be made durable at the moment, if so.
    pub fn store_problem(&self) -> Option<Arc<str>> {
        if self.shared.store.is_taken_over() {
            return Some(Error::TakenOver.to_string().into());
        }
        let hangs = self.shared.commit_hangs().map(|waited| {
            let seconds = waited.as_secs();
            format!("the store has not answered a commit for {seconds} s").into()
        });
        hangs.or_else(|| self.shared.problem().clone())
    }

    /// Whether requests are accepted: all threads are there and the host is not ending.
    pub fn is_ready(&self) -> bool {
        self.admits()
    }

    /// From here on this takes spans of what is committed, sent and taken in. There is one, the
    /// first.
    pub fn tell_spans_to(&self, tracer: Tracer) {
        self.shared.tracer.get_or_init(|| tracer);
    }

    /// Whether the host is going to end: nothing from outside is let in.
    pub fn is_ending(&self) -> bool {
        matches!(self.shared.phase(), Phase::Closing | Phase::Ended)
    }

    /// Why this process should be started anew, if so: a thread is gone, or was seen within one
    /// turn at two calls of this that are so far apart.
    pub fn failure(&self, within: Duration) -> Option<String> {
        if self.shared.phase() == Phase::Broken {
            return Some("a thread of the driver has failed".to_owned());
        }
        let pulses = self.shared.posts.iter().map(|post| &post.pulse);
        let hanging = self.shared.watch.look(pulses, within);
        let shard = hanging.first()?;
        Some(format!("the thread of shard {shard} makes no progress"))
    }

    /// Asks the shards one after the other, so that the limit holds for all together.
    async fn migrate(&self, tenant: &TenantId, migrate: Migrate) -> Reply {
        let mut moved: Vec<Migrated> = Vec::new();
        for shard in 0..self.shards() {
            let limit = migrate.limit - moved.len();
            if limit == 0 {
                break;
            }
            let (waiter, pending) = Waiter::one();
            self.send_to(
                shard,
                tenant,
                Request::Migrate(Migrate {
                    limit,
                    ..migrate.clone()
                }),
                waiter,
                true,
            );
            match pending.await {
                Reply::Migrated(more) => moved.extend(more),
                other => return other,
            }
        }
        Reply::Migrated(moved)
    }

    async fn order(&self, order: &Order) {
        let told = self.shared.posts.iter().map(|post| {
            let (done, told) = oneshot::channel();
            post.inbox.put(Message::Order {
                order: order.clone(),
                done,
            });
            told
        });
        for told in told.collect::<Vec<_>>() {
            // An error means that the driver ended.
            drop(told.await);
        }
    }

    /// Hands a request to whom it concerns; false if one of them did not take it in.
    fn send(&self, tenant: &TenantId, request: Request, waiter: Waiter) -> bool {
        self.send_as(tenant, request, waiter, true)
    }

    /// The same; `answered` says whether somebody hears it if an engine refuses the request.
    fn send_as(&self, tenant: &TenantId, request: Request, waiter: Waiter, answered: bool) -> bool {
        let Some(shard) = self.owner(&request) else {
            let parts = waiter.split(self.shards()).enumerate();
            return parts.fold(true, |all, (shard, part)| {
                self.send_to(shard, tenant, request.clone(), part, answered) && all
            });
        };
        self.send_to(shard, tenant, request, waiter, answered)
    }

    fn send_to(
        &self,
        shard: usize,
        tenant: &TenantId,
        request: Request,
        waiter: Waiter,
        answered: bool,
    ) -> bool {
        if let Some(refused) = self.closed_to(&request) {
            waiter.answer(Reply::Refused(refused));
            return false;
        }
        let message = Message::Request {
            tenant: tenant.clone(),
            request,
            waiter,
        };
        let room = self.shared.room(shard, answered);
        let refused = self.shared.posts[shard].inbox.admit(message, room);
        let Some(Message::Request { waiter, .. }) = refused else {
            return true;
        };
        waiter.answer(Reply::Refused(self.busy()));
        false
    }

    fn admits(&self) -> bool {
        self.shared.phase() == Phase::Running
    }

    /// Why such a request is not let in, if it is not: the host ends, or the store is away and the
    /// request would wait for it.
    fn closed_to(&self, request: &Request) -> Option<Refused> {
        if !self.admits() {
            return Some(self.busy());
        }
        let only_looks = matches!(
            request,
            Request::Read { .. }
                | Request::Preview { .. }
                | Request::Census { .. }
                | Request::Breakers { .. }
        );
        (!only_looks && self.shared.store_is_away()).then_some(Refused::NotCommitted)
    }

    fn busy(&self) -> Refused {
        let why = match self.shared.phase() {
            Phase::Running => "too much work is waiting",
            Phase::Closing | Phase::Ended => "the host is ending",
            Phase::Broken => "the host has failed",
        };
        Refused::Busy(why.into())
    }

    /// The shard that a request concerns; none = all.
    fn owner(&self, request: &Request) -> Option<usize> {
        let route = match request {
            Request::Create(create) => create.id.route(),
            Request::Send(send) => send.instance.route(),
            Request::Terminate(terminate) => terminate.instance.route(),
            Request::Delete(delete) => delete.instance.route(),
            Request::Read { instance } | Request::UnblockInstance { instance } => instance.route(),
            Request::Replay { letter } | Request::Discard { letter } => route_of_letter(letter),
            Request::Receive(receive) => receive.stream.route(),
            Request::Return { deliveries, .. } => {
                let first = deliveries.first()?;
                letter_route(&first.event.id, None)
            }
            Request::Broadcast(_)
            | Request::Preview { .. }
            | Request::Migrate(_)
            | Request::Census { .. }
            | Request::Breakers { .. }
            | Request::Unblock { .. } => return None,
        };
        Some(self.shared.placement.shard_of_route(route))
    }
}

/// Where a parked event belongs: to its instance, else to whom it was sent, else anywhere, but
/// always the same.
fn route_of_letter(letter: &DeadLetter) -> u16 {
    let sent_to = match &letter.to {
        Some(Target::Instance { id, .. } | Target::Create { id, .. }) => Some(id),
        Some(Target::Selection(_)) | None => None,
    };
    letter_route(&letter.event.id, letter.instance.as_ref().or(sent_to))
}
