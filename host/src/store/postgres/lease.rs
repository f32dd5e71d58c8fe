//! Who may write to a schema: one host at a time, for as long as it says so again and again.
//!
//! The table `owner` has one row: the holder, how often that changed (the epoch), and until when it
//! lasts by the database's clock. Whoever writes says in the same transaction under which epoch
//! ([`Right::seal`]), which also makes the lease last longer. A constraint refuses an epoch that is
//! not the row's, so what a host writes that lost the lease without knowing is undone by the
//! server, however late it comes.
//!
//! A lease can be taken that nobody holds, that has run out, or whose holder had the advisory lock
//! which the one who takes it has now: then the holder's session is gone.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{config::Target, database, row::NONE, session::Session};
use crate::store::Error;

/// How long a lease lasts after its holder was heard of.
pub const SPAN: Duration = Duration::from_secs(5);

/// After what time without a commit it is renewed.
const RENEW_AFTER: Duration = Duration::from_millis(1_500);

/// Wait after an attempt to renew it that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long a host that ends waits until it has let go of it; then it runs out.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// The constraint that a stranger's epoch breaks.
const FENCED: &str = "fenced";

/// Moves the end of the lease, as part of an `UPDATE`.
fn lasting() -> String {
    format!(
        "until = clock_timestamp() + interval '{} ms'",
        SPAN.as_millis()
    )
}

/// What writes the epoch with this number or parameter into the row, and fails if it is another.
pub(super) fn seal(epoch: &str) -> String {
    format!("UPDATE owner SET writing = {epoch}, {}", lasting())
}

/// Whether a statement failed because another host has taken over.
pub(super) fn is_fenced(error: &tokio_postgres::Error) -> bool {
    let broken = error.as_db_error().and_then(|error| error.constraint());
    broken == Some(FENCED)
}

/// What came of taking a lease.
pub(super) enum Taking {
    /// It is ours, with this epoch. The holder before may be in the middle of something.
    Taken { epoch: i64, was_held: bool },
    /// Another has it.
    Busy(Busy),
    /// Another has it that had it before.
    Lost,
}

/// Another host has a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    /// How long it lasts if it is not renewed.
    pub(super) left: Duration,
    /// Whether its session is there, whatever the lease says.
    pub(super) has_session: bool,
}

/// Takes the lease, if it can be taken. `is_again` says that this holder had it, `has_lock` that
/// this session has the advisory lock.
pub(super) fn take(
    session: &mut Session,
    holder: &str,
    is_again: bool,
    has_lock: bool,
) -> Result<Taking, tokio_postgres::Error> {
    let question = "SELECT epoch, holder, has_lock,
        greatest(0, extract(epoch FROM until - clock_timestamp()))::float8 FROM owner";
    let Some(row) = session.ask_one(question, NONE)? else {
        return Ok(Taking::Lost);
    };
    let (epoch, had_lock): (i64, bool) = (row.get(0), row.get(2));
    let before: Option<&str> = row.get(1);
    if is_again && before != Some(holder) {
        return Ok(Taking::Lost);
    }
    let take = format!(
        "UPDATE owner SET epoch = epoch + 1, writing = epoch + 1, holder = $1, has_lock = $2, {}
         WHERE epoch = $3 AND (holder IS NULL OR holder = $1 OR until <= clock_timestamp()
           OR has_lock AND $2)
         RETURNING epoch",
        lasting()
    );
    let taken = session.ask_one(&take, &[&holder, &has_lock, &epoch])?;
    Ok(match taken {
        Some(row) => Taking::Taken {
            epoch: row.get(0),
            was_held: before.is_some(),
        },
        None => Taking::Busy(Busy {
            left: Duration::from_secs_f64(row.get(3)),
            has_session: had_lock,
        }),
    })
}

/// Notes that the holder's session has the advisory lock after all.
pub(super) fn note_lock(session: &mut Session, epoch: i64) -> Result<(), tokio_postgres::Error> {
    let note = format!("{}, has_lock = true", seal("$1"));
    session.execute(&note, &[&epoch]).map(drop)
}

/// The right to write, as everybody in this process sees it. It is let go of when the last to have
/// it is done with it: see [`Keeper`].
pub(super) struct Right {
    pub(super) holder: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
struct State {
    epoch: i64,
    /// When the lease began to last as long as it does at least.
    renewed: Instant,
    /// Another host has it.
    is_lost: bool,
    /// The host ends.
    is_ending: bool,
    /// It was let go of, or cannot be.
    is_over: bool,
}

impl Right {
    /// A lease that was just taken.
    pub(super) fn new(holder: String, epoch: i64) -> Self {
        let state = State {
            epoch,
            renewed: Instant::now(),
            is_lost: false,
            is_ending: false,
            is_over: false,
        };
        Self {
            holder,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The epoch under which this host writes.
    pub(super) fn epoch(&self) -> i64 {
        self.state().epoch
    }

    /// What every transaction ends with.
    pub(super) fn seal(&self) -> String {
        seal(&self.epoch().to_string())
    }

    /// Something was committed that was begun at this time, and the lease lasts longer by that.
    pub(super) fn renewed(&self, begun: Instant) {
        let mut state = self.state();
        state.renewed = state.renewed.max(begun);
    }

    /// It was taken anew.
    pub(super) fn taken(&self, epoch: i64) {
        let mut state = self.state();
        (state.epoch, state.renewed) = (epoch, Instant::now());
    }

    /// Another host has it, for ever as far as this one is concerned.
    pub(super) fn lose(&self) -> Error {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_lost, true) {
            tracing::error!("another host took over the database: start this host anew");
        }
        Error::TakenOver
    }

    /// Whether another host has it.
    pub(super) fn is_lost(&self) -> bool {
        self.state().is_lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews a lease while nothing is committed, on a session of its own, and lets go of it in the
/// end: dropped, it waits for that a moment.
pub(super) struct Keeper(Arc<Right>);

impl Keeper {
    /// Begins to.
    pub(super) fn new(right: Arc<Right>, target: Target) -> std::io::Result<Self> {
        let kept = Arc::clone(&right);
        let keeper = thread::Builder::new().name("lease".to_owned());
        keeper.spawn(move || keep(&kept, &target))?;
        Ok(Self(right))
    }

    /// Whether another host has the lease.
    pub(super) fn is_lost(&self) -> bool {
        self.0.is_lost()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_ending = true;
        self.0.changed.notify_all();
        let goes_on = |state: &mut State| !state.is_over;
        let changed = &self.0.changed;
        drop(changed.wait_timeout_while(state, RELEASE_MAX, goes_on));
    }
}

fn keep(right: &Right, target: &Target) {
    let mut session = None;
    let mut next = RENEW_AFTER;
    loop {
        let goes_on = |state: &mut State| !state.is_ending;
        let waited = right
            .changed
            .wait_timeout_while(right.state(), next, goes_on);
        let state = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.is_ending || state.is_lost {
            break;
        }
        let since = state.renewed.elapsed();
        if since < RENEW_AFTER {
            next = RENEW_AFTER - since;
            continue;
        }
        next = match renew(&mut session, target, right) {
            Ok(()) => RENEW_AFTER,
            Err(Error::TakenOver) => AGAIN_AFTER,
            Err(error) => {
                session = None;
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the lease of the database was not renewed");
                AGAIN_AFTER
            }
        };
    }
    // If it cannot be let go of, it runs out.
    let _ = release(&mut session, target, right);
    right.state().is_over = true;
    right.changed.notify_all();
}

fn renew(session: &mut Option<Session>, target: &Target, right: &Right) -> Result<(), Error> {
    let begun = Instant::now();
    let session = opened(session, target)?;
    let renewed = session.execute(&seal("$1"), &[&right.epoch()]);
    match renewed.map_err(Error::from) {
        Ok(_) => {
            right.renewed(begun);
            Ok(())
        }
        Err(Error::TakenOver) => {
            // This host may have taken it anew meanwhile.
            let question = "SELECT holder = $1 FROM owner";
            let row = session.ask_one(question, &[&right.holder])?;
            match row.and_then(|row| row.get(0)) {
                Some(true) => Err(Error::TakenOver),
                None | Some(false) => Err(right.lose()),
            }
        }
        Err(error) => Err(error),
    }
}

fn release(session: &mut Option<Session>, target: &Target, right: &Right) -> Result<(), Error> {
    let release = "UPDATE owner SET holder = NULL, has_lock = false, until = clock_timestamp()
        WHERE holder = $1";
    opened(session, target)?.execute(release, &[&right.holder])?;
    Ok(())
}

fn opened<'s>(session: &'s mut Option<Session>, target: &Target) -> Result<&'s mut Session, Error> {
    match session.take().filter(Session::is_alive) {
        Some(alive) => Ok(session.insert(alive)),
        None => {
            let opened = Session::open(target, database::renewer(target));
            let opened = opened.map_err(|error| Error::Unavailable(Some(Box::new(error))))?;
            Ok(session.insert(opened))
        }
    }
}
