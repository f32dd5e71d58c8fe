//! Clients that hold connections: slow, idle, deaf, many. None of them keeps others out.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use xcomponent_host::{
    api::ConnectionLimits,
    memory::{Memory, Purpose},
};

use crate::{
    components::DOOR,
    host::{PATIENCE, TestHost, config, packed},
    served::{Served, serve},
};

/// What ends soon in these tests, so that nobody waits for it.
const SOON: Duration = Duration::from_millis(50);

async fn host_with(limits: ConnectionLimits) -> Served {
    let mut config = config();
    config.connections = limits;
    serve(TestHost::start_with(config).await).await
}

async fn connect(host: &Served) -> TcpStream {
    TcpStream::connect(&host.address).await.unwrap()
}

/// Sends a text and reads until the host closes the connection.
async fn all_of(host: &Served, text: &str) -> String {
    let mut stream = connect(host).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    rest_of(&mut stream).await
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut off has said what there was to say.
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the host ends it soon"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// A request whose body does not come.
async fn busy(host: &Served) -> TcpStream {
    let mut stream = connect(host).await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The host asks for the body: the request is being answered.
    let mut asked = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut asked)).await;
    read.expect("the host answers soon").unwrap();
    stream
}

#[tokio::test]
async fn health_checks_are_answered_when_every_connection_is_taken() {
    let limits = ConnectionLimits {
        total: 2,
        ..ConnectionLimits::default()
    };
    let host = host_with(limits).await;
    let taken = [busy(&host).await, busy(&host).await];
    // The reserve is small: those that say nothing in it do not keep others out of it either.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(&host).await);
    }
    for path in ["/healthz", "/readyz", "/health"] {
        let answer = all_of(&host, &get(path)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    let refused = all_of(&host, &get("/v1/components")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("too_many_connections"), "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    drop((taken, silent));
    loop {
        if all_of(&host, &get("/v1/components"))
            .await
            .starts_with("HTTP/1.1 200 ")
        {
            break;
        }
    }
}

#[tokio::test]
async fn connections_without_a_request_make_room_for_others() {
    let limits = ConnectionLimits {
        total: 2,
        ..ConnectionLimits::default()
    };
    let host = host_with(limits).await;
    let mut idle = [connect(&host).await, connect(&host).await];
    loop {
        if all_of(&host, &get("/v1/components"))
            .await
            .starts_with("HTTP/1.1 200 ")
        {
            break;
        }
    }
    assert_eq!(rest_of(&mut idle[0]).await, "");
}

#[tokio::test]
async fn clients_that_do_not_ask_are_hung_up_on() {
    let limits = ConnectionLimits {
        first_request: SOON,
        idle: SOON,
        ..ConnectionLimits::default()
    };
    let host = host_with(limits).await;
    for begun in [
        "",
        "G",
        "GET /v1/components HTTP/1.1\r\nhost: localhost\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        all_of(&host, begun).await;
    }
    let mut stream = connect(&host).await;
    let asked = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(asked.as_bytes()).await.unwrap();
    let answer = rest_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let limits = ConnectionLimits {
        body: SOON,
        ..ConnectionLimits::default()
    };
    let host = host_with(limits).await;
    for route in [
        "POST /v1/events",
        "POST /v1/shipments",
        "POST /v1/instances/a/events",
        "POST /v1/components/A/machines/A/instances",
        "POST /v1/components/A/activate",
        "PUT /v1/components/A",
        "POST /api/instances",
        "POST /api/instances/a/events",
    ] {
        let head = format!(
            "{route} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
        );
        let answer = all_of(&host, &head).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{route}: {answer}");
        assert!(answer.contains("slow_body"), "{route}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_not_kept_for_ever() {
    let memory = Memory::new(256 << 20);
    let mut config = config();
    config.memory = memory.clone();
    config.connections.stalled = SOON;
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let text = "x".repeat(1_000_000);
    for room in 0..6 {
        let context = json!({"room": format!("{room}"), "text": text});
        host.create("Door", "Door", &context).await;
    }
    let host = serve(host).await;
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&host).await;
        let asked = get("/v1/instances?limit=1000");
        stream.write_all(asked.as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    let free = async {
        // As soon as all had their turn, and were cut off.
        while memory.used(Purpose::Answers) == 0 {
            tokio::task::yield_now().await;
        }
        while memory.used(Purpose::Answers) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.expect("they are given up");
    drop(deaf);
    assert!(memory.max(Purpose::Answers) < 30 << 20);
    let answer = all_of(&host, &get("/v1/instances?limit=1")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_request_names_one_host_and_only_that() {
    let host = host_with(ConnectionLimits::default()).await;
    for (hosts, code) in [
        ("host: localhost\r\nhost: localhost\r\n", "two_hosts"),
        ("host: localhost\r\nhost: evil.example\r\n", "two_hosts"),
        ("host: [::1]evil.example\r\n", "host_not_allowed"),
        ("host: 127.0.0.1.evil.example\r\n", "host_not_allowed"),
    ] {
        let asked = format!("GET /v1/instances HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let answer = all_of(&host, &asked).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{hosts}: {answer}");
        assert!(answer.contains(code), "{hosts}: {answer}");
    }
}
