//! Who may write: one host at a time, by a lease that is looked at in every transaction, also where
//! a pooler stands in between and no session lasts.

use std::time::Duration;

use xcomponent_core::record::{Disposition, Snapshot};
use xcomponent_host::store::{
    Error, Position, Store,
    postgres::{Config, OpenError, Postgres},
};
use xcomponent_servers::{PgBouncer, Postgres as Server};

use crate::{
    postgres::{Sql, config, open, refused, server, until},
    sample::{Shard, id, nobody},
};

/// A server behind a pooler that lends connections for a transaction each.
pub(crate) struct Pooled {
    pooler: PgBouncer,
    server: Server,
}

impl Pooled {
    pub(crate) fn start() -> Self {
        let server = server();
        let pooler = PgBouncer::start(&server).unwrap();
        Self { pooler, server }
    }

    pub(crate) fn open(&self) -> Postgres {
        open(&self.url())
    }

    fn url(&self) -> String {
        self.pooler.url("postgres")
    }

    /// The same database without the pooler.
    fn direct(&self) -> String {
        self.server.url("postgres")
    }
}

/// Opens a database that another host has and is not heard of any more.
fn take_over(url: &str, sql: &Sql) -> Postgres {
    let mut taken = None;
    until("the lease is taken over", || {
        // Whoever has it may renew it at any moment.
        sql.execute("UPDATE xcomponent.owner SET until = clock_timestamp()");
        taken = Postgres::open(&config(url)).ok();
        taken.is_some()
    });
    taken.unwrap()
}

/// Another host's lease, as the database has it.
fn leased(sql: &Sql, has_lock: bool, span: &str) {
    sql.execute(&format!(
        "UPDATE xcomponent.owner SET epoch = epoch + 1, writing = epoch + 1, holder = 'another',
           has_lock = {has_lock}, until = clock_timestamp() + interval '{span}'"
    ));
}

/// Whether everything that a host does that lost its lease is refused, and none of it is done.
fn is_fenced(store: &Postgres, shard: &mut Shard<'_>, order: &Snapshot) {
    for n_others in [0, 100] {
        let entries = shard.kept_back(|shard| {
            for n in 0..n_others {
                shard.create(&format!("late-{n}"), "{}");
            }
            shard.handle(order.clone(), "late", "PAY", Disposition::Ignored);
        });
        let refused = store.commit(&entries, &nobody());
        assert!(matches!(refused, Err(Error::TakenOver)), "{refused:?}");
    }
    assert!(matches!(store.probe(), Err(Error::TakenOver)));
    assert!(matches!(store.last_position(), Err(Error::TakenOver)));
    assert!(store.is_taken_over());
}

#[test]
fn a_host_that_stood_still_while_another_took_over_writes_nothing() {
    let pooled = Pooled::start();
    let sql = Sql::new(&pooled.direct());
    for url in [pooled.url(), pooled.direct()] {
        let first = open(&url);
        let mut shard = Shard::new(&first);
        let before = first.last_position().unwrap();
        let order = shard.create(&format!("O-{before}"), "{}");
        let second = take_over(&url, &sql);
        is_fenced(&first, &mut shard, &order);
        // It may be asked all the same.
        let tenant = shard.tenant().clone();
        assert!(first.instance(&tenant, &order.id).unwrap().is_some());
        drop(first);
        // What it let go of was not its own any more.
        assert!(matches!(refused(&url), OpenError::InUse { .. }));
        assert_eq!(second.last_position().unwrap(), Position(before.0 + 1));
        Shard::new(&second).enter(&order, "e1", "PAY", "Paid");
    }
    assert!(sql.number("SELECT epoch FROM xcomponent.owner") >= 4);
    let late = "SELECT count(*) FROM xcomponent.events WHERE event_id LIKE 'late%'";
    assert_eq!(sql.number(late), 0);
}

#[test]
fn what_a_host_was_in_the_middle_of_keeps_nobody_waiting() {
    let pooled = Pooled::start();
    let first = pooled.open();
    let order = Shard::new(&first).create("O-1", "{}");
    let stuck = Sql::new(&pooled.direct());
    stuck.execute("BEGIN; UPDATE xcomponent.instances SET machine = machine");
    let sql = Sql::new(&pooled.direct());
    let second = take_over(&pooled.url(), &sql);
    Shard::new(&second).enter(&order, "e1", "SHIP", "Done");
}

#[test]
fn a_lease_that_is_let_go_of_is_free_at_once() {
    let pooled = Pooled::start();
    let sql = Sql::new(&pooled.direct());
    let config = Config {
        patience: Duration::ZERO,
        ..config(&pooled.url())
    };
    for n in 0..3 {
        let store = Postgres::open(&config).unwrap();
        Shard::new(&store).create(&format!("O-{n}"), "{}");
        drop(store);
        let free = "SELECT count(*) FROM xcomponent.owner WHERE holder IS NULL";
        assert_eq!(sql.number(free), 1);
    }
}

#[test]
fn hosts_through_a_pooler_and_without_one_keep_each_other_away() {
    let pooled = Pooled::start();
    for (mine, other) in [
        (pooled.url(), pooled.direct()),
        (pooled.direct(), pooled.url()),
        (pooled.url(), pooled.url()),
    ] {
        let store = open(&mine);
        assert!(matches!(refused(&other), OpenError::InUse { .. }));
        store.probe().unwrap();
    }
}

#[test]
fn a_host_whose_session_is_gone_is_not_waited_for() {
    let pooled = Pooled::start();
    let sql = Sql::new(&pooled.direct());
    drop(pooled.open());
    leased(&sql, true, "1 hour");
    assert!(matches!(refused(&pooled.url()), OpenError::InUse { .. }));
    drop(open(&pooled.direct()));
    // Without a session's lock only time tells.
    leased(&sql, false, "1 hour");
    let OpenError::InUse { left, .. } = refused(&pooled.direct()) else {
        panic!("it is in use");
    };
    assert!(left > Duration::from_secs(3_000), "{left:?}");
}

#[test]
fn a_lease_that_nobody_renews_is_waited_for() {
    let pooled = Pooled::start();
    let sql = Sql::new(&pooled.direct());
    drop(pooled.open());
    leased(&sql, false, "1 second");
    // Longer than the patience of this test's hosts.
    let store = pooled.open();
    let running = "SELECT count(*) FROM xcomponent.owner WHERE holder <> 'another'";
    assert_eq!(sql.number(running), 1);
    store.probe().unwrap();
}

#[test]
fn a_program_without_leases_keeps_others_away_with_its_lock() {
    let pooled = Pooled::start();
    let sql = Sql::new(&pooled.direct());
    // As the program before took it.
    let hash = "('x' || substr(encode(sha256('xcomponent'), 'hex'), 1, 8))::bit(32)::int";
    sql.execute(&format!("SELECT pg_advisory_lock(2019782000, {hash})"));
    for url in [pooled.url(), pooled.direct()] {
        assert!(matches!(refused(&url), OpenError::InUse { .. }));
    }
    drop(sql);
    until("it is free", || {
        Postgres::open(&config(&pooled.url())).is_ok()
    });
}

#[test]
fn a_pooler_that_is_away_for_a_moment_is_found_again() {
    let mut pooled = Pooled::start();
    let store = pooled.open();
    let order = Shard::new(&store).create("O-1", "{}");
    pooled.server.restart().unwrap();
    until("the store works again", || store.probe().is_ok());
    let mut shard = Shard::new(&store);
    shard.enter(&order, "e1", "PAY", "Paid");
    let tenant = shard.tenant().clone();
    let order = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
    assert_eq!(order.seq, 2);
    pooled.pooler.kill().unwrap();
    assert!(matches!(
        store.probe(),
        Err(Error::Unavailable(_) | Error::Unknown(_))
    ));
}
