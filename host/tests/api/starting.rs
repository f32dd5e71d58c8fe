//! A port that is answered before there is a host behind it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};
use xcomponent_host::{
    api::ConnectionLimits,
    app::{self, Config, Host, Reception},
    driver::Progress,
    store::{
        Store,
        memory::{self, Memory},
    },
};

use crate::{
    components::DOOR,
    host::{PATIENCE, TestHost, config, packed},
};

/// One connection that stays open.
struct Connection(TcpStream);

/// What came back on it.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Connection {
    async fn ask(&mut self, request: &str) -> Answer {
        let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.answer()).await;
        answer.expect("an answer comes soon")
    }

    async fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split_once("content-length: ").unwrap().1;
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            body: serde_json::from_slice(&body).unwrap(),
            head,
        }
    }
}

/// What a host left behind that had two doors.
async fn left_behind() -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(Memory::new(memory::Config::default()));
    let host = TestHost::of(Host::start_on(config(), store.clone()).await.unwrap());
    assert_eq!(host.upload("Door", packed(DOOR)).await.status, 201);
    for id in ["front", "back"] {
        let path = "/v1/components/Door/machines/Door/instances";
        let door = json!({"id": id, "context": {"room": "A"}});
        assert_eq!(host.post(path, &door).await.status, 201);
    }
    host.shutdown().await;
    store
}

#[tokio::test]
async fn a_port_tells_how_far_the_host_is_and_then_leads_to_it() {
    let store = left_behind().await;
    let listener = app::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let progress = Progress::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let reception = Reception::open(
        listener,
        progress.clone(),
        ConnectionLimits::default(),
        stopped,
    );
    let mut connection = Connection(TcpStream::connect(address).await.unwrap());

    let alive = connection.ask("GET /healthz").await;
    assert_eq!((alive.status, alive.body), (200, json!({"status": "ok"})));
    let ready = connection.ask("GET /readyz").await;
    let none = json!({"components": 0, "components_ready": 0, "instances": 0, "deliveries": 0});
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.body,
        json!({"status": "recovering", "progress": none})
    );
    for request in [
        "GET /v1/instances/front",
        "GET /",
        "DELETE /healthz",
        "GET /health",
    ] {
        let refused = connection.ask(request).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (503, &json!("recovering"))
        );
        assert!(
            refused.head.contains("\r\nretry-after: 1\r\n"),
            "{}",
            refused.head
        );
        assert!(
            refused.head.contains("application/problem+json"),
            "{}",
            refused.head
        );
    }

    let config = Config {
        progress,
        ..config()
    };
    let host = Host::start_on(config, store).await.unwrap();
    let ready = connection.ask("GET /readyz").await;
    let all = json!({"components": 1, "components_ready": 1, "instances": 2, "deliveries": 0});
    assert_eq!((ready.status, &ready.body["progress"]), (503, &all));
    let serving = reception.lead_to(host);
    let ready = connection.ask("GET /readyz").await;
    assert_eq!((ready.status, ready.body), (200, json!({"status": "ok"})));
    let door = connection.ask("GET /v1/instances/front").await;
    assert_eq!((door.status, &door.body["state"]), (200, &json!("Closed")));

    stop.send(()).unwrap();
    let served = tokio::time::timeout(PATIENCE, serving).await;
    served.unwrap().unwrap();
}
