//! Tells the service manager how the host is: systemd, and whoever else gave it a `NOTIFY_SOCKET`.
//!
//! While the host recovers, its status says how far it is, and the start may take longer for as long
//! as it gets further, or waits for the store of another host. From then on it says that it is alive
//! as often as is wanted, as long as it is: when a thread hangs, it falls silent and is started anew.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{task::JoinHandle, time::interval};

use crate::{
    api::HANGS_AFTER,
    driver::{Handle, Progress},
};

/// How often it is looked how far a start is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a start may take from each step on.
const STEP_MAX: Duration = Duration::from_secs(60);

/// How often the host says that it is alive, in each span in which it must.
const BEATS: u32 = 3;

/// A task that tells something again and again. Dropped, it ends.
pub(super) struct Telling(JoinHandle<()>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The host starts, and is so far.
pub(super) fn starting(progress: Progress) -> Telling {
    Telling(tokio::spawn(async move {
        let mut told = None;
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let done = progress.read();
            // A standby gets no further, for as long as another host is well.
            if told.replace(done) == Some(done) && !done.is_standby {
                continue;
            }
            let status = match done.is_standby {
                true => "standby: another host has the store".to_owned(),
                false => format!(
                    "recovering: {} of {} versions of components, {} instances, {} deliveries",
                    done.components_ready, done.components, done.instances, done.deliveries
                ),
            };
            let longer = u32::try_from(STEP_MAX.as_micros()).unwrap_or(u32::MAX);
            tell(&[
                NotifyState::Status(&status),
                NotifyState::ExtendTimeoutUsec(longer),
            ]);
        }
    }))
}

/// It takes requests from here on, and is alive for as long as it says so.
pub(super) fn ready(url: &str, handle: Handle) -> Option<Telling> {
    let status = format!("serving at {url}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let within = sd_notify::watchdog_enabled()?;
    Some(Telling(tokio::spawn(async move {
        let mut ticks = interval(within / BEATS);
        loop {
            ticks.tick().await;
            match handle.failure(HANGS_AFTER) {
                None => tell(&[NotifyState::Watchdog]),
                Some(failure) => tell(&[NotifyState::Status(&failure)]),
            }
        }
    })))
}

/// It lets finish what is in flight, and ends.
pub(super) fn stopping() {
    let status = NotifyState::Status("draining: letting finish what is in flight");
    tell(&[NotifyState::Stopping, status]);
}

/// Does nothing where nobody wants to know.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager is not told how the host is: {error}");
    }
}
