//! Connections on which less, more or something else is said than HTTP expects.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// Opens a connection and says something; none if the host does not take it.
pub(super) fn open(address: SocketAddr, words: &[u8]) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    (&stream).write_all(words).ok()?;
    Some(stream)
}

/// Says more; false once the host has closed the connection.
pub(super) fn say(mut stream: &TcpStream, words: &[u8]) -> bool {
    match stream.write(words) {
        Ok(written) => written > 0,
        Err(error) => is_patience(error.kind()),
    }
}

fn is_patience(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether the host closes a connection on which nothing more is said, within so long.
pub(super) fn is_closed_within(mut stream: &TcpStream, within: Duration) -> Result<bool> {
    let deadline = Instant::now() + within;
    let mut buffer = [0; 4_096];
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("a timeout")?;
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if is_patience(error.kind()) => {}
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// The head of a request with a body of so many bytes, none of which follow.
pub(super) fn head(method: &str, path: &str, kind: &str, length: usize) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// A request without a body.
pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// The request that begins a WebSocket.
pub(super) fn upgrade(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A frame of a WebSocket that is not the last of its message; `first` if it is the first.
pub(super) fn fragment(first: bool, bytes: usize) -> Vec<u8> {
    let mut frame = vec![u8::from(first), 0x80 | 127];
    frame.extend((bytes as u64).to_be_bytes());
    // A mask of zeros leaves the bytes as they are.
    frame.extend([0; 4]);
    frame.resize(frame.len() + bytes, b'x');
    frame
}
