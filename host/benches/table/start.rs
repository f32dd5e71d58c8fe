//! From the start of the binary to a host that is ready, with a hundred components that it
//! knows.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{ROUNDS, components, load::pause, report::Rounds};

/// Components that a host is started with.
const COMPONENTS: usize = 100;
/// Longest wait for a host to be ready: the first start compiles everything.
const PATIENCE: Duration = Duration::from_secs(300);
/// Wait before a host that is not ready is asked again.
const PAUSE: Duration = Duration::from_millis(2);

/// `start_ms`
pub(crate) fn to_ready() -> anyhow::Result<Vec<Rounds>> {
    let folder = tempfile::tempdir()?;
    let files = write_components(folder.path())?;
    let data = folder.path().join("data");
    let mut rounds = Rounds::new();
    // The first compiles and keeps them.
    for _ in 0..=ROUNDS {
        rounds.push(start(&files, &data)?);
    }
    rounds.remove(0);
    Ok(vec![rounds])
}

/// A hundred components that no cache could take for one.
fn write_components(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let order = components::guest("order")?;
    let write = |n: usize| {
        let component = components::redefined(&order, |definition| {
            definition.replacen("OrderComponent", &format!("Order{n}"), 1)
        })?;
        let file = folder.join(format!("order-{n}.wasm"));
        std::fs::write(&file, component)?;
        Ok(file)
    };
    (0..COMPONENTS).map(write).collect()
}

/// Milliseconds until a new process is ready.
fn start(files: &[PathBuf], data: &Path) -> anyhow::Result<f64> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let began = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_xcomponent"))
        .arg("serve")
        .args(files)
        .args(["--port", &port.to_string()])
        .arg("--data")
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut child = Ended(child);
    while !is_ready(address).unwrap_or_default() {
        ensure!(child.0.try_wait()?.is_none(), "the host ended by itself");
        ensure!(began.elapsed() < PATIENCE, "the host does not become ready");
        pause(PAUSE);
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn is_ready(address: SocketAddr) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).context("the answer is too short")?;
    Ok(status == "200")
}

/// A process that does not outlive this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
