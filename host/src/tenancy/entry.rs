//! The instance that is created when a component is loaded.

use std::sync::Arc;

use xcomponent_core::{
    call::Deployment,
    effect::Reply,
    id::singleton_id,
    input::{Create, Repeatable, Request},
    json::Json,
};

use super::{Label, Registry};

impl Registry {
    /// Creates the entry instance, if the definition wants one. Its id is always the same, so that
    /// the next version finds the instance of this one.
    pub(super) async fn create_entry_point(&self, deployment: &Arc<Deployment>) {
        let definition = &deployment.definition;
        let Some(entry) = definition.entry.filter(|entry| entry.auto_create) else {
            return;
        };
        let machine = &definition.machine(entry.machine).name;
        let tenant = &deployment.tenant;
        let create = Create {
            component: definition.name.clone(),
            machine: machine.clone(),
            context: Json::empty(),
            id: singleton_id(tenant, &definition.name, machine),
            repeatable: Repeatable::ById,
            entry_point: true,
            trace_parent: None,
        };
        match self
            .shared
            .handle
            .request(tenant, Request::Create(create))
            .await
        {
            Reply::Created { .. } => {}
            other => {
                let label = Label(tenant, &definition.name, &definition.version);
                tracing::warn!(component = %label, %machine, answer = ?other, "the entry instance was not created");
            }
        }
    }
}
