//! Whatever stands in one column of one row, a store opens, and answers everything it is asked.
//!
//! A host writes a database once. Then each input is written into one of its values: the first
//! bytes of the input select which, and what the rest is.

#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use rusqlite::{
    Connection, OpenFlags,
    types::{Value, ValueRef},
};
use xcomponent_core::id::{EventId, InstanceId, TenantId};
use xcomponent_fuzz::{JSON, World};
use xcomponent_host::{
    app::{Config, StoreConfig},
    store::{
        Error, Position, Store,
        query::{InstanceFilter, LetterFilter, PageRequest, RecordFilter},
        sqlite::{self, Sqlite},
    },
};

/// A value: its table, its row and its column.
type Cell = (String, i64, String);

/// A database as a host left it.
struct Life {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    /// Where the damaged copies are.
    copy: PathBuf,
}

static LIFE: LazyLock<Life> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("xcomponent-rows-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join("life.db");
    live(path.clone());
    let database = Connection::open(&path).expect("a host wrote it");
    database
        .execute_batch("PRAGMA journal_mode = DELETE")
        .expect("nobody else uses it");
    let cells = cells(&database);
    drop(database);
    Life {
        bytes: fs::read(&path).expect("a host wrote it"),
        cells,
        copy: folder.join("copy.db"),
    }
});

/// A host that does something of everything that leaves a row.
fn live(path: PathBuf) {
    let world = World::with_component(Config {
        store: StoreConfig::Sqlite(path),
        ..Config::default()
    });
    let create = |machine: &str, body: &str| {
        let path = format!("/v1/components/Fuzzed/machines/{machine}/instances");
        world.answer("POST", &path, JSON, body.as_bytes());
    };
    let send = |id: &str, body: &str| {
        let path = format!("/v1/instances/{id}/events");
        world.answer("POST", &path, JSON, body.as_bytes());
    };
    create(
        "Box",
        r#"{"id":"other","context":{"count":3,"note":"full"}}"#,
    );
    create("Label", r#"{"id":"label","context":{}}"#);
    for event in ["LATER", "PUT", "FILL"] {
        for id in ["box", "other"] {
            send(id, &format!(r#"{{"event":"{event}","payload":{{"n":1}}}}"#));
        }
    }
    // One that ends, and one that nobody can handle.
    create("Box", r#"{"id":"gone","context":{}}"#);
    send("gone", r#"{"event":"SHUT"}"#);
    send("gone", r#"{"event":"LATER"}"#);
    let broadcast = br#"{"event":"MATCH","payload":{"a":{"b":1}}}"#;
    world.answer(
        "POST",
        "/v1/components/Fuzzed/machines/Box/events",
        JSON,
        broadcast,
    );
    world.end();
}

/// Every value that a database has.
fn cells(database: &Connection) -> Vec<Cell> {
    let names = |question: &str| -> Vec<String> {
        let mut statement = database.prepare(question).expect("the question is right");
        let names = statement.query_map([], |row| row.get(0));
        names
            .expect("the question is right")
            .collect::<Result<_, _>>()
            .expect("names are texts")
    };
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
                  AND sql NOT LIKE '%WITHOUT ROWID%'";
    let mut cells = Vec::new();
    for table in names(tables) {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let rows = names(&format!(
            "SELECT CAST(rowid AS TEXT) FROM \"{table}\" LIMIT 30"
        ));
        for row in rows {
            let row = row.parse().expect("a row's number is one");
            let here = columns.iter();
            cells.extend(here.map(|column| (table.clone(), row, column.clone())));
        }
    }
    cells
}

fuzz_target!(|input: &[u8]| {
    let [first, second, kind, rest @ ..] = input else {
        return;
    };
    let Life { bytes, cells, copy } = &*LIFE;
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut name = copy.clone().into_os_string();
        name.push(ending);
        // It may be there or not.
        let _ = fs::remove_file(name);
    }
    fs::write(copy, bytes).expect("there is room for a copy");
    let cell = usize::from(*first) << 8 | usize::from(*second);
    if !damage(copy, &cells[cell % cells.len()], *kind, rest) {
        return;
    }
    let store = Sqlite::open(copy, sqlite::Config::default()).expect("it is a database of a host");
    ask_everything(&store);
});

/// Writes a value; false if the database protects itself from it.
fn damage(path: &PathBuf, (table, row, column): &Cell, kind: u8, bytes: &[u8]) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).expect("it is a database");
    database
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY")
        .expect("it is a database");
    let question = format!("SELECT \"{column}\" FROM \"{table}\" WHERE rowid = ?1");
    let text = |bytes: &[u8]| Value::Text(String::from_utf8_lossy(bytes).into_owned());
    let value = match kind % 5 {
        0 => text(bytes),
        1 => Value::Blob(bytes.to_vec()),
        2 => Value::Null,
        3 => {
            let mut number = [0; 8];
            let given = bytes.iter().zip(&mut number);
            given.for_each(|(byte, place)| *place = *byte);
            Value::Integer(i64::from_le_bytes(number))
        }
        _ => database
            .query_row(&question, [row], |found| {
                Ok(match found.get_ref(0)? {
                    ValueRef::Text(before) => text(&patched(before, bytes)),
                    ValueRef::Blob(before) => Value::Blob(patched(before, bytes)),
                    before => before.into(),
                })
            })
            .expect("the row is there"),
    };
    let change = format!("UPDATE \"{table}\" SET \"{column}\" = ?1 WHERE rowid = ?2");
    database.execute(&change, (value, row)).is_ok()
}

/// What was there with some bytes replaced: the first two say where.
fn patched(before: &[u8], patch: &[u8]) -> Vec<u8> {
    let [high, low, patch @ ..] = patch else {
        return before.to_vec();
    };
    let at = (usize::from(*high) << 8 | usize::from(*low)) % (before.len() + 1);
    let after = before.get(at + patch.len()..).unwrap_or_default();
    [&before[..at], patch, after].concat()
}

fn ask_everything(store: &dyn Store) {
    const READ: &str = "whatever stands in a row, the others are read";
    let (tenant, page) = (TenantId::default_tenant(), PageRequest::first(100));
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |snapshot| live.push(snapshot.id))
        .expect(READ);
    drop(store.owed().expect(READ).debts());
    store.streams().expect(READ);
    for outlet in store.outlets().expect(READ) {
        // The record that waits may be the damaged one.
        let _ = store.outbox(&outlet.channel, Position(0), 100);
    }
    store.log_name().expect(READ);
    store.versions(&tenant, None).expect(READ);
    let all = InstanceFilter::default();
    store.instances(&tenant, &all, page).expect(READ);
    store.instance_counts(&tenant, &all).expect(READ);
    store.unreadable(&tenant, page).expect(READ);
    let letters = LetterFilter::default();
    store.dead_letters(&tenant, &letters, page).expect(READ);
    for name in ["box", "other", "label", "gone"] {
        let id = InstanceId::parse(name).expect("a caller may choose it");
        store.history(&tenant, &id, page).expect(READ);
        store.reload(&[(tenant.clone(), id.clone())]).expect(READ);
        let event = EventId::parse("none").expect("a caller may choose it");
        store.recall(&[(tenant.clone(), id, event)]).expect(READ);
    }
    let everything = RecordFilter::default();
    let records = store.records(&tenant, &everything, Position(0), 100);
    assert!(
        matches!(records, Ok(_) | Err(Error::Gone { .. })),
        "{records:?}"
    );
    for entry in records.into_iter().flat_map(|tail| tail.entries) {
        let event = match &entry.record.body {
            xcomponent_core::record::Body::Handled(handled) => handled.event.id.clone(),
            _ => continue,
        };
        store.trace(&tenant, &[event], 100).expect(READ);
    }
    store.tidy().expect(READ);
}
