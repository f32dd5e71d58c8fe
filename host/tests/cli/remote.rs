//! Commands that ask a host.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::harness::{Serving, guest, xcomponent};

fn shop() -> Serving {
    let serving = Serving::start(["shop.yaml"]);
    for id in ["o-1", "o-2"] {
        let new = json!({"id": id, "context": {"orderId": id}});
        serving.create("Shop", "Order", &new);
    }
    serving
}

#[test]
fn an_instance_is_found_told_and_asked_what_happened() {
    let serving = shop();
    let listed = serving.ask(["instances"]).done().stdout;
    let first = |line: &str| line.split("  ").next().map(str::to_owned);
    let ids: Vec<String> = listed.lines().filter_map(first).collect();
    assert_eq!(ids, ["ID", "o-2", "o-1"]);
    let sent = serving
        .ask(["send", "o-1", "PAY", r#"{"amount": 7}"#])
        .done();
    assert_eq!(sent.stdout, "transitioned  Created → Paid\n");
    let sent = serving.ask(["send", "o-1", "PAY"]).done();
    assert_eq!(sent.stdout, "ignored  in Paid  reason: no_transition\n");
    let listed = serving
        .ask(["instances", "--state", "Paid", "--json"])
        .done();
    assert_eq!(
        listed.json()["items"][0]["context"],
        json!({"orderId": "o-1", "amount": 7})
    );
    let counted = serving.ask(["instances", "--count"]).done().stdout;
    assert_eq!(
        counted,
        "INSTANCES  MACHINE     VERSION  STATE    STATUS\n\
         1          Shop/Order  1.0.0    Created  active\n\
         1          Shop/Order  1.0.0    Paid     active\n"
    );
    let shown = serving.ask(["instances", "o-1"]).done().stdout;
    assert!(shown.contains("state       Paid\n"), "{shown}");
    let told = serving.ask(["history", "o-1"]).done().stdout;
    let told: Vec<String> = told.lines().map(without_time).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].ends_with("created Created"), "{told:?}");
    assert_eq!(told[1], "2 PAY transitioned Created → Paid");
    assert_eq!(told[2], "3 PAY ignored in Paid");
    assert_eq!(told[3], "no transition");
}

/// A line of a history with single spaces and without its second column.
fn without_time(line: &str) -> String {
    let words = line.split_whitespace();
    let words = words.filter(|word| !word.contains('T') || !word.ends_with('Z'));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_broadcast_is_counted() {
    let serving = shop();
    let args = ["broadcast", "Shop", "Order", "PAY", "--state", "Created"];
    assert_eq!(
        serving.ask(args).done().stdout,
        "2 matched, 2 transitioned, 0 ignored, 0 deferred, 0 rejected, 0 dead-lettered\n"
    );
}

#[test]
fn a_host_that_says_no_is_quoted() {
    let serving = shop();
    let refused = serving.ask(["send", "nobody", "PAY"]);
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.stderr,
        "error: there is no instance `nobody` (unknown_instance)\n"
    );
    let refused = serving.ask(["send", "o-1", "PAY", "--expected-state", "Paid", "--json"]);
    assert_eq!(refused.code, 1);
    assert_eq!(refused.json()["error"]["code"], "unexpected_state");
}

#[test]
fn a_host_that_is_not_there_is_missed() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let failed = xcomponent(["instances", "--url", &url]);
    assert_eq!(failed.code, 1);
    let message = format!("error: asking {url}; is a host there?");
    assert!(failed.stderr.starts_with(&message), "{failed:?}");
}

#[test]
fn the_same_event_id_is_applied_once() {
    let serving = shop();
    let args = ["send", "o-1", "PAY", "--id", "pay-1"];
    for _ in 0..2 {
        let sent = serving.ask(args).done();
        assert_eq!(sent.stdout, "transitioned  Created → Paid\n");
    }
}

#[test]
fn a_version_is_previewed_refused_deployed_and_taken_back() {
    let serving = shop();
    serving.ask(["send", "o-1", "PAY"]).done();
    let previewed = serving.ask(["deploy", "shop-2.yaml", "--dry-run"]).done();
    assert_eq!(
        previewed.stdout,
        "Shop 2.0.0 would be accepted; nothing was changed\n  \
         Order on 1.0.0  Created  1 live  all fit\n  \
         Order on 1.0.0  Paid     1 live  1 do not fit: state `Paid` is gone\n"
    );
    let refused = serving.ask(["deploy", "shop-2.yaml", "--on-live", "refuse"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("(would_not_fit)"), "{refused:?}");
    assert!(refused.stdout.contains("1 do not fit"), "{refused:?}");
    let deployed = serving.ask(["deploy", "shop-2.yaml", "--json"]).done();
    assert_eq!(deployed.json()["active"], true);
    let sent = serving.ask(["send", "o-2", "PAY", "--json"]).done().json();
    assert_eq!(
        (&sent["to"], &sent["instance"]["version"]),
        (&json!("Settled"), &json!("2.0.0"))
    );
    let back = serving.ask(["rollback", "Shop"]).done();
    assert!(
        back.stdout.starts_with("Shop 1.0.0 is active again\n"),
        "{back:?}"
    );
    let refused = serving.ask(["deploy", "ambiguous.yaml"]);
    assert_eq!(refused.code, 1);
}

#[test]
fn a_dead_letter_is_listed_shown_replayed_and_discarded() {
    let serving = Serving::start([guest("misbehaving").as_os_str()]);
    let new = json!({"id": "rogue", "context": {}});
    serving.create("MisbehavingComponent", "Misbehaving", &new);
    let sent = serving.ask(["send", "rogue", "PANIC", "--id", "boom"]);
    assert_eq!(sent.code, 1);
    assert!(sent.stderr.contains("dead letter boom"), "{sent:?}");
    let listed = serving
        .ask(["dead-letters", "--code", "trap"])
        .done()
        .stdout;
    let row: Vec<&str> = listed.lines().nth(1).expect("a row").split("  ").collect();
    assert_eq!((row[0], row[3]), ("boom", "rogue"), "{listed}");
    let shown = serving.ask(["dead-letters", "show", "boom"]).done().stdout;
    assert!(shown.contains("reason     trap\n"), "{shown}");
    assert!(
        shown.contains("this component panics on purpose"),
        "{shown}"
    );
    let again = serving.ask(["dead-letters", "replay", "boom"]);
    assert_eq!(again.code, 1);
    let component = "MisbehavingComponent";
    let all = serving
        .ask(["dead-letters", "replay", "--component", component])
        .done();
    assert_eq!(all.stdout, "1 replayed: 1 dead-lettered\n");
    let listed = serving.ask(["dead-letters", "--json"]).done().json();
    let letters: Vec<&Value> = listed["items"].as_array().unwrap().iter().collect();
    assert_eq!(letters.len(), 1);
    let gone = serving.ask(["dead-letters", "discard", "boom"]).done();
    assert_eq!(gone.stdout, "boom is discarded\n");
    let listed = serving.ask(["dead-letters"]).done();
    assert_eq!((&*listed.stdout, &*listed.stderr), ("", "there are none\n"));
}

#[test]
fn an_instance_is_created_and_its_cascade_shown() {
    let serving = shop();
    let created = serving.ask([
        "create",
        "Shop",
        "Order",
        r#"{"orderId": "o-3"}"#,
        "--id",
        "o-3",
    ]);
    assert_eq!(created.done().stdout, "o-3  in Created\n");
    serving.ask(["send", "o-3", "PAY", "--id", "pay-3"]).done();
    let of_event = serving.ask(["trace", "--event", "pay-3"]).done().stdout;
    assert!(
        of_event.starts_with("PAY  Shop/Order  o-3  Created → Paid\n"),
        "{of_event}"
    );
    let of_instance = serving.ask(["trace", "o-3"]).done().stdout;
    assert!(of_instance.contains("created in Created"), "{of_instance}");
}

#[test]
fn several_conditions_must_all_hold() {
    let serving = shop();
    for (id, amount) in [("o-1", 5), ("o-2", 50)] {
        let payload = json!({"amount": amount}).to_string();
        serving.ask(["send", id, "PAY", &payload]).done();
    }
    let conditions = [
        "instances",
        "--where",
        "amount:>:1",
        "--where",
        "amount:<:10",
        "--json",
    ];
    let found = serving.ask(conditions).done().json();
    let items = found["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["id"]), (1, &json!("o-1")));
}

#[test]
fn versions_are_listed_and_switched_and_instances_moved() {
    let serving = shop();
    serving.ask(["send", "o-1", "PAY"]).done();
    serving
        .ask(["deploy", "shop-2.yaml", "--on-live", "pin"])
        .done();
    let components = serving.ask(["components"]).done().stdout;
    let row = components.lines().nth(1).expect("a row");
    assert!(
        row.starts_with("Shop") && row.contains("2.0.0") && row.contains("Order"),
        "{components}"
    );
    let versions = serving.ask(["versions", "Shop"]).done().stdout;
    let states: Vec<&str> = versions
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(states, ["STATE", "2", "active"], "{versions}");
    let moved = serving.ask(["migrate", "Shop", "1.0.0", "2.0.0"]);
    assert_eq!(
        (moved.code, moved.stdout.lines().next()),
        (1, Some("1 moved, 1 stayed"))
    );
    let renamed = serving
        .ask([
            "migrate",
            "Shop",
            "1.0.0",
            "2.0.0",
            "--state",
            "Paid=Settled",
        ])
        .done();
    assert_eq!(renamed.stdout, "1 moved, 0 stayed\n");
    let back = serving
        .ask(["activate", "Shop", "1.0.0", "--on-live", "pin"])
        .done();
    assert!(
        back.stdout.starts_with("Shop 1.0.0 is active\n"),
        "{back:?}"
    );
}

#[test]
fn an_instance_is_ended_and_told_so() {
    let serving = shop();
    let args = ["terminate", "o-1", "--reason", "it is stuck"];
    for _ in 0..2 {
        let ended = serving.ask(args).done();
        assert_eq!(ended.stdout, "terminated  in Created\n");
    }
    let told = serving.ask(["history", "o-1"]).done().stdout;
    let told: Vec<String> = told.lines().map(without_time).collect();
    assert_eq!(
        told[1..],
        ["2 $terminated terminated in Created", "it is stuck"]
    );
    let listed = serving
        .ask(["instances", "--status", "terminated", "--json"])
        .done();
    assert_eq!(listed.json()["items"][0]["id"], "o-1");
    let refused = serving.ask(["send", "o-1", "PAY"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("(instance_finished)"),
        "{refused:?}"
    );
}

#[test]
fn an_instance_that_has_ended_is_deleted_and_told_so() {
    let serving = shop();
    let refused = serving.ask(["delete", "o-1"]);
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.stderr,
        "error: the instance `o-1` has not ended yet: terminate it first (instance_active)\n"
    );
    for id in ["o-1", "o-2"] {
        serving.ask(["terminate", id]).done();
    }
    let deleted = serving.ask(["delete", "o-1"]).done();
    assert_eq!(deleted.stdout, "o-1 is deleted\n");
    let deleted = serving.ask(["delete", "o-2", "--json"]).done();
    assert_eq!(deleted.json(), json!({"deleted": "o-2"}));
    let again = serving.ask(["delete", "o-1"]);
    assert_eq!(
        again.stderr,
        "error: there is no instance `o-1` (unknown_instance)\n"
    );
    let listed = serving.ask(["instances", "--json"]).done();
    assert_eq!(listed.json()["items"], json!([]));
}

#[test]
fn what_is_suspended_is_unblocked() {
    let serving = shop();
    let component = serving.ask(["unblock", "Shop"]).done();
    assert_eq!(component.stdout, "VERSION  BREAKER\n1.0.0    closed\n");
    let instance = serving.ask(["unblock", "--instance", "o-1"]).done();
    assert_eq!(instance.stdout, "o-1  in Created\n");
    let neither = serving.ask(["unblock"]);
    assert_eq!(neither.code, 2);
    let both = serving.ask(["unblock", "Shop", "--instance", "o-1"]);
    assert_eq!(both.code, 2);
    let nobody = serving.ask(["unblock", "Nobody"]);
    assert_eq!(
        nobody.stderr,
        "error: there is no component `Nobody` (unknown_component)\n"
    );
}

/// The position in the log after which the stream of a host says everything about an instance.
fn beginning(serving: &Serving, id: &str) -> String {
    let told = serving.ask(["history", id, "--json"]).done().json();
    let position = told["items"][0]["position"].as_str();
    position.expect("a record has a position").to_owned()
}

#[test]
fn what_happens_is_shown_as_it_happens() {
    let serving = shop();
    let after = beginning(&serving, "o-1");
    let tail = ["tail", "--instance", "o-1", "--after", &after];
    let mut shown = serving.watch(tail);
    let mut told = serving.watch(["tail", "--instance", "o-1", "--after", &after, "--json"]);
    for event in ["PAY", "SHIP"] {
        serving.ask(["send", "o-1", event]).done();
        serving.ask(["send", "o-2", event]).done();
        let (before, now) = match event {
            "PAY" => ("Created", "Paid"),
            _ => ("Paid", "Shipped"),
        };
        let line = shown.line();
        let record = format!("  Shop/Order  o-1  {event}  transitioned  {before} → {now}");
        assert!(line.ends_with(&record), "{line}");
        let record: Value = serde_json::from_str(&told.line()).unwrap();
        assert_eq!(
            (&record["kind"], &record["instance_id"], &record["to"]),
            (&json!("transitioned"), &json!("o-1"), &json!(now))
        );
    }
}
