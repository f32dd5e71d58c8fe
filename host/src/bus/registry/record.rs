//! What stands in a catalog, and its form there: JSON.
//!
//! Hosts of different versions read each other's. It grows by optional members only.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xcomponent_core::id::{ComponentName, TenantId, Version};

use crate::bus::broker::{Place, plain};

/// A host, as it announces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Which host: the name of its store's log, the same after each start.
    pub id: String,
    /// Which process: another with each start.
    pub run: String,
    /// Where it is reached, as in `http://payment:3002`.
    pub address: String,
    /// Whether it waits for the store of another.
    #[serde(default)]
    pub standby: bool,
    /// How long it may be silent before it is gone, in milliseconds.
    pub lease_ms: u64,
    /// How often it was renewed.
    pub beat: u64,
    /// When it was last, by its own clock, in milliseconds since 1970: for people to read.
    pub seen_at: u64,
    /// What it has to do.
    #[serde(default)]
    pub load: Load,
    /// The release of the program.
    #[serde(default)]
    pub release: String,
}

/// What a host has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Instances that go on.
    pub instances: u64,
    /// Events that wait.
    pub queued: u64,
}

/// A component, and who has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRecord {
    /// Whose.
    pub tenant: String,
    /// Its name.
    pub component: String,
    /// The version that new instances run on.
    pub version: String,
    /// The id of the host.
    pub host: String,
}

/// A component, who has it, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub record: ComponentRecord,
    /// The host, if it has announced itself.
    pub host: Option<HostRecord>,
}

impl HostRecord {
    /// How long it may be silent before it is gone.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// The key of a host.
    pub(super) fn key(id: &str) -> String {
        plain(id)
    }
}

impl ComponentRecord {
    /// Says that a host has a component.
    pub(super) fn new((tenant, component): &Place, version: &Version, host: &str) -> Self {
        Self {
            tenant: tenant.to_string(),
            component: component.to_string(),
            version: version.to_string(),
            host: host.to_owned(),
        }
    }

    /// Which component it is about.
    pub fn place(&self) -> Place {
        let tenant = TenantId::new(&*self.tenant);
        (tenant, ComponentName::new(&*self.component))
    }

    /// The key of a component.
    pub(super) fn key((tenant, component): &Place) -> String {
        format!("{}.{}", plain(tenant.as_str()), plain(component.as_str()))
    }
}

/// As it stands in a catalog.
pub(super) fn to_text(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("texts and numbers are written without fail")
}

/// What stands in a catalog; none if this program does not understand it.
pub(super) fn of_text<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
