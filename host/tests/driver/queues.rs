//! What waits between a request and its commit is bounded, and nothing accepted is lost.

use std::sync::{Arc, Mutex};

use xcomponent_core::{
    call::{Answer, Failure, Fault, FaultCode, Outcome, Send},
    effect::Reply,
    id::{EventName, InstanceId},
    input::{Request, SendEvent},
    json::Json,
    limits::Limits,
    record::{Body, Disposition},
    time,
};
use xcomponent_host::{
    driver::PageRequest,
    store::sqlite::{self, Sqlite},
};

use crate::{
    faulty::Faulty,
    script::{Behaviour, Scripted, willing},
    world::{Setup, World, is_busy, sending, soon},
};

/// A source that passes on what it gets, and a sink that is blocked while it tries again.
const PIPE: &str = r"
name: Pipe
version: '1'
stateMachines:
  - name: Source
    initialState: A
    states: [{name: A}]
    transitions: [{from: A, to: A, event: GO, triggeredMethod: passOn, mergePayload: false}]
  - name: Sink
    initialState: A
    onFault: {retry: {max: 1, backoffMs: 1000}}
    states: [{name: A}]
    transitions:
      - {from: A, to: A, event: STOP, triggeredMethod: stop}
      - {from: A, to: A, event: TAKE, mergePayload: false}
";

fn limits() -> Limits {
    Limits {
        breaker: false,
        passivate_after: None,
        ..Limits::default()
    }
}

fn event(instance: &InstanceId, name: &str, payload: Json) -> Request {
    Request::Send(SendEvent {
        instance: instance.clone(),
        component: None,
        event: EventName::new(name),
        payload,
        id: None,
        expected_state: None,
        sent_at: None,
        trace_parent: None,
    })
}

fn big(n: usize) -> Json {
    let text = format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(1_000));
    Json::parse(&text).unwrap()
}

/// Sources pass on to the sink; the sink panics the first time it is stopped.
fn plumbing(sink: &Arc<Mutex<Option<InstanceId>>>) -> Scripted {
    let sink = Arc::clone(sink);
    let mut stopped = false;
    Scripted::new(move |call| {
        let sends = match call.method.as_str() {
            "passOn" => vec![Send::ToInstance {
                component: None,
                instance: sink.lock().unwrap().clone().unwrap(),
                event: EventName::new("TAKE"),
                payload: call.event.payload.clone(),
                delay: None,
            }],
            _ if !std::mem::replace(&mut stopped, true) => {
                let fault = Fault {
                    code: FaultCode::Trap,
                    message: "it panicked".into(),
                    backtrace: None,
                };
                return Behaviour::Answers(Outcome {
                    result: Err(Failure::Fault(fault)),
                    logs: Vec::new(),
                    fuel: 1,
                });
            }
            _ => Vec::new(),
        };
        let context = None;
        Behaviour::Answers(Outcome {
            result: Ok(Answer::Action { context, sends }),
            ..willing(call)
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_over_the_budget_are_read_back_from_the_log_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let sqlite = Sqlite::open(&path, sqlite::Config::default()).unwrap();
    let sink = Arc::new(Mutex::new(None));
    let setup = Setup {
        store: Arc::new(Faulty::cut_off(Box::new(sqlite), None)),
        guests: plumbing(&sink),
        limits: Limits {
            mailbox_bytes_max: 4_000,
            ..limits()
        },
    };
    let world = World::start(PIPE, setup).await;
    let near = world.create("Source", 1, "{}").await;
    let far = world.create("Source", 0, "{}").await;
    let blocked = world.create("Sink", 1, "{}").await;
    *sink.lock().unwrap() = Some(blocked.clone());
    let stopped = soon(world.handled(&blocked, "STOP")).await;
    assert_eq!(stopped.disposition, Disposition::Retrying);
    for n in 0..100 {
        for source in [&near, &far] {
            let request = event(source, "GO", big(n));
            let reply = soon(world.handle.request(&world.tenant, request)).await;
            assert!(matches!(reply, Reply::Handled(_)), "{reply:?}");
        }
    }
    let refused = event(&blocked, "TAKE", big(0));
    assert!(is_busy(
        &soon(world.handle.request(&world.tenant, refused)).await
    ));
    let spilled = |world: &World| -> u64 {
        let shards = world.handle.gauges().shards;
        shards.iter().map(|shard| shard.events.spilled).sum()
    };
    assert!(spilled(&world) > 150, "{}", spilled(&world));
    world.clock.advance(time::Duration(1_000));
    soon(world.handle.quiet(&world.tenant)).await;
    // A record that was asked for too early is asked for again a little later.
    for _ in 0..50 {
        world.clock.advance(time::Duration(20));
        soon(world.handle.quiet(&world.tenant)).await;
    }
    let page = PageRequest::first(1_000);
    let history = world.handle.history(&world.tenant, &blocked, page).await;
    let mut taken: Vec<(InstanceId, Json)> = Vec::new();
    for entry in history.unwrap().items {
        if let Body::Handled(handled) = &entry.record.body
            && handled.event.name.as_str() == "TAKE"
        {
            let source = handled.cause.instance.clone().unwrap();
            taken.push((source, handled.event.payload.clone()));
        }
    }
    taken.reverse();
    for source in [&near, &far] {
        let of_it = taken.iter().filter(|(other, _)| other == source);
        let payloads: Vec<&Json> = of_it.map(|(_, payload)| payload).collect();
        let sent: Vec<Json> = (0..100).map(big).collect();
        assert_eq!(payloads, sent.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_inbox_holds_so_many_bytes_and_the_first_request_however_large() {
    let limits = Limits {
        queue_bytes_max: 8_000,
        ..limits()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let world = World::start(PIPE, setup).await;
    let sink = world.create("Sink", 0, "{}").await;
    let lines = (0..20).map(|n| event(&sink, "TAKE", big(n))).collect();
    let replies = soon(world.handle.submit_batch(&world.tenant, lines)).await;
    let refused = replies.iter().filter(|reply| is_busy(reply)).count();
    assert_eq!(refused, 17, "4 000 bytes wait at most");
    let large = Json::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(7_000))).unwrap();
    let large = soon(
        world
            .handle
            .request(&world.tenant, event(&sink, "TAKE", large)),
    )
    .await;
    assert!(matches!(large, Reply::Handled(_)), "{large:?}");
    assert!(matches!(
        soon(world.handle.request(&world.tenant, sending(&sink, "TAKE"))).await,
        Reply::Handled(_)
    ));
}
