//! An order and its payment, from beginning to end, by a client that knows nothing else.

use serde_json::{Value, json};

use crate::{client::Client, guests::guest};

async fn client() -> Client {
    Client::with([guest("order"), guest("payment")]).await
}

async fn order(client: &Client) -> String {
    let context = json!({"orderId": "ORD-1", "amount": 99.5, "customer": "Ann"});
    client.create("OrderComponent", "Order", context).await
}

/// Takes an order and its payment to their ends; gives both ids.
async fn completed(client: &Client) -> (String, String) {
    let order = order(client).await;
    let submitted = client.disposition(&order, "SUBMIT", json!({})).await;
    assert_eq!(submitted, "transitioned");
    let payment = client.until("Payment", "Pending").await;
    let id = payment["instanceId"].as_str().unwrap().to_owned();
    assert_eq!(payment["pendingTimeouts"][0]["eventType"], "VALIDATED");
    client.pass(500);
    client.until("Payment", "Validated").await;
    client.until("Order", "Paid").await;
    client.pass(100);
    client.until("Payment", "Completed").await;
    for (event, payload) in [("SHIP", json!({"carrier": "DHL"})), ("DELIVER", json!({}))] {
        let disposition = client.disposition(&order, event, payload).await;
        assert_eq!(disposition, "transitioned");
    }
    (order, id)
}

#[tokio::test]
async fn an_order_goes_from_created_to_completed_and_its_payment_to_its_end() {
    let client = client().await;
    let (order, payment) = completed(&client).await;
    let order = client.instance(&order).await;
    assert_eq!(order["currentState"], "Completed");
    assert_eq!(order["status"], "completed");
    assert_eq!(order["context"]["carrier"], "DHL");
    let payment = client.instance(&payment).await;
    assert_eq!(payment["currentState"], "Completed");
    assert_eq!(payment["context"]["orderId"], "ORD-1");
    assert_eq!(payment["context"]["method"], "visa");
}

#[tokio::test]
async fn both_are_listed_after_they_have_finished() {
    let client = client().await;
    let (order, payment) = completed(&client).await;
    let all = client.ok("/api/instances").await;
    let listed = |id: &str| {
        let instances = all["instances"].as_array().unwrap();
        instances.iter().any(|one| one["id"] == id)
    };
    assert!(listed(&order) && listed(&payment), "{all}");
    let payments = client
        .ok("/api/components/PaymentComponent/instances")
        .await;
    assert_eq!(payments["instances"].as_array().unwrap().len(), 1);
    let components = client.ok("/api/components").await;
    assert_eq!(components["components"][0]["instanceCount"], 1);
}

#[tokio::test]
async fn each_of_the_two_components_is_a_runtime() {
    let client = client().await;
    let answer = client.ok("/api/runtimes").await;
    let runtimes = answer["runtimes"].as_array().unwrap();
    let names: Vec<&str> = runtimes
        .iter()
        .map(|runtime| runtime["componentName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["OrderComponent", "PaymentComponent"]);
    assert_ne!(runtimes[0]["runtimeId"], runtimes[1]["runtimeId"]);
}

#[tokio::test]
async fn the_histories_tell_who_caused_what_across_components() {
    let client = client().await;
    let (order, payment) = completed(&client).await;
    let (order, payment) = (client.history(&order).await, client.history(&payment).await);
    let states = |history: &[Value]| -> Vec<String> {
        let after = history.iter().map(|event| event["stateAfter"].as_str());
        after.map(|state| state.unwrap().to_owned()).collect()
    };
    let wanted = ["Created", "Submitted", "Paid", "Shipped", "Completed"];
    assert_eq!(states(&order), wanted);
    assert_eq!(states(&payment), ["Pending", "Validated", "Completed"]);
    assert_cause(&order[1], &payment[0]);
    assert_cause(&payment[0], &payment[1]);
    assert_cause(&payment[1], &payment[2]);
    assert_cause(&payment[1], &order[2]);
    assert_eq!(order[3]["causedBy"], json!([]));
}

#[tokio::test]
async fn a_payment_is_correlated_with_its_order() {
    let client = client().await;
    let (order, payment) = completed(&client).await;
    for (one, other) in [(&order, &payment), (&payment, &order)] {
        let answer = client.ok(&format!("/api/history/correlated/{one}")).await;
        let instances = answer["instances"].as_array().unwrap();
        assert_eq!(instances.len(), 1, "{answer}");
        assert_eq!(instances[0]["id"], **other);
        let events = answer["events"].as_array().unwrap();
        assert!(!events.is_empty());
        assert!(events.iter().all(|event| event["instanceId"] == **other));
    }
}

#[tokio::test]
async fn a_refused_payment_rejects_its_order() {
    let client = client().await;
    let context = json!({"orderId": "ORD-2", "amount": 5, "method": "seashells"});
    let order = client.create("OrderComponent", "Order", context).await;
    client.disposition(&order, "SUBMIT", json!({})).await;
    client.until("Payment", "Pending").await;
    client.pass(500);
    let order = client.until("Order", "Rejected").await;
    assert_eq!(order["status"], "error");
}

/// The first names the second among what it caused, and the second the first as its cause.
fn assert_cause(cause: &Value, effect: &Value) {
    assert_eq!(effect["causedBy"], json!([cause["id"]]));
    let caused = cause["caused"].as_array().unwrap();
    assert!(caused.contains(&effect["id"]), "{cause} -> {effect}");
}
