//! Takes in what other hosts send.

use std::{collections::HashSet, future::ready};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;
use xcomponent_core::{
    effect::{Refused, Reply},
    id::{ComponentName, TenantId},
    input::Request,
};

use super::Handle;
use crate::bus::{Inlet, Shipment, TakeInError};

impl Inlet for Handle {
    fn take_in(&self, shipment: Shipment) -> BoxFuture<'static, Result<u64, TakeInError>> {
        let Shipment {
            tenant,
            component,
            mut receive,
        } = shipment;
        if !self.is_here(&tenant, &component) {
            let not_here = TakeInError::NotHere(component.to_string());
            return ready(Err(not_here)).boxed();
        }
        if let Some(tracer) = self.shared.tracer.get() {
            tracer.arriving(&mut receive);
        }
        // At once, so that what is taken in next comes after it.
        let pending = self.submit(&tenant, Request::Receive(receive));
        pending.map(answered).boxed()
    }
}

impl Handle {
    /// Whether a component is on this host.
    pub fn is_here(&self, tenant: &TenantId, component: &ComponentName) -> bool {
        self.shared.components.has(tenant, component)
    }

    /// The components on this host, now and whenever that changes.
    pub fn components_here(&self) -> watch::Receiver<HashSet<(TenantId, ComponentName)>> {
        self.shared.components.watch()
    }
}

fn answered(reply: Reply) -> Result<u64, TakeInError> {
    match reply {
        Reply::Received { through } => Ok(through),
        Reply::Refused(Refused::Gap { through }) => Err(TakeInError::Gap { through }),
        Reply::Refused(Refused::TooManyStreams) => Err(TakeInError::TooManyStreams),
        Reply::Refused(Refused::Busy(why)) => Err(TakeInError::Busy(why.to_string())),
        Reply::Refused(_) => Err(TakeInError::Busy("it could not be made durable".to_owned())),
        other => unreachable!("a shipment is answered with how far it is: {other:?}"),
    }
}
