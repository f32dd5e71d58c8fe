//! What a component that loops for ever in every event does to its neighbour.

use std::time::Duration;

use crate::{
    ROUNDS, components,
    http::{Served, event},
    load::{Load, pause},
    note,
    report::{Rounds, number, percentile},
};

/// Instances of the neighbour that take turns.
const INSTANCES: usize = 1_000;
/// Callers that make the other component loop, each for as long as it may.
const CALLERS: usize = 8;
/// Connections of the neighbour's callers.
const CONNECTIONS: usize = 16;
/// Length of a round: long enough that one pause of the machine does not make the percentile.
const SECONDS: f64 = 10.0;

/// `neighbour_ratio`
pub(crate) fn ratio() -> anyhow::Result<Vec<Rounds>> {
    let served = Served::start(|config| config.limits.breaker = false)?;
    let bench = served.upload(components::guest("bench")?)?;
    let orders = served.create(&bench, "Order", INSTANCES)?;
    let misbehaving = served.upload(components::guest("misbehaving")?)?;
    let looping = served.create(&misbehaving, "Misbehaving", CALLERS)?;
    let add = r#"{"event":"ADD","payload":{"quantity":1.5}}"#;
    let mut good = Load {
        address: served.address,
        connections: CONNECTIONS,
        seconds: SECONDS,
        rate: None,
        status: 200,
        requests: orders.iter().map(|id| event(id, add)).collect(),
    };
    let maximum = good.start()?.wait()?.rate();
    good.rate = Some(maximum / 2.0);
    let bad = Load {
        address: served.address,
        connections: CALLERS,
        seconds: SECONDS + 1.0,
        rate: None,
        status: 422,
        requests: looping
            .iter()
            .map(|id| event(id, r#"{"event":"LOOP"}"#))
            .collect(),
    };
    let (mut ratios, mut alone, mut beside) = (Rounds::new(), Rounds::new(), Rounds::new());
    for _ in 0..ROUNDS {
        let quiet = good.start()?.wait()?;
        let looping = bad.start()?;
        // The loops are under way before the neighbour's clock runs.
        pause(Duration::from_millis(300));
        let disturbed = good.start()?.wait()?;
        let looped = looping.wait()?;
        anyhow::ensure!(looped.requests >= CALLERS, "the neighbour did not loop");
        alone.push(quiet.p99_ms);
        beside.push(disturbed.p99_ms);
        ratios.push(disturbed.p99_ms / quiet.p99_ms);
    }
    note(&format!(
        "   at {} events/s, half of its maximum: p99 {} ms alone, {} ms beside the loops",
        number(maximum / 2.0),
        number(percentile(&mut alone, 0.5)),
        number(percentile(&mut beside, 0.5)),
    ));
    Ok(vec![ratios])
}
