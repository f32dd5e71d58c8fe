//! Reads from the store that a shard needs to go on.
//!
//! What is independent of each other is read in pieces, so that what is read at once stays small,
//! however much was asked for.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::{Sleep, sleep};

use super::shared::Shared;
use crate::store::{Result, Store};

/// Wait before the store is asked again: doubled from the first to the last.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// How long callers wait for a read that fails or hangs before they are refused.
const CALLERS_WAIT: Duration = Duration::from_secs(3);

/// In how many pieces so many questions are answered.
pub(super) fn pieces(questions: usize, piece: usize) -> usize {
    questions.div_ceil(piece)
}

/// How long callers are kept waiting, and what happens to them then.
struct Patience<R> {
    left: Pin<Box<Sleep>>,
    refuse: Option<R>,
}

impl<R> Patience<R> {
    /// Waits for something; callers who lose patience meanwhile are refused, once.
    async fn during<Q, T>(&mut self, unanswered: &[Q], work: impl Future<Output = T>) -> T
    where
        R: FnOnce(&[Q]),
    {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = &mut self.left, if self.refuse.is_some() => self.refuse(unanswered),
        }
        work.await
    }

    fn refuse<Q>(&mut self, unanswered: &[Q])
    where
        R: FnOnce(&[Q]),
    {
        self.refuse
            .take()
            .into_iter()
            .for_each(|refuse| refuse(unanswered));
    }
}

/// Asks the store, so many questions at once, until it has answered everything, and gives each piece
/// of the answer to `take`:
/// what was accepted waits for as long as it takes. `refuse` is called once, with what is not
/// answered yet, if that takes longer than a caller may be kept waiting, and at once if it is known
/// that the store cannot be read.
pub(super) async fn read_until_answered<Q: Clone + Send + Sync + 'static, A: Send + 'static>(
    shared: &Arc<Shared>,
    asked: Vec<Q>,
    piece: usize,
    question: fn(&dyn Store, &[Q]) -> Result<A>,
    refuse: impl FnOnce(&[Q]),
    mut take: impl FnMut(Vec<Q>, A),
) {
    let mut patience = Patience {
        left: Box::pin(sleep(CALLERS_WAIT)),
        refuse: Some(refuse),
    };
    let mut unanswered = asked.as_slice();
    while !unanswered.is_empty() {
        let (piece, later) = unanswered.split_at(unanswered.len().min(piece));
        let mut wait = BACKOFF[0];
        let answer = loop {
            let (store, wanted) = (Arc::clone(&shared.store), piece.to_vec());
            let reading = tokio::task::spawn_blocking(move || question(&*store, &wanted));
            match patience.during(unanswered, reading).await {
                Ok(Ok(answer)) => break answer,
                // Where it is known that it does not work, each of a thousand need not say so.
                Ok(Err(_)) if shared.store_is_away() => patience.refuse(unanswered),
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
            patience.during(unanswered, sleep(wait)).await;
            wait = (wait * 2).min(BACKOFF[1]);
        };
        take(piece.to_vec(), answer);
        unanswered = later;
    }
}
