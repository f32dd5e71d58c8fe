//! Machines that send each other more than there is room for: the host answers, and it ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xcomponent_core::id::TenantId;
use xcomponent_host::driver::{Kind, RecordFilter, Subscription};

use crate::{
    NOTHING,
    host::{PATIENCE, TestHost, packed},
    turn,
};

/// Two machines that hit each other for as long as they may, and one that has no part in it.
const RALLY: &str = r"
name: Rally
version: '1'
routing: side
stateMachines:
  - name: Left
    initialState: Ready
    states:
      - name: Ready
        cascadingRules: [{targetMachine: Right, event: BALL}]
    transitions:
      - {from: Ready, to: Ready, event: BALL}
  - name: Right
    initialState: Ready
    states:
      - name: Ready
        cascadingRules: [{targetMachine: Left, event: BALL}]
    transitions:
      - {from: Ready, to: Ready, event: BALL}
  - name: Referee
    initialState: Watching
    states: [{name: Watching}]
    transitions:
      - {from: Watching, to: Watching, event: LOOK}
";

/// A machine that feeds itself, and one whose every child has a child.
const SELF: &str = r"
name: Self
version: '1'
stateMachines:
  - name: Feeder
    initialState: Ready
    states:
      - name: Ready
      - name: Fed
        cascadingRules: [{targetMachine: Feeder, targetState: Fed, event: FEED}]
    transitions:
      - {from: [Ready, Fed], to: Fed, event: FEED}
  - name: Rabbit
    initialState: Young
    states:
      - name: Young
        cascadingRules: [{targetMachine: Rabbit, targetState: Young, event: BREED}]
      - name: Old
    transitions:
      - {from: Young, to: Old, event: BREED, type: inter_machine, targetMachine: Rabbit}
";

/// Events from outside that the storm begins with; each may cause ten thousand transitions.
const BALLS: usize = 40;

/// Longest that anybody waited for an answer while the storm went on, on a busy machine.
const RESPONSIVE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards_that_cascade_into_each_other_answer_and_drain() {
    let _turn = turn().await;
    let host = TestHost::with(&[("Rally", packed(RALLY))]).await;
    let mut players = Vec::new();
    for (machine, side) in [("Left", 0), ("Right", 1), ("Left", 2), ("Right", 3)] {
        let context = json!({ "side": side });
        players.push(host.create("Rally", machine, &context).await);
    }
    let referee = host.create("Rally", "Referee", &json!({"side": 4})).await;
    let lines: String = players
        .iter()
        .cycle()
        .take(BALLS)
        .map(|player| json!({"instance": player, "event": "BALL"}).to_string() + "\n")
        .collect();
    let rally = host.post_text("/v1/events", lines);
    let watching = async {
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let asked = Instant::now();
            let answer = host.send(&referee, "LOOK", NOTHING).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(host.get("/health").await.status, 200);
            longest = longest.max(asked.elapsed());
        }
        longest
    };
    let (rally, longest) = tokio::join!(rally, watching);
    println!("longest wait for an answer during the storm: {longest:?}");
    assert!(longest <= RESPONSIVE, "somebody waited {longest:?}");
    let answers = rally.lines();
    assert_eq!(answers.len(), BALLS);
    for answer in answers {
        assert_eq!(answer["disposition"], "transitioned", "{answer}");
    }
    let handle = host.host.handle().clone();
    assert!(host.host.shutdown(PATIENCE).await, "it never drains");
    let records = handle.gauges().commit.records;
    println!("records of the storm: {records}");
    assert!(
        records > 10_000,
        "only {records} records: that was no storm"
    );
}

#[tokio::test]
async fn a_cascade_that_feeds_itself_ends_with_its_chain_in_the_dead_letters() {
    let _turn = turn().await;
    let host = TestHost::with(&[("Self", packed(SELF))]).await;
    let feeder = host.create("Self", "Feeder", NOTHING).await;
    let mut letters = Letters::of(&host);
    let fed = host.send(&feeder, "FEED", NOTHING).await;
    let letter = letters.next(&host).await;
    assert_eq!(letter["root"], fed.text("/event_id"));
    assert_eq!(letter["event"]["name"], "FEED");
    let chain = budget_chain(&letter);
    assert!(chain.matches("FEED").count() > 10, "{chain}");
    assert!(chain.contains(&feeder), "{chain}");
    let again = host.send(&feeder, "FEED", NOTHING).await;
    assert_eq!(again.text("/disposition"), "transitioned");
}

#[tokio::test]
async fn children_that_have_children_end_with_their_chain_in_the_dead_letters() {
    let _turn = turn().await;
    let host = TestHost::with(&[("Self", packed(SELF))]).await;
    let mut letters = Letters::of(&host);
    host.create("Self", "Rabbit", NOTHING).await;
    let letter = letters.next(&host).await;
    let chain = budget_chain(&letter);
    assert!(chain.contains("BREED"), "{chain}");
    let counts = host.get("/v1/instances?machine=Rabbit&count=true").await;
    let counts = counts.json();
    let counts = counts["items"].as_array().unwrap().iter();
    let rabbits: u64 = counts.map(|one| one["instances"].as_u64().unwrap()).sum();
    assert!((10..100).contains(&rabbits), "{rabbits} rabbits");
}

/// The chain of causes that a dead letter shows, after checking that its budget is why.
fn budget_chain(letter: &Value) -> &str {
    assert_eq!(letter["reason"]["code"], "cascade_budget", "{letter}");
    letter["reason"]["message"].as_str().unwrap()
}

/// Dead letters as they come.
struct Letters(Subscription);

impl Letters {
    fn of(host: &TestHost) -> Self {
        let filter = RecordFilter {
            kinds: vec![Kind::DeadLettered],
            ..RecordFilter::default()
        };
        let tenant = TenantId::default_tenant();
        Self(host.host.handle().subscribe(&tenant, filter, None))
    }

    async fn next(&mut self, host: &TestHost) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("it ends soon").expect("the log reaches back");
        host.get("/v1/dead-letters").await.json()["items"][0].take()
    }
}
