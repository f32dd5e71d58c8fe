//! Secrets that a host makes once and keeps: random bytes in a file that its owner alone can read.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::private;

/// How long a key is.
const BYTES: usize = 32;

/// A key. It is shown to nobody, not even to the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; BYTES]);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file was cut off, or something else was written to it.
    #[error(
        "`{}` is damaged: it has {found} bytes, expected {BYTES}; restore it, or delete it and a \
         new one is made",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How many bytes it has.
        found: u64,
    },
    /// Another user could read or replace it.
    #[error(transparent)]
    NotPrivate(#[from] private::Error),
    /// The file, or the operating system's randomness, cannot be read or written.
    #[error("the key in `{}` cannot be read or made", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Key {
    /// A key for this process alone, from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// If there is none to be had.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The key in a file, which is made if it is not there. Of several processes that make it at
    /// once the first decides.
    ///
    /// # Errors
    ///
    /// If the file is damaged, is not this user's own, or cannot be read or made.
    pub fn kept_in(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let folder = folder_of(path);
        private::folder(folder)?;
        // A link counts as there: it is refused below.
        if !path.is_symlink() && !path.try_exists().map_err(failed)? {
            make(path, folder).map_err(failed)?;
        }
        let file = private::open(path, OpenOptions::new().read(true))?;
        let found = file.metadata().map_err(failed)?.len();
        let mut bytes = [0; BYTES];
        if found != BYTES as u64 {
            let path = path.to_owned();
            return Err(Error::Damaged { path, found });
        }
        (&file).read_exact(&mut bytes).map_err(failed)?;
        Ok(Self(bytes))
    }

    /// What it is made of.
    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or_else(|| Path::new("."))
}

/// Writes a new key whole or not at all, also if the machine loses its power.
fn make(path: &Path, folder: &Path) -> io::Result<()> {
    // Temporary files are readable by their owner alone.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(Key::random()?.bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        Ok(_) | Err(_) => File::open(folder)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("data/some.key");
        let key = Key::kept_in(&path).unwrap();
        assert_eq!(Key::kept_in(&path).unwrap(), key);
        assert_ne!(Key::random().unwrap(), key);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn its_owner_alone_can_read_it() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("some.key");
        let key = Key::kept_in(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{key:?}"), "Key(…)");
    }

    #[test]
    fn a_key_that_others_may_write_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("some.key");
        Key::kept_in(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Key::kept_in(&path), Err(Error::NotPrivate(_))));
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("some.key");
        for bytes in [&[][..], &[1; 31], &[1; 33]] {
            fs::write(&path, bytes).unwrap();
            let error = Key::kept_in(&path).unwrap_err().to_string();
            let told = format!("it has {} bytes, expected 32", bytes.len());
            assert!(error.contains(&told), "{error}");
            assert!(error.contains("some.key"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}
