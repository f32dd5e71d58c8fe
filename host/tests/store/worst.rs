//! The worst record that is accepted at the door: no store may refuse it.

use std::sync::Arc;

use xcomponent_core::{
    call::{Fault, FaultCode, LogLevel, LogLine},
    id::{EventId, EventName, InstanceId},
    json::Json,
    limits::{JSON_BYTES_MAX, JSON_DEPTH_MAX},
    record::{Began, Body, Disposition, Mail, Retry, Waiting, Waits},
    time::Timestamp,
};
use xcomponent_host::store::{Store, query::PageRequest};

use crate::sample::{Shard, root};

pub(crate) fn the_worst_that_is_accepted_is_kept_as_it_is(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let long = "~".repeat(128);
    let mut order = shard.create(&long, "{}");
    order.context = deepest();
    let mut worst = shard.handled(
        order,
        &long,
        "\u{1F600}\u{7F}é'\"\\;--",
        Disposition::Retrying,
    );
    worst.event.payload = largest();
    worst.event.at = Timestamp(u64::MAX >> 11);
    worst.sent_at = Some(Timestamp(0));
    worst.fuel = u64::MAX >> 1;
    worst.fault = Some(Box::new(Fault {
        code: FaultCode::Trap,
        message: "line\nline\r\t\u{2400}\u{FFFF}\u{10FFFF}".into(),
        backtrace: Some("".into()),
    }));
    worst.logs.push(LogLine {
        level: LogLevel::Error,
        message: "\u{1}\u{1B}[31m\u{202E}".into(),
    });
    worst.cause.trace_parent = Some("x".repeat(55 + 1 + 512).into());
    let retry = Retry {
        mail: Mail {
            event: worst.event.clone(),
            cause: root(&long),
            sent_at: None,
        },
        at: Timestamp(3),
        attempts: u32::MAX,
        replays: Some(EventId::from_stored(&long)),
    };
    let began = vec![Began::from(Waiting::Retry(Arc::new(retry)))];
    let ended = Vec::new();
    worst.waits = Some(Box::new(Waits { began, ended }));
    let body = Body::Handled(Arc::new(worst.clone()));
    worst.after.wait(&body);
    let body = Body::Handled(Arc::new(worst.clone()));
    shard.commit(body.clone());
    let Body::Handled(told) = body.without_waiting() else {
        panic!("it is the same body");
    };

    let id: InstanceId = worst.after.id.clone();
    let history = store
        .history(shard.tenant(), &id, PageRequest::first(1))
        .unwrap();
    let Body::Handled(kept) = &history.items[0].record.body else {
        panic!("a history has events only");
    };
    assert_eq!(format!("{kept:?}"), format!("{told:?}"));
    let instance = store.instance(shard.tenant(), &id).unwrap().unwrap();
    assert_eq!(format!("{instance:?}"), format!("{:?}", worst.after));
    assert_eq!(kept.event.id, EventId::from_stored(&long));
    assert_eq!(kept.event.name, EventName::new("\u{1F600}\u{7F}é'\"\\;--"));
}

/// As deep as JSON may be, with every number at its edge.
fn deepest() -> Json {
    let inner =
        r#"{"":[1.7976931348623157e308,-5e-324,18446744073709551615,-0.0,"\ud83d\ude00\u001f"]}"#;
    let levels = JSON_DEPTH_MAX - 2;
    let text = format!("{}{inner}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    Json::parse(&text).unwrap()
}

/// As large as JSON may be.
fn largest() -> Json {
    let text = format!(r#"{{"a":"{}"}}"#, "é".repeat((JSON_BYTES_MAX - 8) / 2));
    assert!(text.len() <= JSON_BYTES_MAX);
    Json::parse(&text).unwrap()
}
