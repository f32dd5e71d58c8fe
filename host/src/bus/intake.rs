//! Gives what a broker delivers to an inlet: in order, several at a time, and says what may be
//! acknowledged.
//!
//! Shipments are handed over in the order in which they came, without waiting for the one before, so
//! that one commit serves many. If one is not taken in, those behind it are not either, and all of
//! them are handed over again after a while; what was taken in already is known by its number.
//! One before which others are missing waits for them: a sender that learns that its broker has
//! forgotten something sends it again. After [`GAP_MAX`] nobody will, and it goes on without.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use super::{Inlet, Shipment, TakeInError};

/// Shipments that are handed over at a time.
const WINDOW_MAX: usize = 64;

/// Wait after one that was not taken in: doubled from the first to the last.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// How long a shipment waits for those that are missing before it.
const GAP_MAX: Duration = Duration::from_secs(30);

/// The same for a stream of which nothing is known here: most likely this host has lost what it had.
const UNKNOWN_MAX: Duration = Duration::from_secs(3);

/// Shipments on their way in; each with what acknowledges it.
pub(super) struct Intake<A> {
    inlet: Arc<dyn Inlet>,
    waiting: VecDeque<Waiting<A>>,
    /// Those before which others are missing, and until when they wait.
    held: Vec<(Instant, Waiting<A>)>,
    failures: u32,
    again_at: Option<Instant>,
}

struct Waiting<A> {
    shipment: Shipment,
    token: A,
    /// Until when it waits for what is missing before it.
    gap_until: Option<Instant>,
    taken_in: Option<BoxFuture<'static, Result<u64, TakeInError>>>,
}

/// The component is not here any more.
#[derive(Debug, thiserror::Error)]
#[error("its component is not here any more")]
pub(super) struct Gone;

impl<A> Intake<A> {
    pub(super) fn new(inlet: Arc<dyn Inlet>) -> Self {
        Self {
            inlet,
            waiting: VecDeque::new(),
            held: Vec::new(),
            failures: 0,
            again_at: None,
        }
    }

    /// Whether another may be handed over.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() + self.held.len() < WINDOW_MAX && self.again_at.is_none()
    }

    /// What acknowledges those that are on their way.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &A> {
        let held = self.held.iter().map(|(_, waiting)| waiting);
        self.waiting
            .iter()
            .chain(held)
            .map(|waiting| &waiting.token)
    }

    /// Hands one over, the next of its source.
    pub(super) fn push(&mut self, shipment: Shipment, token: A) {
        let taken_in = Some(self.inlet.take_in(shipment.clone()));
        self.waiting.push_back(Waiting {
            shipment,
            token,
            gap_until: None,
            taken_in,
        });
    }

    /// Waits until the oldest is taken in, and says what acknowledges it and whatever else is by
    /// then. May be dropped at any time.
    ///
    /// # Errors
    ///
    /// If the component is gone.
    pub(super) async fn next(&mut self) -> Result<Vec<A>, Gone> {
        loop {
            if let Some(again_at) = self.again_at {
                sleep_until(again_at).await;
                self.hand_over_again();
            }
            let Some(first) = self.waiting.front_mut() else {
                self.wait_for_missing().await;
                continue;
            };
            let Some(taken_in) = &mut first.taken_in else {
                self.hand_over_again();
                continue;
            };
            let done = taken_in.await;
            first.taken_in = None;
            match done {
                Ok(_) => {
                    self.failures = 0;
                    let tokens = self.pop();
                    self.let_go(|_| true);
                    return Ok(tokens);
                }
                Err(TakeInError::NotHere(_)) => return Err(Gone),
                Err(TakeInError::Gap { through }) => {
                    let patience = if through == 0 { UNKNOWN_MAX } else { GAP_MAX };
                    let until = first.gap_until;
                    let until = until.unwrap_or_else(|| Instant::now() + patience);
                    first.gap_until = Some(until);
                    let held = self.waiting.pop_front().map(|held| (until, held));
                    self.held.extend(held);
                }
                Err(why @ (TakeInError::Busy(_) | TakeInError::TooManyStreams)) => {
                    match &why {
                        _ if self.failures > 0 => {}
                        TakeInError::TooManyStreams => tracing::error!("taking in waits: {why}"),
                        _ => tracing::debug!("taking in waits: {why}"),
                    }
                    let wait = AGAIN_AFTER[0] * 2_u32.saturating_pow(self.failures.min(16));
                    self.failures += 1;
                    self.again_at = Some(Instant::now() + wait.min(AGAIN_AFTER[1]));
                    self.waiting
                        .iter_mut()
                        .for_each(|waiting| waiting.taken_in = None);
                }
            }
        }
    }

    /// Waits until one has waited for too long for what is missing before it.
    async fn wait_for_missing(&mut self) {
        let Some(until) = self.held.iter().map(|(until, _)| *until).min() else {
            return std::future::pending().await;
        };
        sleep_until(until).await;
        for (_, waiting) in self.held.iter_mut().filter(|(at, _)| *at <= until) {
            tracing::error!(
                stream = %waiting.shipment.receive.stream,
                "what comes before parcel {} got lost on its way; it goes on without",
                waiting.shipment.last()
            );
            waiting.shipment = waiting.shipment.clone().despite_gap();
        }
        self.let_go(|at| at <= until);
    }

    /// Hands over again what waited for something before it.
    fn let_go(&mut self, which: impl Fn(Instant) -> bool) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let (free, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|(at, _)| which(*at));
        self.held = held;
        for (_, mut waiting) in free {
            waiting.taken_in = Some(self.inlet.take_in(waiting.shipment.clone()));
            self.waiting.push_back(waiting);
        }
    }

    /// Takes the oldest out, and those behind it that are done.
    fn pop(&mut self) -> Vec<A> {
        let mut tokens = Vec::new();
        tokens.extend(self.waiting.pop_front().map(|waiting| waiting.token));
        while let Some(next) = self.waiting.front_mut() {
            match next.taken_in.as_mut().and_then(|done| done.now_or_never()) {
                None => break,
                Some(Ok(_)) => tokens.extend(self.waiting.pop_front().map(|next| next.token)),
                // When it is the oldest it is handed over once more, and says again what is wrong.
                Some(Err(_)) => {
                    next.taken_in = None;
                    break;
                }
            }
        }
        tokens
    }

    fn hand_over_again(&mut self) {
        self.again_at = None;
        for waiting in &mut self.waiting {
            waiting.taken_in = Some(self.inlet.take_in(waiting.shipment.clone()));
        }
    }
}
