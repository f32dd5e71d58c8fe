//! What the store in a PostgreSQL database must do besides.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, Row};
use xcomponent_core::{
    json::Json,
    record::{Body, Disposition, Snapshot},
};
use xcomponent_host::store::{
    Entry, Error, Position, Store,
    postgres::{Config, OpenError, Postgres},
    query::PageRequest,
    sqlite,
};
use xcomponent_servers::{Durability, Postgres as Server};

use crate::{
    durable::{WAITING_5, a_small_life, is_a_small_life, questions, seen},
    sample::{Shard, id, nobody},
    waiting::{deferred, is_a_waiting_life},
};

/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of its own for each test, since each test may be a process of its own.
pub(crate) fn server() -> Server {
    Server::start(Durability::None).unwrap()
}

pub(crate) fn config(url: &str) -> Config {
    let config = Config::new(url.parse().unwrap());
    let patience = Duration::from_millis(200);
    Config { patience, ..config }
}

pub(crate) fn open(url: &str) -> Postgres {
    Postgres::open(&config(url)).unwrap()
}

pub(crate) fn refused(url: &str) -> OpenError {
    Postgres::open(&config(url)).map(drop).unwrap_err()
}

/// Somebody who uses the database directly.
pub(crate) struct Sql {
    runtime: Runtime,
    client: Client,
}

impl Sql {
    pub(crate) fn new(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connecting = tokio_postgres::connect(url, NoTls);
        let (client, connection) = runtime.block_on(connecting).unwrap();
        runtime.spawn(connection);
        Self { runtime, client }
    }

    pub(crate) fn execute(&self, statements: &str) {
        let executed = self.client.batch_execute(statements);
        self.runtime.block_on(executed).unwrap();
    }

    /// Whether the server does it.
    pub(crate) fn tries(&self, statements: &str) -> bool {
        let executed = self.client.batch_execute(statements);
        self.runtime.block_on(executed).is_ok()
    }

    pub(crate) fn texts(&self, question: &str) -> Vec<String> {
        self.rows(question).iter().map(|row| row.get(0)).collect()
    }

    fn rows(&self, question: &str) -> Vec<Row> {
        let asked = self.client.query(question, &[]);
        let rows = self.runtime.block_on(asked);
        rows.unwrap_or_else(|error| panic!("{error:?}: {question}"))
    }

    pub(crate) fn number(&self, question: &str) -> i64 {
        self.rows(question)[0].get(0)
    }

    /// Rows of instances that are older than their last record.
    fn behind(&self) -> i64 {
        self.number(
            "SELECT count(*) FROM xcomponent.instances i WHERE last <
               (SELECT max(position) FROM xcomponent.events e WHERE e.instance = i.instance)",
        )
    }
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let server = server();
    let url = server.url("postgres");
    let store = open(&url);
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
    let store = open(&url);
    assert_eq!(seen(&store, &tenant), before);
    let mut shard = Shard::new(&store);
    let order = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
    shard.enter(&order, "e5", "SHIP", "Done");
    let history = store.history(&tenant, &id("O-1"), PageRequest::first(10));
    assert_eq!(history.unwrap().items.len(), 4);
}

#[test]
fn rows_that_are_behind_are_made_up_for_by_the_journal() {
    let server = server();
    let url = server.url("postgres");
    let (store, sql) = (open(&url), Sql::new(&url));
    let mut shard = Shard::new(&store);
    let orders: Vec<_> = (0..200)
        .map(|n| shard.create(&format!("O-{n}"), "{}"))
        .collect();
    // More at once than one statement writes.
    shard.at_once(|shard| {
        for (n, order) in orders.iter().enumerate() {
            let paid = shard.enter(order, &format!("p{n}"), "PAY", "Paid");
            shard.handle(paid, &format!("i{n}"), "PAY", Disposition::Ignored);
        }
    });
    let tenant = shard.tenant().clone();
    let before = seen(&store, &tenant);
    assert_eq!(sql.behind(), 200);
    drop(store);
    let store = open(&url);
    assert_eq!(seen(&store, &tenant), before);
    assert_eq!(sql.behind(), 200);
    let is_paid = "SELECT count(*) FROM fsm_snapshots WHERE current_state = 'Paid'";
    assert_eq!(sql.number(is_paid), 200);
    while store.tidy().unwrap() {}
    assert_eq!(sql.behind(), 0);
    assert_eq!(sql.number(is_paid), 200);
    assert_eq!(seen(&store, &tenant), before);
}

#[test]
fn two_hosts_do_not_share_a_schema() {
    let server = server();
    let url = server.url("postgres");
    let first = open(&url);
    assert!(matches!(refused(&url), OpenError::InUse { .. }));
    let other = open(&format!("{url}?schema=other"));
    Shard::new(&other).create("O-1", "{}");
    assert_eq!(first.last_position().unwrap(), Position(0));
    drop(first);
    open(&url);
}

#[test]
fn a_schema_of_a_newer_program_is_refused() {
    let server = server();
    let url = server.url("postgres");
    drop(open(&url));
    let sql = Sql::new(&url);
    sql.execute("INSERT INTO xcomponent.migrations VALUES (1000, now())");
    let message = refused(&url).to_string();
    assert!(
        message.contains("schema 1000") && message.contains("up to 7"),
        "{message}"
    );
}

#[test]
fn a_database_of_each_older_schema_is_brought_up_to_date() {
    let steps = [
        include_str!("../../src/store/postgres/schema_2.sql"),
        include_str!("../../src/store/postgres/schema_3.sql"),
        include_str!("../../src/store/postgres/schema_4.sql"),
        include_str!("../../src/store/postgres/schema_5.sql"),
        include_str!("../../src/store/postgres/schema_6.sql"),
    ];
    for newest in 1..=1 + steps.len() {
        let server = server();
        let url = server.url("postgres");
        let sql = Sql::new(&url);
        sql.execute(include_str!("schemas/postgres_1.sql"));
        for (step, number) in steps.iter().zip(2..=newest) {
            sql.execute(&format!(
                "SET search_path = xcomponent; {step}; INSERT INTO migrations VALUES ({number}, now())"
            ));
        }
        let old = newest == 5;
        if old {
            sql.execute(&format!("SET search_path = xcomponent; {WAITING_5}"));
            let folder = tempfile::tempdir().unwrap();
            let new =
                sqlite::Sqlite::open(&folder.path().join("new.db"), sqlite::Config::default());
            let new = new.unwrap();
            a_small_life(&new);
            is_a_waiting_life(&open(&url), &new);
        } else {
            is_a_small_life(&open(&url));
        }
        let absent = "SELECT absent FROM xcomponent.retention";
        assert_eq!(sql.number(absent), 0);
    }
}

#[test]
fn tables_of_another_program_are_left_alone() {
    let server = server();
    let url = server.url("postgres");
    let sql = Sql::new(&url);
    sql.execute(
        "CREATE SCHEMA xcomponent; CREATE TABLE xcomponent.events (note text);
         CREATE TABLE public.fsm_events (note text)",
    );
    let message = refused(&url).to_string();
    assert!(message.contains("another program"), "{message}");
    sql.execute("DROP TABLE xcomponent.events");
    let store = open(&url);
    Shard::new(&store).create("O-1", "{}");
    assert_eq!(sql.number("SELECT count(*) FROM public.fsm_events"), 0);
    assert_eq!(sql.number("SELECT count(*) FROM xcomponent.fsm_events"), 1);
    assert_eq!(sql.number("SELECT count(*) FROM public.fsm_snapshots"), 1);
}

#[test]
fn tools_do_not_see_deleted_instances() {
    let server = server();
    let url = server.url("postgres");
    let store = open(&url);
    let mut shard = Shard::new(&store);
    shard.create("O-1", "{}");
    let order = shard.create("O-2", "{}");
    let ended = shard.enter(&order, "e1", "SHIP", "Done");
    shard.enter(&ended, "e2", "$deleted", "Done");
    let sql = Sql::new(&url);
    for view in ["fsm_events", "fsm_snapshots"] {
        let all = format!("SELECT count(*) FROM public.{view}");
        assert_eq!(sql.number(&all), 1, "{view}");
    }
}

#[test]
fn the_questions_of_the_documentation_are_answered() {
    let server = server();
    let url = server.url("postgres");
    let store = open(&url);
    let mut shard = Shard::new(&store);
    let order = shard.create("ORD-1", r#"{"orderId":"ORD-1"}"#);
    shard.enter(&order, "pay-1", "PAY", "Paid");
    let letter = shard.letter("late-1", Some("ORD-1"));
    shard.commit(Body::Parked(letter));
    let questions = questions("PostgreSQL");
    assert_eq!(questions.len(), 10);
    let sql = Sql::new(&url);
    sql.execute("SET search_path = xcomponent");
    let answered = questions.iter().filter(|question| {
        let rows = sql.rows(question);
        !rows.is_empty()
    });
    // All but those about refusals and log lines, of which there are none.
    assert_eq!(answered.count(), 8);
    let page = include_str!("../../TABLES.md");
    let index = page.split("```sql index\n").nth(1).unwrap();
    sql.execute(index.split("```").next().unwrap());
}

#[test]
fn tools_for_xcomponent_ai_find_their_tables() {
    let server = server();
    let url = server.url("postgres");
    let store = open(&url);
    let mut shard = Shard::new(&store);
    let order = shard.create("ORD-1", r#"{"orderId":"ORD-1","total":7}"#);
    shard.enter(&order, "pay-1", "PAY", "Paid");
    shard.create("ORD-2", r#"{"orderId":"ORD-2"}"#);
    let sql = Sql::new(&url);
    let found = sql.rows(
        "SELECT instance_id, event_type, from_state, to_state, machine_name, persisted_at,
           component_name, correlation_id, (context ->> 'total')::int
         FROM fsm_events
         WHERE context ->> 'orderId' = 'ORD-1' AND machine_name = 'Order' AND persisted_at > 0
           AND event_type = 'PAY'
         ORDER BY persisted_at DESC",
    );
    let [row] = &found[..] else {
        panic!("one payment, not {}", found.len());
    };
    let texts: Vec<&str> = [0, 1, 3, 4, 6, 7].iter().map(|n| row.get(n)).collect();
    assert_eq!(texts, ["ORD-1", "PAY", "Paid", "Order", "Shop", "pay-1"]);
    assert_eq!((row.get::<_, i64>(5), row.get::<_, i32>(8)), (2_000, 7));
    let created = "SELECT count(*) FROM fsm_events WHERE from_state = '' AND to_state = 'Open'";
    assert_eq!(sql.number(created), 2);
    let counted = sql.number(
        "SELECT event_count FROM fsm_snapshots
         WHERE context ->> 'orderId' = 'ORD-1' AND current_state = 'Paid'",
    );
    assert_eq!(counted, 2);
}

#[test]
fn what_the_database_cannot_hold_is_told_from_what_it_cannot_do_now() {
    let server = server();
    let store = open(&server.url("postgres"));
    let mut shard = Shard::new(&store);
    let order = shard.create("O-1", "{}");
    for n_others in [0, 100] {
        let entries = shard.kept_back(|shard| {
            for n in 0..n_others {
                shard.create(&format!("O-{n_others}-{n}"), "{}");
            }
            let mut bad = shard.handled(order.clone(), "e1", "PAY", Disposition::Ignored);
            // No door lets this through.
            bad.event.payload = Json::from_trusted("\"\0\"");
            let waits = shard.waits(&order, "e0", vec![deferred("d", 10)], &[]);
            bad.after = waits;
            shard.commit(Body::Handled(bad.into()));
        });
        let refused = store.commit(&entries, &nobody());
        assert!(matches!(refused, Err(Error::Unstorable(_))), "{refused:?}");
        assert_eq!(store.last_position().unwrap(), Position(1));
        let order = store.instance(&order.deployment.tenant, &order.id);
        assert_eq!(order.unwrap().unwrap().waiting().count(), 0);
    }
    Shard::new(&store).enter(&order, "e1", "PAY", "Paid");
}

#[test]
fn a_server_that_is_restarted_is_found_again() {
    let mut server = server();
    let store = open(&server.url("postgres"));
    let mut shard = Shard::new(&store);
    let order = shard.create("O-1", "{}");
    let tenant = shard.tenant().clone();
    let before = seen(&store, &tenant);
    server.stop().unwrap();
    assert!(matches!(store.probe(), Err(Error::Unavailable(_))));
    assert!(store.instance(&tenant, &id("O-1")).is_err());
    server.restart().unwrap();
    until("the store works again", || store.probe().is_ok());
    assert_eq!(seen(&store, &tenant), before);
    server.restart().unwrap();
    shard.enter(&order, "e1", "PAY", "Paid");
}

#[test]
fn a_host_that_lost_the_database_to_another_does_not_go_on() {
    let mut server = server();
    let url = server.url("postgres");
    let first = open(&url);
    let order = Shard::new(&first).create("O-1", "{}");
    server.restart().unwrap();
    // The second is quicker.
    let second = open(&url);
    Shard::new(&second).enter(&order, "e1", "PAY", "Paid");
    assert!(matches!(first.probe(), Err(Error::TakenOver)));
    drop(second);
    assert!(matches!(first.probe(), Err(Error::TakenOver)));
    assert!(matches!(first.last_position(), Err(Error::TakenOver)));
    open(&url);
}

#[test]
fn a_server_that_is_killed_loses_nothing_that_it_acknowledged() {
    const KILLS: usize = 4;
    let mut server = server();
    let url = server.url("postgres");
    let store = open(&url);
    let order = Shard::new(&store).create("O-1", "{}");
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sent = thread::scope(|threads| {
        let client = threads.spawn(|| send_until(&stop, &store, order, &acknowledged));
        for _ in 0..KILLS {
            let before = acknowledged.load(Ordering::Acquire);
            until("it goes on", || {
                acknowledged.load(Ordering::Acquire) > before + 50
            });
            server.kill().unwrap();
            server.restart().unwrap();
        }
        stop.store(true, Ordering::Release);
        client.join().unwrap()
    });
    let kept: Vec<String> = Sql::new(&url)
        .rows("SELECT event_id FROM xcomponent.events WHERE event = 'PAY' ORDER BY position")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(kept, sent);
    drop(store);
    let store = open(&url);
    let tenant = xcomponent_core::id::TenantId::default_tenant();
    let order = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
    assert_eq!(order.seq, 1 + sent.len() as u64);
}

/// Commits one event after the other as the driver does, and says which were acknowledged.
fn send_until(
    stop: &AtomicBool,
    store: &Postgres,
    mut order: Snapshot,
    acknowledged: &AtomicUsize,
) -> Vec<String> {
    let mut shard = Shard::new(store);
    let mut sent = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let event = format!("e{}", sent.len());
        let entries = shard.kept_back(|shard| {
            order = shard.handle(order.clone(), &event, "PAY", Disposition::Ignored);
        });
        until("it is committed", || is_committed(store, &entries));
        sent.push(event);
        acknowledged.store(sent.len(), Ordering::Release);
    }
    sent
}

fn is_committed(store: &Postgres, entries: &[Entry]) -> bool {
    match store.commit(entries, &nobody()) {
        Ok(()) => true,
        Err(Error::Unknown(_)) => {
            let mut last = Position(0);
            until("it is settled", || {
                store.last_position().is_ok_and(|found| {
                    last = found;
                    true
                })
            });
            last >= entries[0].position
        }
        Err(Error::Unavailable(_)) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// Waits until something has come about.
pub(crate) fn until(what: &str, mut has: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !has() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::park_timeout(Duration::from_millis(1));
    }
}
