//! A host that is told to end: what begun is finished, and whoever asks is told.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::Serving;

/// Longest wait for something that must happen: only a broken host reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server says before it closes a WebSocket: going away.
const CLOSE_FRAME: [u8; 2] = 1_001_u16.to_be_bytes();

/// One connection.
struct Connection(TcpStream);

impl Connection {
    fn open(serving: &Serving) -> Self {
        let address = serving.url().strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Asks without a body.
    fn get(&mut self, path: &str, headers: &str) {
        self.say(&format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
        ));
    }

    /// Reads until it has seen this.
    fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let read = self.0.read(&mut byte).unwrap();
            assert_eq!(
                read,
                1,
                "closed after {:?}",
                String::from_utf8_lossy(&heard)
            );
            heard.extend(byte);
        }
        String::from_utf8(heard).unwrap().to_lowercase()
    }

    /// Everything until the other end closes it.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

fn readiness(serving: &Serving) -> (String, String) {
    let mut connection = Connection::open(serving);
    connection.get("/readyz", "");
    (connection.hear("\r\n\r\n"), connection.hear("}"))
}

#[test]
fn what_has_begun_is_finished_and_the_rest_is_closed() {
    let serving = Serving::start(["shop.yaml"]);
    let order = json!({"id": "o", "context": {"orderId": "O-1"}});
    serving.create("Shop", "Order", &order);

    let mut idle = Connection::open(&serving);
    idle.get("/healthz", "");
    idle.hear("\"ok\"}");
    let mut events = Connection::open(&serving);
    events.get("/v1/stream", "accept: text/event-stream\r\n");
    events.hear("\r\n\r\n");
    let mut socket = Connection::open(&serving);
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    socket.get("/v1/stream", upgrade);
    assert!(socket.hear("\r\n\r\n").starts_with("http/1.1 101"));
    let body = json!({"event": "PAY"}).to_string();
    let mut sending = Connection::open(&serving);
    sending.say(&format!(
        "POST /v1/instances/o/events HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    ));
    sending.hear("100 Continue\r\n\r\n");

    serving.tell_to_end();
    assert_eq!(idle.rest(), b"", "nobody asks on it");
    let last = String::from_utf8(events.rest()).unwrap();
    assert!(
        last.ends_with("0\r\n\r\n"),
        "the stream ends in order: {last}"
    );
    let last = socket.rest();
    assert!(last.windows(2).any(|two| two == CLOSE_FRAME), "{last:?}");
    sending.say(&body);
    let answer = String::from_utf8(sending.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"to\":\"Paid\""), "{answer}");
    let mut serving = serving;
    let (status, said) = serving.wait();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn a_host_that_drains_says_so_and_takes_requests_until_it_is_told_again() {
    let serving = Serving::start(["--drain-wait", "1h", "shop.yaml"]);
    let (head, body) = readiness(&serving);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body, r#"{"status":"ok"}"#);

    assert_eq!(serving.ask(["health", "--ready"]).done().stdout, "ok\n");

    serving.tell_to_end();
    let deadline = Instant::now() + PATIENCE;
    let (head, body) = loop {
        let (head, body) = readiness(&serving);
        if head.starts_with("http/1.1 503") {
            // The next one has begun when it was said for sure.
            break readiness(&serving);
        }
        assert!(Instant::now() < deadline, "it still says {body}");
    };
    assert_eq!(body, r#"{"status":"draining"}"#);
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    let asked = serving.ask(["health", "--ready"]);
    assert_eq!((asked.code, &*asked.stdout), (1, "draining\n"));
    assert_eq!(serving.ask(["health"]).done().stdout, "ok\n");
    let order = json!({"id": "o", "context": {"orderId": "O-1"}});
    assert_eq!(serving.create("Shop", "Order", &order)["state"], "Created");

    let (status, said) = serving.end();
    assert!(status.success(), "{status}");
    assert!(said.contains("ended at once"), "{said}");
}
