//! What callers ask and are answered.

use xcomponent_core::{
    effect::{Refused, Reply},
    id::{EventName, MachineName},
    input::Request,
    json::Json,
    record::{Disposition, SelectBy, Selector},
};
use xcomponent_host::driver::PageRequest;

use crate::world::{Setup, World, handled, sending, soon};

const ORDER: &str = r"
name: Shop
version: '1'
stateMachines:
  - name: Order
    initialState: Created
    states: [{name: Created}, {name: Paid}, {name: Done, type: final}]
    transitions:
      - {from: Created, to: Paid, event: PAY}
      - {from: Paid, to: Done, event: SHIP}
";

#[tokio::test]
async fn an_answer_says_what_became_of_an_event_and_the_history_keeps_it() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, r#"{"total": 5}"#).await;
    let paid = world.handled(&order, "PAY").await;
    assert_eq!(
        (paid.disposition, paid.to_name().as_str()),
        (Disposition::Transitioned, "Paid")
    );
    let history = world
        .handle
        .history(&world.tenant, &order, PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(history.items.len(), 2);
    let stored = world
        .handle
        .instance(&world.tenant, &order)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((stored.state().name.as_str(), stored.seq), ("Paid", 2));
}

#[tokio::test]
async fn a_finished_instance_leaves_memory_and_is_still_answered_for() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 1, "{}").await;
    world.handled(&order, "PAY").await;
    world.handled(&order, "SHIP").await;
    let late = world.handled(&order, "PAY").await;
    assert_eq!(late.disposition, Disposition::Rejected);
    assert_eq!(late.to_name().as_str(), "Done");
}

#[tokio::test]
async fn an_event_for_nobody_is_refused() {
    let world = World::start(ORDER, Setup::default()).await;
    let nobody = world.handle.new_instance_id(None);
    let reply = soon(world.send(&nobody, "PAY")).await;
    assert!(matches!(reply, Reply::Refused(Refused::UnknownInstance(id)) if id == nobody));
}

#[tokio::test]
async fn a_batch_is_answered_line_by_line_in_order() {
    let world = World::start(ORDER, Setup::default()).await;
    let mut lines = Vec::new();
    for number in 0..20_000_u16 {
        let id = world.handle.new_instance_id(Some(number << 2));
        lines.push(world.creation("Order", id.clone(), "{}"));
        lines.push(sending(&id, "PAY"));
        lines.push(sending(&id, "PAY"));
    }
    let replies = soon(world.handle.request_batch(&world.tenant, lines)).await;
    assert_eq!(replies.len(), 60_000);
    for three in replies.chunks(3) {
        let [created, first, second] = three else {
            panic!("three lines each")
        };
        assert!(matches!(
            created,
            Reply::Created {
                existing: false,
                ..
            }
        ));
        assert_eq!(
            handled(first.clone()).disposition,
            Disposition::Transitioned
        );
        assert_eq!(handled(second.clone()).disposition, Disposition::Ignored);
    }
    assert_eq!(world.handle.gauges().commit.records, 60_000);
}

#[tokio::test]
async fn an_empty_batch_is_answered() {
    let world = World::start(ORDER, Setup::default()).await;
    assert!(
        soon(world.handle.request_batch(&world.tenant, Vec::new()))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_broadcast_counts_the_instances_of_all_shards() {
    let world = World::start(ORDER, Setup::default()).await;
    for number in 0..10 {
        let order = world.create("Order", number % 2, "{}").await;
        if number < 3 {
            world.handled(&order, "PAY").await;
        }
    }
    let selector = Selector {
        component: world.component(),
        machine: Some(MachineName::new("Order")),
        state: None,
        by: SelectBy::MachineRules,
    };
    let request = world.handle.broadcast(
        selector.into(),
        EventName::new("PAY"),
        Json::empty(),
        None,
        None,
    );
    let batch = world.handle.request_batch(&world.tenant, vec![request]);
    match soon(batch).await.remove(0) {
        Reply::Tally { tally, .. } => {
            assert_eq!(
                (tally.matched, tally.transitioned, tally.ignored),
                (10, 7, 3)
            );
        }
        other => panic!("not counted: {other:?}"),
    }
}

#[tokio::test]
async fn a_census_adds_up_over_all_shards() {
    let world = World::start(ORDER, Setup::default()).await;
    for number in 0..6 {
        world.create("Order", number % 2, "{}").await;
    }
    match world
        .handle
        .request(&world.tenant, Request::Census { component: None })
        .await
    {
        Reply::Census(counts) => {
            assert_eq!(counts.len(), 1);
            assert_eq!(
                (counts[0].state.as_str(), counts[0].instances),
                ("Created", 6)
            );
        }
        other => panic!("not counted: {other:?}"),
    }
}
