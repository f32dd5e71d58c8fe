//! Files and folders that belong to the user of this process alone.
//!
//! A host makes what it keeps readable and writable for its own user only (0600, folders 0700). What
//! exists already is checked before it is trusted: another user who owns it, or may write to it,
//! could put anything there. Files are opened without following a symbolic link in their last
//! segment. A data folder may be given as a link: the folder that the link leads to is checked.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
        PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

/// Permission bits of a file that only its owner reads and writes.
const FILE_MODE: u32 = 0o600;

/// Permission bits of a folder that only its owner uses.
const FOLDER_MODE: u32 = 0o700;

/// Permission bits that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// Permission bit of a folder in which nobody can remove or replace what others own.
const STICKY: u32 = 0o1000;

/// Why a file or folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A link, whose owner decides what is read and written through it.
    #[error("`{}` is a symbolic link, which this host does not follow: put the file itself there", .0.display())]
    Link(PathBuf),
    /// A folder, a pipe or a device.
    #[error("`{}` is not an ordinary file", .0.display())]
    Kind(PathBuf),
    /// Somebody else's.
    #[error(
        "`{}` belongs to the user with id {owner}, and this host runs as user {own}: run the host \
         as that user, or `chown` it",
        path.display()
    )]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this process is.
        own: u32,
    },
    /// Others could change it.
    #[error(
        "other users may write to `{}` (mode {mode:04o}): make sure that nobody did, then \
         `chmod go-w` it",
        path.display()
    )]
    Writable {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system refuses.
    #[error("`{}` cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Makes a folder if it is missing, and checks it. The mode of an existing folder is left alone.
///
/// # Errors
///
/// If it cannot be made, or if another user owns it or may change what is in it.
pub fn folder(path: &Path) -> Result<(), Error> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut private = DirBuilder::new();
    let made = private.recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(failed)?;
    let found = fs::metadata(path).map_err(failed)?;
    if found.mode() & STICKY != 0 {
        // As in `/tmp`: what this host makes there stays its own.
        return Ok(());
    }
    check(path, &found)
}

/// Opens a file as the options say, or makes it where they say so, and checks that it is this
/// user's own. Others lose the right to read it.
///
/// # Errors
///
/// If there is none and none is to be made, or if it is not this user's own.
pub fn open(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened = options.mode(FILE_MODE).custom_flags(no_follow).open(path);
    let file = opened.map_err(|source| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Error::Link(path.to_owned()),
        _ => Error::Io {
            path: path.to_owned(),
            source,
        },
    })?;
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let found = file.metadata().map_err(failed)?;
    check_file(path, &found)?;
    if found.mode() & 0o777 != FILE_MODE {
        let private = Permissions::from_mode(FILE_MODE);
        file.set_permissions(private).map_err(failed)?;
    }
    Ok(file)
}

/// Checks a file that somebody else is going to open, if it is there, and takes from others the
/// right to read it; says whether it is there.
///
/// # Errors
///
/// If it is not this user's own.
pub fn claim(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    check_file(path, &found)?;
    if found.mode() & 0o777 != FILE_MODE {
        let private = Permissions::from_mode(FILE_MODE);
        fs::set_permissions(path, private).map_err(failed)?;
    }
    Ok(true)
}

fn check_file(path: &Path, found: &Metadata) -> Result<(), Error> {
    let kind = found.file_type();
    if kind.is_symlink() {
        return Err(Error::Link(path.to_owned()));
    }
    if !kind.is_file() || kind.is_fifo() {
        return Err(Error::Kind(path.to_owned()));
    }
    check(path, found)
}

fn check(path: &Path, found: &Metadata) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own {
        return Err(Error::Owner {
            path: path.to_owned(),
            owner: found.uid(),
            own,
        });
    }
    let mode = found.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(Error::Writable {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("a/data");
        super::folder(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        let file = data.join("file");
        open(&file, OpenOptions::new().write(true).create(true)).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn what_others_may_read_is_made_private() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("file");
        for check in [
            |path: &Path| claim(path).map(drop),
            |path: &Path| open(path, OpenOptions::new().read(true)).map(drop),
        ] {
            fs::write(&file, "text").unwrap();
            set_mode(&file, 0o644);
            check(&file).unwrap();
            assert_eq!(mode(&file), 0o600);
        }
    }

    #[test]
    fn what_others_may_write_is_refused_with_advice() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        for bits in [0o620, 0o602, 0o666] {
            set_mode(&file, bits);
            let refused = claim(&file).unwrap_err().to_string();
            assert!(refused.contains("`chmod go-w`"), "{refused}");
            assert!(open(&file, OpenOptions::new().read(true)).is_err());
        }
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        set_mode(&data, 0o777);
        assert!(matches!(
            super::folder(&data),
            Err(Error::Writable { mode: 0o777, .. })
        ));
        set_mode(&data, 0o1777);
        super::folder(&data).unwrap();
    }

    #[test]
    fn links_are_followed_to_folders_only() {
        let folder = TempDir::new().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        symlink(&target, &link).unwrap();
        let made = open(&link, OpenOptions::new().write(true).create(true));
        assert!(matches!(made, Err(Error::Link(_))), "{made:?}");
        assert!(!target.exists());
        assert!(matches!(claim(&link), Err(Error::Link(_))));
        fs::create_dir(&target).unwrap();
        super::folder(&link).unwrap();
    }

    #[test]
    fn what_another_user_owns_is_refused() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        // Only root can give a file away.
        if chown(&file, Some(12_345), None).is_ok() {
            let refused = claim(&file).unwrap_err().to_string();
            assert!(refused.contains("user with id 12345"), "{refused}");
            assert!(open(&file, OpenOptions::new().read(true)).is_err());
        }
    }
}
