//! Rows that somebody else, or the disk, has changed. Whatever stands in one, the store opens and
//! everybody whom the row does not concern goes on.

use std::{fs, path::Path};

use rusqlite::Connection;
use xcomponent_core::{
    id::{StreamId, TenantId},
    record::{Body, Outgoing, Received},
};
use xcomponent_host::store::{
    Error, Position, Store,
    query::{InstanceFilter, LetterFilter, PageRequest, RecordFilter},
    sqlite::{Config, Sqlite},
};

use crate::{
    crossing::{sends, sent},
    durable::a_small_life,
    postgres::{self, Sql},
    sample::{Shard, event_id, id},
};

/// What is written into a column, as SQL. A database that does not take it has protected itself.
const VALUES: [&str; 8] = [
    "NULL",
    "''",
    "'no such thing'",
    r#"'{"a":'"#,
    "'[]'",
    "'-1'",
    "-1",
    "9223372036854775807",
];

/// JSON so deep that a reader that calls itself for each level has no stack left.
fn deep() -> String {
    format!("'{}'", "[".repeat(200_000))
}

/// Rows of a table that are damaged together: those of one instance, or all that belong to none.
fn rows_of(table: &str) -> &'static [&'static str] {
    match table {
        "instances" => &["instance = 1"],
        "events" => &["instance = 1", "instance IS NULL"],
        _ => &["1 = 1"],
    }
}

/// Whether what stands in a table concerns all instances: then none has to be there.
fn concerns_all(table: &str) -> bool {
    ["tenants", "versions"].contains(&table)
}

/// A life with something from another host, and something for one.
fn a_life(store: &dyn Store) {
    a_small_life(store);
    let mut shard = Shard::new(store);
    sends(&mut shard, "There", "out-1");
    let received = Received {
        stream: StreamId::new("other/Here"),
        through: 7,
        deliveries: vec![Outgoing {
            elsewhere: false,
            ..sent("Here", "in-1")
        }],
    };
    shard.commit(Body::Received(received.into()));
}

/// Asks everything that a host asks, and goes on with an instance that nothing is wrong with.
fn goes_on(store: &dyn Store, table: &str) {
    let tenant = TenantId::default_tenant();
    let page = PageRequest::first(100);
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |snapshot| live.push(snapshot.id))
        .unwrap();
    let debts = store.owed().unwrap().debts();
    drop(debts);
    store.streams().unwrap();
    store.outlets().unwrap();
    store.log_name().unwrap();
    store.versions(&tenant, None).unwrap();
    let all = InstanceFilter::default();
    store.instances(&tenant, &all, page).unwrap();
    store.instance_counts(&tenant, &all).unwrap();
    store.unreadable(&tenant, page).unwrap();
    let letters = LetterFilter::default();
    store.dead_letters(&tenant, &letters, page).unwrap();
    store.dead_letter(&tenant, &event_id("e4"), None).unwrap();
    store.history(&tenant, &id("O-1"), page).unwrap();
    store.trace(&tenant, &[event_id("e2")], 100).unwrap();
    store.selections(&tenant, &event_id("e2")).unwrap();
    let asked = [(tenant.clone(), id("O-1")), (tenant.clone(), id("O-3"))];
    store.reload(&asked).unwrap();
    let at = (tenant.clone(), id("O-1"), event_id("e2"));
    store.recall(&[at]).unwrap();
    let everything = RecordFilter::default();
    let records = store.records(&tenant, &everything, Position(0), 100);
    assert!(
        matches!(records, Ok(_) | Err(Error::Gone { .. })),
        "{records:?}"
    );
    store.tidy().unwrap();
    if concerns_all(table) {
        return;
    }
    assert!(live.contains(&id("O-3")), "O-3 is not loaded: {live:?}");
    let healthy = store.instance(&tenant, &id("O-3")).unwrap().unwrap();
    let mut shard = Shard::new(store);
    shard.enter(&healthy, "later", "PAY", "Paid");
    let history = store.history(&tenant, &id("O-3"), page).unwrap();
    assert_eq!(history.items.len(), 2);
}

fn open(path: &Path) -> Sqlite {
    Sqlite::open(path, Config::default()).unwrap()
}

/// Every column of every table, with its table. The keys of the log and of the instances are left
/// out: a row with another key is another row.
fn columns(connection: &Connection) -> Vec<(String, String)> {
    let mut statement = connection
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
               AND (t.name, c.name) NOT IN (('events', 'position'), ('instances', 'instance'))",
        )
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn no_row_of_a_file_keeps_a_store_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    a_life(&open(&path));
    let columns = columns(&Connection::open(&path).unwrap());
    assert!(columns.len() > 60, "{columns:?}");
    let deep = deep();
    let copy = folder.path().join("copy.db");
    let mut damaged = 0;
    for (table, column) in &columns {
        for rows in rows_of(table) {
            for value in VALUES.iter().copied().chain([&*deep]) {
                for ending in ["", "-wal", "-shm"] {
                    let _ = fs::remove_file(format!("{}{ending}", copy.display()));
                }
                fs::copy(&path, &copy).unwrap();
                let somebody = Connection::open(&copy).unwrap();
                let change = format!("UPDATE {table} SET {column} = {value} WHERE {rows}");
                if !somebody
                    .execute(&change, [])
                    .is_ok_and(|changed| changed > 0)
                {
                    continue;
                }
                drop(somebody);
                damaged += 1;
                let shown = &change[..change.len().min(100)];
                let tried = std::panic::catch_unwind(|| goes_on(&open(&copy), table));
                assert!(tried.is_ok(), "after {shown}");
            }
        }
    }
    assert!(damaged > 200, "{damaged}");
}

#[test]
fn no_row_of_a_server_keeps_a_store_from_opening() {
    let server = postgres::server();
    let owner = Sql::new(&server.url("postgres"));
    owner.execute("CREATE DATABASE life");
    a_life(&postgres::open(&server.url("life")));
    let columns = Sql::new(&server.url("life")).texts(
        "SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c
         JOIN pg_class t ON t.relname = c.table_name AND NOT t.relispartition
         JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = c.table_schema
         WHERE c.table_schema = 'xcomponent' AND t.relkind IN ('r', 'p')
           AND c.table_name NOT IN ('owner', 'migrations', 'artifacts')
           AND (c.table_name, c.column_name) NOT IN
             (('events', 'position'), ('instances', 'instance'), ('events', 'at'))",
    );
    assert!(columns.len() > 50, "{columns:?}");
    // What is read is read by the same code; that of a file is given all values.
    let values = [r#"'{"a":'"#, "'-1'"];
    let mut damaged = 0;
    for name in &columns {
        let (table, column) = name.split_once('.').unwrap();
        for rows in rows_of(table) {
            for value in values {
                owner.execute("DROP DATABASE IF EXISTS copy WITH (FORCE)");
                owner.execute("CREATE DATABASE copy TEMPLATE life");
                let change =
                    format!("UPDATE xcomponent.{table} SET {column} = {value} WHERE {rows}");
                let somebody = Sql::new(&server.url("copy"));
                if !somebody.tries(&change) {
                    continue;
                }
                drop(somebody);
                damaged += 1;
                let shown = &change[..change.len().min(100)];
                let url = server.url("copy");
                let tried = std::panic::catch_unwind(|| goes_on(&postgres::open(&url), table));
                assert!(tried.is_ok(), "after {shown}");
            }
        }
    }
    assert!(damaged > 50, "{damaged}");
}

/// Whether an instance is suspended, however often the store is opened.
fn is_suspended(path: &Path) {
    let tenant = TenantId::default_tenant();
    let page = PageRequest::first(100);
    for _ in 0..2 {
        let store = open(path);
        goes_on(&store, "versions");
        let listed = store.unreadable(&tenant, page).unwrap().items;
        let listed: Vec<_> = listed.into_iter().map(|found| found.id).collect();
        assert_eq!(listed, [id("O-1")]);
        let found = store.reload(&[(tenant.clone(), id("O-1"))]).unwrap();
        assert!(found.instances.is_empty());
        assert_eq!(found.unreadable, [(tenant.clone(), id("O-1"))]);
        let read = store.instance(&tenant, &id("O-1"));
        assert!(matches!(read, Err(Error::Unreadable(_))), "{read:?}");
        store
            .load(&|_| true, &mut |snapshot| {
                assert_ne!(snapshot.id, id("O-1"))
            })
            .unwrap();
        // Others go on, and time goes by: it stays as it is.
        let healthy = store.instance(&tenant, &id("O-3")).unwrap().unwrap();
        let mut shard = Shard::new(&store);
        let event = format!("later-{}", healthy.seq);
        shard.enter(&healthy, &event, "PAY", "Paid");
        while store.tidy().unwrap() {}
    }
}

fn text(path: &Path, question: &str) -> String {
    let connection = Connection::open(path).unwrap();
    connection
        .query_row(question, [], |row| row.get(0))
        .unwrap()
}

#[test]
fn an_instance_whose_row_cannot_be_read_is_suspended_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = open(&path);
    a_life(&store);
    while store.tidy().unwrap() {}
    drop(store);
    let somebody = Connection::open(&path).unwrap();
    let damage = "UPDATE instances SET timers_json = '[{]' WHERE id = 'O-1'";
    somebody.execute(damage, []).unwrap();
    drop(somebody);
    is_suspended(&path);
    let kept = text(&path, "SELECT timers_json FROM instances WHERE id = 'O-1'");
    assert_eq!(kept, "[{]");
}

#[test]
fn an_instance_of_which_a_record_cannot_be_read_is_suspended_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    a_life(&open(&path));
    let somebody = Connection::open(&path).unwrap();
    let damage = "UPDATE events SET context = '{' WHERE event_id = 'e2'";
    somebody.execute(damage, []).unwrap();
    let row = "SELECT state || seq || last FROM instances WHERE id = 'O-1'";
    let before = text(&path, row);
    drop(somebody);
    is_suspended(&path);
    assert_eq!(text(&path, row), before);
    let repair = Connection::open(&path).unwrap();
    let mend = "UPDATE events SET context = (SELECT context FROM instances WHERE id = 'O-1')
        WHERE event_id = 'e2'";
    repair.execute(mend, []).unwrap();
    drop(repair);
    let store = open(&path);
    let tenant = TenantId::default_tenant();
    let mended = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
    assert_eq!(mended.state().name.as_str(), "Paid");
}

/// What versions before ids and chains were bounded may have left behind: an id of 100 KB, chains of
/// 100 000 causes in a record, in a timer, in a dead letter and in what is owed.
#[test]
fn a_database_with_long_ids_and_chains_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    a_life(&open(&path));
    let somebody = Connection::open(&path).unwrap();
    let long = format!("tick{}", ".t1".repeat(33_000));
    let link = r#"{"instance":"O-1","event":"PAY"}"#;
    let chain = format!("[{}]", vec![link; 100_000].join(","));
    let cause = format!(
        r#"{{"event":"{long}","instance":"O-1","root":"tick","chain":{chain},"depth":65535,"credits":4294967295}}"#
    );
    let timer = format!(
        r#"[{{"due":9000,"id":"{long}.t1","kind":{{"timeout":{{"transition":0,"entry":1}}}},"cause":{cause}}}]"#
    );
    let change = |statement: &str, values: &[&str]| {
        let changed = somebody.execute(statement, rusqlite::params_from_iter(values));
        assert!(changed.unwrap() > 0, "{statement}");
    };
    change(
        "UPDATE events SET event_id = ?1, cause_json = ?2, timers_json = ?3, root = 'tick'
         WHERE instance = 1",
        &[&long, &cause, &timer],
    );
    change(
        "UPDATE instances SET timers_json = ?1 WHERE id = 'O-1'",
        &[&timer],
    );
    change("UPDATE dead_letters SET event_id = ?1", &[&long]);
    change(
        "UPDATE dead_letters SET letter_json = json_set(letter_json, '$.event.id', ?1, '$.cause',
           json(?2))",
        &[&long, &cause],
    );
    change(
        "UPDATE events SET detail_json = json_set(detail_json, '$.deliveries[0].cause', json(?1),
           '$.deliveries[0].event.id', ?2) WHERE kind = 'received'",
        &[&cause, &long],
    );
    drop(somebody);
    let store = open(&path);
    goes_on(&store, "nothing");
    let tenant = TenantId::default_tenant();
    let ticking = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
    assert_eq!(
        ticking.timers[0].id.to_string().len(),
        long.len() + ".t1".len()
    );
    let letter = store.dead_letter(&tenant, &event_id_of(&long), None);
    let letter = letter.unwrap().unwrap().letter;
    let mut links = 0;
    let mut chain = letter.cause.chain.as_ref();
    while let Some(link) = chain {
        links += 1;
        chain = link.before.as_ref();
    }
    assert_eq!(links, xcomponent_core::limits::CHAIN_LINKS_MAX);
    let owed = store.owed().unwrap().debts();
    assert_eq!(owed.len(), 1);
    // What was sent under the long id is settled by the record that has it.
    let mut shard = Shard::new(&store);
    shard.enter(&ticking, "later", "PAY", "Paid");
    let mut discarded = shard.letter("later-2", None);
    let parked = std::sync::Arc::make_mut(&mut discarded);
    parked.event.id = event_id_of(&long);
    parked.instance = Some(id("there"));
    shard.commit(Body::Parked(discarded));
    assert!(store.owed().unwrap().debts().is_empty());
}

fn event_id_of(text: &str) -> xcomponent_core::id::EventId {
    xcomponent_core::id::EventId::from_stored(text)
}
