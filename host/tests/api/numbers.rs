//! `/metrics` after requests whose effects are known.

use serde_json::json;

use crate::{
    components::DOOR,
    guests::guest,
    host::{TestHost, packed},
};

/// The value of a series; none = there is no such series.
async fn number(host: &TestHost, series: &str) -> Option<f64> {
    let metrics = host.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    Some(line.trim().parse().unwrap())
}

#[tokio::test]
async fn what_a_machine_did_is_counted_under_its_name() {
    let host = TestHost::with(&[("MisbehavingComponent", guest("misbehaving"))]).await;
    let id = host
        .create("MisbehavingComponent", "Misbehaving", &json!({}))
        .await;
    host.send(&id, "PING", &json!({})).await;
    host.send(&id, "PANIC", &json!({})).await;
    host.send(&id, "NEVER", &json!({})).await;
    let names = "component=\"MisbehavingComponent\",machine=\"Misbehaving\"";
    for (name, label, expected) in [
        ("events_total", ",disposition=\"transitioned\"", 2.0),
        ("events_total", ",disposition=\"dead-lettered\"", 1.0),
        ("faults_total", ",code=\"trap\"", 1.0),
        ("parked_total", ",code=\"fault\"", 1.0),
        ("calls_total", "", 2.0),
        ("queued_events", "", 0.0),
        ("pending_timers", "", 0.0),
    ] {
        let series = format!("xcomponent_machine_{name}{{{names}{label}}}");
        assert_eq!(number(&host, &series).await, Some(expected), "{series}");
    }
    for name in ["fuel_total", "call_seconds_total"] {
        let series = format!("xcomponent_machine_{name}{{{names}}}");
        assert!(number(&host, &series).await.unwrap() > 0.0, "{series}");
    }
    host.delete("/v1/components/MisbehavingComponent?instances=delete")
        .await;
    let calls = format!("xcomponent_machine_calls_total{{{names}}}");
    assert_eq!(number(&host, &calls).await, Some(2.0));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    for path in ["/v1/instances/a", "/v1/instances/b", "/made/up", "/up/made"] {
        assert_eq!(host.get(path).await.status, 404);
    }
    for (route, method, status, expected) in [
        ("/v1/instances/{id}", "GET", "4xx", 2.0),
        ("other", "GET", "4xx", 2.0),
        ("/v1/components/{component}", "PUT", "2xx", 1.0),
    ] {
        let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
        let series = format!("xcomponent_http_request_duration_seconds_count{{{labels}}}");
        assert_eq!(number(&host, &series).await, Some(expected), "{series}");
    }
}
