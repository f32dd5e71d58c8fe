//! The database: who may write to it, how an older one is brought up to date, where others find
//! its views.

use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::{
    OpenError,
    config::{Config, Target},
    row::NONE,
    session::Session,
};

/// What leads from each schema to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The oldest server that is spoken to, as `server_version_num` has it.
const SERVER_VERSION_MIN: i32 = 150_000;

/// First half of the key of the lock that a host holds ("xcmp"); the second is the schema's.
const LOCK: i32 = 0x7863_6d70;

/// Wait between two looks whether another host has let go of it.
const LOCK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one statement may wait for somebody else's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a transaction may do nothing: then the server ends it, so that the lock of a host that
/// stands still in the middle of one is free for another.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The schema whose views are shown in `public` as well.
const SHOWN: &str = "xcomponent";

/// What tables and views that belong to a host say about themselves.
const OURS: &str = "kept by xcomponent";

/// How every session behaves.
fn set_up(target: &Target) -> String {
    format!(
        "SET search_path = {}; SET statement_timeout = {}; SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {}; SET client_min_messages = warning;",
        target.schema,
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis()
    )
}

/// How a session that only reads behaves.
pub(super) fn reader(target: &Target) -> String {
    format!("{} SET default_transaction_read_only = on", set_up(target))
}

/// How the session that writes behaves: a transaction is on the disk when it is committed, also if
/// the server was told otherwise; and the server notices within half a minute that a host has
/// vanished, so that another may have the lock.
fn writer(target: &Target) -> String {
    format!(
        "{} SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;
            SET tcp_keepalives_count = 3; SET tcp_user_timeout = 15000;
            SELECT set_config('synchronous_commit', 'on', false)
            WHERE current_setting('synchronous_commit') = 'off'",
        set_up(target)
    )
}

/// Opens the one session that writes. Others are kept away while it lives.
pub(super) fn take(config: &Config) -> Result<Session, OpenError> {
    let target = &config.primary;
    let session = Session::open(target, &writer(target));
    let mut session = session.map_err(|source| OpenError::Connect {
        database: target.to_string(),
        source,
    })?;
    let failed = |source| OpenError::database(target, source);
    let question = "SELECT current_setting('server_version_num')::int,
        current_setting('server_version'), pg_is_in_recovery()";
    let row = session.ask_one(question, NONE).map_err(failed)?;
    let (number, version, is_replica): (i32, String, bool) = row
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .unwrap_or_default();
    if number < SERVER_VERSION_MIN {
        return Err(OpenError::Server(version));
    }
    if is_replica {
        return Err(OpenError::Replica(target.to_string()));
    }
    let deadline = Instant::now() + config.patience;
    while !lock(&mut session, target).map_err(failed)? {
        if Instant::now() >= deadline {
            return Err(OpenError::InUse(target.to_string()));
        }
        pause(LOCK_AGAIN_AFTER);
    }
    Ok(session)
}

/// Takes the lock, if nobody has it.
fn lock(session: &mut Session, target: &Target) -> Result<bool, tokio_postgres::Error> {
    let hash = Sha256::digest(&target.schema);
    let schema = i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let question = "SELECT pg_try_advisory_lock($1, $2)";
    let row = session.ask_one(question, &[&LOCK, &schema])?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Leads from the schema that is there to the newest, all or nothing.
pub(super) fn migrate(session: &mut Session, target: &Target) -> Result<(), OpenError> {
    let failed = |source| OpenError::database(target, source);
    let schema = &target.schema;
    let found = found(session, schema).map_err(failed)?;
    let found = match found {
        Found::Nothing => None,
        Found::Empty => Some(0),
        Found::Ours(number) => Some(number),
        Found::Foreign => return Err(OpenError::Foreign(target.to_string())),
    };
    let known = newest();
    let number = found.unwrap_or_default();
    if number > known {
        return Err(OpenError::Newer {
            database: target.to_string(),
            found: number,
            known,
        });
    }
    // An index of ten million rows takes its time.
    let mut steps = String::from("BEGIN; SET LOCAL statement_timeout = 0;\n");
    if found.is_none() {
        steps.push_str(&format!("CREATE SCHEMA {schema};\n"));
    }
    if number == 0 {
        steps.push_str(&format!(
            "CREATE TABLE migrations (number bigint PRIMARY KEY, at timestamptz NOT NULL);
             COMMENT ON TABLE migrations IS '{OURS}';\n"
        ));
    }
    for (step, number) in MIGRATIONS
        .iter()
        .zip(1..)
        .filter(|(_, step)| *step > number)
    {
        steps.push_str(step);
        steps.push_str(&format!(
            "INSERT INTO migrations VALUES ({number}, now());\n"
        ));
    }
    steps.push_str("COMMIT");
    session.batch(&steps).map_err(failed)
}

/// The newest schema.
fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful fits")
}

/// What there is in a database under the name of a schema.
enum Found {
    Nothing,
    Empty,
    Ours(i64),
    Foreign,
}

fn found(session: &mut Session, schema: &str) -> Result<Found, tokio_postgres::Error> {
    let question = "SELECT to_regnamespace($1) IS NOT NULL,
        EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace($1)),
        coalesce(obj_description(to_regclass($1 || '.migrations'), 'pg_class') = $2, false)";
    let row = session.ask_one(question, &[&schema, &OURS])?;
    let (exists, is_used, is_ours) = row.map_or((false, false, false), |row| {
        (row.get(0), row.get(1), row.get(2))
    });
    Ok(match (exists, is_used, is_ours) {
        (_, _, true) => {
            let question = "SELECT max(number) FROM migrations";
            let row = session.ask_one(question, NONE)?;
            let number: Option<i64> = row.and_then(|row| row.get(0));
            Found::Ours(number.unwrap_or_default())
        }
        (_, true, false) => Found::Foreign,
        (true, false, false) => Found::Empty,
        (false, ..) => Found::Nothing,
    })
}

/// Shows the views in `public`, where tools look for them, unless something else has the name.
pub(super) fn show(session: &mut Session, target: &Target) {
    if target.schema != SHOWN {
        return;
    }
    for view in ["fsm_events", "fsm_snapshots"] {
        match show_one(session, view) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                view,
                "`public` has something else under the name of a view, which is left as it is: \
                 read the view in the schema `{SHOWN}`"
            ),
            Err(error) => tracing::warn!(
                view,
                error = &error as &dyn std::error::Error,
                "a view cannot be shown in `public`: read it in the schema `{SHOWN}`"
            ),
        }
    }
}

/// Whether the view in `public` is ours.
fn show_one(session: &mut Session, view: &str) -> Result<bool, tokio_postgres::Error> {
    let question = "SELECT to_regclass('public.' || $1) IS NULL,
        coalesce(obj_description(to_regclass('public.' || $1), 'pg_class') = $2, false)";
    let row = session.ask_one(question, &[&view, &OURS])?;
    let (is_free, is_ours) = row.map_or((false, false), |row| (row.get(0), row.get(1)));
    if is_free {
        session.batch(&format!(
            "CREATE VIEW public.{view} AS SELECT * FROM {SHOWN}.{view};
             COMMENT ON VIEW public.{view} IS '{OURS}'"
        ))?;
    }
    Ok(is_free || is_ours)
}

/// Waits for what nobody tells.
fn pause(span: Duration) {
    let never = Mutex::new(());
    let lock = never.lock().expect("nobody else knows this lock");
    drop(Condvar::new().wait_timeout(lock, span));
}
