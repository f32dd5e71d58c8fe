//! Work that others must not notice: on a thread of its own, which stands back behind all others.
//!
//! Hashing and copying 60 MB takes a tenth of a second. On a thread that answers requests, everybody
//! whose request it has waits for that.

use std::{io, thread};

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How far back: as far as there is.
pub(crate) const NICE: i32 = 19;

/// Does something that takes time and that nobody else waits for. Whoever gives the future up does
/// not stop it: it must be short enough to be done in vain.
///
/// # Errors
///
/// If there is no thread to be had.
pub(crate) async fn quietly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    thread::Builder::new()
        .name("quiet".to_owned())
        .spawn(move || {
            // On Linux this is about the calling thread alone. At the usual priority the work is
            // done as well.
            let _usual = setpriority_process(None, NICE);
            // Nobody may want it any more.
            let _unwanted = done.send(work());
        })?;
    result
        .await
        .map_err(|_| io::Error::other("the work was not finished"))
}
