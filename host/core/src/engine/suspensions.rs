//! Which versions and instances were suspended or go on since somebody last asked, by name.

use crate::{
    call::Deployment,
    engine::{Engine, instances::Slot},
    id::{ComponentName, InstanceId, Version},
    time::Timestamp,
};

/// Suspensions that are kept until somebody asks; of more only the number is kept.
const KEPT_MAX: usize = 16;

/// Something faults too often and is left alone, or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The component.
    pub component: ComponentName,
    /// The version on which it faulted.
    pub version: Version,
    /// The instance, if it is suspended alone; none = the whole version is.
    pub instance: Option<InstanceId>,
    /// Until when; none = it goes on.
    pub until: Option<Timestamp>,
}

/// What happened since somebody last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspensions {
    /// The first of them.
    pub kept: Vec<Suspension>,
    /// How many more there were.
    pub more: u64,
}

impl Suspensions {
    pub(crate) fn note(
        &mut self,
        deployment: &Deployment,
        instance: Option<InstanceId>,
        until: Option<Timestamp>,
    ) {
        if self.kept.len() == KEPT_MAX {
            self.more += 1;
            return;
        }
        self.kept.push(Suspension {
            component: deployment.definition.name.clone(),
            version: deployment.definition.version.clone(),
            instance,
            until,
        });
    }
}

impl Engine {
    /// Suspensions that nobody has asked for yet.
    pub fn take_suspensions(&mut self) -> Suspensions {
        std::mem::take(&mut self.suspensions)
    }

    /// Notes it if the last fault in a row suspended an instance.
    pub(crate) fn note_suspension(&mut self, slot: Slot, deployment: &Deployment) {
        if self.instances.get(slot).is_none() {
            return;
        }
        let Some(until) = self.suspended_until(slot) else {
            return;
        };
        let instance = self.instances.expect(slot);
        let busy = instance.busy.as_ref();
        if busy.is_some_and(|busy| busy.faults_in_row == self.limits.faults_in_row_max) {
            let id = instance.snapshot.id.clone();
            self.suspensions.note(deployment, Some(id), Some(until));
        }
    }
}
