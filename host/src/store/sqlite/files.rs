//! Whether the database's files are still the ones that this host opened.
//!
//! SQLite goes on writing to a file that was removed or replaced, and what it acknowledges then is
//! gone with the process. So after every transaction, and every second, the files are looked at:
//! under their paths must be the files that were opened, the database may not be shorter than it was,
//! and both it and the write-ahead log must begin as what they are. Once that is not so, this process
//! never uses the database again.
//!
//! A write-ahead log that became shorter may be a backup tool's doing (`wal_checkpoint(TRUNCATE)`),
//! which copies it into the database first: then everything can still be read.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{OpenError, file::beside};
use crate::{
    private,
    store::{Error, Result},
};

/// What follows the path of a database in the names of its other files.
const ENDINGS: [&str; 2] = ["-wal", "-shm"];

/// The first bytes of every database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The first bytes of every write-ahead log but an empty one; the last bit is the order of bytes.
const LOG_MAGIC: u32 = 0x377f_0682;

/// The files of a database.
pub(super) struct Files {
    path: PathBuf,
    /// Read beside SQLite. Closing it releases SQLite's locks, so it is closed last.
    database: File,
    /// Bytes that the database had. It becomes no shorter while a host has it open.
    length: AtomicU64,
    watched: OnceLock<Box<[Watched]>>,
    log: OnceLock<Log>,
    /// Why the database is not used any more.
    lost: OnceLock<Arc<str>>,
}

/// A file as it was last seen.
struct Watched {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The write-ahead log.
struct Log {
    file: File,
    /// Bytes that it had.
    length: AtomicU64,
}

/// How the files were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Look {
    /// As they should be.
    Well,
    /// The write-ahead log is shorter than it was: what was written must be read to know more.
    LogIsShorter,
}

impl Files {
    /// Checks the files of a database, whose lock the caller has, and makes them private; makes an
    /// empty database where there is none.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let database = private::open(path, options)?;
        for ending in ENDINGS {
            private::claim(&beside(path, ending))?;
        }
        Ok(Self {
            path: path.to_owned(),
            database,
            length: AtomicU64::new(0),
            watched: OnceLock::new(),
            log: OnceLock::new(),
            lost: OnceLock::new(),
        })
    }

    /// Remembers the files as they are, once SQLite has opened all of them.
    pub(super) fn watch(&self) -> Result<(), OpenError> {
        let others = ENDINGS.iter().map(|ending| beside(&self.path, ending));
        let all = std::iter::once(self.path.clone()).chain(others);
        let watched: io::Result<Vec<Watched>> = all.map(Watched::new).collect();
        let log = Log::open(&beside(&self.path, "-wal"));
        let failed = |source| OpenError::File {
            path: self.path.clone(),
            source,
        };
        let length = self.database.metadata().map_err(failed)?.len();
        self.length.store(length, Ordering::Relaxed);
        // Both are set once.
        let _ = self.watched.set(watched.map_err(failed)?.into());
        let _ = self.log.set(log.map_err(failed)?);
        Ok(())
    }

    /// Whether the database may be used.
    ///
    /// # Errors
    ///
    /// If it was found to be lost before.
    pub(super) fn are_usable(&self) -> Result<()> {
        match self.lost.get() {
            Some(why) => Err(Error::Lost(Arc::clone(why))),
            None => Ok(()),
        }
    }

    /// Looks at the length of the write-ahead log, which the next transaction hides.
    ///
    /// # Errors
    ///
    /// If the database is lost.
    pub(super) fn look_at_log(&self) -> Result<Look> {
        self.are_usable()?;
        match self.log.get() {
            Some(log) => log.look().map_err(unavailable),
            None => Ok(Look::Well),
        }
    }

    /// Looks at all files.
    ///
    /// # Errors
    ///
    /// If they are not what this host opened: from then on, for ever.
    pub(super) fn look(&self) -> Result<Look> {
        self.are_usable()?;
        for file in self.watched.get().into_iter().flatten() {
            file.look().map_err(|why| self.lose(&why))?;
        }
        let path = self.path.display();
        let length = self.database.metadata().map_err(unavailable)?.len();
        let before = self.length.fetch_max(length, Ordering::Relaxed);
        if length < before {
            let why = format!("`{path}` was cut off: it has {length} bytes instead of {before}");
            return Err(self.lose(&why));
        }
        let mut begin = [0; MAGIC.len()];
        let read = self.database.read_exact_at(&mut begin, 0);
        read.map_err(unavailable)?;
        if begin != *MAGIC {
            return Err(self.lose(&format!("`{path}` was overwritten")));
        }
        match self.log.get() {
            Some(log) if !log.begins_well().map_err(unavailable)? => {
                Err(self.lose(&format!("`{path}-wal` was cut off or overwritten")))
            }
            Some(log) => log.look().map_err(unavailable),
            None => Ok(Look::Well),
        }
    }

    /// The database cannot be used any more, for this reason.
    pub(super) fn lose(&self, why: &str) -> Error {
        let why = self.lost.get_or_init(|| why.into());
        Error::Lost(Arc::clone(why))
    }

    /// Remembers an error that is for ever.
    pub(super) fn judge(&self, error: Error) -> Error {
        match error {
            Error::Lost(why) => self.lose(&why),
            other => other,
        }
    }
}

impl Watched {
    fn new(path: PathBuf) -> io::Result<Self> {
        let found = fs::symlink_metadata(&path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            path,
        })
    }

    /// Says what happened to the file, if something did.
    fn look(&self) -> Result<(), String> {
        let path = self.path.display();
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(format!("`{path}` was replaced by another file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("`{path}` was removed or renamed"))
            }
            Err(error) => Err(format!("`{path}` cannot be looked at: {error}")),
        }
    }
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = AtomicU64::new(file.metadata()?.len());
        Ok(Self { file, length })
    }

    fn look(&self) -> io::Result<Look> {
        let length = self.file.metadata()?.len();
        let before = self.length.swap(length, Ordering::Relaxed);
        Ok(match length < before {
            true => Look::LogIsShorter,
            false => Look::Well,
        })
    }

    fn begins_well(&self) -> io::Result<bool> {
        let mut begin = [0; 4];
        let bytes = self.file.read_at(&mut begin, 0)?;
        Ok(bytes == 0 || u32::from_be_bytes(begin) & !1 == LOG_MAGIC)
    }
}

fn unavailable(error: io::Error) -> Error {
    Error::Unavailable(Some(Box::new(error)))
}
