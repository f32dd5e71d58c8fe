//! Instances: searched, and what they were and may become.

use serde_json::{Value, json};

use crate::{
    components::DOOR,
    guests::guest,
    host::{TestHost, packed},
};

async fn three_doors() -> (TestHost, Vec<String>) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let mut ids = Vec::new();
    for (room, floor) in [("A", 1), ("B", 2), ("C", 2)] {
        let context = json!({"room": room, "floor": floor, "wood": {"kind": "oak"}});
        ids.push(host.create("Door", "Door", &context).await);
    }
    host.send(&ids[0], "OPEN", &json!({})).await;
    (host, ids)
}

async fn found(host: &TestHost, query: &str) -> Vec<String> {
    let answer = host.get(&format!("/v1/instances?{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.json()["items"].clone();
    let room = |item: &Value| item["context"]["room"].as_str().unwrap().to_owned();
    items.as_array().unwrap().iter().map(room).collect()
}

#[tokio::test]
async fn an_instance_is_shown_whole() {
    let (host, ids) = three_doors().await;
    let door = host.instance(&ids[0]).await;
    assert_eq!(door["id"], ids[0]);
    assert_eq!(
        (&door["component"], &door["version"], &door["machine"]),
        (&json!("Door"), &json!("1.0.0"), &json!("Door"))
    );
    assert_eq!(
        (&door["state"], &door["status"], &door["seq"]),
        (&json!("Open"), &json!("active"), &json!(2))
    );
    assert_eq!(door["timers"], json!([]));
    let created = door["created_at"].as_str().unwrap();
    assert_eq!(
        (created.len(), &created[19..20]),
        (24, "."),
        "milliseconds: {created}"
    );
}

#[tokio::test]
async fn instances_are_searched_by_all_of_several_conditions() {
    let (host, _) = three_doors().await;
    assert_eq!(found(&host, "").await, ["C", "B", "A"]);
    assert_eq!(found(&host, "state=Open").await, ["A"]);
    assert_eq!(
        found(
            &host,
            "component=Door&machine=Door&status=active&version=1.0.0"
        )
        .await
        .len(),
        3
    );
    assert_eq!(found(&host, "component=Window").await, [""; 0]);
    assert_eq!(found(&host, "where=floor:%3E:1").await, ["C", "B"]);
    assert_eq!(
        found(&host, "where=floor:%3E:1&where=context.room:===:B").await,
        ["B"]
    );
    assert_eq!(
        found(&host, "where=wood.kind:===:oak&where=room:in:%5B%22A%22%5D").await,
        ["A"]
    );
    assert_eq!(found(&host, "q=%22room%22%3A%22C%22").await, ["C"]);
    for bad in [
        "where=floor",
        "where=floor:~:1",
        "where=:===:1",
        "status=sleepy",
        "limit=x",
        "cursor=7",
    ] {
        let answer = host.get(&format!("/v1/instances?{bad}")).await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
}

#[tokio::test]
async fn instances_are_counted_by_kind() {
    let (host, _) = three_doors().await;
    let counts = host
        .get("/v1/instances?count=true&component=Door")
        .await
        .json();
    let count = |state: &str, instances: u64| {
        json!({"component": "Door", "version": "1.0.0", "machine": "Door", "state": state,
               "status": "active", "instances": instances})
    };
    assert_eq!(
        counts["items"],
        json!([count("Closed", 2), count("Open", 1)])
    );
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let (host, _) = three_doors().await;
    let mut rooms = Vec::new();
    let mut query = "limit=1".to_owned();
    loop {
        let page = host.get(&format!("/v1/instances?{query}")).await.json();
        rooms.push(page["items"][0]["context"]["room"].clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("limit=1&cursor={cursor}");
    }
    assert_eq!(rooms, ["C", "B", "A"]);
}

#[tokio::test]
async fn a_history_tells_everything_the_last_first() {
    let (host, ids) = three_doors().await;
    host.send(&ids[0], "OPEN", &json!({"why": "again"})).await;
    let path = format!("/v1/instances/{}/history", ids[0]);
    let page = host.get(&format!("{path}?limit=2")).await.json();
    let ignored = &page["items"][0];
    assert_eq!(
        (&ignored["kind"], &ignored["disposition"]),
        (&json!("ignored"), &json!("ignored"))
    );
    assert_eq!(ignored["event"]["payload"], json!({"why": "again"}));
    let opened = &page["items"][1];
    assert_eq!(
        (&opened["from"], &opened["to"], &opened["seq"]),
        (&json!("Closed"), &json!("Open"), &json!(2))
    );
    assert_eq!(
        (&opened["component"], &opened["machine"], &opened["version"]),
        (&json!("Door"), &json!("Door"), &json!("1.0.0"))
    );
    assert_eq!(opened["context_after"]["room"], "A");
    assert_eq!(opened["instance_id"], ids[0]);
    assert!(opened.get("caused_by").is_none());
    let cursor = page["next_cursor"].as_str().unwrap();
    let last = host
        .get(&format!("{path}?limit=2&cursor={cursor}"))
        .await
        .json();
    assert_eq!(last["items"][0]["kind"], "created");
    assert!(last.get("next_cursor").is_none());
    assert!(last["items"][0].get("from").is_none());
}

#[tokio::test]
async fn what_can_happen_now_depends_on_the_state() {
    let (host, ids) = three_doors().await;
    let possible = async |id: &str| {
        host.get(&format!("/v1/instances/{id}/transitions"))
            .await
            .json()
    };
    let events = |possible: &Value| -> Vec<String> {
        let items = possible["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["event"].as_str().unwrap().to_owned())
            .collect()
    };
    let open = possible(&ids[0]).await;
    assert_eq!(open["state"], "Open");
    assert_eq!(events(&open), ["CLOSE", "TEAR_DOWN"]);
    let closed = possible(&ids[1]).await;
    assert_eq!(events(&closed), ["OPEN", "TEAR_DOWN", "OPEN_ROOM"]);
    assert_eq!(closed["items"][2]["matching_rules"][0]["operator"], "===");
    host.send(&ids[0], "TEAR_DOWN", &json!({})).await;
    assert_eq!(events(&possible(&ids[0]).await), [""; 0]);
}

/// All nodes of a tree.
fn flat(node: &Value) -> Vec<Value> {
    let mut all = vec![node.clone()];
    for caused in node["caused"].as_array().unwrap() {
        all.extend(flat(caused));
    }
    all
}

#[tokio::test]
async fn a_trace_shows_the_whole_cascade_across_components() {
    let host = TestHost::with(&[
        ("OrderComponent", guest("order")),
        ("PaymentComponent", guest("payment")),
    ])
    .await;
    let order = host
        .create(
            "OrderComponent",
            "Order",
            &json!({"orderId": "O-1", "amount": 10}),
        )
        .await;
    let submitted = host
        .send(&order, "SUBMIT", &json!({}))
        .await
        .text("/event_id");
    host.until_state(&order, "Paid").await;
    let payments = host
        .get("/v1/instances?component=PaymentComponent")
        .await
        .json();
    let payment = payments["items"][0]["id"].as_str().unwrap().to_owned();
    host.until_state(&payment, "Completed").await;

    let trace = host
        .get(&format!("/v1/instances/{order}/trace"))
        .await
        .json();
    assert_eq!(trace["truncated"], false);
    let roots = trace["items"].as_array().unwrap();
    assert_eq!(roots.len(), 2, "creation and SUBMIT: {trace}");
    let root = &roots[1];
    assert_eq!(
        (&root["event"], &root["event_id"]),
        (&json!("SUBMIT"), &json!(submitted))
    );
    let created = &root["caused"][0];
    assert_eq!(
        (&created["component"], &created["to"]),
        (&json!("PaymentComponent"), &json!("Pending"))
    );
    assert_eq!(created["depth"], 1);
    let validated = &created["caused"][0];
    assert_eq!(
        (&validated["event"], &validated["to"]),
        (&json!("VALIDATED"), &json!("Validated"))
    );
    let all = flat(root);
    let steps: Vec<_> = all
        .iter()
        .map(|node| node["event"].as_str().unwrap())
        .collect();
    assert!(
        steps.contains(&"PAYMENT_COMPLETED") && steps.contains(&"SETTLED"),
        "{steps:?}"
    );

    let own = host
        .get(&format!(
            "/v1/instances/{payment}/trace?event={submitted}.1"
        ))
        .await
        .json();
    let of_payment = own["items"].as_array().unwrap();
    assert!(of_payment.len() <= 1);
    let whole = host
        .get(&format!("/v1/instances/{payment}/trace"))
        .await
        .json();
    assert_eq!(whole["items"][0]["event_id"], json!(submitted));
}

#[tokio::test]
async fn a_target_that_does_not_exist_shows_in_the_trace() {
    let host = TestHost::with(&[("OrderComponent", guest("order"))]).await;
    let order = host
        .create(
            "OrderComponent",
            "Order",
            &json!({"orderId": "O-1", "amount": 10}),
        )
        .await;
    let submitted = host
        .send(&order, "SUBMIT", &json!({}))
        .await
        .text("/event_id");
    let trace = host
        .get(&format!("/v1/instances/{order}/trace?event={submitted}"))
        .await
        .json();
    let parked = &trace["items"][0]["caused"][0];
    assert_eq!(parked["disposition"], "dead-lettered");
    assert_eq!(parked["fault"]["code"], "unknown_target");
}
