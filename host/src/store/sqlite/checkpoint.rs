//! Copies what the write-ahead log has into the database, beside the one who writes.
//!
//! SQLite would do that within the commit that makes the log too long, and every event would wait
//! for it as long as the disk takes. So a thread copies as far as it can while the log
//! grows on; the few pages that are left are copied by the one who writes, who alone can see the log
//! stand still, and then writes it from its beginning again.

use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, wal::CheckpointMode};

use super::{OpenError, file};

/// Pages of the log after which it is copied.
pub(super) const BEGIN: u32 = 4_096;

/// Pages that may be left for the one who writes.
const REST: u32 = 256;

/// How often it is tried to come near to the end of a log that grows.
const PASSES: usize = 4;

/// The thread that copies; it ends when this is dropped.
pub(super) struct Checkpointer {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What the one who writes and the thread tell each other.
#[derive(Default)]
pub(super) struct State {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// Pages of the log.
    pages: u32,
    /// Pages of the log from which on the thread begins.
    due: u32,
    /// What is left is for the one who writes.
    is_near: bool,
    ended: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            pages: 0,
            due: BEGIN,
            is_near: false,
            ended: false,
        }
    }
}

impl Checkpointer {
    /// Copies for this database from now on, which this connection writes to.
    pub(super) fn start(path: &Path, writer: &mut Connection) -> Result<Self, OpenError> {
        let state = Arc::new(State::default());
        let connection = file::open_beside(path)?;
        let (noted, shared) = (Arc::clone(&state), Arc::clone(&state));
        writer
            .wal_hook(Some(move |_: &mut _, pages| {
                noted.grew(u32::try_from(pages).unwrap_or_default());
                Ok(())
            }))
            .map_err(|source| OpenError::Database {
                path: path.to_owned(),
                source,
            })?;
        let thread = thread::Builder::new()
            .name("checkpointer".to_owned())
            .spawn(move || shared.run(&connection))
            .map_err(|source: io::Error| OpenError::File {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    /// What the one who writes asks.
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.state.progress().ended = true;
        self.state.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic was reported where it happened.
            drop(thread.join());
        }
    }
}

impl State {
    /// Copies what is left, if that is little. Between two transactions of the one who writes.
    pub(super) fn finish(&self, writer: &Connection) {
        if std::mem::take(&mut self.progress().is_near) {
            copy(writer);
        }
    }

    /// The log has so many pages.
    fn grew(&self, pages: u32) {
        let mut progress = self.progress();
        if pages < progress.pages {
            // It began anew.
            progress.due = BEGIN;
        }
        progress.pages = pages;
        let is_due = progress.is_due();
        drop(progress);
        if is_due {
            self.changed.notify_all();
        }
    }

    fn run(&self, connection: &Connection) {
        loop {
            let waiting = |progress: &mut Progress| !progress.is_due() && !progress.ended;
            let progress = self.changed.wait_while(self.progress(), waiting);
            if progress.unwrap_or_else(PoisonError::into_inner).ended {
                return;
            }
            for _ in 0..PASSES {
                if copy(connection).is_none_or(|left| left <= REST) {
                    break;
                }
            }
            let mut progress = self.progress();
            // Whoever reads may keep the log from beginning anew: then it is longer next time.
            progress.due = progress.pages.saturating_add(BEGIN);
            progress.is_near = true;
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn is_due(&self) -> bool {
        self.pages >= self.due && !self.is_near
    }
}

/// Copies what can be copied without waiting for anybody, and says how many pages are left; none if
/// it did not work, which the one who writes will find out for itself.
fn copy(connection: &Connection) -> Option<u32> {
    match connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
        Ok((pages, copied)) => Some(u32::try_from(pages - copied).unwrap_or_default()),
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the write-ahead log was not copied"
            );
            None
        }
    }
}
