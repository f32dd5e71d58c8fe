//! Records as shards make them, of two tenants that run the same component.

use std::sync::Arc;

use xcomponent_core::{
    call::{Deployment, Event},
    definition::{MachineIdx, OnLive, StateIdx, Strictness, check},
    id::{Digest, EventId, EventName, InstanceId, PartitionCount, TenantId},
    json::Json,
    owed::{Placement, TakenIn},
    record::{Body, Cause, DeadLetter, Disposition, Handled, Parked, Record, Snapshot, Status},
    time::Timestamp,
};
use xcomponent_host::store::{Entry, Position, Store, query::ComponentVersion};

const YAML: &str = "
name: Shop
version: VERSION
stateMachines:
  - name: Order
    initialState: Open
    states: [{name: Open}, {name: Paid}, {name: Done, type: final}]
    transitions:
      - {from: Open, to: Paid, event: PAY}
      - {from: Paid, to: Done, event: SHIP}
  - name: Bill
    initialState: Sent
    states: [{name: Sent}, {name: Done, type: final}]
    transitions:
      - {from: Sent, to: Done, event: PAY}
";

/// A version of the component.
fn deployment(tenant: &str, version: &str) -> Arc<Deployment> {
    let checked = check(&YAML.replace("VERSION", version), Strictness::Lenient);
    Arc::new(Deployment {
        tenant: TenantId::new(tenant),
        definition: checked.definition.expect("the sample is sound"),
        artifact: Digest([1; 32]),
    })
}

/// An instance's id.
pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

/// An event's id.
pub(crate) fn event_id(text: &str) -> EventId {
    EventId::from_stored(text)
}

/// A shard's work, and how far it is.
pub(crate) struct Shard<'s> {
    pub(crate) store: &'s dyn Store,
    pub(crate) deployment: Arc<Deployment>,
    position: u64,
    now: Timestamp,
    /// What is kept back to be committed at once.
    kept_back: Option<Vec<Entry>>,
}

impl<'s> Shard<'s> {
    /// One that runs the first version for the default tenant.
    pub(crate) fn new(store: &'s dyn Store) -> Self {
        Self::of(store, "default")
    }

    /// The same for another tenant.
    pub(crate) fn of(store: &'s dyn Store, tenant: &str) -> Self {
        let mut shard = Self {
            store,
            deployment: deployment(tenant, "1"),
            position: store.last_position().unwrap().0,
            now: Timestamp(2_000),
            kept_back: None,
        };
        shard.switch("1");
        shard
    }

    /// Runs this version from now on, which is saved first.
    pub(crate) fn switch(&mut self, version: &str) {
        self.deployment = deployment(self.tenant().as_str(), version);
        let definition = &self.deployment.definition;
        let saved = ComponentVersion {
            tenant: self.tenant().clone(),
            component: definition.name.clone(),
            version: definition.version.clone(),
            digest: self.deployment.artifact,
            size: 4,
            definition: YAML.replace("VERSION", version).into(),
            uploaded: Timestamp(1),
            active: false,
            on_live: OnLive::NextEvent,
            activation: 0,
        };
        self.store
            .save_version(&saved, Arc::from(*b"wasm"))
            .unwrap();
    }

    /// The time is this from now on, in ms.
    pub(crate) fn now(&mut self, ms: u64) {
        self.now = Timestamp(ms);
    }

    /// Whose records these are.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.deployment.tenant
    }

    /// A new instance of the first machine, in its first state.
    pub(crate) fn create(&mut self, text: &str, context: &str) -> Snapshot {
        self.create_of(0, text, context)
    }

    /// A new instance of the machine with this number.
    pub(crate) fn create_of(&mut self, machine: usize, text: &str, context: &str) -> Snapshot {
        let unborn = self.unborn(machine, text, context);
        self.bear(unborn)
    }

    /// A new instance of the first machine, created at load.
    pub(crate) fn create_entry_point(&mut self, text: &str) -> Snapshot {
        let unborn = self.unborn(0, text, "{}");
        self.bear(Snapshot {
            entry_point: true,
            ..unborn
        })
    }

    fn bear(&mut self, unborn: Snapshot) -> Snapshot {
        let event = format!("{}.created", unborn.id);
        self.handle(unborn, &event, "$created", Disposition::Transitioned)
    }

    fn unborn(&self, machine: usize, text: &str, context: &str) -> Snapshot {
        let name = &self.deployment.definition.machines[machine].name;
        let (machine, found) = self.deployment.definition.find(name.as_str()).unwrap();
        Snapshot {
            id: id(text),
            deployment: Arc::clone(&self.deployment),
            machine,
            state: found.initial,
            status: Status::Active,
            context: Json::parse(context).unwrap(),
            seq: 0,
            entry: 0,
            created: Timestamp(1_000),
            updated: Timestamp(1_000),
            entered: Timestamp(1_000),
            origin: 7,
            entry_point: false,
            parent: None,
            timers: Default::default(),
            extra: None,
        }
    }

    /// The instance enters a state by an event.
    pub(crate) fn enter(
        &mut self,
        before: &Snapshot,
        event: &str,
        name: &str,
        state: &str,
    ) -> Snapshot {
        let mut after = before.clone();
        after.state = state_of(before, state);
        after.status = match before.machine().state(after.state).name.as_str() {
            _ if name == "$terminated" => Status::Terminated,
            _ if name == "$deleted" => Status::Deleted,
            "Done" => Status::Completed,
            _ => Status::Active,
        };
        self.handle(after, event, name, Disposition::Transitioned)
    }

    /// The record of an event that left the instance like this.
    pub(crate) fn handle(
        &mut self,
        after: Snapshot,
        event: &str,
        name: &str,
        disposition: Disposition,
    ) -> Snapshot {
        let handled = self.handled(after, event, name, disposition);
        let after = handled.after.clone();
        self.commit(Body::Handled(Arc::new(handled)));
        after
    }

    /// The same, not committed yet.
    pub(crate) fn handled(
        &self,
        mut after: Snapshot,
        event: &str,
        name: &str,
        disposition: Disposition,
    ) -> Handled {
        after.seq += 1;
        Handled {
            event: sample_event(event, name),
            sent_at: None,
            disposition,
            reason: None,
            from: (after.seq > 1).then_some(after.state),
            to: after.state,
            after,
            cause: root(event),
            deliveries: Default::default(),
            waits: None,
            fault: None,
            logs: Default::default(),
            fuel: 42,
            attempts: 1,
            parked: None,
            settles: None,
            cancels: Default::default(),
        }
    }

    /// A parked event of an instance.
    pub(crate) fn letter(&self, event: &str, instance: Option<&str>) -> Arc<DeadLetter> {
        Arc::new(DeadLetter {
            event: sample_event(event, "PAY"),
            tenant: self.tenant().clone(),
            component: self.deployment.definition.name.clone(),
            version: None,
            machine: None,
            instance: instance.map(id),
            why: Parked::Overload,
            cause: root(event),
            attempts: 1,
            to: None,
            at: Timestamp(5_000),
        })
    }

    /// Commits one record and says where it is.
    pub(crate) fn commit(&mut self, body: Body) -> Position {
        self.position += 1;
        let entry = Entry {
            position: Position(self.position),
            record: Record {
                tenant: self.tenant().clone(),
                at: self.now,
                body,
            },
        };
        match &mut self.kept_back {
            Some(entries) => entries.push(entry),
            None => self.store.commit(&[entry], &nobody()).unwrap(),
        }
        Position(self.position)
    }

    /// Commits everything that happens in there as one batch.
    pub(crate) fn at_once(&mut self, happen: impl FnOnce(&mut Self)) {
        let entries = self.kept_back(happen);
        self.store.commit(&entries, &nobody()).unwrap();
    }

    /// What happens in there, not committed yet.
    pub(crate) fn kept_back(&mut self, happen: impl FnOnce(&mut Self)) -> Vec<Entry> {
        self.kept_back = Some(Vec::new());
        happen(self);
        self.kept_back.take().unwrap()
    }

    /// Leaves positions empty, as a truncation does.
    pub(crate) fn skip(&mut self, positions: u64) {
        self.position += positions;
    }
}

/// How far shards are that take nothing in.
pub(crate) fn nobody() -> TakenIn {
    let placement = Placement {
        partitions: PartitionCount::DEFAULT,
        shards: 1,
    };
    TakenIn::all(placement, 0)
}

/// An event from outside.
pub(crate) fn sample_event(event: &str, name: &str) -> Event {
    Event {
        id: event_id(event),
        name: EventName::new(name),
        payload: Json::empty(),
        at: Timestamp(1_500),
    }
}

/// Where an event from outside comes from.
pub(crate) fn root(event: &str) -> Cause {
    Cause::outside(&event_id(event), None)
}

fn state_of(snapshot: &Snapshot, name: &str) -> StateIdx {
    let found: (MachineIdx, &_) = (snapshot.machine, snapshot.machine());
    found.1.find_state(name).expect("the sample has this state")
}
