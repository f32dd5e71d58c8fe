//! Instances: found, loaded, listed, counted.

use serde_json::json;
use xcomponent_core::{
    definition::Operator,
    id::{InstanceId, MachineName, PartitionCount, StateName, TenantId, Version},
    json::{Json, Path},
    record::{Body, Disposition, Snapshot, Status},
};
use xcomponent_host::store::{
    Entry, Store,
    query::{InstanceFilter, Kind, PageRequest, Where},
};

use crate::{
    sample::{Shard, id},
    waiting::deferred,
};

fn ids(instances: &[Snapshot]) -> Vec<String> {
    instances
        .iter()
        .map(|instance| instance.id.to_string())
        .collect()
}

fn passing(store: &dyn Store, filter: &InstanceFilter) -> Vec<String> {
    let tenant = TenantId::default_tenant();
    let page = store
        .instances(&tenant, filter, PageRequest::first(100))
        .unwrap();
    ids(&page.items)
}

pub(crate) fn an_instance_is_as_its_last_record_left_it(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let created = shard.create("O-1", r#"{"total":7}"#);
    let paid = shard.enter(&created, "e1", "PAY", "Paid");
    shard.enter(&paid, "e2", "SHIP", "Done");
    let tenant = shard.tenant();
    let found = store.instance(tenant, &id("O-1")).unwrap().unwrap();
    assert_eq!((found.seq, found.status), (3, Status::Completed));
    assert_eq!(found.state().name.as_str(), "Done");
    assert_eq!(found.context.as_str(), r#"{"total":7}"#);
    assert!(store.instance(tenant, &id("O-2")).unwrap().is_none());
    let asked = [(tenant.clone(), id("O-1")), (tenant.clone(), id("O-2"))];
    assert_eq!(ids(&store.reload(&asked).unwrap().instances), ["O-1"]);
}

pub(crate) fn what_goes_on_is_loaded_by_partition(store: &dyn Store) {
    let count = PartitionCount::new(4).unwrap();
    let mut shard = Shard::new(store);
    let mut live = Vec::new();
    for n in 0..25 {
        let (name, event) = (format!("O-{n}"), format!("e{n}"));
        match n % 5 {
            0 => {
                let created = shard.create(&name, "{}");
                shard.enter(&created, &event, "SHIP", "Done");
            }
            1 => {
                let created = shard.create_entry_point(&name);
                shard.enter(&created, &event, "SHIP", "Done");
                live.push(created.id);
            }
            // It has still to give back what it deferred.
            2 => {
                let created = shard.create(&name, "{}");
                let created = shard.waits(&created, "late", vec![deferred("late", 10)], &[]);
                shard.enter(&created, &event, "SHIP", "Done");
                live.push(created.id);
            }
            _ => live.push(shard.create(&name, "{}").id),
        }
    }
    while store.tidy().unwrap() {}
    let wanted = [count.partition(&live[0]), count.partition(&live[1])];
    let is_wanted = |id: &InstanceId| wanted.contains(&count.partition(id));
    let mut loaded = Vec::new();
    store
        .load(&is_wanted, &mut |snapshot| loaded.push(snapshot))
        .unwrap();
    let mut loaded = ids(&loaded);
    let here = live.iter().filter(|id| is_wanted(id));
    let mut expected: Vec<_> = here.map(ToString::to_string).collect();
    loaded.sort();
    expected.sort();
    assert_eq!(loaded, expected);
}

pub(crate) fn a_search_that_finds_little_ends_now_and_then(store: &dyn Store) {
    let mut shard = Shard::new(store);
    shard.create("wanted", r#"{"text":"needle"}"#);
    let hay = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000));
    for n in 0..70 {
        shard.create(&format!("O-{n}"), &hay);
    }
    let filter = InstanceFilter {
        text: Some("needle".into()),
        ..InstanceFilter::default()
    };
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut page = PageRequest::first(10);
    loop {
        let next = store.instances(shard.tenant(), &filter, page).unwrap();
        found.extend(ids(&next.items));
        pages += 1;
        page.after = next.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec!["wanted".to_owned()], 2));
}

pub(crate) fn a_list_is_read_page_by_page_the_last_created_first(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let first = shard.create("O-0", "{}");
    for n in 1..7 {
        shard.create(&format!("O-{n}"), "{}");
    }
    shard.enter(&first, "e", "PAY", "Paid");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { after, limit: 3 };
        let filter = InstanceFilter::default();
        let page = store.instances(shard.tenant(), &filter, page).unwrap();
        assert!(page.items.len() <= 3);
        seen.extend(ids(&page.items));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["O-6", "O-5", "O-4", "O-3", "O-2", "O-1", "O-0"]);
}

pub(crate) fn filters_pass_what_they_name(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let open = shard.create("O-1", r#"{"total":7,"customer":{"name":"Ada"}}"#);
    shard.enter(&open, "e1", "PAY", "Paid");
    shard.create("O-2", r#"{"total":9}"#);
    let bill = shard.create_of(1, "B-1", r#"{"total":7}"#);
    shard.enter(&bill, "e2", "PAY", "Done");
    shard.switch("2");
    shard.create("O-3", "{}");
    let all = InstanceFilter::default();
    assert_eq!(passing(store, &all), ["O-3", "B-1", "O-2", "O-1"]);
    let condition = |path: &str, operator, value| Where {
        path: Path::parse(path).unwrap(),
        operator,
        value: Json::from_value(&value),
    };
    for (filter, expected) in [
        (
            InstanceFilter {
                machine: Some(MachineName::new("Bill")),
                ..all.clone()
            },
            &["B-1"][..],
        ),
        (
            InstanceFilter {
                state: Some(StateName::new("Paid")),
                ..all.clone()
            },
            &["O-1"],
        ),
        (
            InstanceFilter {
                status: Some(Status::Completed),
                ..all.clone()
            },
            &["B-1"],
        ),
        (
            InstanceFilter {
                version: Some(Version::new("2")),
                ..all.clone()
            },
            &["O-3"],
        ),
        (
            InstanceFilter {
                conditions: vec![condition("total", Operator::GreaterOrEqual, json!(8))],
                ..all.clone()
            },
            &["O-2"],
        ),
        (
            InstanceFilter {
                conditions: vec![condition("customer.name", Operator::Equal, json!("Ada"))],
                ..all.clone()
            },
            &["O-1"],
        ),
        (
            InstanceFilter {
                text: Some("B-".to_owned()),
                ..all
            },
            &["B-1"],
        ),
    ] {
        assert_eq!(passing(store, &filter), expected, "{filter:?}");
    }
}

pub(crate) fn an_instance_that_was_ended_is_found_as_such(store: &dyn Store) {
    let mut shard = Shard::new(store);
    shard.create("O-1", "{}");
    let created = shard.create("O-2", "{}");
    let ended = shard.enter(&created, "e1", "$terminated", "Open");
    let filter = InstanceFilter {
        status: Some(Status::Terminated),
        ..InstanceFilter::default()
    };
    assert_eq!(passing(store, &filter), ["O-2"]);
    let tenant = shard.tenant();
    let found = store.instance(tenant, &id("O-2")).unwrap().unwrap();
    assert_eq!(found.status, Status::Terminated);
    let counted = store.instance_counts(tenant, &filter).unwrap();
    let counted: Vec<_> = counted.iter().map(|count| count.instances).collect();
    assert_eq!(counted, [1]);
    let history = store.history(tenant, &id("O-2"), PageRequest::first(10));
    let history = history.unwrap().items;
    let is_end = |entry: &&Entry| Kind::of(&entry.record) == Kind::Terminated;
    let end = history.iter().find(is_end).unwrap();
    let Body::Handled(end) = &end.record.body else {
        panic!("an event ended it");
    };
    assert_eq!(end.disposition, Disposition::Transitioned);
    assert_eq!(end.after.seq, ended.seq);
}

pub(crate) fn kinds_are_counted(store: &dyn Store) {
    let mut shard = Shard::new(store);
    for n in 0..5 {
        let created = shard.create(&format!("O-{n}"), "{}");
        if n < 2 {
            shard.enter(&created, &format!("e{n}"), "PAY", "Paid");
        }
    }
    let counted = store.instance_counts(shard.tenant(), &InstanceFilter::default());
    let counted = counted.unwrap();
    let kinds: Vec<_> = counted
        .iter()
        .map(|count| (count.state.as_str(), count.instances))
        .collect();
    assert_eq!(kinds, [("Open", 3), ("Paid", 2)]);
}

pub(crate) fn tenants_do_not_see_each_other(store: &dyn Store) {
    let mut own = Shard::new(store);
    own.create("O-1", r#"{"of":"own"}"#);
    let mut other = Shard::of(store, "other");
    let theirs = other.create("O-1", r#"{"of":"other"}"#);
    other.handle(theirs, "e1", "PAY", Disposition::Ignored);
    for (tenant, of, records) in [("default", "own", 1), ("other", "other", 2)] {
        let tenant = TenantId::new(tenant);
        let found = store.instance(&tenant, &id("O-1")).unwrap().unwrap();
        assert_eq!(found.context.value()["of"], of);
        let page = PageRequest::first(10);
        let listed = store.instances(&tenant, &InstanceFilter::default(), page);
        assert_eq!(ids(&listed.unwrap().items), ["O-1"]);
        let history = store.history(&tenant, &id("O-1"), page).unwrap();
        assert_eq!(history.items.len(), records);
    }
}
