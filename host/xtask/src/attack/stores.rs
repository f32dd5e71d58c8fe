//! Files of the host that are damaged or removed, while it runs and while it does not.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::{Entry, Scale, pause, victim::Victim};

pub(super) const KINDS: &[Entry] = &[
    ("store-torn-log", torn_log),
    ("store-emptied", emptied),
    ("store-removed", removed),
];

/// Files of the embedded database.
const FILES: [&str; 3] = ["host.db", "host.db-wal", "host.db-shm"];

/// How long the host may take to notice that its files are gone.
const NOTICE: usize = 20;

/// A machine crash leaves a log whose last frame is torn: the host starts with what is before it.
fn torn_log(victim: &mut Victim, _: Scale) -> Result<()> {
    for n in 0..50 {
        victim.create("Polite", "Counter", &format!("before-{n}"), &json!({}))?;
    }
    victim.expect_failures();
    victim.kill()?;
    let log = victim.data().join("host.db-wal");
    let file = OpenOptions::new()
        .write(true)
        .open(log)
        .context("opening the log")?;
    let length = file.metadata().context("the log's size")?.len();
    file.set_len(length.saturating_sub(1_000))
        .context("tearing off the end of the log")?;
    victim.restart().map(drop)
}

/// A database without content, next to the key of one that had some, is no new host.
fn emptied(victim: &mut Victim, _: Scale) -> Result<()> {
    victim.expect_failures();
    victim.kill()?;
    let copy = save(victim)?;
    for file in FILES {
        let _ = fs::remove_file(victim.data().join(file));
    }
    fs::write(victim.data().join("host.db"), []).context("emptying the database")?;
    if victim.restart().is_ok() {
        bail!("an emptied database starts as a new host");
    }
    restore(victim, &copy)
}

/// What is acknowledged while the database is gone would be lost.
fn removed(victim: &mut Victim, _: Scale) -> Result<()> {
    victim.expect_failures();
    victim.create("Polite", "Counter", "kept", &json!({}))?;
    let copy = save(victim)?;
    for file in FILES {
        let _ = fs::remove_file(victim.data().join(file));
    }
    let path = "/v1/components/Polite/machines/Counter/instances";
    let mut last = 0;
    for n in 0..NOTICE {
        let body = json!({ "id": format!("lost-{n}"), "context": {} });
        last = victim.post(path, &body)?.0;
        if last >= 500 {
            break;
        }
        pause(Duration::from_millis(250));
    }
    ensure!(
        last >= 500,
        "creations that are lost are answered with {last}"
    );
    let ready = victim.get("/readyz")?;
    ensure!(ready == 503, "/readyz answers {ready} without a database");
    victim.kill()?;
    restore(victim, &copy)
}

fn save(victim: &Victim) -> Result<std::path::PathBuf> {
    let copy = victim.data().with_extension("copy");
    fs::create_dir_all(&copy).context("making a folder")?;
    transfer(&victim.data(), &copy)?;
    Ok(copy)
}

fn restore(victim: &Victim, copy: &Path) -> Result<()> {
    for file in FILES {
        let _ = fs::remove_file(victim.data().join(file));
    }
    transfer(copy, &victim.data())
}

fn transfer(from: &Path, to: &Path) -> Result<()> {
    for file in FILES {
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).context("copying the database")?;
        }
    }
    Ok(())
}
