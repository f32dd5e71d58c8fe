//! Parked events: found, listed, settled.

use std::sync::Arc;

use xcomponent_core::record::{Body, Discarded, Disposition};
use xcomponent_host::store::{
    Store,
    query::{Letter, LetterFilter, PageRequest},
};

use crate::sample::{Shard, event_id, id};

fn listed(shard: &Shard<'_>, filter: &LetterFilter) -> Vec<String> {
    let page = shard
        .store
        .dead_letters(shard.tenant(), filter, PageRequest::first(100));
    let event = |letter: &Letter| letter.letter.event.id.to_string();
    page.unwrap().items.iter().map(event).collect()
}

pub(crate) fn a_parked_event_is_found_until_it_is_settled(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let order = shard.create("O-1", "{}");
    let mut parked = shard.handled(order, "e1", "PAY", Disposition::DeadLettered);
    parked.parked = Some(shard.letter("e1", Some("O-1")));
    let after = parked.after.clone();
    let position = shard.commit(Body::Handled(Arc::new(parked)));
    let (tenant, order) = (shard.tenant().clone(), id("O-1"));
    let find = |event: &str| {
        store
            .dead_letter(&tenant, &event_id(event), Some(&order))
            .unwrap()
    };
    let found = find("e1").unwrap();
    assert_eq!((found.position, found.letter.attempts), (position, 1));
    assert!(find("e2").is_none());
    let mut replayed = shard.handled(after, "e1.r1", "PAY", Disposition::Transitioned);
    replayed.settles = Some(event_id("e1"));
    shard.commit(Body::Handled(Arc::new(replayed)));
    assert!(find("e1").is_none());
    assert!(listed(&shard, &LetterFilter::default()).is_empty());
}

pub(crate) fn what_was_discarded_is_gone(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let letter = shard.letter("e1", None);
    shard.commit(Body::Parked(letter));
    assert_eq!(listed(&shard, &LetterFilter::default()), ["e1"]);
    let discarded = Discarded {
        id: event_id("e1"),
        instance: None,
        resent: None,
    };
    shard.commit(Body::Discarded(Arc::new(discarded)));
    assert!(listed(&shard, &LetterFilter::default()).is_empty());
}

pub(crate) fn one_event_may_be_parked_at_several_instances(store: &dyn Store) {
    let mut shard = Shard::new(store);
    for order in ["O-1", "O-2"] {
        let letter = shard.letter("e1", Some(order));
        shard.commit(Body::Parked(letter));
    }
    let second = store.dead_letter(shard.tenant(), &event_id("e1"), Some(&id("O-2")));
    assert_eq!(second.unwrap().unwrap().letter.instance, Some(id("O-2")));
    let any = store.dead_letter(shard.tenant(), &event_id("e1"), None);
    assert_eq!(any.unwrap().unwrap().letter.instance, Some(id("O-1")));
    // Parked once more it is the same letter, at its new place.
    let letter = shard.letter("e1", Some("O-2"));
    shard.commit(Body::Parked(letter));
    let count = store.dead_letter_count(shard.tenant(), &LetterFilter::default());
    assert_eq!(count.unwrap(), 2);
}

pub(crate) fn letters_are_listed_and_counted(store: &dyn Store) {
    let mut shard = Shard::new(store);
    for n in 0..5 {
        let order = format!("O-{}", n % 2);
        let letter = shard.letter(&format!("e{n}"), Some(&order));
        shard.commit(Body::Parked(letter));
    }
    let all = LetterFilter::default();
    assert_eq!(listed(&shard, &all), ["e4", "e3", "e2", "e1", "e0"]);
    let of_one = LetterFilter {
        instance: Some(id("O-1")),
        ..all.clone()
    };
    assert_eq!(listed(&shard, &of_one), ["e3", "e1"]);
    let of_nothing = LetterFilter {
        code: Some("trap".to_owned()),
        ..all.clone()
    };
    assert_eq!(
        store
            .dead_letter_count(shard.tenant(), &of_nothing)
            .unwrap(),
        0
    );
    let page = store
        .dead_letters(shard.tenant(), &all, PageRequest::first(2))
        .unwrap();
    let next = PageRequest {
        after: page.next,
        limit: 2,
    };
    let next = store.dead_letters(shard.tenant(), &all, next).unwrap();
    assert_eq!(next.items[0].letter.event.id, event_id("e2"));
}
