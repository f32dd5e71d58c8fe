//! A package of Debian's that has a server.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::user::is_root;

/// Where programs of servers stand that are not on everybody's `PATH`.
const BESIDES: &str = "/usr/sbin";

/// A package, and the program that it is wanted for.
pub(crate) struct Package {
    pub(crate) debian: &'static str,
    pub(crate) program: &'static str,
}

impl Package {
    /// The program.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        self.look().with_context(|| {
            format!(
                "{0} is not installed: `cargo xtask test` does it as root, or `apt-get install {0}`",
                self.debian
            )
        })
    }

    fn look(&self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = env::split_paths(&path).chain([PathBuf::from(BESIDES)]);
        folders.find_map(|folder| {
            let program = folder.join(self.program);
            program.exists().then_some(program)
        })
    }

    /// Installs it, if it is missing and this process is root's. What the package would start is
    /// not started.
    pub(crate) fn install(&self) -> Result<()> {
        if self.look().is_some() {
            return Ok(());
        }
        let name = self.debian;
        ensure!(
            is_root() && Path::new("/usr/bin/apt-get").exists(),
            "{name} is not installed, and only root can do that: `apt-get install {name}`"
        );
        run("apt-get update", Command::new("apt-get").arg("update"))?;
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends", name]);
        // Packages ask this program whether they may start what they bring; 101 says no.
        install.env("RUNLEVEL", "1");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        run(&format!("installing {name}"), &mut install)
    }
}

/// Runs a program to its end; what it says is shown if it fails.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{what}: starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{what} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
