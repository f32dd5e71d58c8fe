//! PostgreSQL, as Debian packages it or as it stands on the `PATH`.

use std::{
    env, fs,
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    certificate::Certificate,
    free_port,
    package::run,
    user::{User, is_root},
    wait_for,
};

/// How long a server may take to begin, after a crash too.
const START: Duration = Duration::from_secs(60);

/// How long it may take to end.
const STOP: Duration = Duration::from_secs(20);

/// Attempts to start one: another program may have taken the port meanwhile.
const ATTEMPTS: usize = 3;

/// The user who owns the databases.
pub(crate) const OWNER: &str = "xcomponent";

/// How much a server does so that a transaction survives a machine that loses its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As it is shipped.
    Full,
    /// Nothing; it survives its own end all the same.
    None,
}

impl Durability {
    /// MiB of one file of the write-ahead log: small where there are many servers for a moment.
    fn wal_segment_mib(self) -> u32 {
        match self {
            Self::Full => 16,
            Self::None => 1,
        }
    }
}

/// A running server; its data are gone when it is dropped.
pub struct Postgres {
    process: Option<Child>,
    programs: PathBuf,
    user: Option<User>,
    durability: Durability,
    folder: TempDir,
    port: u16,
    /// Whether it lets in only who speaks encrypted.
    is_encrypted: bool,
}

impl Postgres {
    /// Makes a cluster and starts a server on it.
    ///
    /// # Errors
    ///
    /// If there is no PostgreSQL on this machine, or it does not start.
    pub fn start(durability: Durability) -> Result<Self> {
        let programs = programs().context(
            "PostgreSQL is not installed: `cargo xtask test` does it as root, or \
             `apt-get install postgresql`",
        )?;
        let user = User::without_rights(&["postgres", "nobody"])?;
        let folder = tempfile::Builder::new()
            .prefix("xcomponent-postgres-")
            .tempdir()
            .context("making a folder")?;
        User::give(user, folder.path())?;
        let mut server = Self {
            process: None,
            programs,
            user,
            durability,
            folder,
            port: 0,
            is_encrypted: false,
        };
        let made = server.template()?;
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&made).arg(server.data());
        run("copying a cluster", &mut copy)?;
        for _ in 1..ATTEMPTS {
            server.port = free_port()?;
            if server.restart().is_ok() {
                return Ok(server);
            }
        }
        server.port = free_port()?;
        server.restart()?;
        Ok(server)
    }

    /// The URL of a database; `postgres` is one that is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and says its URL.
    ///
    /// # Errors
    ///
    /// If the server does not.
    pub fn create(&self, database: &str) -> Result<String> {
        let mut create = Command::new(self.programs.join("createdb"));
        create
            .args(["-h", "127.0.0.1", "-U", OWNER, "-p"])
            .args([&self.port.to_string(), database]);
        run("making a database", &mut create)?;
        Ok(self.url(database))
    }

    /// Starts it again, on the same port; one that runs is stopped first.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let log = File::create(self.folder.path().join("log")).context("making a log")?;
        let mut server = User::command(self.user, &self.programs.join("postgres"), "QUIT");
        server.arg("-D").arg(self.data());
        for setting in self.settings() {
            server.args(["-c", &setting]);
        }
        let output = log.try_clone().context("making a log")?;
        let process = server
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(log)
            .spawn()
            .context("starting PostgreSQL")?;
        let pid = process.id().to_string();
        self.process = Some(process);
        let status = self.data().join("postmaster.pid");
        wait_for("the start of PostgreSQL", START, || {
            if let Some(process) = &mut self.process
                && let Some(ended) = process.try_wait().context("looking after PostgreSQL")?
            {
                self.process = None;
                let log = fs::read_to_string(self.folder.path().join("log"));
                bail!("PostgreSQL ended with {ended}: {}", log.unwrap_or_default());
            }
            // Its first line says whose it is (one that was killed leaves it), its eighth how it is.
            let status = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = status.lines().map(str::trim);
            let is_ready = lines.next() == Some(&pid) && lines.nth(6) == Some("ready");
            Ok(is_ready.then_some(()))
        })
    }

    /// Starts it again with a certificate; from then on it lets in only who speaks encrypted.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn encrypt(&mut self, certificate: &Certificate) -> Result<()> {
        for file in certificate.write(&self.data())? {
            User::give(self.user, &file)?;
        }
        let rule = "hostssl all all 127.0.0.1/32 trust\n";
        fs::write(self.data().join("pg_hba.conf"), rule).context("writing who is let in")?;
        self.is_encrypted = true;
        self.restart()
    }

    /// Stops it without waiting for its clients; its data stay.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT)
    }

    /// Kills it as the kernel would: what it has not written is lost, and what it has is repaired
    /// at the next start. All its processes are gone afterwards.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let children = children(process.id());
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("the server has a process id")?;
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
        if signal == Signal::KILL {
            for child in &children {
                let _ = kill_process(*child, signal);
            }
        }
        wait_for("the end of PostgreSQL", STOP, || {
            process.try_wait().context("waiting for PostgreSQL")
        })?;
        wait_for("the end of its processes", STOP, || {
            let alive = children.iter().any(|child| is_alive(*child));
            Ok((!alive).then_some(()))
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = vec![
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=50".to_owned(),
        ];
        if self.is_encrypted {
            settings.push("ssl=on".to_owned());
        }
        if self.durability == Durability::None {
            let quick = [
                "fsync=off",
                "full_page_writes=off",
                "shared_buffers=32MB",
                "autovacuum=off",
                "wal_level=minimal",
                "max_wal_senders=0",
            ];
            settings.extend(quick.map(ToOwned::to_owned));
        }
        settings
    }

    /// A cluster to be copied: made once on a machine, since that takes a second of work.
    fn template(&self) -> Result<PathBuf> {
        let mut version = Command::new(self.programs.join("postgres"));
        let version = version.arg("--version").output();
        let version = version.context("asking PostgreSQL for its version")?.stdout;
        let version = String::from_utf8_lossy(&version);
        let number = version.split_whitespace().nth(2).unwrap_or("unknown");
        let owner = fs::metadata(self.folder.path())
            .context("looking at a folder")?
            .uid();
        let segments = self.durability.wal_segment_mib();
        let name = format!("xcomponent-postgres-{number}-{segments}-{owner}");
        let kept = env::temp_dir().join(name);
        if fs::metadata(&kept).is_ok_and(|found| found.uid() == owner) {
            return Ok(kept);
        }
        let fresh = self.folder.path().join("template");
        let mut make = User::command(self.user, &self.programs.join("initdb"), "KILL");
        make.arg("-D").arg(&fresh).current_dir(self.folder.path());
        make.args(["--no-sync", "--no-instructions", "--auth=trust"]);
        make.args(["--locale=C.UTF-8", "--encoding=UTF8", "--username", OWNER]);
        make.arg(format!("--wal-segsize={segments}"));
        run("making a cluster", &mut make)?;
        // Somebody else may have been quicker.
        match fs::rename(&fresh, &kept) {
            Ok(()) => Ok(kept),
            Err(_) => Ok(fresh),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nobody needs what it has not written yet.
        let _ = self.end(Signal::QUIT);
    }
}

/// Installs PostgreSQL, if it is missing and this process is root's.
///
/// # Errors
///
/// If it is missing and cannot be installed.
pub(crate) fn install() -> Result<()> {
    if programs().is_some() {
        return Ok(());
    }
    ensure!(
        is_root() && Path::new("/usr/bin/apt-get").exists(),
        "PostgreSQL is not installed, and only root can do that: `apt-get install postgresql`"
    );
    // Without a cluster of the machine's own, which nobody here needs.
    let folder = Path::new("/etc/postgresql-common");
    fs::create_dir_all(folder).context("making /etc/postgresql-common")?;
    let settings = folder.join("createcluster.conf");
    if !settings.exists() {
        fs::write(&settings, "create_main_cluster = false\n").context("writing its settings")?;
    }
    run("apt-get update", Command::new("apt-get").arg("update"))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends", "postgresql"]);
    run(
        "installing PostgreSQL",
        install.env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// The folder with the newest server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let packaged = versions.into_iter().rev().map(|(_, programs)| programs);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all = packaged.chain(env::split_paths(&path));
    all.find(|programs| programs.join("initdb").exists() && programs.join("postgres").exists())
}

/// Processes that another has started.
fn children(parent: u32) -> Vec<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
        .collect()
}

/// Whether a process is there and has not ended.
fn is_alive(pid: Pid) -> bool {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = fs::read_to_string(path).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !stat.is_empty() && !state.starts_with('Z')
}
