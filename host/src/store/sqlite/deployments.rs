//! Versions as the engines know them, by the number of their row.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension};
use xcomponent_core::{
    call::Deployment,
    definition::{Strictness, check},
    id::{Digest, TenantId},
};

use crate::store::{Result, stored::Unreadable};

/// Versions that were read once.
#[derive(Debug, Default)]
pub(super) struct Deployments {
    known: RwLock<HashMap<i64, Arc<Deployment>>>,
}

impl Deployments {
    /// The version with this number.
    pub(super) fn get(&self, connection: &Connection, number: i64) -> Result<Arc<Deployment>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(deployment) = known.get(&number) {
            return Ok(Arc::clone(deployment));
        }
        drop(known);
        let deployment = Arc::new(read(connection, number)?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(number).or_insert(deployment)))
    }
}

fn read(connection: &Connection, number: i64) -> Result<Deployment> {
    let row = connection
        .prepare_cached(
            "SELECT t.name, v.definition, v.digest FROM versions v JOIN tenants t USING (tenant)
             WHERE v.version = ?1",
        )?
        .query_row([number], |row| {
            let (tenant, definition, digest): (String, String, [u8; 32]) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((tenant, definition, digest))
        })
        .optional()?;
    let (tenant, definition, digest) = row.ok_or(Unreadable::Version(number))?;
    // It was judged when it was uploaded.
    let checked = check(&definition, Strictness::Lenient);
    Ok(Deployment {
        tenant: TenantId::new(tenant),
        definition: checked.definition.ok_or(Unreadable::Version(number))?,
        artifact: Digest(digest),
    })
}
