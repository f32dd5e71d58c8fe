//! What another host may send.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Entry, Scale, victim::Victim};

pub(super) const KINDS: &[Entry] = &[
    ("shipments-chains", chains),
    ("shipments-names", names),
    ("shipments-streams", streams),
];

/// A shipment of one parcel with one delivery.
fn shipment(stream: &str, number: u64, id: &str, chain: &[Value]) -> Value {
    json!({
        "tenant": "default",
        "component": "Polite",
        "stream": stream,
        "parcels": [{
            "number": number,
            "deliveries": [{
                "n": 0,
                "to": { "instance": { "component": "Polite", "id": "polite-0" } },
                "event": { "id": id, "name": "COUNT", "payload": {}, "at": 1 },
                "cause": {
                    "event": null, "instance": null, "root": id, "chain": chain,
                    "depth": 1, "credits": 10, "trace_parent": null,
                },
            }],
        }],
    })
}

fn send(victim: &Victim, shipment: &Value, what: &str) -> Result<()> {
    let (status, answer) = victim.post("/v1/shipments", shipment)?;
    ensure!(status < 500, "{what} is answered with {status}: {answer}");
    Ok(())
}

/// Chains of causes that are too long, of deliveries that are taken and of others.
fn chains(victim: &mut Victim, _: Scale) -> Result<()> {
    for links in [64, 1_000, 100_000] {
        let link = json!({ "instance": "polite-0", "event": "COUNT" });
        let chain = vec![link; links];
        let what = format!("a chain of {links}");
        let stream = format!("chains/{links}");
        send(victim, &shipment(&stream, 1, "event-1", &chain), &what)?;
        let mut refused = shipment(&stream, 2, "event-2", &chain);
        refused["parcels"][0]["deliveries"][0]["event"]["name"] = json!("");
        send(victim, &refused, &what)?;
    }
    Ok(())
}

/// Texts that are too long, empty, or hold what no text should.
fn names(victim: &mut Victim, _: Scale) -> Result<()> {
    for text in ["x".repeat(1 << 20), String::new(), "a\0b".to_owned()] {
        let what = format!("a text of {} bytes", text.len());
        send(victim, &shipment(&text, 1, "event-1", &[]), &what)?;
        send(victim, &shipment("names", 1, &text, &[]), &what)?;
        let mut traced = shipment("names", 1, "event-1", &[]);
        traced["parcels"][0]["deliveries"][0]["cause"]["trace_parent"] = json!(text);
        send(victim, &traced, &what)?;
    }
    Ok(())
}

/// Ever new senders.
fn streams(victim: &mut Victim, scale: Scale) -> Result<()> {
    let long = "x".repeat(100_000);
    for n in 0..scale.of(10_000) {
        let stream = format!("sender-{n}-{}", if n % 10 == 0 { &long } else { "" });
        send(
            victim,
            &shipment(&stream, 1, &format!("event-{n}"), &[]),
            "a new stream",
        )?;
    }
    Ok(())
}
