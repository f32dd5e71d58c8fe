//! What a data folder remembers of a store: the name of its log, and how far it was written.
//!
//! A database that was emptied, replaced or restored from an older backup looks like any other.
//! With what is remembered a host that starts tells it apart, and does not go on as if nothing had
//! happened.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::StoreConfig;
use crate::{
    private,
    store::{self, Position, Store},
};

/// Longest file that is read, in bytes.
const BYTES_MAX: u64 = 4_096;

/// Why a store is not used. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing in it.
    #[error(
        "`{store}` is missing or empty, but `{folder}` belongs to a host that kept its data there: \
         put the database back, or start with `--new` to begin again without it"
    )]
    Empty {
        /// Where it should be.
        store: String,
        /// The data folder.
        folder: String,
    },
    /// It has another log.
    #[error(
        "`{store}` is not the database that `{folder}` was used with: put that one back, name \
         another folder with `--data`, or start with `--new` to use this database from now on"
    )]
    Other {
        /// Which.
        store: String,
        /// The data folder.
        folder: String,
    },
    /// Its log ends too early.
    #[error(
        "`{store}` ends at position {found}, but the host that used `{folder}` had acknowledged \
         everything up to {written}: put the newer database and its write-ahead log back, or start \
         with `--new` to go on without what is missing"
    )]
    Older {
        /// Which.
        store: String,
        /// The data folder.
        folder: String,
        /// Where it ends.
        found: Position,
        /// Where it ended.
        written: Position,
    },
    /// The store cannot be asked.
    #[error("the store cannot be compared with what the data folder remembers of it")]
    Store(#[from] store::Error),
    /// The file is not this user's own.
    #[error(transparent)]
    NotPrivate(#[from] private::Error),
}

/// What a data folder remembers of one store.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    log: String,
    written: Option<Position>,
    is_failing: bool,
}

/// A data folder and a store, before that is opened.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: PathBuf,
    store: String,
    path: PathBuf,
    /// The database, if it is a file.
    file: Option<PathBuf>,
    has_key: bool,
    /// Whether the store is taken as it is.
    accepts_all: bool,
}

impl Place {
    /// The data folder is that of the key; none where nothing outlives the host.
    pub(super) fn of(key: Option<&Path>, store: &StoreConfig, accepts_all: bool) -> Option<Self> {
        let key = key?;
        let (store, file) = match store {
            StoreConfig::Memory => return None,
            StoreConfig::Sqlite(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                (path.display().to_string(), Some(path))
            }
            StoreConfig::Postgres { primary, .. } => (primary.to_string(), None),
        };
        let folder = key.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let name = Sha256::digest(&store);
        let name: String = name[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            path: folder.join(format!("store-{name}")),
            folder: folder.to_owned(),
            store,
            file,
            has_key: key.symlink_metadata().is_ok(),
            accepts_all,
        })
    }

    /// Refuses a database that should be there and is not, before an empty one is made in its place.
    pub(super) fn check_file(&self) -> Result<(), Error> {
        let is_expected = !self.accepts_all && (self.path.exists() || self.is_own_key());
        match &self.file {
            Some(file) if is_expected && !has_bytes(file) => Err(self.empty()),
            _ => Ok(()),
        }
    }

    /// Compares an open store with what is remembered of it.
    pub(super) fn check(&self, store: &dyn Store) -> Result<Mark, Error> {
        private::folder(&self.folder)?;
        let (log, found) = (store.log_name()?, store.last_position()?);
        let known = self.read()?;
        if !self.accepts_all {
            let is_empty = || -> Result<bool, Error> {
                let tenant = xcomponent_core::id::TenantId::default_tenant();
                Ok(found == Position(0) && store.versions(&tenant, None)?.is_empty())
            };
            match &known {
                Some((known, _)) if *known != log => {
                    return Err(if is_empty()? {
                        self.empty()
                    } else {
                        self.other()
                    });
                }
                Some((_, written)) if *written > found => {
                    return Err(Error::Older {
                        store: self.store.clone(),
                        folder: self.folder.display().to_string(),
                        found,
                        written: *written,
                    });
                }
                Some(_) => {}
                None if self.is_own_key() && is_empty()? => return Err(self.empty()),
                None => {}
            }
        }
        let mut mark = Mark {
            path: self.path.clone(),
            log,
            written: None,
            is_failing: false,
        };
        mark.note(found);
        Ok(mark)
    }

    /// Whether the key was made for this store: it lies beside it.
    fn is_own_key(&self) -> bool {
        let folder = std::path::absolute(&self.folder).unwrap_or_default();
        let beside = self.file.as_ref().and_then(|file| file.parent());
        self.has_key && beside == Some(&*folder)
    }

    /// The name of the log and its last position; none where nothing is remembered that can be read.
    fn read(&self) -> Result<Option<(String, Position)>, Error> {
        if !private::claim(&self.path)? {
            return Ok(None);
        }
        let file = private::open(&self.path, OpenOptions::new().read(true))?;
        let mut text = String::new();
        // What a machine that lost its power left of it says nothing.
        let _ = file.take(BYTES_MAX).read_to_string(&mut text);
        let mut words = text.split_whitespace();
        let known = words.next().zip(words.next());
        let known = known.and_then(|(log, position)| {
            let position = position.parse().ok()?;
            Some((log.to_owned(), Position(position)))
        });
        if known.is_none() {
            let path = self.path.display();
            tracing::warn!("`{path}` is damaged: the store is not compared with it");
        }
        Ok(known)
    }

    fn empty(&self) -> Error {
        Error::Empty {
            store: self.store.clone(),
            folder: self.folder.display().to_string(),
        }
    }

    fn other(&self) -> Error {
        Error::Other {
            store: self.store.clone(),
            folder: self.folder.display().to_string(),
        }
    }
}

impl Mark {
    /// Remembers that everything up to a position was acknowledged.
    pub(super) fn note(&mut self, position: Position) {
        if self.written == Some(position) {
            return;
        }
        match self.write(position) {
            Ok(()) => (self.written, self.is_failing) = (Some(position), false),
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    let path = self.path.display();
                    tracing::warn!(
                        "`{path}` cannot be written, so an older store will not be noticed: {error}"
                    );
                }
            }
        }
    }

    /// Without waiting for the disk: what is remembered may be older than the store.
    fn write(&self, position: Position) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        writeln!(file, "{} {position}", self.log)?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Whether there is a database with something in it.
fn has_bytes(database: &Path) -> bool {
    fs::metadata(database).is_ok_and(|found| found.len() > 0)
}
