//! A database whose files are damaged, removed or somebody else's.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use xcomponent_core::record::Disposition;
use xcomponent_host::store::{
    Error, Store,
    query::PageRequest,
    sqlite::{Config, OpenError, Sqlite},
};

use crate::sample::{Shard, id, nobody};

fn open(path: &Path) -> Sqlite {
    Sqlite::open(path, Config::default()).unwrap()
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("host.db")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn cut_off(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

/// Somebody replaces a file by a copy.
fn replace(path: &Path) {
    let copy = beside(path, ".copy");
    fs::copy(path, &copy).unwrap();
    fs::rename(copy, path).unwrap();
}

/// What somebody may do to a file.
type Deed = fn(&Path);

#[test]
fn nothing_is_acknowledged_that_goes_to_files_which_are_not_the_databases_any_more() {
    let remove: Deed = |path| fs::remove_file(path).unwrap();
    let rename: Deed = |path| fs::rename(path, beside(path, ".old")).unwrap();
    let empty: Deed = |path| cut_off(path, 0);
    for ending in ["", "-wal"] {
        for (deed, told) in [
            (remove, "was removed or renamed"),
            (rename, "was removed or renamed"),
            (replace as Deed, "was replaced by another file"),
            (empty, "was cut off"),
        ] {
            let folder = TempDir::new().unwrap();
            let path = database(&folder);
            let store = open(&path);
            let mut shard = Shard::new(&store);
            let order = shard.create("O-1", "{}");
            let tenant = shard.tenant().clone();
            store.check().unwrap();
            deed(&beside(&path, ending));
            let entries = shard.kept_back(|shard| {
                shard.handle(order, "e1", "PAY", Disposition::Ignored);
            });
            let refused = store.commit(&entries, &nobody()).unwrap_err();
            assert!(matches!(refused, Error::Lost(_)), "{refused}");
            assert!(refused.to_string().contains(told), "{refused}");
            for refused in [
                store.check(),
                store.probe(),
                store.instance(&tenant, &id("O-1")).map(drop),
                store
                    .history(&tenant, &id("O-1"), PageRequest::first(1))
                    .map(drop),
            ] {
                assert!(matches!(refused, Err(Error::Lost(_))), "{refused:?}");
            }
        }
    }
}

#[test]
fn a_log_that_a_backup_tool_copied_and_emptied_is_no_loss() {
    let folder = TempDir::new().unwrap();
    let path = database(&folder);
    let store = open(&path);
    let mut shard = Shard::new(&store);
    shard.create("O-1", "{}");
    let tool = rusqlite::Connection::open(&path).unwrap();
    let busy: i64 = tool
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(busy, 0);
    drop(tool);
    store.check().unwrap();
    shard.create("O-2", "{}");
    store.check().unwrap();
}

#[test]
fn a_check_finds_what_was_overwritten() {
    let folder = TempDir::new().unwrap();
    let path = database(&folder);
    let store = open(&path);
    Shard::new(&store).create("O-1", "{}");
    let length = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; usize::try_from(length).unwrap()], 0)
        .unwrap();
    let refused = store.check().unwrap_err();
    assert!(refused.to_string().contains("was overwritten"), "{refused}");
    assert!(matches!(store.probe(), Err(Error::Lost(_))));
}

#[test]
fn files_are_for_their_owner_alone() {
    let folder = TempDir::new().unwrap();
    let path = database(&folder);
    let store = open(&path);
    Shard::new(&store).create("O-1", "{}");
    let modes = || {
        ["", "-wal", "-shm", ".lock"].map(|ending| {
            let found = fs::metadata(beside(&path, ending)).unwrap();
            found.permissions().mode() & 0o777
        })
    };
    assert_eq!(modes(), [0o600; 4]);
    drop(store);
    // As an older version left it.
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let _store = open(&path);
    assert_eq!(modes(), [0o600; 4]);
}

#[test]
fn a_database_that_others_may_write_to_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = database(&folder);
    drop(open(&path));
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let refused = Sqlite::open(&path, Config::default()).map(drop);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, OpenError::NotPrivate(_)), "{refused}");
    assert!(refused.to_string().contains("`chmod go-w`"), "{refused}");
}

#[test]
fn no_file_is_made_through_a_link() {
    for ending in ["", "-wal", "-shm", ".lock"] {
        let folder = TempDir::new().unwrap();
        let (path, elsewhere) = (database(&folder), folder.path().join("elsewhere"));
        symlink(&elsewhere, beside(&path, ending)).unwrap();
        let refused = Sqlite::open(&path, Config::default()).map(drop);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, OpenError::NotPrivate(_)), "{refused}");
        assert!(!elsewhere.exists());
    }
}
