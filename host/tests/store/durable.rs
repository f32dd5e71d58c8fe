//! What a store that keeps its records on a disk must do besides.

use std::{fs, path::Path};

use rusqlite::{Connection, types::ValueRef};
use xcomponent_core::{
    id::TenantId,
    json::Json,
    record::{Body, Disposition},
    time::{Duration, Timestamp},
};
use xcomponent_host::store::{
    Store,
    query::{InstanceFilter, LetterFilter, PageRequest, RecordFilter},
    retention::Retention,
    sqlite::{Config, OpenError, Sqlite},
};

use crate::{
    sample::{Shard, id},
    waiting::{LARGE, deferred, is_a_waiting_life},
};

fn open(path: &Path) -> Sqlite {
    Sqlite::open(path, Config::default()).unwrap()
}

/// Everything a reader can see, as text.
pub(crate) fn seen(store: &dyn Store, tenant: &TenantId) -> String {
    let page = PageRequest::first(100);
    let instances = store.instances(tenant, &InstanceFilter::default(), page);
    let instances = instances.unwrap().items;
    let histories: Vec<_> = instances
        .iter()
        .map(|instance| store.history(tenant, &instance.id, page).unwrap().items)
        .collect();
    let counts = store.instance_counts(tenant, &InstanceFilter::default());
    let letters = store.dead_letters(tenant, &LetterFilter::default(), page);
    let versions = store.versions(tenant, None).unwrap();
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |snapshot| live.push(snapshot))
        .unwrap();
    format!(
        "{:?}\n{instances:#?}\n{histories:#?}\n{:#?}\n{:#?}\n{versions:#?}\n{:#?}",
        store.last_position().unwrap(),
        counts.unwrap(),
        letters.unwrap().items,
        live,
    )
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    let order = shard.create("O-1", r#"{"total":7}"#);
    let order = shard.enter(&order, "e1", "PAY", "Paid");
    shard.handle(order, "e2", "PAY", Disposition::Ignored);
    let done = shard.create("O-2", "{}");
    shard.enter(&done, "e3", "SHIP", "Done");
    let letter = shard.letter("e4", Some("O-1"));
    shard.commit(Body::Parked(letter));
    let tenant = shard.tenant().clone();
    let before = seen(&store, &tenant);
    drop(store);
    let store = open(&path);
    assert_eq!(seen(&store, &tenant), before);
    let mut shard = Shard::new(&store);
    let order = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
    shard.enter(&order, "e5", "SHIP", "Done");
    let history = store.history(&tenant, &id("O-1"), PageRequest::first(10));
    assert_eq!(history.unwrap().items.len(), 4);
}

#[test]
fn a_deleted_instance_is_removed_after_the_next_start_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    let order = shard.create("O-1", "{}");
    let ended = shard.enter(&order, "e1", "SHIP", "Done");
    shard.enter(&ended, "e2", "$deleted", "Done");
    shard.create("O-2", "{}");
    let tenant = shard.tenant().clone();
    let before = seen(&store, &tenant);
    drop(store);
    let store = open(&path);
    assert_eq!(seen(&store, &tenant), before);
    let removable = Retention::default().at(Timestamp(3_000), Duration(100));
    while store.shorten(&removable).unwrap() {}
    let database = Connection::open(&path).unwrap();
    let count = |table: &str| -> i64 {
        let question = format!("SELECT count(*) FROM {table}");
        database.query_row(&question, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("instances"), count("events")), (1, 1));
    assert_eq!(seen(&store, &tenant), before);
}

#[test]
fn room_in_the_write_ahead_log_is_its_end_to_who_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let length = || {
        fs::metadata(folder.path().join("host.db-wal"))
            .unwrap()
            .len()
    };
    let store = open(&path);
    let mut shard = Shard::new(&store);
    let order = shard.create("O-1", r#"{"total":7}"#);
    let order = shard.enter(&order, "e1", "PAY", "Paid");
    let without = length();
    while store.make_room().unwrap() {}
    let room = length();
    assert!(room > without + (1 << 20), "{room}");
    shard.handle(order, "e2", "PAY", Disposition::Ignored);
    assert_eq!(length(), room);
    let tenant = shard.tenant().clone();
    let before = seen(&store, &tenant);
    // As a host that is killed here leaves it.
    let copy = tempfile::tempdir().unwrap();
    for name in ["host.db", "host.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(seen(&open(&copy.path().join("host.db")), &tenant), before);
}

#[test]
fn rows_that_are_behind_are_made_up_for_by_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    // More at once than rows are written at once.
    let orders: Vec<_> = (0..200)
        .map(|n| shard.create(&format!("O-{n}"), "{}"))
        .collect();
    shard.at_once(|shard| {
        for (n, order) in orders.iter().enumerate() {
            let paid = shard.enter(order, &format!("p{n}"), "PAY", "Paid");
            shard.handle(paid, &format!("i{n}"), "PAY", Disposition::Ignored);
        }
    });
    let tenant = shard.tenant().clone();
    let before = seen(&store, &tenant);
    assert_eq!(behind(&path), 200);
    drop(store);
    let store = open(&path);
    assert_eq!(seen(&store, &tenant), before);
    assert_eq!(behind(&path), 200);
    while store.tidy().unwrap() {}
    assert_eq!(behind(&path), 0);
    assert_eq!(seen(&store, &tenant), before);
    assert_eq!(
        store
            .records(
                &tenant,
                &RecordFilter::default(),
                store.last_position().unwrap(),
                1
            )
            .unwrap()
            .entries
            .len(),
        0
    );
}

#[test]
fn rows_that_are_behind_hold_a_bounded_number_of_bytes_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    let context = format!(r#"{{"filler":"{}"}}"#, "x".repeat(LARGE));
    for n in 0..100 {
        let order = shard.create(&format!("O-{n}"), &context);
        shard.handle(order, &format!("e{n}"), "PAY", Disposition::Ignored);
    }
    let behind = behind(&path);
    assert!((60..=70).contains(&behind), "{behind} of 1 MB each");
}

/// Rows of instances that are older than their last record.
fn behind(path: &Path) -> i64 {
    let database = Connection::open(path).unwrap();
    let question = "SELECT count(*) FROM instances i
        WHERE last < (SELECT max(position) FROM events e WHERE e.instance = i.instance)";
    database.query_row(question, [], |row| row.get(0)).unwrap()
}

#[test]
fn two_hosts_do_not_share_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let first = open(&path);
    let second = Sqlite::open(&path, Config::default());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    drop(first);
    open(&path);
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    drop(open(&path));
    let database = Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 1_000).unwrap();
    drop(database);
    let refused = Sqlite::open(&path, Config::default()).map(drop);
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("schema 1000"), "{message}");
}

#[test]
fn a_file_that_is_no_such_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    fs::write(&path, "these are my notes, all of them\n".repeat(200)).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = Sqlite::open(&path, Config::default()).map(drop);
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("cannot be read as a database"),
        "{message}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);

    let other = folder.path().join("other.db");
    let database = Connection::open(&other).unwrap();
    database
        .execute_batch("CREATE TABLE notes (text TEXT)")
        .unwrap();
    drop(database);
    let refused = Sqlite::open(&other, Config::default()).map(drop);
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("another program"), "{message}");
}

#[test]
fn a_damaged_database_is_reported_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    for n in 0..100 {
        shard.create(&format!("O-{n}"), "{}");
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // All but the first page, which says what tables there are.
    bytes[4_096..].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let problem = match Sqlite::open(&path, Config::default()) {
        Err(error) => error.to_string(),
        Ok(store) => {
            let loaded = store.load(&|_| true, &mut |_| ());
            loaded.map(drop).unwrap_err().to_string()
        }
    };
    assert!(problem.contains("cannot be read"), "{problem}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn the_questions_of_the_documentation_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    let order = shard.create("ORD-1", r#"{"orderId":"ORD-1"}"#);
    shard.enter(&order, "pay-1", "PAY", "Paid");
    let letter = shard.letter("late-1", Some("ORD-1"));
    shard.commit(Body::Parked(letter));
    let questions = questions("SQLite");
    assert_eq!(questions.len(), 10);
    let database = Connection::open(&path).unwrap();
    let answered = questions.iter().filter(|question| {
        let mut statement = database
            .prepare(question)
            .unwrap_or_else(|error| panic!("{error}: {question}"));
        let mut rows = statement.query([]).unwrap();
        rows.next().unwrap().is_some()
    });
    // All but those about refusals and log lines, of which there are none.
    assert_eq!(answered.count(), 8);
}

/// The questions of the documentation as one kind of database understands them.
pub(crate) fn questions(database: &str) -> Vec<&'static str> {
    let page = include_str!("../../TABLES.md");
    let blocks = page.split("```sql").skip(1);
    let (all, own) = ("\n", format!(" {database}\n"));
    let question = |block: &'static str| {
        let question = block
            .strip_prefix(all)
            .or_else(|| block.strip_prefix(&*own));
        question.map(|rest| rest.split("```").next().unwrap())
    };
    blocks.filter_map(question).collect()
}

/// Something of everything: instances that go on and one that is over, of two versions, one whose
/// row is behind, a parked event, one that was settled.
pub(crate) fn a_small_life(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let order = shard.create("O-1", r#"{"total":7,"who":"Zoë"}"#);
    let done = shard.create("O-2", "{}");
    shard.enter(&done, "e1", "SHIP", "Done");
    shard.switch("2");
    shard.create_entry_point("O-3");
    shard.at_once(|shard| {
        let order = shard.enter(&order, "e2", "PAY", "Paid");
        shard.handle(order, "e3", "PAY", Disposition::Ignored);
    });
    let letter = shard.letter("e4", Some("O-1"));
    shard.commit(Body::Parked(letter));
}

#[test]
fn a_database_of_each_older_schema_is_brought_up_to_date() {
    let steps = [
        include_str!("schemas/sqlite_1.sql"),
        include_str!("../../src/store/sqlite/schema_2.sql"),
        include_str!("../../src/store/sqlite/schema_3.sql"),
        include_str!("../../src/store/sqlite/schema_4.sql"),
        include_str!("../../src/store/sqlite/schema_5.sql"),
        include_str!("../../src/store/sqlite/schema_6.sql"),
    ];
    for (schema, number) in (1..=steps.len()).zip(1_i64..) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&steps[..schema].concat()).unwrap();
        old.pragma_update(None, "user_version", number).unwrap();
        drop(old);
        let store = open(&path);
        is_a_small_life(&store);
        drop(store);
        is_a_small_life(&open(&path));

        if number > 5 {
            continue;
        }
        // The same with what waits in rows of `instances` and `events`.
        let path = folder.path().join("waiting.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&steps[..schema].concat()).unwrap();
        old.execute_batch(WAITING_5).unwrap();
        old.pragma_update(None, "user_version", number).unwrap();
        drop(old);
        let new = open(&folder.path().join("new.db"));
        a_small_life(&new);
        is_a_waiting_life(&open(&path), &new);
    }
}

/// What stood in both kinds of databases before what waits had rows of its own.
pub(crate) const WAITING_5: &str = include_str!("schemas/waiting_5.sql");

#[test]
fn what_waits_and_cannot_be_read_keeps_no_database_from_being_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let old = Connection::open(&path).unwrap();
    for step in [
        include_str!("schemas/sqlite_1.sql"),
        include_str!("../../src/store/sqlite/schema_2.sql"),
        include_str!("../../src/store/sqlite/schema_3.sql"),
        include_str!("../../src/store/sqlite/schema_4.sql"),
        WAITING_5,
        "UPDATE instances SET extra_json = '{\"deferred\":[7]}' WHERE id = 'W-3'",
    ] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 4).unwrap();
    drop(old);
    let store = open(&path);
    let tenant = TenantId::default_tenant();
    let found = store.instance(&tenant, &id("W-2")).unwrap().unwrap();
    assert_eq!(found.waiting().count(), 1);
    drop(store);
    let kept = "SELECT extra_json FROM instances WHERE id = 'W-3'";
    let database = Connection::open(&path).unwrap();
    let kept: String = database.query_row(kept, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, r#"{"deferred":[7]}"#);
}

#[test]
fn an_event_writes_nothing_of_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    let mut shard = Shard::new(&store);
    let mut order = shard.create("O-1", "{}");
    for n in 0..100 {
        let large = vec![deferred(&format!("d{n}"), LARGE)];
        order = shard.waits(&order, &format!("w{n}"), large, &[]);
    }
    let database = Connection::open(&path).unwrap();
    let bytes = |question: &str| -> usize {
        let mut statement = database.prepare(question).unwrap();
        let count = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut bytes = 0;
        while let Some(row) = rows.next().unwrap() {
            for column in 0..count {
                bytes += match row.get_ref(column).unwrap() {
                    ValueRef::Text(text) | ValueRef::Blob(text) => text.len(),
                    ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
                };
            }
        }
        bytes
    };
    let waiting = bytes("SELECT event_id, payload FROM waiting");
    assert!(waiting > 100 * LARGE, "{waiting}");
    // As many as have their instance's row written once.
    for n in 0..10 {
        let mut small = shard.handled(order, &format!("e{n}"), "PAY", Disposition::Ignored);
        small.event.payload = Json::parse(r#"{"twenty": "bytes"}"#).unwrap();
        order = small.after.clone();
        shard.commit(Body::Handled(small.into()));
        let event = bytes("SELECT * FROM events ORDER BY position DESC LIMIT 1");
        let instance = bytes("SELECT * FROM instances");
        assert!(event + instance < 2_000, "{event} + {instance} bytes");
    }
    assert_eq!(bytes("SELECT event_id, payload FROM waiting"), waiting);
}

/// Whether a database of an older schema is like a new one to which the same happened, and goes on
/// as it does.
pub(crate) fn is_a_small_life(store: &dyn Store) {
    let folder = tempfile::tempdir().unwrap();
    let new = open(&folder.path().join("host.db"));
    a_small_life(&new);
    let tenant = TenantId::default_tenant();
    assert_eq!(seen(store, &tenant), seen(&new, &tenant));
}
