//! Reads from the store that a shard needs to go on.

use std::{sync::Arc, time::Duration};

use super::shared::Shared;
use crate::store::{Result, Store};

/// Wait before the store is asked again: doubled from the first to the last.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// How long callers wait for a read that fails or hangs before they are refused.
const CALLERS_WAIT: Duration = Duration::from_secs(3);

/// Asks the store until it answers: what was accepted waits for as long as it takes. `refuse` is
/// called once if that takes longer than a caller may be kept waiting, and at once if it is known
/// that the store cannot be read.
pub(super) async fn read_until_answered<Q: Send + Sync + 'static, A: Send + 'static>(
    shared: &Arc<Shared>,
    asked: Vec<Q>,
    question: fn(&dyn Store, &[Q]) -> Result<A>,
    refuse: impl FnOnce(&[Q]),
) -> (Vec<Q>, A) {
    let asked = Arc::new(asked);
    let mut refuse = Some(refuse);
    let mut wait = BACKOFF[0];
    let patience = tokio::time::sleep(CALLERS_WAIT);
    tokio::pin!(patience);
    let answer = loop {
        let (store, wanted) = (Arc::clone(&shared.store), Arc::clone(&asked));
        let mut reading = tokio::task::spawn_blocking(move || question(&*store, &wanted));
        let read = tokio::select! {
            read = &mut reading => read,
            () = &mut patience, if refuse.is_some() => {
                refuse.take().into_iter().for_each(|refuse| refuse(&asked));
                reading.await
            }
        };
        match read {
            Ok(Ok(answer)) => break answer,
            // Where it is known that it does not work, each of a thousand need not say so.
            Ok(Err(_)) if shared.store_is_away() => {
                refuse.take().into_iter().for_each(|refuse| refuse(&asked));
            }
            Ok(Err(error)) => {
                shared.read_fails(&error);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a read from the store failed; retrying"
                );
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "a read from the store panicked; retrying"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = &mut patience, if refuse.is_some() => {
                refuse.take().into_iter().for_each(|refuse| refuse(&asked));
            }
        }
        wait = (wait * 2).min(BACKOFF[1]);
    };
    let asked = Arc::into_inner(asked).expect("the question has been answered");
    (asked, answer)
}
