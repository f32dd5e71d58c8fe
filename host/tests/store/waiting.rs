//! What waits at instances: rows of their own, as new as the records that say so.

use std::sync::Arc;

use xcomponent_core::{
    id::{EventId, TenantId},
    json::Json,
    record::{
        Began, Body, Delayed, Disposition, Mail, Outgoing, Retry, Snapshot, Target, Waiting,
        WaitingKind, Waits,
    },
    time::Timestamp,
};
use xcomponent_host::store::{
    Store,
    query::{InstanceFilter, PageRequest},
};

use crate::sample::{Shard, event_id, id, root, sample_event};

/// The largest payload there is, about.
pub(crate) const LARGE: usize = 1_000_000;

fn mail(event: &str, bytes: usize) -> Mail {
    let mut sample = sample_event(event, "LATE");
    let text = format!(
        r#"{{ "of": "{event}", "filler": "{}" }}"#,
        "x".repeat(bytes)
    );
    sample.payload = Json::parse(&text).unwrap();
    Mail {
        event: sample,
        cause: root(event),
        sent_at: Some(Timestamp(4_000)),
    }
}

/// An event that is kept for a later state.
pub(crate) fn deferred(event: &str, bytes: usize) -> Waiting {
    Waiting::Deferred(Arc::new(mail(event, bytes)))
}

/// A delayed send to another instance.
pub(crate) fn send(event: &str, due: u64) -> Waiting {
    let Mail { event, cause, .. } = mail(event, 10);
    let to = Target::Instance {
        component: xcomponent_core::id::ComponentName::new("Shop"),
        id: id("O-9"),
    };
    let outgoing = Outgoing {
        n: 1,
        to,
        event,
        cause,
        elsewhere: false,
    };
    Waiting::Send(Delayed {
        due: Timestamp(due),
        outgoing: Arc::new(outgoing),
        fired: false,
    })
}

/// An event that is tried again.
pub(crate) fn retry(event: &str, attempts: u32) -> Waiting {
    Waiting::Retry(Arc::new(Retry {
        mail: mail(event, 10),
        at: Timestamp(9_000 + u64::from(attempts)),
        attempts,
        replays: Some(event_id("parked")),
    }))
}

impl Shard<'_> {
    /// An event after which these wait, and those do no more.
    pub(crate) fn waits(
        &mut self,
        after: &Snapshot,
        event: &str,
        began: Vec<Waiting>,
        ended: &[(WaitingKind, &str)],
    ) -> Snapshot {
        let mut handled = self.handled(after.clone(), event, "PAY", Disposition::Ignored);
        let ended = ended.iter().map(|(kind, id)| (*kind, event_id(id)));
        handled.waits = Some(Box::new(Waits {
            began: began.into_iter().map(Began::from).collect(),
            ended: ended.collect(),
        }));
        let mut whole = handled.after.clone();
        whole.wait(&Body::Handled(Arc::new(handled.clone())));
        handled.after = whole.clone();
        self.commit(Body::Handled(Arc::new(handled)));
        whole
    }
}

/// Whether an instance comes back as it was, in each way in which it is read.
fn comes_back(store: &dyn Store, tenant: &TenantId, expected: &Snapshot) {
    let expected_text = format!("{expected:?}");
    let asked = [(tenant.clone(), expected.id.clone())];
    let mut loaded = Vec::new();
    store
        .load(&|id| *id == expected.id, &mut |found| loaded.push(found))
        .unwrap();
    let found = store.instance(tenant, &expected.id).unwrap();
    let reloaded = store.reload(&asked).unwrap();
    for found in found.into_iter().chain(reloaded.instances).chain(loaded) {
        assert_eq!(format!("{found:?}"), expected_text);
    }
    // A page names it.
    let page = PageRequest::first(100);
    let page = store.instances(tenant, &InstanceFilter::default(), page);
    let listed = page.unwrap().items.into_iter();
    let listed = listed.filter(|listed| listed.id == expected.id);
    let names = |snapshot: &Snapshot| -> Vec<(WaitingKind, EventId, Option<Timestamp>)> {
        let waiting = snapshot.waiting();
        let name = |item: Waiting| (item.kind(), item.event().id.clone(), item.due());
        waiting.map(name).collect()
    };
    let listed: Vec<_> = listed.map(|listed| names(&listed)).collect();
    assert_eq!(listed, [names(expected)]);
}

pub(crate) fn what_waits_comes_back_with_its_instance_until_it_ends(store: &dyn Store) {
    use WaitingKind::{Deferred, Retry, Send};
    let mut shard = Shard::new(store);
    let tenant = shard.tenant().clone();
    let order = shard.create("O-1", "{}");
    let other = shard.create("O-2", "{}");
    let other = shard.waits(&other, "e0", vec![deferred("d1", 10), send("s1", 7)], &[]);
    let order = shard.waits(
        &order,
        "e1",
        vec![send("s2", 7_000), send("s1", 7_000), send("s3", 6_000)],
        &[],
    );
    comes_back(store, &tenant, &order);
    let order = shard.waits(&order, "e2", vec![deferred("d2", LARGE)], &[]);
    let order = shard.waits(&order, "e3", vec![deferred("d1", 10)], &[]);
    let order = shard.waits(&order, "e4", vec![retry("r", 1)], &[(Send, "s1")]);
    comes_back(store, &tenant, &order);
    // What begins under a name replaces what waits under it.
    let order = shard.waits(&order, "r", vec![retry("r", 2)], &[]);
    comes_back(store, &tenant, &order);
    // Rows that are behind say nothing about what waits.
    while store.tidy().unwrap() {}
    comes_back(store, &tenant, &order);
    let order = shard.waits(&order, "d2", vec![], &[(Deferred, "d2"), (Retry, "r")]);
    comes_back(store, &tenant, &order);
    let ended = [(Deferred, "d1"), (Send, "s2"), (Send, "s3")];
    let order = shard.waits(&order, "d1", vec![], &ended);
    assert!(order.extra.is_none());
    comes_back(store, &tenant, &order);
    comes_back(store, &tenant, &other);
}

pub(crate) fn a_batch_has_the_last_word_of_its_records(store: &dyn Store) {
    use WaitingKind::{Deferred, Send};
    // At once, and as more than one statement takes.
    for n_others in [0, 70] {
        let mut shard = Shard::new(store);
        let tenant = shard.tenant().clone();
        let mut order = shard.create(&format!("O-{n_others}"), "{}");
        order = shard.waits(&order, "e0", vec![deferred("kept", 10)], &[]);
        shard.at_once(|shard| {
            for n in 0..n_others {
                shard.create(&format!("N-{n}"), "{}");
            }
            order = shard.waits(&order, "e1", vec![deferred("brief", 10), send("s", 1)], &[]);
            order = shard.waits(&order, "e2", vec![], &[(Deferred, "brief"), (Send, "s")]);
            order = shard.waits(&order, "e3", vec![send("s", 2)], &[(Deferred, "kept")]);
            order = shard.waits(&order, "e4", vec![deferred("kept", 20)], &[]);
        });
        comes_back(store, &tenant, &order);
    }
}

pub(crate) fn more_than_one_statement_takes_waits(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let tenant = shard.tenant().clone();
    let order = shard.create("O-1", "{}");
    let sixteen = (0..16).map(|n| deferred(&format!("d{n}"), LARGE));
    let order = shard.waits(&order, "e1", sixteen.collect(), &[]);
    comes_back(store, &tenant, &order);
}

pub(crate) fn records_say_what_began_and_ended_and_repeat_nothing(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let tenant = shard.tenant().clone();
    let order = shard.create("O-1", "{}");
    let began = vec![deferred("d", 10), send("s", 7_000), retry("r", 1)];
    let order = shard.waits(&order, "e1", began, &[]);
    let order = shard.waits(&order, "e2", vec![], &[(WaitingKind::Send, "s")]);
    shard.handle(order, "e3", "PAY", Disposition::Ignored);
    let history = store.history(&tenant, &id("O-1"), PageRequest::first(3));
    let told: Vec<String> = (history.unwrap().items.iter())
        .map(|entry| {
            let body = &entry.record.body;
            let after = body.snapshot().unwrap();
            assert_eq!(after.waiting().count(), 0);
            let began = body.began().iter();
            let began = began.map(|began| {
                assert!(began.what.is_none());
                format!("+{} {}", began.kind, began.id)
            });
            let ended = body.ended().map(|(kind, id)| format!("-{kind} {id}"));
            let told: Vec<String> = began.chain(ended).collect();
            format!("{} {}", told.join(" "), after.waiting_bytes() > 2_000)
        })
        .collect();
    assert_eq!(
        told,
        [" true", "-send s true", "+deferred d +send s +retry r true"]
    );
}

pub(crate) fn an_ended_instance_that_owes_a_send_stays_until_it_left(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let tenant = shard.tenant().clone();
    let order = shard.create("O-1", "{}");
    let order = shard.waits(&order, "e1", vec![send("s", 7_000)], &[]);
    let ended = shard.enter(&order, "e2", "SHIP", "Done");
    shard.now(9_000_000);
    shard.create("O-2", "{}");
    let everything = xcomponent_host::store::retention::Retention {
        age: Some(xcomponent_core::time::Duration(1)),
        records: None,
    };
    let everything = everything.at(Timestamp(9_000_000), xcomponent_core::time::Duration(1));
    let shorten = || {
        while store.tidy().unwrap() {}
        while store.shorten(&everything).unwrap() {}
    };
    shorten();
    comes_back(store, &tenant, &ended);
    let Some(Waiting::Send(delayed)) = ended.waiting().next() else {
        panic!("it owes a send");
    };
    let outgoing = Outgoing::clone(&delayed.outgoing);
    let mut departed = xcomponent_core::record::Departed {
        after: ended,
        outgoing,
    };
    let body = Body::Departed(Arc::new(departed.clone()));
    departed.after.wait(&body);
    assert!(departed.after.extra.is_none());
    shard.commit(Body::Departed(Arc::new(departed)));
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |found| live.push(found.id.to_string()))
        .unwrap();
    assert_eq!(live, ["O-2"]);
}

/// Instances at which something waits in each way: one whose row is behind, two that have ended, one
/// that waits for nothing any more.
pub(crate) fn a_waiting_life(store: &dyn Store, mut then: impl FnMut()) {
    use WaitingKind::Deferred;
    let mut shard = Shard::new(store);
    let created: Vec<Snapshot> = (1..=4)
        .map(|n| shard.create(&format!("W-{n}"), r#"{"total":7}"#))
        .collect();
    then();
    let began = vec![deferred("d1", 10), send("s1", 7_000), retry("r1", 1)];
    let order = shard.waits(&created[0], "w1", began, &[]);
    then();
    let began = vec![send("s2", 6_000), deferred("d2", 10)];
    shard.waits(&order, "w2", began, &[(Deferred, "d1")]);
    then();
    let order = shard.waits(&created[1], "w3", vec![send("s1", 8_000)], &[]);
    then();
    shard.enter(&order, "w4", "SHIP", "Done");
    then();
    let order = shard.waits(&created[2], "w5", vec![deferred("d1", 10)], &[]);
    then();
    shard.enter(&order, "w6", "SHIP", "Done");
    then();
    let order = shard.waits(&created[3], "w7", vec![deferred("d1", 10)], &[]);
    then();
    shard.waits(&order, "w8", vec![], &[(Deferred, "d1")]);
    then();
}

/// Whether a database of before what waits had rows of its own is like a new one to which the same
/// happened.
pub(crate) fn is_a_waiting_life(old: &dyn Store, new: &dyn Store) {
    a_waiting_life(new, || ());
    let tenant = TenantId::default_tenant();
    for n in 1..=4 {
        let id = id(&format!("W-{n}"));
        let expected = new.instance(&tenant, &id).unwrap().unwrap();
        assert_eq!(expected.waiting().count(), [4, 1, 1, 0][n - 1]);
        comes_back(new, &tenant, &expected);
        comes_back(old, &tenant, &expected);
        let page = PageRequest::first(10);
        let records = |store: &dyn Store| store.history(&tenant, &id, page).unwrap().items.len();
        assert_eq!(records(old), records(new));
    }
    let live = |store: &dyn Store| {
        let mut live = Vec::new();
        store
            .load(&|_| true, &mut |found| live.push(found.id.to_string()))
            .unwrap();
        live.sort();
        live
    };
    assert_eq!(live(old), live(new));
    // It goes on like a new one.
    let mut shard = Shard::new(old);
    let order = old.instance(&tenant, &id("W-1")).unwrap().unwrap();
    let order = shard.waits(&order, "w9", vec![], &[(WaitingKind::Send, "s1")]);
    comes_back(old, &tenant, &order);
}
