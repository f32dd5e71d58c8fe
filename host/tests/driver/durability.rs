//! Commits that fail: nothing acknowledged is lost, nothing else is claimed, and work goes on.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use xcomponent_core::{
    call::{Answer, Outcome, Send},
    id::{EventName, InstanceId},
    json::Json,
    limits::Limits,
    record::Disposition,
};
use xcomponent_host::driver::PageRequest;

use crate::{
    faulty::{Failure, Faulty},
    script::{Behaviour, Scripted, willing},
    world::{Setup, World, handled, is_busy, is_not_committed, sending, soon, state_of},
};

const ORDER: &str = r"
name: Shop
version: '1'
stateMachines:
  - name: Order
    initialState: Created
    states:
      - name: Created
      - {name: Paid, cascadingRules: [{targetMachine: Ledger, event: BOOK}]}
      - name: Ordered
      - name: Shipped
    transitions:
      - {from: Created, to: Paid, event: PAY}
      - {from: Created, to: Ordered, event: ORDER, triggeredMethod: order}
      - {from: Paid, to: Shipped, event: SHIP}
  - name: Ledger
    initialState: Empty
    states: [{name: Empty}, {name: Booked}]
    transitions:
      - {from: Empty, to: Booked, event: BOOK, triggeredMethod: book}
";

fn stored_slowly() -> Setup {
    Setup {
        store: Arc::new(Faulty::new(false)),
        ..Setup::default()
    }
}

#[tokio::test]
async fn what_is_not_committed_did_not_happen_and_may_be_tried_again() {
    for setup in [Setup::default(), stored_slowly()] {
        let world = World::start(ORDER, setup).await;
        let order = world.create("Order", 0, "{}").await;
        world.handled(&order, "PAY").await;
        world.store.fail([Some(Failure::Refused)]);
        assert!(is_not_committed(&soon(world.send(&order, "SHIP")).await));
        assert_eq!(soon(world.state(&order)).await, "Paid");
        assert_eq!(
            world.handled(&order, "SHIP").await.disposition,
            Disposition::Transitioned
        );
        let history = world
            .handle
            .history(&world.tenant, &order, PageRequest::first(10))
            .await
            .unwrap();
        assert_eq!(history.items.len(), 3);
        assert_eq!(world.handle.gauges().commit.failures, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_events_are_refused_at_the_door_and_reads_are_answered() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    world.store.refuse_all();
    assert!(is_not_committed(&soon(world.send(&order, "PAY")).await));
    // Until somebody asked it once more it may only have stumbled.
    let failures = || world.handle.gauges().commit.failures;
    soon(async {
        let mut before = 0;
        while before < failures() {
            before = failures();
            assert!(is_not_committed(&world.send(&order, "PAY").await));
        }
    })
    .await;
    let before = failures();
    for _ in 0..100 {
        assert!(is_not_committed(&soon(world.send(&order, "PAY")).await));
    }
    assert_eq!(failures(), before);
    assert_eq!(soon(world.state(&order)).await, "Created");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_cannot_be_read_callers_are_refused_and_the_host_is_not_ready() {
    for setup in [Setup::default(), stored_slowly()] {
        let world = World::start(ORDER, setup).await;
        let unknown = world.handle.new_instance_id(None);
        world.store.be_unreadable(true);
        assert!(is_not_committed(&soon(world.send(&unknown, "PAY")).await));
        assert!(world.handle.store_problem().is_some());
        // Nobody needs to ask for the host to find out that the store works again.
        world.store.be_unreadable(false);
        soon(async {
            while world.handle.store_problem().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let order = world.create("Order", 0, "{}").await;
        let paid = world.handled(&order, "PAY").await;
        assert_eq!(paid.disposition, Disposition::Transitioned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_nobody_reads_is_checked_all_the_same() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    world.store.be_unreadable(true);
    soon(async {
        while world.handle.store_problem().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(is_not_committed(&soon(world.send(&order, "PAY")).await));
    assert_eq!(soon(world.state(&order)).await, "Created");
}

#[tokio::test]
async fn a_creation_that_is_not_committed_leaves_nothing_behind() {
    let world = World::start(ORDER, Setup::default()).await;
    let id = world.handle.new_instance_id(None);
    world.store.fail([Some(Failure::Refused)]);
    let creation = world.creation("Order", id.clone(), "{}");
    assert!(is_not_committed(
        &soon(world.handle.request(&world.tenant, creation.clone())).await
    ));
    assert!(
        world
            .handle
            .instance(&world.tenant, &id)
            .await
            .unwrap()
            .is_none()
    );
    let again = soon(world.handle.request(&world.tenant, creation)).await;
    assert!(matches!(
        again,
        xcomponent_core::effect::Reply::Created {
            existing: false,
            ..
        }
    ));
}

#[tokio::test]
async fn a_commit_without_an_answer_is_settled_by_what_the_store_has() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 1, "{}").await;
    world.store.fail([Some(Failure::LostBatch)]);
    assert!(is_not_committed(&soon(world.send(&order, "PAY")).await));
    world.store.fail([Some(Failure::LostAnswer)]);
    assert_eq!(
        world.handled(&order, "PAY").await.disposition,
        Disposition::Transitioned
    );
    assert_eq!(world.state(&order).await, "Paid");
}

#[tokio::test]
async fn a_failed_batch_voids_what_other_shards_made_of_it() {
    let (bookings, mut booked) = mpsc::channel(10);
    let guests = Scripted::new(move |call| {
        bookings.try_send(call.instance.clone()).unwrap();
        Behaviour::Answers(willing(call))
    });
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let order = world.create("Order", 0, "{}").await;
    let ledger = world.create("Ledger", 1, "{}").await;
    world.store.hold();
    let pay = world.handle.submit(&world.tenant, sending(&order, "PAY"));
    assert_eq!(soon(booked.recv()).await, Some(ledger.clone()));
    world.store.fail([Some(Failure::Refused)]);
    world.store.release();
    assert!(is_not_committed(&soon(pay).await));
    assert_eq!(soon(world.state(&order)).await, "Created");
    assert_eq!(soon(world.state(&ledger)).await, "Empty");

    world.handled(&order, "PAY").await;
    assert_eq!(soon(booked.recv()).await, Some(ledger.clone()));
    assert_eq!(
        soon(world.handled(&ledger, "BOOK")).await.disposition,
        Disposition::Ignored
    );
    assert_eq!(world.state(&ledger).await, "Booked");
}

#[tokio::test]
async fn a_delivery_outlives_the_voided_record_of_its_receiver() {
    let (bookings, mut booked) = mpsc::channel(10);
    let receiver: Arc<Mutex<Option<InstanceId>>> = Arc::default();
    let known = Arc::clone(&receiver);
    let (go_on, told) = oneshot::channel::<()>();
    let mut told = Some(told);
    let guests = Scripted::new(move |call| {
        if call.method.as_str() == "book" {
            bookings.try_send(()).unwrap();
            let outcome = willing(call);
            return match told.take() {
                Some(told) => Behaviour::Yields(Box::pin(told.map(|_| outcome))),
                None => Behaviour::Answers(outcome),
            };
        }
        let ledger = known.lock().unwrap().clone().unwrap();
        let result = Ok(Answer::Action {
            context: None,
            sends: vec![to_book(ledger)],
        });
        Behaviour::Answers(Outcome {
            result,
            ..willing(call)
        })
    });
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let order = world.create("Order", 0, "{}").await;
    let ledger = world.create("Ledger", 1, "{}").await;
    *receiver.lock().unwrap() = Some(ledger.clone());
    world.store.hold();
    let pay = world.handle.submit(&world.tenant, sending(&order, "ORDER"));
    // The order's record is being committed before the ledger's is made: that comes with the
    // next batch.
    world.store.wait_for_commit();
    soon(booked.recv()).await.unwrap();
    go_on.send(()).unwrap();
    world.store.fail([None, Some(Failure::Refused)]);
    world.store.release();
    assert_eq!(
        handled(soon(pay).await).disposition,
        Disposition::Transitioned
    );
    soon(booked.recv()).await.unwrap();
    assert_eq!(
        soon(world.handled(&ledger, "BOOK")).await.disposition,
        Disposition::Ignored
    );
    assert_eq!(world.state(&ledger).await, "Booked");
}

#[tokio::test]
async fn a_call_that_yielded_across_a_truncation_is_made_again_or_answered() {
    let (go_on, told) = oneshot::channel::<()>();
    let mut told = Some(told);
    let guests = Scripted::new(move |call| {
        let outcome = willing(call);
        match told.take() {
            Some(told) => Behaviour::Yields(Box::pin(async move {
                told.await.unwrap();
                outcome
            })),
            None => Behaviour::Answers(outcome),
        }
    });
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let ledger = world.create("Ledger", 0, "{}").await;
    let order = world.create("Order", 0, "{}").await;
    let book = world.handle.submit(&world.tenant, sending(&ledger, "BOOK"));
    world.store.fail([Some(Failure::Refused)]);
    assert!(is_not_committed(&soon(world.send(&order, "PAY")).await));
    go_on.send(()).unwrap();
    assert_eq!(
        handled(soon(book).await).disposition,
        Disposition::Transitioned
    );
    assert_eq!(
        state_of(
            &world
                .handle
                .instance(&world.tenant, &ledger)
                .await
                .unwrap()
                .unwrap()
        ),
        "Booked"
    );
}

#[tokio::test]
async fn too_much_that_waits_is_refused_until_it_is_durable() {
    let limits = Limits {
        debt_soft_max: 3,
        breaker: false,
        ..Limits::default()
    };
    let world = World::start(
        ORDER,
        Setup {
            limits,
            ..Setup::default()
        },
    )
    .await;
    let mut orders = Vec::new();
    for _ in 0..10 {
        orders.push(world.create("Order", 0, "{}").await);
    }
    world.store.hold();
    let lines = orders.iter().map(|order| sending(order, "PAY")).collect();
    let batch = world.handle.submit_batch(&world.tenant, lines);
    world.store.wait_for_commit();
    world.store.release();
    let replies = soon(batch).await;
    assert_eq!(replies.iter().filter(|reply| is_busy(reply)).count(), 7);
    assert_eq!(
        soon(world.handled(&orders[9], "PAY")).await.disposition,
        Disposition::Transitioned
    );
}

fn to_book(ledger: InstanceId) -> Send {
    Send::ToInstance {
        component: None,
        instance: ledger,
        event: EventName::new("BOOK"),
        payload: Json::empty(),
        delay: None,
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_reason_not_to_be_ready_until_it_works_again() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    assert!(world.handle.store_problem().is_none());
    world.store.fail([Some(Failure::Refused)]);
    assert!(is_not_committed(&soon(world.send(&order, "PAY")).await));
    assert_eq!(
        world.handle.store_problem().as_deref(),
        Some("the store is not available")
    );
    // Nobody sends anything, and the host finds out itself.
    soon(async {
        while world.handle.store_problem().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        handled(soon(world.send(&order, "PAY")).await).disposition,
        Disposition::Transitioned
    );
}
