//! Keys that were used lately, so that a repeated request is carried out once.
//!
//! A key is the caller's id at its target. It is entered when its request is accepted; whoever
//! repeats it before there is an answer waits for the same one. Answers that the caller may try
//! again (404, 409, 413, 429, 503) are not remembered.
//!
//! A key takes [`ENTRY_BYTES`]: a hash of it, the fingerprint of the request, and the number of the
//! record that has the answer. The record itself is on its way to the log or in the store. The keys
//! that are here take no more than [`Limits::remembered_bytes_max`]; beyond that the oldest are
//! forgotten, and the store alone knows them.

use std::{collections::VecDeque, hash::BuildHasher};

use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashTable};

use crate::{
    effect::Tally,
    id::{EventId, InstanceId, TenantId},
    input::Ticket,
    limits::Limits,
    record::AppendSeq,
    time::Timestamp,
};

/// An id at an instance; of a broadcast, at no instance.
pub(crate) type Key = (TenantId, Option<InstanceId>, EventId);

/// What a key takes: its entry, its place in the table, and what both reserve for growing.
const ENTRY_BYTES: usize = size_of::<Entry>() + 16;

/// What the answer to a broadcast takes besides.
const TALLY_BYTES: usize = 2 * (size_of::<u128>() + size_of::<Tally>());

/// Entries that cannot be forgotten yet and are passed over in the search for room.
const KEPT_MAX: usize = 64;

/// Keys that were used lately.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// Make the hash of a key: of 128 bits, so that no two keys share one, under a secret seed, so
    /// that nobody can choose keys that do.
    seeds: [FixedState; 2],
    /// In order of their first use.
    entries: VecDeque<Entry>,
    /// The number of the first of them; numbers wrap around.
    first: u32,
    /// Finds the number of an entry.
    numbers: HashTable<u32>,
    /// Who waits for the answer of a request that is running.
    waiting: HashMap<u128, Vec<Ticket>, foldhash::fast::FixedState>,
    /// Answers that are in no record.
    tallies: HashMap<u128, Tally, foldhash::fast::FixedState>,
    /// When a key was last left to the store alone.
    forgotten: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    key: u128,
    fingerprint: u64,
    since: Timestamp,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The entry is void.
    Gone,
    /// There is no answer yet.
    Running,
    /// The answer is this record of the shard, or an older one than all of its records.
    Record(AppendSeq),
    /// The answer is among the tallies; the last record that it depends on.
    Tally(AppendSeq),
    /// A dead letter was sent on, by this record.
    Resent(AppendSeq),
}

/// An answer that is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// What this record says: one on its way to the log, or one that the store has.
    Record(AppendSeq),
    /// How a broadcast ended, and the last record that this depends on.
    Tally(Tally, AppendSeq),
    /// A dead letter was sent on, by this record.
    Resent(AppendSeq),
}

/// What a key turned out to be.
#[derive(Debug)]
pub(crate) enum Seen {
    /// New: go on.
    First,
    /// The first one is still running; the ticket waits with it.
    Running,
    /// It was answered before.
    Answered(Answer),
    /// It was used for something else.
    Reused,
    /// No more keys can be remembered.
    Full,
}

impl Repeats {
    /// None yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seeds: [FixedState::with_seed(seed), FixedState::with_seed(!seed)],
            entries: VecDeque::new(),
            first: 0,
            numbers: HashTable::new(),
            waiting: HashMap::default(),
            tallies: HashMap::default(),
            forgotten: None,
        }
    }

    /// Enters a key, or says what became of it.
    pub(crate) fn enter(
        &mut self,
        key: &Key,
        fingerprint: u64,
        ticket: Ticket,
        (now, durable): (Timestamp, AppendSeq),
        limits: &Limits,
    ) -> Seen {
        self.forget_old(now, limits);
        let key = self.hash(key);
        if let Some(entry) = self.find(key) {
            if entry.fingerprint != fingerprint {
                return Seen::Reused;
            }
            return match self.answer_of(key, entry.state) {
                Some(answer) => Seen::Answered(answer),
                None => {
                    self.waiting.entry(key).or_default().push(ticket);
                    Seen::Running
                }
            };
        }
        if !self.make_room(limits.remembered_bytes_max, now, durable) {
            return Seen::Full;
        }
        self.insert(key, fingerprint, now);
        Seen::First
    }

    /// Whether the store alone may know keys of an instance that was created at a moment; no moment =
    /// of any.
    pub(crate) fn may_have_forgotten(&self, since: Option<Timestamp>) -> bool {
        let up_to = |forgotten| since.is_none_or(|since| since <= forgotten);
        self.forgotten.is_some_and(up_to)
    }

    /// The answer is there: it is remembered, and those who waited for it are named.
    pub(crate) fn answered(&mut self, key: &Key, answer: Answer) -> Vec<Ticket> {
        let key = self.hash(key);
        if self.find(key).is_none() {
            return Vec::new();
        }
        let state = match answer {
            Answer::Record(seq) => State::Record(seq),
            Answer::Resent(seq) => State::Resent(seq),
            Answer::Tally(_, seq) => State::Tally(seq),
        };
        self.set(key, state);
        if let Answer::Tally(tally, _) = answer {
            self.tallies.insert(key, tally);
        }
        self.waiting.remove(&key).unwrap_or_default()
    }

    /// The answer is void. Another will come if the event is looked at `again`; else what holds is
    /// the answer before it, which the store knows.
    pub(crate) fn take_back(&mut self, key: &Key, again: bool) {
        if again {
            self.reopen(key);
        } else if self.answer(key).is_some() {
            self.remove(self.hash(key));
        }
    }

    /// The answer is void; another will come.
    pub(crate) fn reopen(&mut self, key: &Key) {
        let key = self.hash(key);
        if self.find(key).is_some() {
            self.set(key, State::Running);
        }
    }

    /// The answer is void; another will come and be remembered, also where this one was not. False
    /// if whoever asked has asked again already, and that is running.
    pub(crate) fn reenter(&mut self, key: &Key, fingerprint: u64, now: Timestamp) -> bool {
        let hash = self.hash(key);
        match self.find(hash).map(|entry| entry.state) {
            Some(State::Running) => return false,
            Some(_) => self.set(hash, State::Running),
            None => self.insert(hash, fingerprint, now),
        }
        true
    }

    /// The answer that is remembered under a key.
    pub(crate) fn answer(&self, key: &Key) -> Option<Answer> {
        let key = self.hash(key);
        self.answer_of(key, self.find(key)?.state)
    }

    /// The answer is not to be remembered; those who waited for it are named.
    pub(crate) fn forget(&mut self, key: &Key) -> Vec<Ticket> {
        let key = self.hash(key);
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        self.remove(key);
        waiting
    }

    /// Whether the key is known.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.find(self.hash(key)).is_some()
    }

    /// Bytes that the keys take.
    pub(crate) fn bytes(&self) -> usize {
        let waiting = self.waiting.len() * 2 * size_of::<(u128, Vec<Ticket>)>();
        self.entries.len() * ENTRY_BYTES + self.tallies.len() * TALLY_BYTES + waiting
    }

    fn answer_of(&self, key: u128, state: State) -> Option<Answer> {
        match state {
            State::Running | State::Gone => None,
            State::Record(seq) => Some(Answer::Record(seq)),
            State::Tally(seq) => {
                let tally = self.tallies.get(&key).copied();
                tally.map(|tally| Answer::Tally(tally, seq))
            }
            State::Resent(seq) => Some(Answer::Resent(seq)),
        }
    }

    fn hash(&self, key: &Key) -> u128 {
        let [high, low] = [0, 1].map(|half: usize| u128::from(self.seeds[half].hash_one(key)));
        high << 64 | low
    }

    fn find(&self, key: u128) -> Option<&Entry> {
        let at = self.place(key)?;
        self.entries.get(at)
    }

    fn place(&self, key: u128) -> Option<usize> {
        let Self {
            entries,
            first,
            numbers,
            ..
        } = self;
        let is_it = |number: &u32| entries[at(*first, *number)].key == key;
        let number = numbers.find(low(key), is_it)?;
        Some(at(*first, *number))
    }

    fn set(&mut self, key: u128, state: State) {
        let Some(at) = self.place(key) else { return };
        self.entries[at].state = state;
        self.tallies.remove(&key);
    }

    fn insert(&mut self, key: u128, fingerprint: u64, now: Timestamp) {
        self.push(Entry {
            key,
            fingerprint,
            since: now,
            state: State::Running,
        });
    }

    fn push(&mut self, entry: Entry) {
        // In small steps: a doubling of what is there would go beyond the limit.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len() / 8 + 64);
        }
        let offset = u32::try_from(self.entries.len()).expect("fewer keys than 32 bits count");
        let number = self.first.wrapping_add(offset);
        let key = entry.key;
        self.entries.push_back(entry);
        let Self {
            entries,
            first,
            numbers,
            ..
        } = self;
        numbers.insert_unique(low(key), number, |number| {
            low(entries[at(*first, *number)].key)
        });
    }

    /// The entry is void; its place is free when those before it are gone.
    fn remove(&mut self, key: u128) {
        let Some(at) = self.place(key) else { return };
        self.set(key, State::Gone);
        self.unlist(at);
        self.drop_void();
    }

    fn unlist(&mut self, at: usize) {
        let offset = u32::try_from(at).expect("fewer keys than 32 bits count");
        let number = self.first.wrapping_add(offset);
        let key = self.entries[at].key;
        let found = self.numbers.find_entry(low(key), |other| *other == number);
        if let Ok(found) = found {
            found.remove();
        }
    }

    fn drop_void(&mut self) {
        let is_void = |entry: &Entry| entry.state == State::Gone;
        while self.entries.front().is_some_and(is_void) {
            self.entries.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Takes the first entry out.
    fn pop(&mut self) -> Option<Entry> {
        let state = self.entries.front()?.state;
        if state != State::Gone {
            self.unlist(0);
        }
        let entry = self.entries.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(entry)
    }

    /// Forgets the oldest answers that the store has until one key more fits; false if there is none
    /// among the first.
    fn make_room(&mut self, bytes_max: usize, now: Timestamp, durable: AppendSeq) -> bool {
        let mut kept = 0;
        while self.bytes() + ENTRY_BYTES > bytes_max {
            if kept == KEPT_MAX {
                return false;
            }
            let Some(entry) = self.pop() else {
                return false;
            };
            match entry.state {
                State::Gone => {}
                State::Record(seq) | State::Tally(seq) | State::Resent(seq) if seq <= durable => {
                    self.tallies.remove(&entry.key);
                    self.forgotten = Some(now);
                }
                // Nobody else knows it: it stays, and is looked at again after all others.
                State::Running | State::Record(_) | State::Tally(_) | State::Resent(_) => {
                    kept += 1;
                    self.push(entry);
                }
            }
        }
        true
    }

    fn forget_old(&mut self, now: Timestamp, limits: &Limits) {
        let is_old = |entry: &Entry| now.since(entry.since) > limits.dedup_retention;
        let is_over = |entry: &Entry| entry.state != State::Running && is_old(entry);
        while self.entries.front().is_some_and(is_over) {
            if let Some(entry) = self.pop() {
                self.tallies.remove(&entry.key);
            }
        }
        if self
            .forgotten
            .is_some_and(|last| now.since(last) > limits.dedup_retention)
        {
            self.forgotten = None;
        }
    }
}

/// The place of the entry with a number, if the first one has the number `first`.
fn at(first: u32, number: u32) -> usize {
    number.wrapping_sub(first) as usize
}

fn low(key: u128) -> u64 {
    u64::try_from(key & u128::from(u64::MAX)).expect("the lower 64 bits fit 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn key(n: u32) -> Key {
        let instance = InstanceId::from_stored("i");
        (
            TenantId::new("t"),
            Some(instance),
            EventId::from_stored(&format!("key-{n}")),
        )
    }

    fn limits(keys: usize) -> Limits {
        Limits {
            remembered_bytes_max: keys * ENTRY_BYTES,
            dedup_retention: Duration(1_000),
            ..Limits::default()
        }
    }

    fn enter(repeats: &mut Repeats, n: u32, now: u64, limits: &Limits) -> Seen {
        let times = (Timestamp(now), AppendSeq(10_000));
        repeats.enter(&key(n), 7, Ticket(n.into()), times, limits)
    }

    #[test]
    fn a_key_takes_sixty_four_bytes() {
        assert_eq!(ENTRY_BYTES, 64);
    }

    #[test]
    fn beyond_the_limit_the_oldest_answer_is_left_to_the_store() {
        let (mut repeats, limits) = (Repeats::new(1), limits(100));
        for n in 0..1_000 {
            assert!(matches!(
                enter(&mut repeats, n, n.into(), &limits),
                Seen::First
            ));
            repeats.answered(&key(n), Answer::Record(AppendSeq(n.into())));
            assert!(repeats.bytes() <= limits.remembered_bytes_max);
        }
        let known: Vec<u32> = (0..1_000).filter(|n| repeats.knows(&key(*n))).collect();
        assert_eq!(known, (900..1_000).collect::<Vec<_>>());
        assert!(repeats.may_have_forgotten(None));
        assert!(repeats.may_have_forgotten(Some(Timestamp(999))));
        assert!(!repeats.may_have_forgotten(Some(Timestamp(1_000))));
    }

    #[test]
    fn a_request_that_is_running_is_never_forgotten() {
        let (mut repeats, limits) = (Repeats::new(1), limits(10));
        enter(&mut repeats, 0, 0, &limits);
        for n in 1..100 {
            enter(&mut repeats, n, 2_000, &limits);
            repeats.answered(&key(n), Answer::Resent(AppendSeq(1)));
        }
        assert!(matches!(
            enter(&mut repeats, 0, 5_000, &limits),
            Seen::Running
        ));
        assert_eq!(
            repeats.answered(&key(0), Answer::Resent(AppendSeq(1))),
            [Ticket(0)]
        );
    }

    #[test]
    fn an_answer_that_is_not_durable_is_never_forgotten() {
        let (mut repeats, limits) = (Repeats::new(1), limits(10));
        for n in 0..10 {
            enter(&mut repeats, n, 0, &limits);
            repeats.answered(&key(n), Answer::Record(AppendSeq(20_000)));
        }
        assert!(matches!(enter(&mut repeats, 10, 0, &limits), Seen::Full));
        assert!((0..10).all(|n| repeats.knows(&key(n))));
    }

    #[test]
    fn where_all_are_running_a_new_key_is_refused() {
        let (mut repeats, limits) = (Repeats::new(1), limits(10));
        for n in 0..10 {
            enter(&mut repeats, n, 0, &limits);
        }
        assert!(matches!(enter(&mut repeats, 10, 0, &limits), Seen::Full));
        repeats.forget(&key(5));
        assert!(matches!(enter(&mut repeats, 10, 0, &limits), Seen::First));
    }

    #[test]
    fn keys_live_as_long_as_is_promised() {
        let (mut repeats, limits) = (Repeats::new(1), limits(10));
        enter(&mut repeats, 0, 0, &limits);
        repeats.answered(&key(0), Answer::Resent(AppendSeq(1)));
        assert!(matches!(
            enter(&mut repeats, 0, 1_000, &limits),
            Seen::Answered(Answer::Resent(_))
        ));
        assert!(matches!(
            enter(&mut repeats, 0, 1_001, &limits),
            Seen::First
        ));
    }
}
