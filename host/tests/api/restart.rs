//! What callers hold of a host that ended: it means the same to the next one.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use xcomponent_host::{
    app::{Config, Host, StartError, StoreConfig},
    key,
};

use crate::{
    components::DOOR,
    host::{TestHost, config, packed},
    stream::Events,
};

/// A host that keeps everything in a folder.
fn kept_in(folder: &Path) -> Config {
    Config {
        store: StoreConfig::Sqlite(folder.join("host.db")),
        seal_key: Some(folder.join("seal.key")),
        ..config()
    }
}

#[tokio::test]
async fn positions_and_cursors_are_good_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let host = TestHost::start_with(kept_in(folder.path())).await;
    assert_eq!(host.upload("Door", packed(DOOR)).await.status, 201);
    let door = host.create("Door", "Door", &json!({"room": "A"})).await;
    for event in ["OPEN", "CLOSE", "OPEN"] {
        host.send(&door, event, &json!({})).await;
    }
    let history = host.history(&door).await;
    let path = format!("/v1/instances/{door}/history?limit=1");
    let cursor = host.get(&path).await.text("/next_cursor");
    host.shutdown().await;

    let host = TestHost::start_with(kept_in(folder.path())).await;
    let after = history[1]["position"].as_str().unwrap();
    let mut resumed = Events::open(&host, &format!("instance={door}&after={after}")).await;
    for record in &history[2..] {
        assert_eq!(&resumed.record().await, record);
    }
    let page = host.get(&format!("{path}&cursor={cursor}")).await.json();
    assert_eq!(page["items"][0], history[2]);
}

#[tokio::test]
async fn without_a_file_the_key_goes_with_the_process() {
    let folder = TempDir::new().unwrap();
    let config = || Config {
        seal_key: None,
        ..kept_in(folder.path())
    };
    let host = TestHost::start_with(config()).await;
    assert_eq!(host.upload("Door", packed(DOOR)).await.status, 201);
    for room in ["A", "B"] {
        host.create("Door", "Door", &json!({ "room": room })).await;
    }
    let cursor = host.get("/v1/instances?limit=1").await.text("/next_cursor");
    host.shutdown().await;
    let host = TestHost::start_with(config()).await;
    let page = host.get(&format!("/v1/instances?cursor={cursor}")).await;
    assert_eq!(page.problem(400), "invalid_cursor");
}

#[tokio::test]
async fn a_damaged_key_is_a_reason_not_to_start() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("seal.key"), "short").unwrap();
    let refused = Host::start(kept_in(folder.path())).await.err().unwrap();
    let StartError::Key(error @ key::Error::Damaged { found: 5, .. }) = refused else {
        panic!("{refused}");
    };
    assert!(error.to_string().contains("seal.key"), "{error}");
}

/// Changes the definitions that a host keeps in a folder, as an upgrade changes what is accepted.
fn spoil(folder: &Path, component: &str) {
    let database = rusqlite::Connection::open(folder.join("host.db")).unwrap();
    let spoiled = database.execute(
        "UPDATE versions SET definition = 'name: Spoiled' WHERE component = ?1",
        [component],
    );
    assert_eq!(spoiled.unwrap(), 1);
}

#[tokio::test]
async fn a_version_that_is_not_accepted_any_more_keeps_no_host_from_starting() {
    let folder = TempDir::new().unwrap();
    let host = TestHost::start_with(kept_in(folder.path())).await;
    assert_eq!(host.upload("Door", packed(DOOR)).await.status, 201);
    let window = DOOR.replace("Door", "Window");
    assert_eq!(host.upload("Window", packed(&window)).await.status, 201);
    host.shutdown().await;
    spoil(folder.path(), "Door");

    let host = TestHost::start_with(kept_in(folder.path())).await;
    let door = host.get("/v1/components/Door").await;
    assert_eq!(door.problem(503), "component_not_accepted");
    assert!(door.text("/detail").contains("missing_key"), "{door:?}");
    host.create("Window", "Window", &json!({"room": "A"})).await;
    let newer = crate::components::door("2.0.0");
    assert_eq!(host.upload("Door", packed(&newer)).await.status, 201);
    host.create("Door", "Door", &json!({"room": "A"})).await;
}

#[tokio::test]
async fn the_time_of_an_activation_is_told_and_kept() {
    let folder = TempDir::new().unwrap();
    let host = TestHost::start_with(kept_in(folder.path())).await;
    host.upload("Door", packed(DOOR)).await;
    let path = "/v1/components/Door";
    let at = host.get(path).await.text("/versions/0/activated_at");
    host.shutdown().await;
    let host = TestHost::start_with(kept_in(folder.path())).await;
    assert_eq!(host.get(path).await.text("/versions/0/activated_at"), at);
}
