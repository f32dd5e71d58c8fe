//! Connections that only read: a bounded number of them, kept for the next who asks.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_postgres::Row;

use super::{
    config::Target,
    session::{Session, Values},
};
use crate::store::{Error, Result};

/// Connections to one server at most; who comes when all are in use waits.
const SESSIONS_MAX: usize = 8;

/// How long to wait for one of them.
const WAIT: Duration = Duration::from_secs(10);

/// Connections that only read.
pub(super) struct Pool {
    target: Target,
    set_up: String,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Session>,
    in_use: usize,
}

impl Pool {
    /// One without connections; each is set up like this when it is opened.
    pub(super) fn new(target: Target, set_up: String) -> Self {
        Self {
            target,
            set_up,
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Asks on one of them. What an idle connection breaks at is asked once more on a fresh one:
    /// the server may have been restarted since.
    pub(super) fn rows(&self, question: &str, values: Values<'_>) -> Result<Vec<Row>> {
        let (idle, _turn) = self.turn()?;
        if let Some(mut session) = idle {
            let answer = session.ask(question, values);
            if session.is_alive() {
                self.state().idle.push(session);
                return Ok(answer?);
            }
            // The others have most likely met the same end.
            self.state().idle.clear();
        }
        let mut session = Session::open(&self.target, self.set_up.clone())
            .map_err(|error| Error::Unavailable(Some(Box::new(error))))?;
        let answer = session.ask(question, values);
        if session.is_alive() {
            self.state().idle.push(session);
        }
        Ok(answer?)
    }

    /// The first row.
    pub(super) fn row(&self, question: &str, values: Values<'_>) -> Result<Option<Row>> {
        Ok(self.rows(question, values)?.into_iter().next())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the right to one connection; perhaps there is one already.
    fn turn(&self) -> Result<(Option<Session>, Turn<'_>)> {
        let is_full = |state: &mut State| state.in_use >= SESSIONS_MAX;
        let (mut state, waited) = self
            .returned
            .wait_timeout_while(self.state(), WAIT, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let why = format!("all {SESSIONS_MAX} connections were in use for {WAIT:?}");
            return Err(Error::Unavailable(Some(why.into())));
        }
        state.in_use += 1;
        Ok((state.idle.pop(), Turn(self)))
    }
}

/// The right to one connection, given back when dropped.
struct Turn<'p>(&'p Pool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().in_use -= 1;
        self.0.returned.notify_one();
    }
}
