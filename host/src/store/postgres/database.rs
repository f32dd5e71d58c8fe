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
    lease::{self, Busy, Taking, seal},
    row::NONE,
    session::Session,
    waiting,
};

/// What leads from each schema to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
];

/// The schema since which there is a lease.
const LEASED_SINCE: i64 = 5;

/// The schema since which what waits has rows of its own.
const WAITING_SINCE: i64 = 6;

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

/// How long a transaction may do nothing: then the server ends it, so that what a host has locked
/// that stands still in the middle of one is free before its lease has run out.
const IDLE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// How much later than it was seen to run out a lease is over for certain.
const LEASE_MARGIN: Duration = Duration::from_millis(100);

/// How long the lock may take to be free after the session that had it was ended.
const CLEARED_WITHIN: Duration = Duration::from_secs(1);

/// The schema whose views are shown in `public` as well.
const SHOWN: &str = "xcomponent";

/// What tables and views that belong to a host say about themselves.
const OURS: &str = "kept by xcomponent";

/// How every session behaves, or through a pooler every transaction.
fn set_up(target: &Target, more: &[(&str, String)]) -> String {
    let set = if target.is_pooled { "SET LOCAL" } else { "SET" };
    let milliseconds = |span: Duration| span.as_millis().to_string();
    let settings = [
        ("search_path", target.schema.clone()),
        ("statement_timeout", milliseconds(STATEMENT_TIMEOUT)),
        ("lock_timeout", milliseconds(LOCK_TIMEOUT)),
        (
            "idle_in_transaction_session_timeout",
            milliseconds(IDLE_TIMEOUT),
        ),
        ("client_min_messages", "warning".to_owned()),
    ];
    let settings = settings.iter().chain(more);
    settings
        .map(|(name, value)| format!("{set} {name} = {value};"))
        .collect()
}

/// How a session that only reads behaves.
pub(super) fn reader(target: &Target) -> String {
    let read_only = match target.is_pooled {
        true => "transaction_read_only",
        false => "default_transaction_read_only",
    };
    set_up(target, &[(read_only, "on".to_owned())])
}

/// How the session that renews the lease behaves: what does not come in time is not waited for.
pub(super) fn renewer(target: &Target) -> String {
    let patience = (lease::SPAN / 2).as_millis().to_string();
    set_up(target, &[("statement_timeout", patience)])
}

/// How the session that writes behaves: a transaction is on the disk when it is committed, also if
/// the server was told otherwise; and the server notices within half a minute that a host has
/// vanished, so that another may have the lock.
fn writer(target: &Target) -> String {
    let keepalives = [
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "15000"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    // A pooler minds its own connections.
    let keepalives: &[_] = if target.is_pooled { &[] } else { &keepalives };
    format!(
        "{} SELECT set_config('synchronous_commit', 'on', {})
            WHERE current_setting('synchronous_commit') = 'off'",
        set_up(target, keepalives),
        target.is_pooled
    )
}

/// Opens the one session that writes, once nobody else may write, and brings the schema up to date.
/// Who is the holder already gets it again, or never.
pub(super) fn take(
    config: &Config,
    holder: &str,
    is_again: bool,
) -> Result<(Session, i64), OpenError> {
    let target = &config.primary;
    let session = Session::open(target, writer(target));
    let mut session = session.map_err(|source| OpenError::Connect {
        database: target.to_string(),
        source,
    })?;
    check_server(&mut session, target)?;
    let given_up = Instant::now() + config.patience;
    let mut has_lock = false;
    let mut runs_out = None;
    loop {
        let taking = attempt(&mut session, target, holder, is_again, &mut has_lock)?;
        let busy = match taking {
            Taking::Taken { epoch, was_held } => {
                if !has_lock && (was_held || !target.is_pooled) {
                    clear(&mut session, target, epoch)
                        .map_err(|source| OpenError::database(target, source))?;
                }
                return Ok((session, epoch));
            }
            Taking::Lost => return Err(OpenError::TakenOver(target.to_string())),
            Taking::Busy(busy) => busy,
        };
        let now = Instant::now();
        let ends = *runs_out.get_or_insert_with(|| {
            tracing::info!(left = ?busy.left, "the database is another host's: waiting for its lease");
            now + busy.left.min(lease::SPAN)
        });
        // A lease that is renewed, or that has its session, is that of a host which lives.
        let lives = busy.has_session || now + busy.left > ends + LEASE_MARGIN;
        if now >= given_up && (lives || now >= ends + LEASE_MARGIN) {
            return Err(OpenError::InUse {
                database: target.to_string(),
                left: busy.left,
            });
        }
        pause(LOCK_AGAIN_AFTER);
    }
}

/// Whether a server can be written to by this program.
fn check_server(session: &mut Session, target: &Target) -> Result<(), OpenError> {
    let question = "SELECT current_setting('server_version_num')::int,
        current_setting('server_version'), pg_is_in_recovery()";
    let row = session.ask_one(question, NONE);
    let row = row.map_err(|source| OpenError::database(target, source))?;
    let (number, version, is_replica): (i32, String, bool) = row
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .unwrap_or_default();
    if number < SERVER_VERSION_MIN {
        return Err(OpenError::Server(version));
    }
    if is_replica {
        return Err(OpenError::Replica(target.to_string()));
    }
    Ok(())
}

/// Tries once to have the database, and makes its tables what they should be.
fn attempt(
    session: &mut Session,
    target: &Target,
    holder: &str,
    is_again: bool,
    has_lock: &mut bool,
) -> Result<Taking, OpenError> {
    let failed = |source| OpenError::database(target, source);
    // Who is alone with the server's sessions has a quick proof that nobody else lives.
    if !target.is_pooled && !*has_lock {
        *has_lock = lock(session, target, "pg_try_advisory_lock").map_err(failed)?;
    }
    let found = found(session, target)?;
    let number = found.unwrap_or_default();
    if number < LEASED_SINCE && !migrate(session, target, found, "").map_err(failed)? {
        return Ok(Taking::Busy(Busy {
            left: Duration::ZERO,
            has_session: true,
        }));
    }
    let taking = lease::take(session, holder, is_again, *has_lock).map_err(failed)?;
    if let Taking::Taken { epoch, .. } = &taking
        && (LEASED_SINCE..newest()).contains(&number)
    {
        migrate(session, target, found, &seal(&epoch.to_string())).map_err(failed)?;
    }
    Ok(taking)
}

/// Takes the lock of the schema with this function, if nobody has it.
fn lock(
    session: &mut Session,
    target: &Target,
    function: &str,
) -> Result<bool, tokio_postgres::Error> {
    let question = format!("SELECT {function}($1, $2)");
    let row = session.ask_one(&question, &[&LOCK, &schema_key(target)])?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Second half of the key of the lock.
fn schema_key(target: &Target) -> i32 {
    let hash = Sha256::digest(&target.schema);
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Ends what the holder before left in the middle of something: it could not commit it, but what it
/// has locked would keep others waiting. Then tries to get the lock that went with it.
fn clear(session: &mut Session, target: &Target, epoch: i64) -> Result<(), tokio_postgres::Error> {
    let key = u32::from_be_bytes(schema_key(target).to_be_bytes());
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE granted AND pid <> pg_backend_pid()
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (locktype = 'advisory' AND objsubid = 2 AND classid = $1 AND objid = $2
            OR locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation IN
              (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace($3)
                 AND relname <> 'owner'))";
    let first = u32::from_be_bytes(LOCK.to_be_bytes());
    if let Err(error) = session.ask(end, &[&first, &key, &target.schema]) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "sessions of the host before are not ended");
    }
    if target.is_pooled {
        return Ok(());
    }
    let deadline = Instant::now() + CLEARED_WITHIN;
    while Instant::now() < deadline {
        if lock(session, target, "pg_try_advisory_lock")? {
            return lease::note_lock(session, epoch);
        }
        pause(LOCK_AGAIN_AFTER);
    }
    Ok(())
}

/// The schema that is there: 0 if it is empty.
fn found(session: &mut Session, target: &Target) -> Result<Option<i64>, OpenError> {
    let found = look(session, &target.schema);
    let number = match found.map_err(|source| OpenError::database(target, source))? {
        Found::Nothing => return Ok(None),
        Found::Empty => 0,
        Found::Ours(number) => number,
        Found::Foreign => return Err(OpenError::Foreign(target.to_string())),
    };
    let known = newest();
    if number > known {
        return Err(OpenError::Newer {
            database: target.to_string(),
            found: number,
            known,
        });
    }
    Ok(Some(number))
}

/// Leads from the schema that is there to the newest, all or nothing; `last` is done with it. Where
/// there is no lease, it is done by who has the lock; false if another has it.
fn migrate(
    session: &mut Session,
    target: &Target,
    found: Option<i64>,
    last: &str,
) -> Result<bool, tokio_postgres::Error> {
    let from = found.unwrap_or_default();
    session.begin()?;
    if from < LEASED_SINCE && !lock(session, target, "pg_try_advisory_xact_lock")? {
        session.roll_back()?;
        return Ok(false);
    }
    let schema = &target.schema;
    // An index of ten million rows takes its time.
    let mut steps = String::from("SET LOCAL statement_timeout = 0;\n");
    if found.is_none() {
        steps.push_str(&format!("CREATE SCHEMA {schema};\n"));
    }
    if from == 0 {
        steps.push_str(&format!(
            "CREATE TABLE migrations (number bigint PRIMARY KEY, at timestamptz NOT NULL);
             COMMENT ON TABLE migrations IS '{OURS}';\n"
        ));
    }
    for (step, number) in MIGRATIONS.iter().zip(1..).filter(|(_, step)| *step > from) {
        steps.push_str(step);
        steps.push_str(&format!(
            "INSERT INTO migrations VALUES ({number}, now());\n"
        ));
        if number == WAITING_SINCE && from > 0 {
            let moved = session.batch(&std::mem::take(&mut steps));
            if let Err(error) = moved.and_then(|()| waiting::move_out(session)) {
                // What failed first matters.
                let _ = session.roll_back();
                return Err(error);
            }
        }
    }
    steps.push_str(last);
    let done = session.commit(&steps);
    if done.is_err() {
        // What failed first matters.
        let _ = session.roll_back();
    }
    done.map(|()| true)
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

fn look(session: &mut Session, schema: &str) -> Result<Found, tokio_postgres::Error> {
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
        session.transact(&format!(
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
