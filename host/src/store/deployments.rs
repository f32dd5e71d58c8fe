//! Versions as the engines know them, by the number of their row.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;
use xcomponent_core::{
    call::Deployment,
    definition::{Strictness, check},
    id::{Digest, TenantId},
};

use super::{Result, stored::Unreadable};

/// What a row of `versions` says of one.
pub(super) struct StoredVersion {
    pub(super) tenant: String,
    pub(super) component: String,
    pub(super) label: String,
    pub(super) definition: String,
    pub(super) digest: [u8; 32],
}

/// Versions that were read once.
#[derive(Debug, Default)]
pub(super) struct Deployments {
    known: RwLock<HashMap<i64, Arc<Deployment>>>,
}

impl Deployments {
    /// The version with this number; `read` finds its row.
    pub(super) fn get(
        &self,
        number: i64,
        read: impl FnOnce(i64) -> Result<Option<StoredVersion>>,
    ) -> Result<Arc<Deployment>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(deployment) = known.get(&number) {
            return Ok(Arc::clone(deployment));
        }
        drop(known);
        let row = read(number)?.ok_or(Unreadable::Version(number))?;
        // It was judged when it was uploaded.
        let checked = check(&row.definition, Strictness::Lenient);
        let definition = checked.definition.filter(|definition| {
            // Under another name it would not be found when something of it is to be written.
            definition.name.as_str() == row.component && definition.version.as_str() == row.label
        });
        let deployment = Arc::new(Deployment {
            tenant: TenantId::new(row.tenant),
            definition: definition.ok_or(Unreadable::Version(number))?,
            artifact: Digest(row.digest),
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(number).or_insert(deployment)))
    }
}
