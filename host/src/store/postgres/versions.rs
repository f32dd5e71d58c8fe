//! Component versions and their artifacts.

use std::sync::Arc;

use xcomponent_core::{
    call::Deployment,
    definition::OnLive,
    id::{ComponentName, Digest, TenantId, Version},
    time::Timestamp,
};

use super::{Postgres, session::Session, writer::introduce_tenant};
use crate::store::{
    Error, Result,
    deployments::StoredVersion,
    query::ComponentVersion,
    stored::{Unreadable, word},
    table::{Columns, signed},
};

/// Keeps a version and its artifact.
pub(super) fn save(
    session: &mut Session,
    version: &ComponentVersion,
    artifact: &[u8],
) -> Result<()> {
    let tenant = introduce_tenant(session, &version.tenant)?;
    let (component, label) = (version.component.as_str(), version.version.as_str());
    let digest = version.digest.0.as_slice();
    let known = session.ask_one(
        "SELECT digest FROM versions
         WHERE tenant = $1 AND component = $2 AND label = $3 AND NOT deleted",
        &[&tenant, &component, &label],
    )?;
    if let Some(row) = known {
        return if row.try_get::<_, &[u8]>(0)? == digest {
            Ok(())
        } else {
            Err(Error::VersionExists {
                component: version.component.clone(),
                version: version.version.clone(),
            })
        };
    }
    session.execute(
        "INSERT INTO artifacts VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &[&digest, &artifact],
    )?;
    session.execute(
        "INSERT INTO versions (tenant, component, label, digest, size, definition, uploaded,
           active, on_live, activation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            &tenant,
            &component,
            &label,
            &digest,
            &signed(version.size),
            &&*version.definition,
            &signed(version.uploaded.0),
            &version.active,
            &version.on_live.as_str(),
            &signed(version.activation),
        ],
    )?;
    Ok(())
}

/// Makes a version the active one of its component.
pub(super) fn activate(
    session: &mut Session,
    tenant: &TenantId,
    component: &ComponentName,
    version: &Version,
    on_live: OnLive,
    at: Timestamp,
) -> Result<()> {
    let number = number_of(session, tenant, component, version)?;
    session.execute(
        "UPDATE versions SET active = false
         WHERE (tenant, component) =
           (SELECT tenant, component FROM versions WHERE version = $1)",
        &[&number],
    )?;
    session.execute(
        "UPDATE versions v SET active = true, on_live = $2, activation = greatest($3, 1 +
           (SELECT max(other.activation) FROM versions other
            WHERE other.tenant = v.tenant AND other.component = v.component
              AND NOT other.deleted))
         WHERE version = $1",
        &[&number, &on_live.as_str(), &signed(at.0)],
    )?;
    Ok(())
}

/// Removes a version, and its artifact if no other version has it. Its row stays for the history.
pub(super) fn delete(
    session: &mut Session,
    tenant: &TenantId,
    component: &ComponentName,
    version: &Version,
) -> Result<()> {
    let number = number_of(session, tenant, component, version)?;
    session.execute(
        "UPDATE versions SET deleted = true, active = false WHERE version = $1",
        &[&number],
    )?;
    session.execute(
        "DELETE FROM artifacts
         WHERE digest = (SELECT digest FROM versions WHERE version = $1)
           AND digest NOT IN (SELECT digest FROM versions WHERE NOT deleted)",
        &[&number],
    )?;
    Ok(())
}

/// The number of a version that was not deleted.
fn number_of(
    session: &mut Session,
    tenant: &TenantId,
    component: &ComponentName,
    version: &Version,
) -> Result<i64> {
    let row = session.ask_one(
        "SELECT v.version FROM versions v JOIN tenants t USING (tenant)
         WHERE t.name = $1 AND v.component = $2 AND v.label = $3 AND NOT v.deleted",
        &[&tenant.as_str(), &component.as_str(), &version.as_str()],
    )?;
    let row = row.ok_or_else(|| Error::UnknownVersion {
        component: component.clone(),
        version: version.clone(),
    })?;
    Ok(row.try_get(0)?)
}

impl Postgres {
    /// The versions of one component, or of all, oldest upload first.
    pub(super) fn list_versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        let wanted = component.map(|component| component.as_str());
        let rows = self.readers.rows(
            "SELECT v.component, v.label, v.digest, v.size, v.definition, v.uploaded, v.active,
               v.on_live, v.activation, v.version
             FROM versions v JOIN tenants t USING (tenant)
             WHERE t.name = $1 AND NOT v.deleted AND ($2::text IS NULL OR v.component = $2)
             ORDER BY v.version",
            &[&tenant.as_str(), &wanted],
        )?;
        let version = |row: &tokio_postgres::Row| {
            Ok(ComponentVersion {
                tenant: tenant.clone(),
                component: ComponentName::new(row.text(0)?),
                version: Version::new(row.text(1)?),
                digest: Digest(digest(row.try_get(2)?)?),
                size: row.bits(3)?,
                definition: row.text(4)?.into(),
                uploaded: Timestamp(row.bits(5)?),
                active: row.flag(6)?,
                on_live: word(row.text(7)?, OnLive::parse, "way to treat live instances")?,
                activation: row.bits(8)?,
            })
        };
        let versions = rows.iter().map(|row| {
            let number = row.integer(9)?;
            self.unreadable
                .leave_out(version(row), || format!("version {number}"))
        });
        versions.filter_map(Result::transpose).collect()
    }

    /// The bytes of an artifact.
    pub(super) fn find_artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        let question = "SELECT content FROM artifacts WHERE digest = $1";
        let row = self.readers.row(question, &[&digest.0.as_slice()])?;
        let content: Option<&[u8]> = row.as_ref().map(|row| row.try_get(0)).transpose()?;
        Ok(content.map(Arc::from))
    }

    /// The version with this number, as the engines know it.
    pub(super) fn deployment(&self, number: i64) -> Result<Arc<Deployment>> {
        self.deployments.get(number, |number| {
            let row = self.readers.row(
                "SELECT t.name, v.definition, v.digest, v.component, v.label
                 FROM versions v JOIN tenants t USING (tenant) WHERE v.version = $1",
                &[&number],
            )?;
            let stored = |row: tokio_postgres::Row| {
                Ok(StoredVersion {
                    tenant: row.text(0)?.to_owned(),
                    definition: row.text(1)?.to_owned(),
                    digest: digest(row.try_get(2)?)?,
                    component: row.text(3)?.to_owned(),
                    label: row.text(4)?.to_owned(),
                })
            };
            row.map(stored).transpose()
        })
    }
}

/// A digest, if it has the length of one.
fn digest(bytes: &[u8]) -> Result<[u8; 32], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable::Empty(2))
}
