//! A host under a service manager.

use std::{os::unix::net::UnixDatagram, path::Path, process::Stdio, time::Duration};

use xcomponent_servers::{Durability, Postgres, Redis};

use crate::harness::{Serving, command};

/// Longest wait for something that must happen: only a broken host reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service manager that listens in a folder.
fn manager(socket: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    manager
}

/// What the service manager is told next.
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 1_024];
    let bytes = manager.recv(&mut message).unwrap();
    String::from_utf8(message[..bytes].to_vec()).unwrap()
}

/// The first of what it is told that says this.
fn until(manager: &UnixDatagram, line: &str) -> String {
    loop {
        let told = told(manager);
        if told.lines().any(|one| one == line) {
            return told;
        }
    }
}

#[test]
fn a_service_manager_is_told_how_the_host_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = manager(&socket);
    let environment = [
        ("NOTIFY_SOCKET", socket.as_os_str()),
        ("WATCHDOG_USEC", "300000".as_ref()),
    ];
    let serving = Serving::start_told(&environment, ["shop.yaml"]);

    let first = told(&manager);
    assert!(first.starts_with("STATUS=recovering: "), "{first}");
    assert!(first.contains("EXTEND_TIMEOUT_USEC="), "{first}");
    let ready = until(&manager, "READY=1");
    let status = format!("STATUS=serving at {}\n", serving.url());
    assert!(ready.contains(&status), "{ready}");
    for _ in 0..3 {
        until(&manager, "WATCHDOG=1");
    }
    serving.tell_to_end();
    let stopping = until(&manager, "STOPPING=1");
    assert!(stopping.contains("STATUS=draining"), "{stopping}");
    let mut serving = serving;
    assert!(serving.wait().0.success());
}

/// It gets no further for as long as another host is well, and must not be given up for that.
#[test]
fn a_standby_is_waited_for() {
    let (postgres, redis) = (Postgres::start(Durability::None), Redis::start());
    let (postgres, redis) = (postgres.unwrap(), redis.unwrap());
    let (store, registry) = (postgres.url("postgres"), redis.url());
    let shared = ["--store", &store, "--registry", &registry, "shop.yaml"];
    let folders = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let owner = Serving::start_in(folders[0].path(), shared);

    let socket = folders[1].path().join("notify");
    let manager = manager(&socket);
    let mut standby = command()
        .args(["serve", "--port", "0", "--data"])
        .arg(folders[1].path())
        .args(shared)
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..3 {
        let told = until(&manager, "STATUS=standby: another host has the store");
        assert!(told.contains("EXTEND_TIMEOUT_USEC="), "{told}");
    }
    drop(owner);
    until(&manager, "READY=1");
    standby.kill().unwrap();
    standby.wait().unwrap();
}
