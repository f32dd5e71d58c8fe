//! Who waits behind which ticket.

use xcomponent_core::input::Ticket;

use super::waiter::Waiter;

/// The waiters of one shard whose requests its engine has.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiters: Vec<Option<Waiter>>,
    free: Vec<usize>,
}

impl Tickets {
    /// Gives a waiter a ticket.
    pub(super) fn issue(&mut self, waiter: Waiter) -> Ticket {
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiters.push(None);
            self.waiters.len() - 1
        });
        self.waiters[place] = Some(waiter);
        Ticket(place as u64)
    }

    /// Takes the ticket back.
    pub(super) fn redeem(&mut self, ticket: Ticket) -> Waiter {
        let place = usize::try_from(ticket.0).expect("tickets are places in memory");
        self.free.push(place);
        self.waiters[place]
            .take()
            .expect("a ticket is answered once")
    }
}
