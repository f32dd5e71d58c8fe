//! A host on a port.

use tokio::{sync::oneshot, task::JoinHandle};
use xcomponent_host::app;

use crate::host::TestHost;

/// A host on a port, and what stops it.
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<std::io::Result<()>>,
}

/// Serves a host on a free port of this machine.
pub(crate) async fn serve(host: TestHost) -> Served {
    let listener = app::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let stopped = async move { drop(stopped.await) };
    let ended = tokio::spawn(host.host.serve(listener, stopped));
    Served {
        address,
        stop,
        ended,
    }
}
