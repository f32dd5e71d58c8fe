//! Component versions and their artifacts.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use xcomponent_core::{
    call::Deployment,
    definition::OnLive,
    id::{ComponentName, Digest, TenantId, Version},
    time::Timestamp,
};

use super::writer::{Writer, tenant_number};
use crate::store::{
    Error, Result,
    deployments::{Deployments, StoredVersion},
    query::ComponentVersion,
    stored::word,
    table::{Columns, signed},
    unreadable::Unreadables,
};

impl Writer {
    /// Keeps a version and its artifact.
    pub(super) fn save_version(
        &mut self,
        version: &ComponentVersion,
        artifact: &[u8],
    ) -> Result<()> {
        self.change(|connection| {
            connection.execute(
                "INSERT OR IGNORE INTO tenants (name) VALUES (?1)",
                [version.tenant.as_str()],
            )?;
            let tenant = tenant_number(connection, &version.tenant)?;
            let known: Option<[u8; 32]> = connection
                .query_row(
                    "SELECT digest FROM versions
                     WHERE tenant = ?1 AND component = ?2 AND label = ?3 AND deleted = 0",
                    params![tenant, version.component.as_str(), version.version.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(digest) = known {
                return if digest == version.digest.0 {
                    Ok(())
                } else {
                    Err(Error::VersionExists {
                        component: version.component.clone(),
                        version: version.version.clone(),
                    })
                };
            }
            connection.execute(
                "INSERT OR IGNORE INTO artifacts VALUES (?1, ?2)",
                params![version.digest.0, artifact],
            )?;
            connection.execute(
                "INSERT INTO versions (tenant, component, label, digest, size, definition,
                   uploaded, active, on_live, activation)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    tenant,
                    version.component.as_str(),
                    version.version.as_str(),
                    version.digest.0,
                    signed(version.size),
                    &*version.definition,
                    signed(version.uploaded.0),
                    version.active,
                    version.on_live.as_str(),
                    signed(version.activation),
                ],
            )?;
            Ok(())
        })
    }

    /// Makes a version the active one of its component.
    pub(super) fn activate_version(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()> {
        self.change(|connection| {
            let number = number_of(connection, tenant, component, version)?;
            connection.execute(
                "UPDATE versions SET active = 0
                 WHERE (tenant, component) =
                   (SELECT tenant, component FROM versions WHERE version = ?1)",
                [number],
            )?;
            connection.execute(
                "UPDATE versions SET active = 1, on_live = ?2, activation = max(?3, 1 +
                   (SELECT max(other.activation) FROM versions other
                    WHERE other.tenant = versions.tenant AND other.component = versions.component
                      AND other.deleted = 0))
                 WHERE version = ?1",
                params![number, on_live.as_str(), signed(at.0)],
            )?;
            Ok(())
        })
    }

    /// Removes a version, and its artifact if no other version has it. Its row stays for the
    /// history.
    pub(super) fn delete_version(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        self.ledger.forget_versions();
        self.change(|connection| {
            let number = number_of(connection, tenant, component, version)?;
            connection.execute(
                "UPDATE versions SET deleted = 1, active = 0 WHERE version = ?1",
                [number],
            )?;
            connection.execute(
                "DELETE FROM artifacts
                 WHERE digest = (SELECT digest FROM versions WHERE version = ?1)
                   AND digest NOT IN (SELECT digest FROM versions WHERE deleted = 0)",
                [number],
            )?;
            Ok(())
        })
    }
}

/// The number of a version that was not deleted.
fn number_of(
    connection: &Connection,
    tenant: &TenantId,
    component: &ComponentName,
    version: &Version,
) -> Result<i64> {
    let number = connection
        .query_row(
            "SELECT v.version FROM versions v JOIN tenants t USING (tenant)
             WHERE t.name = ?1 AND v.component = ?2 AND v.label = ?3 AND v.deleted = 0",
            params![tenant.as_str(), component.as_str(), version.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    number.ok_or_else(|| Error::UnknownVersion {
        component: component.clone(),
        version: version.clone(),
    })
}

/// The versions of one component, or of all, oldest upload first.
pub(super) fn list(
    connection: &Connection,
    unreadable: &Unreadables,
    tenant: &TenantId,
    component: Option<&ComponentName>,
) -> Result<Vec<ComponentVersion>> {
    let mut statement = connection.prepare_cached(
        "SELECT v.component, v.label, v.digest, v.size, v.definition, v.uploaded, v.active,
           v.on_live, v.activation, v.version
         FROM versions v JOIN tenants t USING (tenant)
         WHERE t.name = ?1 AND v.deleted = 0 AND (?2 IS NULL OR v.component = ?2)
         ORDER BY v.version",
    )?;
    let mut rows = statement.query(params![
        tenant.as_str(),
        component.map(|component| component.as_str())
    ])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(9)?;
        let version = unreadable.leave_out(read(row, tenant), || format!("version {number}"))?;
        versions.extend(version);
    }
    Ok(versions)
}

fn read(row: &Row<'_>, tenant: &TenantId) -> Result<ComponentVersion> {
    Ok(ComponentVersion {
        tenant: tenant.clone(),
        component: ComponentName::new(row.text(0)?),
        version: Version::new(row.text(1)?),
        digest: Digest(row.get(2)?),
        size: row.bits(3)?,
        definition: row.text(4)?.into(),
        uploaded: Timestamp(row.bits(5)?),
        active: row.get(6)?,
        on_live: word(row.text(7)?, OnLive::parse, "way to treat live instances")?,
        activation: row.bits(8)?,
    })
}

/// The bytes of an artifact.
pub(super) fn artifact(connection: &Connection, digest: Digest) -> Result<Option<Arc<[u8]>>> {
    let content: Option<Vec<u8>> = connection
        .prepare_cached("SELECT content FROM artifacts WHERE digest = ?1")?
        .query_row([digest.0], |row| row.get(0))
        .optional()?;
    Ok(content.map(Arc::from))
}

/// The version with this number, as the engines know it.
pub(super) fn deployment(
    connection: &Connection,
    deployments: &Deployments,
    number: i64,
) -> Result<Arc<Deployment>> {
    deployments.get(number, |number| {
        let row = connection
            .prepare_cached(
                "SELECT t.name, v.definition, v.digest, v.component, v.label
                 FROM versions v JOIN tenants t USING (tenant) WHERE v.version = ?1",
            )?
            .query_row([number], |row| {
                Ok(StoredVersion {
                    tenant: row.get(0)?,
                    definition: row.get(1)?,
                    digest: row.get(2)?,
                    component: row.get(3)?,
                    label: row.get(4)?,
                })
            })
            .optional()?;
        Ok(row)
    })
}
