//! Records as shards make them, of two tenants that run the same component.

use std::sync::Arc;

use xcomponent_core::{
    call::{Deployment, Event},
    definition::{MachineIdx, StateIdx, Strictness, check},
    id::{Digest, EventId, EventName, InstanceId, TenantId},
    json::Json,
    record::{Body, Cause, DeadLetter, Disposition, Handled, Parked, Record, Snapshot, Status},
    time::Timestamp,
};
use xcomponent_host::store::{Entry, Position, Store};

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
pub(crate) fn deployment(tenant: &str, version: &str) -> Arc<Deployment> {
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
}

impl<'s> Shard<'s> {
    /// One that runs the first version for the default tenant.
    pub(crate) fn new(store: &'s dyn Store) -> Self {
        Self::of(store, "default")
    }

    /// The same for another tenant.
    pub(crate) fn of(store: &'s dyn Store, tenant: &str) -> Self {
        Self {
            store,
            deployment: deployment(tenant, "1"),
            position: store.last_position().unwrap().0,
        }
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
        let name = &self.deployment.definition.machines[machine].name;
        let (machine, found) = self.deployment.definition.find(name.as_str()).unwrap();
        let snapshot = Snapshot {
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
        };
        let event = format!("{text}.created");
        self.handle(snapshot, &event, "$created", Disposition::Transitioned)
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
            fault: None,
            logs: Default::default(),
            fuel: 42,
            attempts: 1,
            parked: None,
            settles: None,
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
                at: Timestamp(2_000),
                body,
            },
        };
        self.store.commit(&[entry]).unwrap();
        Position(self.position)
    }

    /// Leaves positions empty, as a truncation does.
    pub(crate) fn skip(&mut self, positions: u64) {
        self.position += positions;
    }
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
    Cause {
        event: None,
        instance: None,
        root: event_id(event),
        chain: None,
        depth: 0,
        credits: 10_000,
        spread: false,
        trace_parent: None,
    }
}

fn state_of(snapshot: &Snapshot, name: &str) -> StateIdx {
    let found: (MachineIdx, &_) = (snapshot.machine, snapshot.machine());
    found.1.find_state(name).expect("the sample has this state")
}
