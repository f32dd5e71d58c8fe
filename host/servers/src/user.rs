//! Who a server runs as.

use std::{fs, os::unix::fs::chown, path::Path, process::Command};

use anyhow::{Context, Result};

/// A user of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The first of these that there is, if this process is root's; none if it runs as somebody
    /// who has no rights to give up.
    pub(crate) fn without_rights(names: &[&str]) -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        let find = |name: &&str| users.lines().find_map(|line| Self::parse(line, name));
        let found = names.iter().find_map(find);
        found.context("there is no user without rights").map(Some)
    }

    fn parse(line: &str, wanted: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let is_wanted = fields.next()? == wanted;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        is_wanted.then_some(Self { uid, gid })
    }

    /// Gives a folder to the user.
    pub(crate) fn give(user: Option<Self>, path: &Path) -> Result<()> {
        let Some(user) = user else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("giving {} away", path.display()))
    }

    /// A program that runs as the user, and ends like this when the thread that started it does.
    pub(crate) fn command(user: Option<Self>, program: &Path, at_our_end: &str) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(Self { uid, gid }) = user {
            command.arg(format!("--reuid={uid}"));
            command.arg(format!("--regid={gid}"));
            command.arg("--clear-groups");
        }
        command
            .args(["--pdeathsig", at_our_end])
            .arg("--")
            .arg(program);
        command
    }
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
