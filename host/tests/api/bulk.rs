//! Many events in one request.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    components::DOOR,
    host::{TestHost, packed},
};

async fn doors(n: usize) -> (TestHost, Vec<String>) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let mut ids = Vec::new();
    for number in 0..n {
        ids.push(
            host.create("Door", "Door", &json!({"room": number.to_string()}))
                .await,
        );
    }
    (host, ids)
}

fn lines(lines: &[Value]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

#[tokio::test]
async fn each_line_is_answered_in_order() {
    let (host, ids) = doors(2).await;
    let body = lines(&[
        json!({"instance": ids[0], "event": "OPEN", "id": "first"}),
        json!({"instance": "nobody", "event": "OPEN"}),
        json!({"component": "Door", "machine": "Door", "event": "OPEN_ROOM", "payload": {"room": "1"}}),
        json!({"event": "OPEN"}),
        json!({"instance": ids[0], "event": "OPEN", "id": "first"}),
        json!({"instance": ids[0], "component": "Window", "event": "OPEN"}),
        json!({"instance": ids[1], "event": "CLOSE", "expected_state": "Closed"}),
        json!({"component": "Door", "machine": "Door", "event": "CLOSE", "state": "Open"}),
    ]);
    let body = format!(
        "{body}\nnot json\n{}",
        json!({"instance": ids[1], "event": "TEAR_DOWN"})
    );
    let answer = host.post_text("/v1/events", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines = answer.lines();
    let opened = json!({"status": 200, "disposition": "transitioned", "from": "Closed", "to": "Open", "seq": 2});
    assert_eq!(lines[0], opened);
    assert_eq!(
        (&lines[1]["status"], &lines[1]["code"]),
        (&json!(404), &json!("unknown_instance"))
    );
    assert_eq!(
        (&lines[2]["matched"], &lines[2]["transitioned"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&lines[3]["status"], &lines[3]["code"]),
        (&json!(400), &json!("invalid_body"))
    );
    assert_eq!(lines[4]["replayed"], true);
    assert_eq!(lines[5]["status"], 404);
    assert_eq!(lines[6]["code"], "unexpected_state");
    assert_eq!(lines[7]["transitioned"], 2);
    assert_eq!(lines[8]["code"], "invalid_json");
    assert_eq!(lines[9]["to"], "Gone");
    assert_eq!(lines.len(), 10);
}

#[tokio::test]
async fn a_full_request_is_answered_whole_and_in_order() {
    const DOORS: usize = 100;
    const LINES: usize = 100_000;
    let (host, ids) = doors(DOORS).await;
    let mut body = String::new();
    for line in 0..LINES {
        let event = ["OPEN", "CLOSE"][line / DOORS % 2];
        let _ = writeln!(
            body,
            r#"{{"instance":"{}","event":"{event}","payload":{{"n":{line}}}}}"#,
            ids[line % DOORS]
        );
    }
    let answer = host.post_text("/v1/events", body.clone()).await;
    let answers = answer.lines();
    assert_eq!(answers.len(), LINES);
    for (line, answer) in answers.iter().enumerate() {
        assert_eq!(answer["disposition"], "transitioned", "{line}: {answer}");
        assert_eq!(answer["seq"], line / DOORS + 2);
    }
    body.push_str("{}\n");
    assert_eq!(
        host.post_text("/v1/events", body).await.problem(413),
        "too_many_lines"
    );
    let door = host.instance(&ids[0]).await;
    assert_eq!(
        door["seq"],
        LINES / DOORS + 1,
        "a refused request changes nothing"
    );
}

#[tokio::test]
async fn a_body_over_64_mib_is_refused() {
    let (host, _) = doors(0).await;
    let body = "x".repeat((64 << 20) + 1);
    assert_eq!(
        host.post_text("/v1/events", body).await.problem(413),
        "too_large"
    );
    let empty = host.post_text("/v1/events", "\n\n").await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
}
