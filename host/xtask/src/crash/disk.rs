//! A disk that becomes full while a host works, and has room again later.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ureq::Agent;

use super::{Clients, Host, Urls, pause};
use crate::command::say;

/// MiB of the disk, and of what takes up room on it until the host is to go on.
const DISK_MIB: [usize; 2] = [160, 64];

/// How long the disk may take to become full, and the host to go on.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the host is left with a full disk, and how long it works afterwards.
const WHILE_FULL: Duration = Duration::from_secs(3);

/// Wait before the host is asked again how it is.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A small disk in memory; gone when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).context("making a folder for the disk")?;
        let size = format!("size={}m", DISK_MIB[0]);
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder);
        let status = mount.status().context("starting `mount`")?;
        ensure!(
            status.success(),
            "a small disk cannot be mounted: this needs root, and the right to mount (a container \
             needs `CAP_SYS_ADMIN`)"
        );
        Ok(Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is left of it is gone with the machine.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Lets clients fill the disk under a host, makes room, and compares.
pub(super) fn fill_and_compare(program: &Path, folder: &Path) -> Result<String> {
    let disk = Disk::mount(folder.join("disk"))?;
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; DISK_MIB[1] << 20]).context("taking up room")?;
    let host = Host::start(program, folder, "sqlite:disk/host.db", 0)?;
    let clients = Clients::start(&Urls::of(host.url()));
    let reason = until(host.url(), 503).context("waiting for the disk to become full")?;
    say(&format!("   the disk is full: {reason}"));
    pause(WHILE_FULL);
    let (status, reason) = readiness(host.url())?;
    ensure!(
        status == 503,
        "a host with a full disk says {status} {reason}"
    );
    ensure!(
        reason.contains("full"),
        "it does not say that its disk is full: {reason}"
    );
    fs::remove_file(&ballast).context("making room")?;
    until(host.url(), 200).context("waiting for the host to go on")?;
    pause(WHILE_FULL / 3);
    let verdict = clients.stop_and_compare(&Urls::of(host.url()))?;
    Ok(format!("a full disk: {verdict}"))
}

/// Waits until the host says this of itself.
fn until(url: &str, wanted: u16) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, text) = readiness(url)?;
        if status == wanted {
            return Ok(text);
        }
        ensure!(Instant::now() < deadline, "it still says {status}: {text}");
        pause(AGAIN_AFTER);
    }
}

/// Whether the host is ready, and why not.
fn readiness(url: &str) -> Result<(u16, String)> {
    let config = Agent::config_builder().http_status_as_error(false);
    let agent = config.build().new_agent();
    let mut answer = agent.get(format!("{url}/readyz")).call()?;
    let text = answer.body_mut().read_to_string()?;
    Ok((answer.status().as_u16(), text))
}
