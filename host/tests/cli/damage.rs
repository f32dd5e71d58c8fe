//! A data folder that is damaged while a host runs, or between two starts.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xcomponent_servers::{Durability, Postgres};

use crate::harness::{Output, Serving, command, finished, scratch};

/// Longest wait for something that must happen: only a broken host reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().new_agent()
}

fn create(serving: &Serving, id: &str) -> (u16, Value) {
    let url = format!(
        "{}/v1/components/Shop/machines/Order/instances",
        serving.url()
    );
    let order = json!({"id": id, "context": {"orderId": "O-1"}});
    let mut answer = agent().post(url).send_json(order).unwrap();
    let status = answer.status().as_u16();
    (status, answer.body_mut().read_json().unwrap())
}

fn readiness(serving: &Serving) -> (u16, Value) {
    let url = format!("{}/readyz", serving.url());
    let mut answer = agent().get(url).call().unwrap();
    let status = answer.status().as_u16();
    (status, answer.body_mut().read_json().unwrap())
}

/// Waits until the host says that it is not ready, and gives the reason.
fn until_unready(serving: &Serving) -> String {
    let given_up = Instant::now() + PATIENCE;
    loop {
        let (status, health) = readiness(serving);
        if status == 503 {
            return health["reasons"][0]["detail"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < given_up, "the host stays ready: {health}");
    }
}

fn refused(data: &Path) -> Output {
    let mut serve = command();
    finished(serve.args(["serve", "--port", "0", "--data"]).arg(data))
}

#[test]
fn a_host_whose_database_is_removed_acknowledges_nothing_and_does_not_start_empty() {
    let data = scratch("removed");
    let serving = Serving::start_in(&data, ["shop.yaml"]);
    assert_eq!(create(&serving, "before").0, 201);
    for name in ["host.db", "host.db-wal", "host.db-shm"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    let (status, problem) = create(&serving, "after");
    assert_eq!((status, &problem["code"]), (503, &json!("not_committed")));
    let why = until_unready(&serving);
    assert!(why.contains("was removed or renamed"), "{why}");
    drop(serving);

    let refused = refused(&data);
    assert_eq!(refused.code, 1);
    let told = &refused.stderr;
    assert!(told.contains("host.db` is missing or empty"), "{told}");
    assert!(told.contains("start with `--new`"), "{told}");
    assert!(!data.join("host.db").exists());

    let serving = Serving::start_in(&data, ["--new", "shop.yaml"]);
    assert_eq!(create(&serving, "before").0, 201);
    assert!(serving.end().0.success());
    assert!(Serving::start_in(&data, [] as [&str; 0]).end().0.success());
}

#[test]
fn a_host_whose_database_is_overwritten_says_so_and_keeps_nobody_waiting() {
    let data = scratch("overwritten");
    let serving = Serving::start_in(&data, ["shop.yaml"]);
    assert_eq!(create(&serving, "before").0, 201);
    for name in ["host.db", "host.db-wal"] {
        let path = data.join(name);
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&vec![0xA5; length], 0).unwrap();
    }
    let why = until_unready(&serving);
    assert!(why.contains("the store is lost"), "{why}");
    let (status, problem) = create(&serving, "after");
    assert_eq!(status, 503, "{problem}");
}

#[test]
fn a_database_whose_write_ahead_log_was_emptied_is_refused() {
    let data = scratch("emptied");
    let serving = Serving::start_in(&data, ["shop.yaml"]);
    assert_eq!(create(&serving, "before").0, 201);
    // It is killed, so that all of it is in the log.
    drop(serving);
    fs::write(data.join("host.db-wal"), "").unwrap();
    let refused = refused(&data);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`--new`"), "{refused:?}");
}

#[test]
fn an_older_database_is_refused() {
    let data = scratch("older");
    let serving = Serving::start_in(&data, ["shop.yaml"]);
    assert_eq!(create(&serving, "first").0, 201);
    assert!(serving.end().0.success());
    let backup = fs::read(data.join("host.db")).unwrap();
    let serving = Serving::start_in(&data, [] as [&str; 0]);
    assert_eq!(create(&serving, "second").0, 201);
    assert!(serving.end().0.success());
    assert!(Serving::start_in(&data, [] as [&str; 0]).end().0.success());
    for name in ["host.db-wal", "host.db-shm"] {
        // They go when the last connection is closed.
        let _ = fs::remove_file(data.join(name));
    }
    fs::write(data.join("host.db"), backup).unwrap();
    let refused = refused(&data);
    assert_eq!(refused.code, 1, "{refused:?}");
    let why = "had acknowledged everything up to";
    assert!(refused.stderr.contains(why), "{refused:?}");
    assert!(Serving::start_in(&data, ["--new"]).end().0.success());
}

#[test]
fn another_database_in_the_same_place_is_refused() {
    let (one, other) = (scratch("one-store"), scratch("other-store"));
    for data in [&one, &other] {
        let serving = Serving::start_in(data, ["shop.yaml"]);
        assert_eq!(create(&serving, "first").0, 201);
        assert!(serving.end().0.success());
    }
    fs::copy(other.join("host.db"), one.join("host.db")).unwrap();
    let refused = refused(&one);
    assert_eq!(refused.code, 1, "{refused:?}");
    let why = "is not the database that";
    assert!(refused.stderr.contains(why), "{refused:?}");
}

/// Runs statements in a PostgreSQL database.
fn execute(url: &str, statements: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connecting = tokio_postgres::connect(url, tokio_postgres::NoTls);
        let (client, connection) = connecting.await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statements).await.unwrap();
    });
}

#[test]
fn a_postgresql_database_that_was_emptied_is_refused() {
    let postgres = Postgres::start(Durability::None).unwrap();
    let (store, data) = (postgres.url("postgres"), scratch("emptied-postgres"));
    let serving = Serving::start_in(&data, ["--store", &store, "shop.yaml"]);
    assert_eq!(create(&serving, "first").0, 201);
    assert!(serving.end().0.success());
    execute(&store, "DROP SCHEMA xcomponent CASCADE");
    let mut serve = command();
    let serve = serve.args(["serve", "--port", "0", "--store", &store, "--data"]);
    let refused = finished(serve.arg(&data));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("is missing or empty"),
        "{refused:?}"
    );
    let serving = Serving::start_in(&data, ["--new", "--store", &store, "shop.yaml"]);
    assert!(serving.end().0.success());
}

#[test]
fn what_a_host_keeps_is_for_its_user_alone() {
    let data = scratch("private").join("data");
    let serving = Serving::start_in(&data, ["shop.yaml"]);
    assert_eq!(create(&serving, "first").0, 201);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    assert!(serving.end().0.success());
    for key in ["seal.key", "cache/cache.key"] {
        let path = data.join(key);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let refused = refused(&data);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.stderr.contains("other users may write to"),
            "{refused:?}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
}
