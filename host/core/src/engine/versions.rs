//! Components and their versions: which is active, what fits, and how instances move.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{Equivalent, HashMap};

use crate::{
    call::Deployment,
    definition::{
        Definition, Machine, MachineIdx, MatchingRule, OnLive, Operator, StateIdx, TransitionIdx,
        TransitionKind,
    },
    effect::{Breaker, Effect, Migrated, Refused, Reply},
    engine::{
        Engine,
        instances::Slot,
        outbox::Source,
        run::{same_delay, version_key},
    },
    id::{
        ComponentName, EventId, InstanceId, MachineName, StateName, TenantId, Version, singleton_id,
    },
    input::Migrate,
    json::{Json, Path},
    limits::FINDING_BYTES_MAX,
    record::{Body, Cause, Selector, Snapshot, Timer, TimerKind},
};

/// All components here.
#[derive(Debug, Default)]
pub(crate) struct Components {
    by_name: HashMap<(TenantId, ComponentName), Component, FixedState>,
}

#[derive(Debug, Default)]
struct Component {
    versions: Vec<Arc<Deployment>>,
    active: Option<Arc<Deployment>>,
    on_live: OnLive,
}

/// A component's key, borrowed: every transition looks its component up, and names are counted
/// references that other threads hold too.
#[derive(Hash)]
struct Named<'n>(&'n TenantId, &'n ComponentName);

impl Equivalent<(TenantId, ComponentName)> for Named<'_> {
    fn equivalent(&self, (tenant, component): &(TenantId, ComponentName)) -> bool {
        self.0 == tenant && self.1 == component
    }
}

/// The version that a transition runs on.
pub(crate) struct Chosen {
    /// Which.
    pub(crate) deployment: Arc<Deployment>,
    /// The instance's state there.
    pub(crate) state: StateIdx,
    /// Why it is not the active one, if the instance does not fit that.
    pub(crate) held: Option<Arc<str>>,
}

impl Components {
    /// The version that new instances run on.
    pub(crate) fn active(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
    ) -> Option<&Arc<Deployment>> {
        self.component(tenant, component)?.active.as_ref()
    }

    /// The components of a tenant, sorted.
    pub(crate) fn names(&self, tenant: &TenantId) -> Vec<&ComponentName> {
        let ours = self.by_name.keys().filter(|key| key.0 == *tenant);
        let mut names: Vec<&ComponentName> = ours.map(|key| &key.1).collect();
        names.sort();
        names
    }

    /// The id of the one instance of a machine, if it is a singleton; `machine` none = the entry
    /// machine.
    pub(crate) fn singleton(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        machine: Option<&MachineName>,
    ) -> Option<InstanceId> {
        let definition = &self.active(tenant, component)?.definition;
        let entry = definition.entry.filter(|entry| entry.singleton)?;
        let name = &definition.machine(entry.machine).name;
        machine
            .is_none_or(|machine| machine == name)
            .then(|| singleton_id(tenant, component, name))
    }

    /// The deployment known here that is the same as one from elsewhere.
    pub(crate) fn same_version(&self, other: &Arc<Deployment>) -> Option<Arc<Deployment>> {
        let definition = &other.definition;
        self.version(&other.tenant, &definition.name, &definition.version)
            .cloned()
    }

    /// The versions of a component.
    pub(crate) fn deployments(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
    ) -> &[Arc<Deployment>] {
        let component = self.component(tenant, component);
        component.map_or(&[], |component| &component.versions)
    }

    fn version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Option<&Arc<Deployment>> {
        let versions = &self.component(tenant, component)?.versions;
        versions
            .iter()
            .find(|known| known.definition.version == *version)
    }

    fn component(&self, tenant: &TenantId, component: &ComponentName) -> Option<&Component> {
        self.by_name.get(&Named(tenant, component))
    }
}

impl Engine {
    /// A version is there.
    pub(crate) fn deploy(&mut self, deployment: Arc<Deployment>) {
        self.index_for(&deployment);
        let key = (
            deployment.tenant.clone(),
            deployment.definition.name.clone(),
        );
        let component = self.components.by_name.entry(key).or_default();
        if !component
            .versions
            .iter()
            .any(|known| known.definition.version == deployment.definition.version)
        {
            component.versions.push(deployment);
        }
    }

    /// A version becomes the active one.
    pub(crate) fn activate(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
    ) {
        let Some(deployment) = self.components.version(tenant, component, version).cloned() else {
            return;
        };
        let key = (tenant.clone(), component.clone());
        let component = self
            .components
            .by_name
            .get_mut(&key)
            .expect("it has this version");
        component.active = Some(deployment);
        component.on_live = on_live;
    }

    /// A version, or the whole component, is gone.
    pub(crate) fn retire(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: Option<&Version>,
    ) {
        let key = (tenant.clone(), component.clone());
        let Some(known) = self.components.by_name.get_mut(&key) else {
            return;
        };
        let gone = |deployment: &Arc<Deployment>| {
            version.is_none_or(|version| deployment.definition.version == *version)
        };
        let (out, stay): (Vec<_>, Vec<_>) = known.versions.drain(..).partition(gone);
        known.versions = stay;
        known.active.take_if(|active| gone(active));
        if known.versions.is_empty() {
            self.components.by_name.remove(&key);
        }
        for deployment in out {
            self.breakers.forget(version_key(&deployment));
            self.effects.push_back(Effect::Unused { deployment });
        }
    }

    /// The version that an instance's next transition runs on.
    pub(crate) fn version_for(&self, snapshot: &Snapshot) -> Chosen {
        let stay = |held| Chosen {
            deployment: Arc::clone(&snapshot.deployment),
            state: snapshot.state,
            held,
        };
        let Some(component) = self
            .components
            .component(snapshot.tenant(), snapshot.component())
        else {
            return stay(None);
        };
        match &component.active {
            Some(active)
                if component.on_live == OnLive::NextEvent
                    && !Arc::ptr_eq(active, &snapshot.deployment) =>
            {
                match fit(snapshot, &active.definition, None) {
                    Ok(state) => Chosen {
                        deployment: Arc::clone(active),
                        state,
                        held: None,
                    },
                    Err(reason) => stay(Some(reason)),
                }
            }
            _ => stay(None),
        }
    }

    /// Moves an instance to a version that it fits, without an event.
    pub(crate) fn move_now(&mut self, slot: Slot, to: &Arc<Deployment>, state: StateIdx) {
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        move_to(snapshot, to, state);
        if let Some(extra) = &mut snapshot.extra {
            Arc::make_mut(extra).held = None;
        }
        self.instances.refresh(slot);
        let after = Arc::new(self.recorded(slot).0);
        self.append_about(slot, Body::Moved(after), Source::Nothing);
        self.fire_due(slot);
        self.redeliver_deferred(slot);
    }

    /// Keeps an index for every property that the version's rules compare for equality.
    fn index_for(&mut self, deployment: &Deployment) {
        let definition = &deployment.definition;
        let mut wanted: Vec<(ComponentName, MachineName, Path)> = Vec::new();
        for machine in &definition.machines {
            let own = machine
                .indexed()
                .iter()
                .map(|path| (definition.name.clone(), machine.name.clone(), path.clone()));
            wanted.extend(own);
            for rule in machine.states.iter().flat_map(|state| &state.cascades) {
                let component = rule.component.as_ref().unwrap_or(&definition.name);
                wanted.extend(
                    equalities(&rule.rules)
                        .map(|path| (component.clone(), rule.machine.clone(), path)),
                );
            }
            for transition in &machine.transitions {
                if let TransitionKind::SendAcross {
                    component,
                    machine: Some(machine),
                    rules,
                    ..
                } = &transition.kind
                {
                    wanted.extend(
                        equalities(rules).map(|path| (component.clone(), machine.clone(), path)),
                    );
                }
            }
        }
        for (component, machine, path) in wanted {
            self.instances
                .require_index(&deployment.tenant, &component, &machine, &path);
        }
    }

    /// How the breakers of a component's versions stand.
    pub(crate) fn breakers_of(&self, tenant: &TenantId, component: &ComponentName) -> Vec<Breaker> {
        let versions = self.components.deployments(tenant, component);
        let stands = |deployment: &Arc<Deployment>| {
            let label = deployment.definition.version.clone();
            self.breakers
                .stands(version_key(deployment), label, self.now, &self.limits)
        };
        versions.iter().map(stands).collect()
    }

    /// Moves live instances that are idle from one version to another now.
    pub(crate) fn migrate(&mut self, tenant: &TenantId, migrate: &Migrate) -> Reply {
        let unknown = |version: &Version| {
            Reply::Refused(Refused::UnknownComponent(
                format!("{}@{version}", migrate.component).into(),
            ))
        };
        let Some(to) = self
            .components
            .version(tenant, &migrate.component, &migrate.to)
            .cloned()
        else {
            return unknown(&migrate.to);
        };
        if self
            .components
            .version(tenant, &migrate.component, &migrate.from)
            .is_none()
        {
            return unknown(&migrate.from);
        }
        let slots: Vec<Slot> = self.movable(tenant, migrate).take(migrate.limit).collect();
        let mut outcomes = Vec::new();
        let mut left = EXAMINED_COST_MAX;
        for slot in slots {
            let instance = self.instances.expect(slot);
            let id = instance.snapshot.id.clone();
            let busy = instance
                .busy
                .as_ref()
                .is_some_and(|busy| busy.running.is_some());
            let cost = cost_of_fitting(&instance.snapshot, &to.definition);
            let is_examined = left.checked_sub(cost).map(|rest| left = rest).is_some();
            let fits = || fit(&instance.snapshot, &to.definition, Some(&migrate.states));
            let state = match () {
                () if busy => Err("it is handling an event".into()),
                () if !is_examined => Err("one request does not examine so many".into()),
                () => fits(),
            };
            if let (Ok(state), false) = (&state, migrate.dry_run) {
                self.move_now(slot, &to, *state);
            }
            let held = state.err();
            outcomes.push(Migrated { instance: id, held });
        }
        Reply::Migrated(outcomes)
    }

    /// The instances in memory that are to move.
    pub(crate) fn movable(
        &self,
        tenant: &TenantId,
        migrate: &Migrate,
    ) -> impl Iterator<Item = Slot> {
        let slots = self.instances.of_component(tenant, &migrate.component);
        slots.into_iter().filter(|slot| {
            let snapshot = &self.instances.expect(*slot).snapshot;
            snapshot.deployment.definition.version == migrate.from
        })
    }

    /// Whether a selector names something that is here.
    pub(crate) fn knows_target(
        &self,
        tenant: &TenantId,
        selector: &Selector,
    ) -> Result<(), Refused> {
        let active = self.components.active(tenant, &selector.component);
        let definition = &active
            .ok_or_else(|| Refused::UnknownComponent(selector.component.as_str().into()))?
            .definition;
        let Some(machine) = &selector.machine else {
            return Ok(());
        };
        definition
            .find(machine.as_str())
            .map(|_| ())
            .ok_or_else(|| Refused::UnknownMachine(machine.as_str().into()))
    }

    /// Whether no version of a selector's machine knows the event at all.
    pub(crate) fn machine_never_uses(
        &self,
        tenant: &TenantId,
        selector: &Selector,
        event: &str,
    ) -> bool {
        let Some(machine) = &selector.machine else {
            return false;
        };
        let Some(component) = self.components.component(tenant, &selector.component) else {
            return false;
        };
        let uses = |deployment: &Arc<Deployment>| {
            deployment
                .definition
                .find(machine.as_str())
                .is_some_and(|(_, machine)| machine.find_event(event).is_some())
        };
        !component.versions.iter().any(uses)
    }
}

/// The state that an instance would have on another version, or why it does not fit.
///
/// # Errors
///
/// Says what is missing: its machine, its state, or something that the context should have and that
/// has no default.
pub fn fit(
    snapshot: &Snapshot,
    definition: &Definition,
    renamed: Option<&[(StateName, StateName)]>,
) -> Result<StateIdx, Arc<str>> {
    let old = &snapshot.state().name;
    let name = renamed
        .unwrap_or_default()
        .iter()
        .find(|(from, _)| from == old)
        .map_or(old, |(_, to)| to);
    let (machine, state) = place(&snapshot.machine().name, name, definition)?;
    if let Some(schema) = &machine.schema
        && let Err(violations) = schema.check(&schema.defaults(&snapshot.context))
    {
        let fields: Vec<String> = violations.iter().map(ToString::to_string).collect();
        let mut why = format!("its context breaks the schema: {}", fields.join("; "));
        // Each instance keeps its own.
        why.truncate(why.floor_char_boundary(FINDING_BYTES_MAX));
        return Err(why.into());
    }
    Ok(state)
}

/// What examining instances may cost in one turn, in steps of
/// [`PATTERN_STEPS_MAX`](crate::limits::PATTERN_STEPS_MAX): about a second. Others wait for it.
pub(crate) const EXAMINED_COST_MAX: usize = 100_000_000;

/// What [`fit`] costs at most.
pub(crate) fn cost_of_fitting(snapshot: &Snapshot, definition: &Definition) -> usize {
    let machine = definition.find(snapshot.machine().name.as_str());
    let schema = machine.and_then(|(_, machine)| machine.schema.as_ref());
    schema.map_or(1, |schema| schema.cost(&snapshot.context))
}

/// The place of an instance's machine in a version that it fits.
pub(crate) fn machine_on(snapshot: &Snapshot, to: &Deployment) -> MachineIdx {
    if std::ptr::eq(to, &*snapshot.deployment) {
        return snapshot.machine;
    }
    let name = snapshot.machine().name.as_str();
    to.definition.find(name).expect("it fits that version").0
}

/// The context that an instance has on a machine's version: fields that only this one knows have their
/// defaults.
pub(crate) fn context_on(snapshot: &Snapshot, to: &Deployment, machine: &Machine) -> Json {
    let moves = !std::ptr::eq(to, &*snapshot.deployment);
    match &machine.schema {
        Some(schema) if moves => schema.defaults(&snapshot.context),
        _ => snapshot.context.clone(),
    }
}

/// A machine and a state of it in another version, or what is gone.
pub(crate) fn place<'d>(
    machine: &MachineName,
    state: &StateName,
    definition: &'d Definition,
) -> Result<(&'d Machine, StateIdx), Arc<str>> {
    let (_, found) = definition
        .find(machine.as_str())
        .ok_or_else(|| format!("machine `{machine}` is gone"))?;
    let state = found
        .find_state(state.as_str())
        .ok_or_else(|| format!("state `{state}` is gone"))?;
    Ok((found, state))
}

/// Puts an instance on another version; its context gets the defaults of that. Of the timers of its state, the same (event, delay) keeps
/// its deadline, one that is gone is dropped, a new one is due that long after the state was
/// entered.
pub(crate) fn move_to(snapshot: &mut Snapshot, to: &Arc<Deployment>, state: StateIdx) {
    let from = Arc::clone(&snapshot.deployment);
    let old = from.definition.machine(snapshot.machine);
    let Some((machine_idx, new)) = to.definition.find(old.name.as_str()) else {
        return;
    };
    snapshot.context = context_on(snapshot, to, new);
    let mut kept = Vec::new();
    snapshot.timers.retain_mut(|timer| match &mut timer.kind {
        TimerKind::Timeout { transition, .. } | TimerKind::Auto { transition, .. } => {
            let counterpart = counterpart(old, new, state, *transition);
            *transition = counterpart.unwrap_or(*transition);
            kept.extend(counterpart);
            counterpart.is_some()
        }
    });
    snapshot.deployment = Arc::clone(to);
    snapshot.machine = machine_idx;
    snapshot.state = state;
    let fresh: Vec<TransitionIdx> = new
        .state(state)
        .timeouts
        .iter()
        .copied()
        .filter(|idx| !kept.contains(idx))
        .collect();
    let prefix = format!("{}.v{}.t", snapshot.id, snapshot.seq);
    let mut n = 0;
    for transition in fresh {
        let TransitionKind::Timeout { after, .. } = new.transition(transition).kind else {
            continue;
        };
        let mut next = || {
            n += 1;
            EventId::from_stored(&format!("{prefix}{n}"))
        };
        let mut id = next();
        while snapshot.timers.iter().any(|timer| timer.id == id) {
            id = next();
        }
        let cause = Cause::outside(&id, None);
        let kind = TimerKind::Timeout {
            transition,
            entry: snapshot.entry,
        };
        snapshot.timers.push(Timer {
            due: snapshot.entered.after(after),
            kind,
            id,
            cause,
            fired: false,
        });
    }
}

/// The transition of the new version that fires by itself like one of the old.
fn counterpart(
    old: &Machine,
    new: &Machine,
    state: StateIdx,
    idx: TransitionIdx,
) -> Option<TransitionIdx> {
    let before = old.transition(idx);
    let state = new.state(state);
    let same = |idx: &&TransitionIdx| {
        let after = new.transition(**idx);
        new.event(after.event) == old.event(before.event) && same_delay(&after.kind, &before.kind)
    };
    state
        .timeouts
        .iter()
        .chain(&state.autos)
        .find(same)
        .copied()
}

fn equalities(rules: &[MatchingRule]) -> impl Iterator<Item = Path> {
    rules
        .iter()
        .filter(|rule| rule.operator == Operator::Equal)
        .map(|rule| rule.instance_property.clone())
}
