//! Components for these tests, and what is told about them.

use serde_json::{Value, json};
use xcomponent_pack as pack;

use crate::{
    guests::guest,
    host::{Answer, TestHost, packed},
};

/// A component without code: a door that is opened, closed and torn down.
pub(crate) const DOOR: &str = "\
name: Door
version: 1.0.0
stateMachines:
  - name: Door
    description: A door
    initialState: Closed
    contextSchema:
      room: {type: text, required: true}
      floor: {type: number, default: 0}
    states:
      - {name: Closed}
      - {name: Open}
      - {name: Gone, type: final}
    transitions:
      - {from: Closed, to: Open, event: OPEN}
      - {from: Open, to: Closed, event: CLOSE}
      - {from: '*', to: Gone, event: TEAR_DOWN}
      - {from: Closed, to: Open, event: OPEN_ROOM, matchingRules: [{eventProperty: room, instanceProperty: room}]}
";

/// A door of another version, with other states.
pub(crate) fn door(version: &str) -> String {
    DOOR.replace("1.0.0", version)
}

/// A guest of `components/` with a changed definition.
pub(crate) fn changed(name: &str, change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let component = guest(name);
    let read = pack::read(&component).unwrap();
    let definition = change(&read.definition);
    pack::pack(&component, &definition, &read.metadata, &read.methods).unwrap()
}

fn named<'v>(list: &'v Value, name: &str) -> &'v Value {
    let items = list.as_array().unwrap();
    items.iter().find(|item| item["name"] == name).unwrap()
}

#[tokio::test]
async fn a_component_is_listed_and_described() {
    let host = TestHost::with(&[("Door", packed(DOOR)), ("OrderComponent", guest("order"))]).await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    host.create("Door", "Door", &json!({"room": "B"})).await;
    host.send(&id, "TEAR_DOWN", &json!({})).await;

    let list = host.get("/v1/components").await.json();
    let item = named(&list["items"], "Door");
    assert_eq!(item["version"], "1.0.0");
    assert_eq!(item["machines"], json!(["Door"]));
    assert_eq!(item["breaker"], "closed");
    assert_eq!(
        item["instances"],
        json!({"active": 1, "completed": 1, "error": 0, "terminated": 0})
    );
    assert_eq!(list["items"].as_array().unwrap().len(), 2);

    let door = host.get("/v1/components/Door").await.json();
    let version = &door["versions"][0];
    assert_eq!(version["active"], true);
    assert_eq!(version["size"], packed(DOOR).len());
    assert_eq!(version["digest"].as_str().unwrap().len(), 64);
    assert_eq!(version["breaker"]["state"], "closed");
    let machine = &door["machines"][0];
    assert_eq!(machine["initial_state"], "Closed");
    assert_eq!(
        machine["states"][2],
        json!({"name": "Gone", "type": "final"})
    );
    assert_eq!(
        machine["events"],
        json!(["OPEN", "CLOSE", "TEAR_DOWN", "OPEN_ROOM"])
    );
    assert_eq!(machine["context_schema"]["room"]["required"], true);
    assert_eq!(machine["transitions"][0]["from"], json!(["Closed"]));
    let gone = json!({"version": "1.0.0", "machine": "Door", "state": "Gone", "status": "completed", "instances": 1});
    assert!(door["instances"].as_array().unwrap().contains(&gone));

    let order = host.get("/v1/components/OrderComponent").await.json();
    assert_eq!(order["entry_machine"], "Order");
    assert_eq!(order["machines"][0]["transitions"][0]["guard"], "isWorthIt");
    assert_eq!(
        host.get("/v1/components/Nobody").await.problem(404),
        "unknown_component"
    );
}

#[tokio::test]
async fn definition_and_artifact_come_back_byte_for_byte() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    host.upload("Door", packed(&door("1.1.0"))).await;
    let yaml = host
        .get("/v1/components/Door/definition?version=1.0.0")
        .await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert_eq!(yaml.body, DOOR);
    let artifact = host.get("/v1/components/Door/artifact").await;
    assert_eq!(artifact.headers["content-type"], "application/wasm");
    assert_eq!(artifact.body, packed(&door("1.1.0")));
    for path in ["definition", "artifact"] {
        let path = format!("/v1/components/Door/{path}?version=9");
        assert_eq!(host.get(&path).await.problem(404), "unknown_version");
    }
}

#[tokio::test]
async fn a_machine_is_drawn_in_three_formats() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let draw = async |query: &str| {
        host.get(&format!("/v1/components/Door/diagram{query}"))
            .await
    };
    let text = |answer: Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text(draw("").await).starts_with("stateDiagram-v2"));
    assert!(text(draw("?format=dot").await).starts_with("digraph"));
    let svg = draw("?machine=Door&format=svg").await;
    assert_eq!(svg.headers["content-type"], "image/svg+xml");
    let svg = text(svg);
    assert!(svg.starts_with("<svg") && svg.contains(">Closed</text>") && svg.contains("TEAR_DOWN"));
    assert_eq!(draw("?format=png").await.problem(400), "invalid_query");
    assert_eq!(
        draw("?machine=Window").await.problem(404),
        "unknown_machine"
    );

    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    let own = host
        .get(&format!("/v1/instances/{id}/diagram?format=svg"))
        .await;
    assert!(text(own).contains("state current"));
    assert_eq!(
        host.get("/v1/instances/nobody/diagram").await.problem(404),
        "unknown_instance"
    );
}

#[tokio::test]
async fn the_same_upload_twice_changes_nothing() {
    let host = TestHost::start().await;
    let first = host.upload("Door", packed(DOOR)).await;
    assert_eq!(first.status, 201);
    let answer = first.json();
    assert_eq!(
        (&answer["component"], &answer["version"]),
        (&json!("Door"), &json!("1.0.0"))
    );
    assert_eq!(answer["active"], true);
    assert_eq!(
        answer["report"],
        json!({"findings": [], "missing_methods": [], "live": []})
    );
    let second = host.upload("Door", packed(DOOR)).await;
    assert_eq!(second.status, 200);
    assert_eq!(second.json()["digest"], answer["digest"]);
    let other = DOOR.replace("A door", "Another door");
    assert_eq!(
        host.upload("Door", packed(&other)).await.problem(409),
        "version_exists"
    );
    assert_eq!(
        host.upload("Window", packed(DOOR)).await.problem(422),
        "other_name"
    );
}

#[tokio::test]
async fn a_definition_may_be_uploaded_without_code() {
    let host = TestHost::start().await;
    let yaml = DOOR.replace("event: OPEN}", "event: OPEN, triggeredMethod: oil}");
    let request = axum::http::Request::put("/v1/components/Door")
        .header("content-type", "application/yaml")
        .body(yaml.into())
        .unwrap();
    let answer = host.ask(request).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        answer.json()["report"]["missing_methods"],
        json!(["action oil"])
    );
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    assert_eq!(host.send(&id, "OPEN", &json!({})).await.text("/to"), "Open");
}
