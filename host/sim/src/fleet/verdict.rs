//! What the durable logs must say in the end.

use std::collections::BTreeMap;

use xcomponent_core::record::{Body, Disposition, Handled};

use super::host::{Host, NODES, node};

/// Checks that everything that was sent happened at the other end, once and in order; how much that
/// is.
pub(super) fn verdict(hosts: &[Host]) -> Result<usize, String> {
    let mut crossed = 0;
    for (from, source) in hosts.iter().enumerate() {
        for key in 0..NODES {
            let gone = taken(source, from, key, "GO");
            for (to, target) in hosts.iter().enumerate().filter(|(to, _)| *to != from) {
                let hits = hits(target, to, key, from);
                if hits != gone {
                    return Err(format!(
                        "n-{from}-{key} sent {gone:?} to C{to}, where {hits:?} came"
                    ));
                }
                crossed += hits.len();
            }
        }
        crossed += made(hosts, from)?;
    }
    Ok(crossed)
}

fn durable(host: &Host) -> impl Iterator<Item = &Handled> {
    let durable = host.log.entries[..host.log.durable].iter();
    durable.filter_map(|entry| match &entry.record.body {
        Body::Handled(handled) => Some(&**handled),
        _ => None,
    })
}

/// The events with a name that an instance took, in order.
fn taken(host: &Host, number: usize, key: usize, name: &str) -> Vec<String> {
    let own = durable(host).filter(|handled| handled.after.id == node(number, key));
    let named = own.filter(|handled| handled.event.name.as_str() == name);
    let taken = named.filter(|handled| handled.disposition == Disposition::Transitioned);
    taken.map(|handled| handled.event.id.to_string()).collect()
}

/// The causes of what came to an instance from a host, in order.
fn hits(host: &Host, number: usize, key: usize, from: usize) -> Vec<String> {
    let own = durable(host).filter(|handled| handled.after.id == node(number, key));
    let hits = own.filter(|handled| handled.event.name.as_str() == "HIT");
    let sender = node(from, key);
    let of_sender = hits.filter(|hit| hit.cause.instance.as_ref() == Some(&sender));
    of_sender
        .map(|hit| {
            hit.cause
                .event
                .as_ref()
                .map_or_else(String::new, ToString::to_string)
        })
        .collect()
}

/// Whether what a host made is at the next one, once each.
fn made(hosts: &[Host], from: usize) -> Result<usize, String> {
    let next = (from + 1) % hosts.len();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    let there = durable(&hosts[next]).filter(|handled| {
        handled.from.is_none() && handled.after.machine().name.as_str() == "Made"
    });
    for made in there {
        let cause = made
            .cause
            .event
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        *causes.entry(cause).or_default() += 1;
    }
    let mut count = 0;
    for key in 0..NODES {
        for event in taken(&hosts[from], from, key, "MAKE") {
            match causes.remove(&event) {
                Some(1) => count += 1,
                times => return Err(format!("what {event} made is there {times:?} times")),
            }
        }
    }
    match causes.first_key_value() {
        Some((cause, _)) => Err(format!("{cause} made something that nobody sent")),
        None => Ok(count),
    }
}
