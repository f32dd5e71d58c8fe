//! Chains of causes that go on for ever, or that somebody made longer than they can be.

use std::sync::Arc;

use xcomponent_core::{
    id::{EventName, InstanceId, MADE_ID_BYTES_MAX},
    limits::CHAIN_LINKS_MAX,
    record::Link,
};

use crate::harness::{Host, none};

#[test]
fn an_instance_that_ticks_for_ever_has_short_ids() {
    let yaml = "name: Clock
version: '1'
stateMachines:
- name: Clock
  initialState: On
  states: [On]
  transitions:
  - {from: On, to: On, event: TICK, type: timeout, timeoutMs: 10}
";
    let mut host = Host::new(&[yaml]);
    host.create("Clock", "Clock", "c", none());
    host.wait(10_000);
    let ids: Vec<_> = host.handled().map(|tick| tick.event.id.clone()).collect();
    assert!(ids.len() > 500, "{}", ids.len());
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    let longest = ids.iter().map(|id| id.to_string().len()).max();
    assert!(longest <= Some(MADE_ID_BYTES_MAX), "{longest:?}");
}

#[test]
fn a_chain_of_any_length_is_dropped_without_a_stack_for_it() {
    let mut chain = None;
    for _ in 0..1_000_000 {
        chain = Some(Arc::new(Link {
            instance: InstanceId::parse("i").unwrap(),
            event: EventName::new("E"),
            before: chain,
        }));
    }
    drop(chain);
}

#[test]
fn only_the_nearest_steps_of_a_chain_are_kept() {
    let steps = (0..1_000).map(|n| {
        let instance = InstanceId::parse(&n.to_string()).unwrap();
        (instance, EventName::new("E"))
    });
    let chain = Link::chain(steps);
    let links = std::iter::successors(chain.as_ref(), |link| link.before.as_ref());
    let kept: Vec<_> = links.map(|link| link.instance.to_string()).collect();
    assert_eq!(kept.len(), CHAIN_LINKS_MAX);
    assert_eq!(kept[0], "0");
}
