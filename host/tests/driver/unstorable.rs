//! A store that cannot take one record: its event is parked, and nothing else is lost.

use std::sync::Arc;

use futures_util::future::join_all;
use xcomponent_core::{
    effect::Reply,
    id::EventId,
    input::{Request, SendEvent},
    json::Json,
    record::{Body, DeadLetter, Disposition, Parked, Record},
};
use xcomponent_host::{
    driver::PageRequest,
    store::query::{Letter, LetterFilter},
};

use crate::world::{Setup, World, handled, is_not_committed, sending, soon};

const SHOP: &str = r"
name: Shop
version: '1'
stateMachines:
  - name: Order
    initialState: Created
    states:
      - name: Created
      - {name: Paid, cascadingRules: [{targetMachine: Ledger, event: BOOK, payload: {book: poison}}]}
      - name: Shipped
    transitions:
      - {from: Created, to: Paid, event: PAY}
      - {from: Paid, to: Shipped, event: SHIP}
  - name: Ledger
    initialState: Empty
    states: [{name: Empty}, {name: Booked}]
    transitions:
      - {from: Empty, to: Booked, event: BOOK}
";

/// Whether a record says that an event was handled which carries this text.
fn handles(text: &str) -> impl Fn(&Record) -> bool + use<> {
    let text = text.to_owned();
    move |record| match &record.body {
        Body::Handled(handled) => handled.event.payload.as_str().contains(&text),
        _ => false,
    }
}

/// The same, as long as it was not parked.
fn takes(text: &str) -> impl Fn(&Record) -> bool + use<> {
    let handles = handles(text);
    move |record| match &record.body {
        Body::Handled(handled) => handled.parked.is_none() && handles(record),
        _ => false,
    }
}

fn poisoned(mut request: Request, id: &str) -> Request {
    if let Request::Send(SendEvent {
        payload, id: own, ..
    }) = &mut request
    {
        *payload = Json::parse(r#"{"drink":"poison"}"#).unwrap();
        *own = Some(EventId::parse(id).unwrap());
    }
    request
}

async fn letters(world: &World) -> Vec<Letter> {
    let all = world.handle.dead_letters(
        &world.tenant,
        LetterFilter::default(),
        PageRequest::first(100),
    );
    soon(all).await.unwrap().items
}

/// Waits until one event is parked, and says how.
async fn letter(world: &World) -> Arc<DeadLetter> {
    soon(async {
        loop {
            if let Some(letter) = letters(world).await.pop() {
                return letter.letter;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn its_event_is_parked_and_what_came_before_it_is_committed() {
    for culprit in [0, 17, 39] {
        let world = World::start(SHOP, Setup::default()).await;
        let mut orders = Vec::new();
        for number in 0..40 {
            orders.push(world.create("Order", number % 2, "{}").await);
        }
        world.store.cannot_take(takes("poison"));
        // All of them are in the batch that comes after this one.
        world.store.hold();
        let first = world
            .handle
            .submit(&world.tenant, sending(&orders[0], "NOTHING"));
        world.store.wait_for_commit();
        let events = orders.iter().enumerate().map(|(place, order)| {
            let event = sending(order, "PAY");
            if place == culprit {
                poisoned(event, "e1")
            } else {
                event
            }
        });
        let events = world.handle.submit_batch(&world.tenant, events.collect());
        world.store.release();
        handled(soon(first).await);
        let replies = soon(events).await;
        assert!(is_not_committed(&replies[culprit]));

        let letter = letter(&world).await;
        assert_eq!(letter.why, Parked::Unstorable);
        assert_eq!(letter.instance.as_ref(), Some(&orders[culprit]));
        assert_eq!(letter.event.payload.as_str(), r#"{"drink":"poison"}"#);
        assert_eq!(soon(world.state(&orders[culprit])).await, "Created");
        for (order, reply) in orders.iter().zip(&replies) {
            let state = soon(world.state(order)).await;
            match reply {
                Reply::Handled(_) => assert_eq!(state, "Paid"),
                reply => {
                    assert!(is_not_committed(reply));
                    assert_eq!(state, "Created");
                }
            }
        }
        // Whoever asks again learns what became of it, and everybody goes on.
        let again = world.handle.request(
            &world.tenant,
            poisoned(sending(&orders[culprit], "PAY"), "e1"),
        );
        assert_eq!(
            handled(soon(again).await).disposition,
            Disposition::DeadLettered
        );
        let all = join_all(orders.iter().map(|order| world.send(order, "PAY")));
        assert!(
            soon(all)
                .await
                .iter()
                .all(|reply| matches!(reply, Reply::Handled(_)))
        );
        assert_eq!(letters(&world).await.len(), 1);
    }
}

#[tokio::test]
async fn an_event_whose_letter_is_refused_too_is_parked_without_its_payload() {
    let world = World::start(SHOP, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    world.store.cannot_take(handles("poison"));
    let event = poisoned(sending(&order, "PAY"), "e1");
    let reply = soon(world.handle.request(&world.tenant, event)).await;
    assert!(is_not_committed(&reply));
    let letter = letter(&world).await;
    assert_eq!(letter.why, Parked::Unstorable);
    assert_eq!(letter.event.id, EventId::parse("e1").unwrap());
    assert_eq!(letter.event.payload, Json::empty());
    assert_eq!(
        soon(world.handled(&order, "PAY")).await.disposition,
        Disposition::Transitioned
    );
}

#[tokio::test]
async fn an_event_that_is_refused_in_any_form_is_left_alone() {
    let world = World::start(SHOP, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    let id = EventId::parse("e1").unwrap();
    let unwanted = id.clone();
    world.store.cannot_take(move |record| match &record.body {
        Body::Handled(handled) => handled.event.id == unwanted,
        _ => false,
    });
    let event = || poisoned(sending(&order, "PAY"), "e1");
    for _ in 0..3 {
        let reply = soon(world.handle.request(&world.tenant, event())).await;
        assert!(is_not_committed(&reply));
    }
    assert_eq!(
        soon(world.handled(&order, "PAY")).await.disposition,
        Disposition::Transitioned
    );
    assert!(letters(&world).await.is_empty());
    // As a whole, without a payload, and then no more.
    assert_eq!(world.handle.gauges().commit.failures, 3);
    assert!(world.handle.store_problem().is_none());
}

#[tokio::test]
async fn a_cascade_that_cannot_be_stored_is_parked_where_it_arrives() {
    let world = World::start(SHOP, Setup::default()).await;
    let ledger = world.create("Ledger", 1, "{}").await;
    let order = world.create("Order", 0, "{}").await;
    world.store.cannot_take(takes("poison"));
    assert_eq!(
        soon(world.handled(&order, "PAY")).await.disposition,
        Disposition::Transitioned
    );
    let letter = letter(&world).await;
    assert_eq!(letter.why, Parked::Unstorable);
    assert_eq!(letter.instance.as_ref(), Some(&ledger));
    assert_eq!(soon(world.state(&ledger)).await, "Empty");
    assert_eq!(soon(world.state(&order)).await, "Paid");
}

#[tokio::test]
async fn a_selection_that_cannot_be_stored_is_parked_as_a_whole() {
    let world = World::start(SHOP, Setup::default()).await;
    let ledger = world.create("Ledger", 0, "{}").await;
    let order = world.create("Order", 0, "{}").await;
    world
        .store
        .cannot_take(|record| matches!(record.body, Body::Selected(_)));
    assert_eq!(
        soon(world.handled(&order, "PAY")).await.disposition,
        Disposition::Transitioned
    );
    let letter = letter(&world).await;
    assert_eq!(letter.why, Parked::Unstorable);
    assert_eq!(letter.instance, None);
    assert_eq!(soon(world.state(&ledger)).await, "Empty");
}
