//! Component versions and their artifacts.

use std::sync::Arc;

use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, TenantId, Version},
    time::Timestamp,
};
use xcomponent_host::store::{Error, Store, query::ComponentVersion};

fn version(component: &str, label: &str, digest: u8) -> ComponentVersion {
    ComponentVersion {
        tenant: TenantId::default_tenant(),
        component: ComponentName::new(component),
        version: Version::new(label),
        digest: Digest([digest; 32]),
        size: 3,
        definition: "name: Shop\n".into(),
        uploaded: Timestamp(9),
        active: false,
        on_live: OnLive::NextEvent,
        activation: 0,
    }
}

fn artifact(content: u8) -> Arc<[u8]> {
    Arc::from([content; 3])
}

fn labels(store: &dyn Store, component: Option<&str>) -> Vec<String> {
    let component = component.map(ComponentName::new);
    let listed = store.versions(&TenantId::default_tenant(), component.as_ref());
    let label = |known: ComponentVersion| format!("{} {}", known.component, known.version);
    listed.unwrap().into_iter().map(label).collect()
}

pub(crate) fn a_version_is_saved_once(store: &dyn Store) {
    let first = version("Shop", "1", 1);
    store.save_version(&first, artifact(1)).unwrap();
    store.save_version(&first, artifact(1)).unwrap();
    let other = store.save_version(&version("Shop", "1", 2), artifact(2));
    assert!(matches!(other, Err(Error::VersionExists { .. })));
    store
        .save_version(&version("Shop", "2", 2), artifact(2))
        .unwrap();
    store
        .save_version(&version("Bank", "1", 3), artifact(3))
        .unwrap();
    assert_eq!(labels(store, Some("Shop")), ["Shop 1", "Shop 2"]);
    assert_eq!(labels(store, None).len(), 3);
    assert!(
        store
            .versions(&TenantId::new("other"), None)
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.artifact(first.digest).unwrap(), Some(artifact(1)));
    assert_eq!(store.artifact(Digest([9; 32])).unwrap(), None);
}

pub(crate) fn one_version_is_active_and_the_one_before_is_known(store: &dyn Store) {
    let tenant = TenantId::default_tenant();
    let shop = ComponentName::new("Shop");
    for (label, digest) in [("1", 1), ("2", 2)] {
        store
            .save_version(&version("Shop", label, digest), artifact(digest))
            .unwrap();
    }
    let activate_at = |at, label: &str, on_live| {
        store.activate_version(&tenant, &shop, &Version::new(label), on_live, Timestamp(at))
    };
    // A clock that stands still makes no two activations the same.
    let activate = |label: &str, on_live| activate_at(9, label, on_live);
    let state = || {
        let listed = store.versions(&tenant, Some(&shop)).unwrap();
        let state = |known: &ComponentVersion| (known.active, known.activation);
        listed.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(state(), [(false, 0), (false, 0)]);
    activate("1", OnLive::NextEvent).unwrap();
    activate("2", OnLive::Pin).unwrap();
    assert_eq!(state(), [(false, 9), (true, 10)]);
    activate("1", OnLive::NextEvent).unwrap();
    assert_eq!(state(), [(true, 11), (false, 10)]);
    let unknown = activate("3", OnLive::NextEvent);
    assert!(matches!(unknown, Err(Error::UnknownVersion { .. })));
    assert_eq!(state(), [(true, 11), (false, 10)]);
    activate_at(20, "2", OnLive::NextEvent).unwrap();
    assert_eq!(state(), [(false, 11), (true, 20)]);
}

pub(crate) fn a_deleted_version_takes_its_artifact_along(store: &dyn Store) {
    let tenant = TenantId::default_tenant();
    for (component, label, digest) in [("Shop", "1", 1), ("Shop", "2", 2), ("Bank", "1", 1)] {
        store
            .save_version(&version(component, label, digest), artifact(digest))
            .unwrap();
    }
    let delete = |component: &str, label: &str| {
        store.delete_version(
            &tenant,
            &ComponentName::new(component),
            &Version::new(label),
        )
    };
    delete("Shop", "2").unwrap();
    delete("Shop", "1").unwrap();
    assert_eq!(labels(store, None), ["Bank 1"]);
    assert_eq!(store.artifact(Digest([2; 32])).unwrap(), None);
    // Another component has the same one.
    assert_eq!(store.artifact(Digest([1; 32])).unwrap(), Some(artifact(1)));
    assert!(matches!(
        delete("Shop", "1"),
        Err(Error::UnknownVersion { .. })
    ));
}
