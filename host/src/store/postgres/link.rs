//! The session that writes, and how it is come by again when it is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{OpenError, config::Config, database, lease::Right, session::Session};
use crate::store::{Error, Result};

/// Wait after an attempt in vain before the next: doubled from the first to the last, and of that
/// between half and all, so that many hosts do not come back in step.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// The session that writes, under the lease of the database. There is none while the server cannot
/// be reached.
pub(super) struct Link {
    config: Config,
    pub(super) right: Arc<Right>,
    session: Option<Session>,
    wait: Duration,
    /// When the next attempt may be made, and why the last one was in vain.
    failed: Option<(Instant, String)>,
}

impl Link {
    /// One with a session.
    pub(super) fn new(config: Config, right: Arc<Right>, session: Session) -> Self {
        Self {
            config,
            right,
            session: Some(session),
            wait: AGAIN_AFTER[0],
            failed: None,
        }
    }

    /// The session, if the server has not hung up.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        self.session.take_if(|session| !session.is_alive());
        self.session.as_mut()
    }

    /// The session, where there was one a moment ago.
    pub(super) fn open(&mut self) -> Result<&mut Session> {
        let session = self.session.as_mut();
        session.ok_or_else(|| Error::Unavailable(Some("the server hung up".into())))
    }

    /// Undoes what was begun, be it by ending the session.
    pub(super) fn roll_back(&mut self) {
        let undone = self.session.as_mut().map(Session::roll_back);
        if !matches!(undone, Some(Ok(()))) {
            self.cut();
        }
    }

    /// Ends the session: nobody knows what it is in the middle of.
    pub(super) fn cut(&mut self) {
        self.session = None;
    }

    /// Takes the database again, unless that was in vain a moment ago, or another host took it.
    pub(super) fn restore(&mut self) -> Result<&mut Session> {
        self.session = None;
        if self.right.is_lost() {
            return Err(Error::TakenOver);
        }
        if let Some((next, why)) = &self.failed
            && Instant::now() < *next
        {
            return Err(Error::Unavailable(Some(why.clone().into())));
        }
        match database::take(&self.config, &self.right.holder, true) {
            Ok((session, epoch)) => {
                self.right.taken(epoch);
                (self.wait, self.failed) = (AGAIN_AFTER[0], None);
                Ok(self.session.insert(session))
            }
            Err(OpenError::TakenOver(_)) => Err(self.right.lose()),
            Err(error) => {
                let share = 0.5 + fastrand::f64() / 2.0;
                let next = Instant::now() + self.wait.mul_f64(share);
                self.wait = (self.wait * 2).min(AGAIN_AFTER[1]);
                self.failed = Some((next, reason(&error)));
                Err(Error::Unavailable(Some(Box::new(error))))
            }
        }
    }
}

/// An error with everything under it, for those who are told of it later.
fn reason(error: &OpenError) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.join(": ")
}
