//! Events that wait for one instance, counted in bytes.

use std::{
    collections::{VecDeque, vec_deque},
    sync::Arc,
};

use super::{Letter, Trigger};
use crate::{engine::Account, limits::LETTER_BYTES};

/// Events that wait, in order.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// Where its bytes are counted as well; none until something waited.
    account: Option<Arc<Account>>,
}

impl Letter {
    /// Bytes that it holds while it waits. A selected event shares its payload with all that were
    /// selected with it.
    pub(crate) fn bytes(&self) -> usize {
        let sharers = match &self.errand.trigger {
            Trigger::Selected { shared_by, .. } => *shared_by,
            Trigger::Event
            | Trigger::Expecting(_)
            | Trigger::Deferred
            | Trigger::Due
            | Trigger::Timeout
            | Trigger::Auto
            | Trigger::Create(_)
            | Trigger::Terminate
            | Trigger::Delete
            | Trigger::Replay { .. }
            | Trigger::Unstorable { .. } => 1,
        };
        let payload = self.mail.event.payload.len() / sharers.max(1) as usize;
        LETTER_BYTES + payload
    }
}

impl Mailbox {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Bytes that they hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next.
    pub(crate) fn front(&self) -> Option<&Letter> {
        self.letters.front()
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> vec_deque::Iter<'_, Letter> {
        self.letters.iter()
    }

    /// Puts one behind all others.
    pub(crate) fn push_back(&mut self, letter: Letter, account: &Arc<Account>) {
        self.count(&letter, account);
        self.letters.push_back(letter);
    }

    /// Puts one before all others.
    pub(crate) fn push_front(&mut self, letter: Letter, account: &Arc<Account>) {
        self.count(&letter, account);
        self.letters.push_front(letter);
    }

    /// Takes the next.
    pub(crate) fn pop_front(&mut self) -> Option<Letter> {
        let letter = self.letters.pop_front()?;
        self.queue(1, 0);
        self.discount(letter.bytes());
        Some(letter)
    }

    /// Takes the one at a place.
    pub(crate) fn remove(&mut self, at: usize) -> Option<Letter> {
        let letter = self.letters.remove(at)?;
        self.queue(1, 0);
        self.discount(letter.bytes());
        Some(letter)
    }

    /// Drops those that `keep` refuses.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Letter) -> bool) {
        let before = self.letters.len();
        self.letters.retain(keep);
        self.queue(before, self.letters.len());
        self.recount();
    }

    /// Changes letters where they stand, from the first on, until `change` says that it is enough.
    pub(crate) fn change(&mut self, change: impl FnMut(&mut Letter) -> bool) {
        let _all = self.letters.iter_mut().all(change);
        self.recount();
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> VecDeque<Letter> {
        let letters = std::mem::take(&mut self.letters);
        self.queue(letters.len(), 0);
        self.discount(self.bytes);
        letters
    }

    fn count(&mut self, letter: &Letter, account: &Arc<Account>) {
        let bytes = letter.bytes();
        self.bytes += bytes;
        let account = self.account.get_or_insert_with(|| Arc::clone(account));
        account.add(bytes);
        account.queue(0, 1);
    }

    fn queue(&self, before: usize, after: usize) {
        if let Some(account) = &self.account {
            account.queue(before, after);
        }
    }

    fn discount(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(account) = &self.account {
            account.take(bytes);
        }
    }

    fn recount(&mut self) {
        let before = self.bytes;
        self.bytes = self.letters.iter().map(Letter::bytes).sum();
        if let Some(account) = &self.account {
            account.add(self.bytes);
            account.take(before);
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.queue(self.letters.len(), 0);
        self.discount(self.bytes);
    }
}
