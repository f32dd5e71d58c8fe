//! Streams: filtered, resumed where they stopped, and never in anybody's way.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::Method,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    components::DOOR,
    host::{PATIENCE, TestHost, config, packed, request},
    served::{Served, serve},
};

/// A reader of Server-Sent Events.
pub(crate) struct Events {
    body: BodyDataStream,
    text: String,
}

/// One event: its id, and its data if it has any.
#[derive(Debug)]
struct Event {
    id: String,
    data: Option<Value>,
}

impl Events {
    pub(crate) async fn open(host: &TestHost, query: &str) -> Self {
        let path = format!("/v1/stream?{query}");
        let mut request = request(Method::GET, &path, Body::empty());
        let accept = "text/event-stream".parse().unwrap();
        request.headers_mut().insert("accept", accept);
        let response = host.open(request).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event, with or without data.
    async fn any(&mut self) -> Event {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = block.lines();
                    lines
                        .filter_map(|line| line.strip_prefix(name))
                        .next()
                        .map(str::trim)
                };
                let event = Event {
                    id: field("id:").unwrap_or_default().to_owned(),
                    data: field("data:").map(|data| serde_json::from_str(data).unwrap()),
                };
                self.text = rest.to_owned();
                return event;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await;
            let chunk = chunk
                .expect("something comes soon")
                .expect("it goes on")
                .unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next record.
    pub(crate) async fn record(&mut self) -> Value {
        loop {
            let Event { id, data } = self.any().await;
            if let Some(data) = data {
                assert_eq!(data["position"], id);
                return data;
            }
        }
    }
}

async fn doors() -> (TestHost, String, String) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let front = host.create("Door", "Door", &json!({"room": "A"})).await;
    let back = host.create("Door", "Door", &json!({"room": "B"})).await;
    (host, front, back)
}

#[tokio::test]
async fn a_stream_shows_what_passes_its_filters() {
    let (host, front, back) = doors().await;
    let mut all = Events::open(&host, "").await;
    let mut own = Events::open(&host, &format!("instance={back}")).await;
    let mut ignored =
        Events::open(&host, "component=Door&machine=Door&kinds=ignored,rejected").await;
    host.send(&front, "OPEN", &json!({})).await;
    host.send(&back, "CLOSE", &json!({})).await;
    let first = all.record().await;
    assert_eq!(
        (&first["kind"], &first["instance_id"]),
        (&json!("transitioned"), &json!(front))
    );
    assert_eq!(
        (&first["from"], &first["to"]),
        (&json!("Closed"), &json!("Open"))
    );
    assert_eq!(all.record().await["kind"], "ignored");
    assert_eq!(own.record().await["event"]["name"], "CLOSE");
    assert_eq!(ignored.record().await["instance_id"], back);
}

#[tokio::test]
async fn a_stream_goes_on_after_any_position() {
    let (host, front, _) = doors().await;
    for event in ["OPEN", "CLOSE", "OPEN", "CLOSE"] {
        host.send(&front, event, &json!({})).await;
    }
    let history = host.history(&front).await;
    let after = history[1]["position"].as_str().unwrap();
    let mut resumed = Events::open(&host, &format!("instance={front}&after={after}")).await;
    for record in &history[2..] {
        assert_eq!(&resumed.record().await, record);
    }
    let mut from_id = request(Method::GET, "/v1/stream", Body::empty());
    from_id
        .headers_mut()
        .insert("accept", "text/event-stream".parse().unwrap());
    from_id
        .headers_mut()
        .insert("last-event-id", after.parse().unwrap());
    assert_eq!(host.open(from_id).await.status(), 200);
}

#[tokio::test]
async fn a_quiet_stream_says_where_it_is() {
    let mut config = config();
    config.heartbeat = Duration::from_millis(20);
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let mut quiet = Events::open(&host, "kinds=moved").await;
    let beat = quiet.any().await;
    assert!(beat.data.is_none());
    let front = host.create("Door", "Door", &json!({"room": "A"})).await;
    let mut resumed = Events::open(&host, &format!("after={}", beat.id)).await;
    assert_eq!(resumed.record().await["instance_id"], front);
}

#[tokio::test]
async fn what_is_no_stream_is_refused() {
    let (host, ..) = doors().await;
    assert_eq!(
        host.get("/v1/stream").await.problem(426),
        "upgrade_required"
    );
    for (query, code) in [
        ("after=7", "invalid_position"),
        ("kinds=sleepy", "invalid_query"),
        ("instance=a%20b", "invalid_id"),
    ] {
        let mut request = request(Method::GET, &format!("/v1/stream?{query}"), Body::empty());
        request
            .headers_mut()
            .insert("accept", "text/event-stream".parse().unwrap());
        assert_eq!(host.ask(request).await.problem(400), code);
    }
}

#[tokio::test]
async fn a_position_that_the_log_has_forgotten_is_gone() {
    let mut config = config();
    config.history_bytes_max = 64 << 10;
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let front = host.create("Door", "Door", &json!({"room": "A"})).await;
    let first = host.history(&front).await[0]["position"]
        .as_str()
        .unwrap()
        .to_owned();
    for event in ["OPEN", "CLOSE"].into_iter().cycle().take(400) {
        host.send(&front, event, &json!({})).await;
    }
    let mut request = request(
        Method::GET,
        &format!("/v1/stream?after={first}"),
        Body::empty(),
    );
    request
        .headers_mut()
        .insert("accept", "text/event-stream".parse().unwrap());
    assert_eq!(host.ask(request).await.problem(410), "position_gone");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(served: &Served, query: &str) -> Socket {
    let url = format!("ws://{}/v1/stream?{query}", served.address);
    connect_async(url).await.unwrap().0
}

async fn message(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await;
        match message.expect("a message comes soon").unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => {
                return json!({"closed": frame.map(|frame| u16::from(frame.code))});
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_websocket_shows_records_and_ends_with_the_host() {
    let mut config = config();
    config.heartbeat = Duration::from_millis(50);
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let front = host.create("Door", "Door", &json!({"room": "A"})).await;
    let handle = host.host.handle().clone();
    let created = host.history(&front).await[0]["position"]
        .as_str()
        .unwrap()
        .to_owned();
    host.send(&front, "OPEN", &json!({})).await;
    let served = serve(host).await;

    let mut socket = connect(&served, &format!("after={created}")).await;
    let opened = message(&mut socket).await;
    assert_eq!(
        (&opened["kind"], &opened["to"]),
        (&json!("transitioned"), &json!("Open"))
    );
    let beat = message(&mut socket).await;
    assert_eq!(beat["kind"], "heartbeat");
    assert!(beat["position"].is_string());
    socket.send(Message::Text("whatever".into())).await.unwrap();

    served.stop.send(()).unwrap();
    let closed = loop {
        let message = message(&mut socket).await;
        if message.get("closed").is_some() {
            break message;
        }
    };
    assert_eq!(closed["closed"], 1001);
    drop(socket);
    let ended = tokio::time::timeout(PATIENCE, served.ended).await;
    ended.expect("the host ends").unwrap().unwrap();
    assert!(!handle.is_ready());
}

#[tokio::test]
async fn a_foreign_page_gets_no_websocket() {
    let served = serve(TestHost::start().await).await;
    let url = format!("ws://{}/v1/stream", served.address);
    let mut request = url.into_client_request().unwrap();
    let origin = "http://evil.example".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    let refused = connect_async(request).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let (host, front, _) = doors().await;
    let served_router = host.host.router();
    let served = serve(host).await;
    let silent = connect(&served, "").await;
    let mut reading = connect(&served, &format!("instance={front}&kinds=ignored")).await;
    let payload = "x".repeat(100_000);
    // Far more than the buffers of a connection hold.
    for number in 0..300 {
        let body = json!({"event": "CLOSE", "payload": {"n": number, "payload": payload}});
        let path = format!("/v1/instances/{front}/events");
        let request = request(Method::POST, &path, Body::from(body.to_string()));
        let answered = tower::ServiceExt::oneshot(served_router.clone(), request);
        let answer = tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer.status(), 200);
        let seen = message(&mut reading).await;
        assert_eq!(seen["event"]["payload"]["n"], number);
    }
    drop(silent);
}

#[tokio::test]
async fn the_last_event_a_client_has_seen_counts_more_than_its_url() {
    let (host, front, _) = doors().await;
    for event in ["OPEN", "CLOSE", "OPEN"] {
        host.send(&front, event, &json!({})).await;
    }
    let history = host.history(&front).await;
    let position = |place: usize| history[place]["position"].as_str().unwrap();
    let path = format!("/v1/stream?instance={front}&after={}", position(0));
    let mut request = request(Method::GET, &path, Body::empty());
    let headers = request.headers_mut();
    headers.insert("accept", "text/event-stream".parse().unwrap());
    headers.insert("last-event-id", position(2).parse().unwrap());
    let response = host.open(request).await;
    let mut events = Events {
        body: response.into_body().into_data_stream(),
        text: String::new(),
    };
    assert_eq!(events.record().await, history[3]);
}

#[tokio::test]
async fn a_socket_is_closed_in_good_order() {
    let (host, ..) = doors().await;
    let host = serve(host).await;
    let (mut socket, _) = connect_async(format!("ws://{}/v1/stream", host.address))
        .await
        .unwrap();
    socket.close(None).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(matches!(closed, Some(Ok(Message::Close(_)))), "{closed:?}");
}

#[tokio::test]
async fn a_client_of_a_socket_has_nothing_long_to_say() {
    let (host, ..) = doors().await;
    let host = serve(host).await;
    let (mut socket, _) = connect_async(format!("ws://{}/v1/stream", host.address))
        .await
        .unwrap();
    let long = Message::text("x".repeat(100_000));
    // The host may have gone before all of it is sent.
    drop(socket.send(long).await);
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.unwrap();
}
