//! From the bytes of a component to its first answer, over HTTP.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{ROUNDS, components, http::Served, report::Rounds};

/// `upload_ms`: every round on a host that has never seen the component, so that it is compiled.
pub(crate) fn to_first_answer() -> anyhow::Result<Vec<Rounds>> {
    let component = components::guest("order")?;
    let mut rounds = Rounds::new();
    for _ in 0..ROUNDS {
        let served = Served::start(|_| ())?;
        let url = format!("http://{}/v1", served.address);
        let agent = ureq::Agent::new_with_defaults();
        let began = Instant::now();
        agent
            .put(format!("{url}/components/OrderComponent"))
            .header("content-type", "application/wasm")
            .send(&component[..])?;
        let mut created = agent
            .post(format!(
                "{url}/components/OrderComponent/machines/Order/instances"
            ))
            .header("content-type", "application/json")
            .send(r#"{"context":{"orderId":"ORD-1","amount":12.5}}"#)?;
        let created: Value = serde_json::from_str(&created.body_mut().read_to_string()?)?;
        let id = created["id"].as_str().context("an instance has an id")?;
        // Its guard is asked: the sandbox is started too.
        let mut answer = agent
            .post(format!("{url}/instances/{id}/events"))
            .header("content-type", "application/json")
            .send(r#"{"event":"SUBMIT"}"#)?;
        rounds.push(began.elapsed().as_secs_f64() * 1e3);
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        ensure!(
            answer["disposition"] == "transitioned",
            "no transition: {answer}"
        );
    }
    Ok(vec![rounds])
}
