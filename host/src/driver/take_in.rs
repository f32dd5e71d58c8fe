//! Takes in what other hosts send.

use futures_util::{FutureExt as _, future::BoxFuture};
use xcomponent_core::{
    effect::{Refused, Reply},
    id::{ComponentName, TenantId},
    input::Request,
};

use super::Handle;
use crate::bus::{Inlet, Shipment, TakeInError};

impl Inlet for Handle {
    fn take_in(&self, shipment: Shipment) -> BoxFuture<'static, Result<u64, TakeInError>> {
        let handle = self.clone();
        async move { handle.receive(shipment).await }.boxed()
    }
}

impl Handle {
    /// Whether a component is on this host.
    pub fn is_here(&self, tenant: &TenantId, component: &ComponentName) -> bool {
        self.shared.components.has(tenant, component)
    }

    async fn receive(&self, shipment: Shipment) -> Result<u64, TakeInError> {
        let Shipment {
            tenant,
            component,
            receive,
        } = shipment;
        if !self.is_here(&tenant, &component) {
            return Err(TakeInError::NotHere(component.to_string()));
        }
        match self.request(&tenant, Request::Receive(receive)).await {
            Reply::Received { through } => Ok(through),
            Reply::Refused(Refused::Gap { through }) => Err(TakeInError::Gap { through }),
            Reply::Refused(Refused::NotCommitted) => {
                Err(TakeInError::Busy("it could not be made durable".to_owned()))
            }
            Reply::Refused(refused) => Err(TakeInError::Busy(match refused {
                Refused::Busy(why) => why.to_string(),
                other => format!("{other:?}"),
            })),
            other => unreachable!("a shipment is answered with how far it is: {other:?}"),
        }
    }
}
