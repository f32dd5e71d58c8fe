//! Compiled components on disk: files this host wrote and sealed itself.
//!
//! Machine code from elsewhere is never run. Each file begins with an HMAC-SHA256 over the
//! component's digest, the engine it was made for and the code; the key lies beside it. A file that does not fit its seal is as good as none.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tempfile::{NamedTempFile, TempDir};
use xcomponent_core::id::Digest;

use crate::{key::Key, private};

const SEAL_BYTES: usize = 32;
const KEY_FILE: &str = "cache.key";
const EXTENSION: &str = "native";

/// A folder of compiled components.
pub(super) struct Cache {
    dir: PathBuf,
    key: Key,
    compatibility: u64,
    bytes_max: u64,
    /// Removes the folder at the end, if it was made for this process.
    _temporary: Option<TempDir>,
}

impl Cache {
    /// Opens the folder, with a new key if it has none; without a folder, one is made that goes with
    /// the process.
    ///
    /// # Errors
    ///
    /// If the folder or its key cannot be read or written.
    pub(super) fn open(dir: Option<&Path>, compatibility: u64, bytes_max: u64) -> io::Result<Self> {
        let (dir, temporary) = match dir {
            Some(dir) => (dir.to_owned(), None),
            None => {
                let temporary = TempDir::with_prefix("xcomponent-")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        private::folder(&dir).map_err(io::Error::other)?;
        let key = Key::kept_in(&dir.join(KEY_FILE)).map_err(io::Error::other)?;
        Ok(Self {
            dir,
            key,
            compatibility,
            bytes_max,
            _temporary: temporary,
        })
    }

    /// The machine code of a component, if it is here and sealed by this host.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read.
    pub(super) fn get(&self, artifact: &Digest) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(artifact);
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut sealed = Vec::new();
        file.read_to_end(&mut sealed)?;
        let Some((seal, code)) = sealed.split_at_checked(SEAL_BYTES) else {
            return Ok(None);
        };
        if self.seal(artifact, code).verify_slice(seal).is_err() {
            return Ok(None);
        }
        // Last used is what decides who goes first; a clock that cannot be set loses nothing else.
        let _unset = file.set_modified(SystemTime::now());
        sealed.drain(..SEAL_BYTES);
        Ok(Some(sealed))
    }

    /// Keeps the machine code of a component.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn put(&self, artifact: &Digest, code: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.dir)?;
        file.write_all(&self.seal(artifact, code).finalize().into_bytes())?;
        file.write_all(code)?;
        file.persist(self.path(artifact))
            .map_err(|error| error.error)?;
        self.shrink()
    }

    fn seal(&self, artifact: &Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut seal = Hmac::<Sha256>::new_from_slice(self.key.bytes())
            .expect("an HMAC takes a key of any length");
        seal.update(&artifact.0);
        seal.update(&self.compatibility.to_le_bytes());
        seal.update(code);
        seal
    }

    fn path(&self, artifact: &Digest) -> PathBuf {
        self.dir.join(format!(
            "{artifact}-{:016x}.{EXTENSION}",
            self.compatibility
        ))
    }

    /// Removes files, those unused for longest first, until the folder is within its size.
    fn shrink(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut n_bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if n_bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            n_bytes -= len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Digest = Digest([1; 32]);
    const TWO: Digest = Digest([2; 32]);

    #[test]
    fn what_was_kept_is_found_by_the_next_process_with_the_same_engine() {
        let dir = TempDir::new().unwrap();
        Cache::open(Some(dir.path()), 7, 1_000)
            .unwrap()
            .put(&ONE, b"code")
            .unwrap();
        let again = Cache::open(Some(dir.path()), 7, 1_000).unwrap();
        assert_eq!(again.get(&ONE).unwrap().as_deref(), Some(&b"code"[..]));
        assert_eq!(
            Cache::open(Some(dir.path()), 8, 1_000)
                .unwrap()
                .get(&ONE)
                .unwrap(),
            None
        );
    }

    #[test]
    fn a_file_that_was_changed_moved_or_brought_from_elsewhere_is_not_taken() {
        let dir = TempDir::new().unwrap();
        let cache = Cache::open(Some(dir.path()), 7, 1_000).unwrap();
        cache.put(&ONE, b"code").unwrap();
        fs::copy(cache.path(&ONE), cache.path(&TWO)).unwrap();
        assert_eq!(cache.get(&TWO).unwrap(), None);
        let mut bytes = fs::read(cache.path(&ONE)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(cache.path(&ONE), bytes).unwrap();
        assert_eq!(cache.get(&ONE).unwrap(), None);
        let elsewhere = Cache::open(None, 7, 1_000).unwrap();
        elsewhere.put(&ONE, b"code").unwrap();
        fs::copy(elsewhere.path(&ONE), cache.path(&ONE)).unwrap();
        assert_eq!(cache.get(&ONE).unwrap(), None);
    }

    #[test]
    fn the_folder_stays_within_its_size() {
        let cache = Cache::open(None, 7, 100).unwrap();
        for n in 0..10 {
            cache.put(&Digest([n; 32]), &[0; 30]).unwrap();
        }
        let kept = (0..10)
            .filter(|n| cache.get(&Digest([*n; 32])).unwrap().is_some())
            .count();
        assert_eq!(kept, 1);
    }
}
