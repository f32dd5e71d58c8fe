//! Which database, and how it is spoken to.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use super::{lease, tls::Tls};

/// Where tables are kept if nothing else is said.
const SCHEMA: &str = "xcomponent";

/// Longest name of a schema: what PostgreSQL does not cut off.
const SCHEMA_BYTES_MAX: usize = 63;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long data may be on their way without an answer from the other machine: then the connection
/// is given up. Short, since nothing is acknowledged meanwhile.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// After how long without traffic the other machine is asked whether it is there, how often, and
/// how many times in vain.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);

/// How a database is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where everything is written, and read by the engines.
    pub primary: Target,
    /// A copy that follows, for the lists, histories and traces that people ask for.
    pub replica: Option<Target>,
    /// Records of an instance after which its row is written.
    pub snapshot_interval: u64,
    /// How long to wait for a host that has the database and may be about to end.
    pub patience: Duration,
}

impl Config {
    /// The defaults, for this database.
    pub fn new(primary: Target) -> Self {
        Self {
            primary,
            replica: None,
            snapshot_interval: 10,
            patience: lease::SPAN + Duration::from_secs(1),
        }
    }
}

/// A schema of a database on a server. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) postgres: Box<tokio_postgres::Config>,
    pub(super) tls: Tls,
    pub(super) schema: String,
    /// Whether a pooler stands in between that lends connections for a transaction each.
    pub(super) is_pooled: bool,
}

/// A text that names no database. It may have a password in it, which is why it is not shown.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// It is not the URL of a PostgreSQL database. What is wrong with it is not told, since that
    /// may be a part of the password.
    #[error("expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME`")]
    Url,
    /// Its schema has another name than an ordinary one.
    #[error(
        "a schema's name begins with a letter and has lower-case letters, digits and `_`, at most \
         {SCHEMA_BYTES_MAX}"
    )]
    Schema,
    /// It is to be encrypted in a way that there is not.
    #[error("expected `sslmode=disable`, `prefer`, `require`, `verify-ca` or `verify-full`")]
    SslMode,
    /// There is no such kind of pooler.
    #[error("expected `pooler=transaction`, or `pooler=session`, which needs no word")]
    Pooler,
    /// It names no server.
    #[error("the URL of the database names no host")]
    NoHost,
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// Reads `postgres://…`. What the library does not know of it is read here: `schema=` says
    /// where in the database, `sslmode=` and `sslrootcert=` how safe the way there is, `pooler=` what
    /// stands on it.
    fn from_str(url: &str) -> Result<Self, InvalidTarget> {
        let (base, options) = url.split_once('?').unwrap_or((url, ""));
        let (mut schema, mut mode, mut authorities) = (SCHEMA, None, None);
        let mut is_pooled = false;
        let mut others = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("schema", name)) => schema = name,
                Some(("sslmode", word)) => mode = Some(word),
                Some(("sslrootcert", path)) => {
                    let path = percent_decode_str(path).decode_utf8_lossy();
                    authorities = Some(PathBuf::from(&*path));
                }
                Some(("pooler", "transaction")) => is_pooled = true,
                Some(("pooler", "session")) => is_pooled = false,
                Some(("pooler", _)) => return Err(InvalidTarget::Pooler),
                _ => others.push(option),
            }
        }
        if !is_plain(schema) {
            return Err(InvalidTarget::Schema);
        }
        let (mode, tls) = Tls::read(mode, authorities).ok_or(InvalidTarget::SslMode)?;
        let url = format!("{base}?{}", others.join("&"));
        let mut postgres: tokio_postgres::Config = url.parse().map_err(|_| InvalidTarget::Url)?;
        if postgres.get_hosts().is_empty() && postgres.get_hostaddrs().is_empty() {
            return Err(InvalidTarget::NoHost);
        }
        postgres.ssl_mode(mode);
        if postgres.get_connect_timeout().is_none() {
            postgres.connect_timeout(CONNECT_TIMEOUT);
        }
        if postgres.get_application_name().is_none() {
            postgres.application_name("xcomponent");
        }
        let (idle, interval, retries) = KEEPALIVE;
        postgres
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(idle)
            .keepalives_interval(interval)
            .keepalives_retries(retries);
        Ok(Self {
            postgres: Box::new(postgres),
            tls,
            schema: schema.to_owned(),
            is_pooled,
        })
    }
}

fn is_plain(name: &str) -> bool {
    let is_first = |c: &char| c.is_ascii_lowercase() || *c == '_';
    let is_other = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= SCHEMA_BYTES_MAX
        && name.chars().next().as_ref().is_some_and(is_first)
        && name.chars().all(is_other)
}

impl Target {
    /// The name of the schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let postgres = &self.postgres;
        f.write_str("postgres://")?;
        for (n, host) in postgres.get_hosts().iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let ports = postgres.get_ports();
            let port = ports.get(n).or_else(|| ports.first());
            write!(f, ":{}", port.copied().unwrap_or(5432))?;
        }
        let database = postgres.get_dbname().or_else(|| postgres.get_user());
        write!(
            f,
            "/{}?schema={}",
            database.unwrap_or_default(),
            self.schema
        )
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_schema_and_hides_its_password() {
        let url = "postgres://me:secret@db.example:6432/orders?schema=shop&connect_timeout=2";
        let target: Target = url.parse().unwrap();
        let shown = "postgres://db.example:6432/orders?schema=shop";
        assert_eq!(format!("{target} {target:?}"), format!("{shown} {shown}"));
        assert_eq!(target.postgres.get_user(), Some("me"));
        let plain: Target = "postgresql://localhost/x".parse().unwrap();
        assert_eq!(plain.schema(), "xcomponent");
    }

    #[test]
    fn what_names_no_database_is_refused_without_being_shown() {
        for url in [
            "postgres://me:secret@localhost/x?schema=Shop",
            "postgres://me:secret@localhost/x?schema=a;drop",
            "postgres://me:secret@localhost/x?no_such_option=1",
            "postgres://me:secret@localhost/x?sslmode=verify",
            "postgres://me:secret@localhost/x?pooler=statement",
            "postgres://me:secret@localhost:port/x",
            "mysql://me:secret@localhost/x",
            "postgres:///x",
        ] {
            let refused: InvalidTarget = url.parse::<Target>().unwrap_err();
            let shown = format!("{refused} {refused:?}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
