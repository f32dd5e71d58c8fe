//! What lives here: counted, and held against another version.

use std::collections::BTreeMap;

use crate::{
    call::Deployment,
    definition::{Machine, State},
    effect::{Count, Fit},
    engine::{
        Engine,
        instances::{Kind, Slot},
        versions::{EXAMINED_COST_MAX, cost_of_fitting, fit, place},
    },
    id::{ComponentName, MachineName, StateName, TenantId, Version},
    record::Selector,
};

/// Fits by version, machine and state.
#[derive(Default)]
struct Fits(BTreeMap<(Version, MachineName, StateName), Fit>);

impl Fits {
    fn of(&mut self, deployment: &Deployment, machine: &Machine, state: &State) -> &mut Fit {
        let version = &deployment.definition.version;
        let key = (version.clone(), machine.name.clone(), state.name.clone());
        let fit = self.0.entry(key);
        fit.or_insert_with_key(|(version, machine, state)| Fit {
            version: version.clone(),
            machine: machine.clone(),
            state: state.clone(),
            instances: 0,
            misfits: 0,
            unexamined: 0,
            reason: None,
        })
    }
}

impl Engine {
    /// How the live instances here would fit another version. Contexts of those that only the store
    /// has are not looked at, nor any more once that has taken long: where these matter, that is
    /// said.
    pub(crate) fn preview(&self, with: &Deployment) -> Vec<Fit> {
        let mut fits = Fits::default();
        let mut left = EXAMINED_COST_MAX;
        let (tenant, component) = (&with.tenant, &with.definition.name);
        for slot in self.instances.of_component(tenant, component) {
            let snapshot = &self.instances.expect(slot).snapshot;
            let entry = fits.of(&snapshot.deployment, snapshot.machine(), snapshot.state());
            entry.instances += 1;
            let cost = cost_of_fitting(snapshot, &with.definition);
            let Some(rest) = left.checked_sub(cost) else {
                entry.unexamined += 1;
                continue;
            };
            left = rest;
            if let Err(reason) = fit(snapshot, &with.definition, None) {
                entry.misfits += 1;
                entry.reason.get_or_insert(reason);
            }
        }
        for (kind, instances) in self.passive_kinds(tenant, component) {
            let (machine, state) = (kind.machine(), kind.state());
            let entry = fits.of(&kind.deployment, machine, state);
            entry.instances += instances;
            match place(&machine.name, &state.name, &with.definition) {
                Ok((machine, _)) if machine.schema.is_some() => entry.unexamined += instances,
                Ok(_) => {}
                Err(reason) => {
                    entry.misfits += instances;
                    entry.reason.get_or_insert(reason);
                }
            }
        }
        fits.0.into_values().collect()
    }

    /// How many live instances there are here of each kind.
    pub(crate) fn census(&self, tenant: &TenantId, only: Option<&ComponentName>) -> Vec<Count> {
        let mut counts: BTreeMap<(ComponentName, Version, MachineName, StateName), u64> =
            BTreeMap::new();
        let names = self.components.names(tenant).into_iter();
        for name in names.filter(|name| only.is_none_or(|only| only == *name)) {
            for slot in self.instances.of_component(tenant, name) {
                let snapshot = &self.instances.expect(slot).snapshot;
                let version = snapshot.deployment.definition.version.clone();
                let key = (
                    name.clone(),
                    version,
                    snapshot.machine().name.clone(),
                    snapshot.state().name.clone(),
                );
                *counts.entry(key).or_default() += 1;
            }
            for (kind, instances) in self.passive_kinds(tenant, name) {
                let version = kind.deployment.definition.version.clone();
                let (machine, state) = (kind.machine().name.clone(), kind.state().name.clone());
                let key = (name.clone(), version, machine, state);
                *counts.entry(key).or_default() += instances;
            }
        }
        let count = |((component, version, machine, state), instances)| Count {
            component,
            version,
            machine,
            state,
            instances,
        };
        counts.into_iter().map(count).collect()
    }

    /// Which passive instances of a component there are.
    fn passive_kinds(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
    ) -> impl Iterator<Item = (&Kind, u64)> {
        self.instances.kinds().filter(|(kind, _)| {
            kind.deployment.tenant == *tenant && kind.deployment.definition.name == *component
        })
    }

    /// How many live instances of a selector's machine and state there are.
    pub(crate) fn count_members(&self, tenant: &TenantId, selector: &Selector) -> u64 {
        let Some(machine) = &selector.machine else {
            return 0;
        };
        let Some(pool) = self.instances.pool(tenant, &selector.component, machine) else {
            return 0;
        };
        let in_state = |slot: &Slot| {
            let state = match self.instances.kind(*slot) {
                Some(kind) => kind.state(),
                None => self.instances.expect(*slot).snapshot.state(),
            };
            selector
                .state
                .as_ref()
                .is_none_or(|wanted| state.name == *wanted)
        };
        pool.slots().filter(in_state).count() as u64
    }
}
