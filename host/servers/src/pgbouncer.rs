//! PgBouncer in front of a PostgreSQL server, as Debian packages it or as it stands on the `PATH`.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{
    free_port,
    package::Package,
    postgres::{OWNER, Postgres},
    program::Program,
    user::User,
};

const PACKAGE: Package = Package {
    debian: "pgbouncer",
    program: "pgbouncer",
};

/// A running pooler that lends connections for a transaction each, and few of them, so that nobody
/// gets the same one for long.
pub struct PgBouncer(Program);

impl PgBouncer {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// If there is no PgBouncer on this machine, or it does not start.
    pub fn start(server: &Postgres) -> Result<Self> {
        let mut pooler = Program::new("pgbouncer", free_port()?)?;
        let user = User::without_rights(&["postgres", "nobody"])?;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={OWNER}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
             server_round_robin = 1\nserver_login_retry = 0\n",
            server.port(),
            pooler.port
        );
        let file = pooler.path().join("pgbouncer.ini");
        fs::write(&file, settings).context("writing the settings of a pooler")?;
        User::give(user, pooler.path())?;
        let mut command = User::command(user, &PACKAGE.find()?, "KILL");
        pooler.start(command.arg(&file))?;
        Ok(Self(pooler))
    }

    /// The URL of a database of the server behind it.
    pub fn url(&self, database: &str) -> String {
        let port = self.0.port;
        format!("postgres://{OWNER}@127.0.0.1:{port}/{database}?pooler=transaction")
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.0.end(Signal::KILL)
    }
}

/// Installs PgBouncer, if it is missing and this process is root's.
///
/// # Errors
///
/// If it is missing and cannot be installed.
pub(crate) fn install() -> Result<()> {
    PACKAGE.install()
}
