//! How instances come to be. A creation is a transition into the initial state; until it commits
//! the instance stands in memory unborn (`seq` 0), so that its id is taken and its events wait.

use std::sync::Arc;

use thin_vec::ThinVec;

use crate::{
    call::Deployment,
    definition::{Machine, MachineIdx},
    effect::{Refused, Reply},
    engine::{
        Engine,
        fingerprint::{self, is_origin},
        instances::Slot,
    },
    id::{InstanceId, TenantId},
    input::Repeatable,
    instance::{Attempt, Birth, Letter, Origin, Trigger, step::Step},
    json::Json,
    record::{Mail, Outgoing, Parked, Snapshot, Status, Target},
};

impl Engine {
    /// Begins a creation under an id that is free.
    pub(crate) fn conceive(&mut self, tenant: &TenantId, id: InstanceId, letter: Letter) {
        let Trigger::Create(birth) = &letter.errand.trigger else {
            return;
        };
        let birth = birth.clone();
        match self.plan(tenant, &birth, &letter.mail.event.payload) {
            Ok((deployment, machine, context)) => {
                let origin = fingerprint::of_creation(
                    &deployment.definition.machine(machine).name,
                    &letter.mail.event.payload,
                    birth.repeatable.key(),
                );
                let snapshot =
                    self.unborn(id, &deployment, machine, context.clone(), &birth, origin);
                let slot = self.instances.insert(snapshot);
                let initial = deployment.definition.machine(machine).initial;
                let attempt = Attempt {
                    step: Step::creation(machine, initial, context),
                    deployment,
                    letter,
                };
                self.go(slot, Box::new(attempt), None);
            }
            Err(refused) => self.stillborn(tenant, id, letter, refused),
        }
    }

    /// What a creation would make, or why it may not.
    fn plan(
        &self,
        tenant: &TenantId,
        birth: &Birth,
        context: &Json,
    ) -> Result<(Arc<Deployment>, MachineIdx, Json), Refused> {
        let component = birth.component.as_str();
        let unknown = || Refused::UnknownComponent(component.into());
        let deployment = self
            .components
            .active(tenant, &birth.component)
            .ok_or_else(unknown)?;
        let definition = &deployment.definition;
        let found = match &birth.machine {
            Some(name) => definition.find(name.as_str()),
            None => definition
                .entry
                .map(|entry| (entry.machine, definition.machine(entry.machine))),
        };
        let (idx, machine) = found.ok_or_else(|| {
            let name = birth
                .machine
                .as_ref()
                .map_or("its entry machine", |name| name.as_str());
            Refused::UnknownMachine(name.into())
        })?;
        if self.instances.len() >= self.limits.instances_max {
            return Err(Refused::Busy(
                "no room for more instances on this shard".into(),
            ));
        }
        if definition
            .entry
            .is_some_and(|entry| entry.singleton && entry.machine == idx)
        {
            let pool = self.instances.pool(tenant, &birth.component, &machine.name);
            if let Some(slot) = pool.and_then(|pool| pool.slots().next()) {
                return Err(Refused::SingletonExists(
                    self.instances.name(slot).1.clone(),
                ));
            }
        }
        let context = checked_context(machine, context)?;
        Ok((Arc::clone(deployment), idx, context))
    }

    fn unborn(
        &self,
        id: InstanceId,
        deployment: &Arc<Deployment>,
        machine: MachineIdx,
        context: Json,
        birth: &Birth,
        origin: u64,
    ) -> Snapshot {
        Snapshot {
            id,
            deployment: Arc::clone(deployment),
            machine,
            state: deployment.definition.machine(machine).initial,
            status: Status::Active,
            context,
            seq: 0,
            entry: 0,
            created: self.now,
            updated: self.now,
            entered: self.now,
            origin,
            entry_point: birth.entry_point,
            parent: birth.parent.clone(),
            timers: ThinVec::new(),
            extra: None,
        }
    }

    /// A creation under an id that is taken.
    pub(crate) fn be_born(&mut self, slot: Slot, letter: Letter) {
        let snapshot = &self.instances.expect(slot).snapshot;
        if snapshot.is_deleted() {
            // Whoever repeats the creation of a deleted instance does not get another one.
            let (tenant, id) = (snapshot.tenant().clone(), snapshot.id.clone());
            let refused = Refused::InstanceDeleted(id.clone());
            return self.stillborn(&tenant, id, letter, refused);
        }
        let Trigger::Create(birth) = &letter.errand.trigger else {
            return;
        };
        let machine = birth
            .machine
            .as_ref()
            .unwrap_or_else(|| &snapshot.machine().name);
        let key = birth.repeatable.key();
        let same = birth.repeatable != Repeatable::No
            && birth.component == *snapshot.component()
            && is_origin(snapshot.origin, machine, &letter.mail.event.payload, key);
        let id = snapshot.id.clone();
        let Origin::Caller { ticket, .. } = letter.errand.origin else {
            let tenant = snapshot.tenant().clone();
            return self.stillborn(&tenant, id.clone(), letter, Refused::SingletonExists(id));
        };
        let reply = if same {
            Reply::Created {
                instance: Box::new(snapshot.clone()),
                existing: true,
            }
        } else if self.components.singleton(
            snapshot.tenant(),
            &birth.component,
            birth.machine.as_ref(),
        ) == Some(id.clone())
        {
            Reply::Refused(Refused::SingletonExists(id))
        } else if key.is_some() {
            Reply::Refused(Refused::KeyReused)
        } else {
            Reply::Refused(Refused::InstanceExists(id))
        };
        self.reply(ticket, reply);
    }

    /// A creation that failed in its methods: the instance never was.
    pub(crate) fn miscarry(&mut self, slot: Slot, letter: Letter, refused: Refused) {
        let Some(instance) = self.instances.remove(slot) else {
            return;
        };
        let (tenant, id) = (
            instance.snapshot.tenant().clone(),
            instance.snapshot.id.clone(),
        );
        self.stillborn(&tenant, id.clone(), letter, refused);
        let waiting = instance.busy.map(|mut busy| busy.mailbox.drain());
        self.deliver_again(&tenant, &id, waiting.unwrap_or_default());
    }

    /// Tells whoever wanted the instance why there is none.
    fn stillborn(&mut self, tenant: &TenantId, id: InstanceId, letter: Letter, refused: Refused) {
        if let Origin::Caller { ticket, .. } = letter.errand.origin {
            return self.reply(ticket, Reply::Refused(refused));
        }
        let Trigger::Create(birth) = letter.errand.trigger else {
            return;
        };
        let why = match refused {
            Refused::Fault(fault) => Parked::Fault(fault),
            Refused::Schema(violations) => Parked::of_violations(&violations),
            Refused::Refusal(refusal) => Parked::of_refusal(&refusal),
            Refused::SingletonExists(_) => Parked::SingletonExists,
            Refused::Busy(_) => Parked::Overload,
            Refused::UnknownMachine(name) => Parked::UnknownTarget(
                format!("component `{}` has no machine `{name}`", birth.component).into(),
            ),
            Refused::RecordUnreadable(_) => Parked::RecordUnreadable,
            Refused::InstanceDeleted(id) => {
                Parked::UnknownTarget(format!("the instance `{id}` was deleted").into())
            }
            Refused::UnknownComponent(_)
            | Refused::UnknownInstance(_)
            | Refused::InstanceExists(_)
            | Refused::InstanceFinished(_)
            | Refused::InstanceActive(_)
            | Refused::KeyReused
            | Refused::AnswerLost
            | Refused::InstanceSuspended { .. }
            | Refused::ComponentSuspended { .. }
            | Refused::TooManyStreams
            | Refused::Gap { .. }
            | Refused::TooManyMatched(_)
            | Refused::NotCommitted => {
                Parked::UnknownTarget(format!("there is no component `{}`", birth.component).into())
            }
        };
        let Birth {
            component,
            machine,
            parent,
            ..
        } = *birth;
        let Mail { event, cause, .. } = letter.mail;
        let to = Target::Create {
            component,
            machine,
            id,
            parent,
        };
        self.park_outgoing(
            tenant,
            Outgoing::underway(to, event, cause),
            why,
            letter.errand.after,
        );
    }
}

/// The context with defaults, if it fits the schema.
fn checked_context(machine: &Machine, context: &Json) -> Result<Json, Refused> {
    let Some(schema) = &machine.schema else {
        return Ok(context.clone());
    };
    let context = schema.defaults(context);
    schema.check(&context).map_err(Refused::Schema)?;
    Ok(context)
}
