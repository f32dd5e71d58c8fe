//! The memory budget of a host: how many bytes each part of it may hold.
//!
//! `--memory-max` is one number. It is divided by [`Purpose`], so that no part can take what
//! another needs. Whoever is about to hold bytes for somebody outside takes a [`Share`] first, and
//! gives it back by dropping it. A request that finds no room waits or is refused; work that was
//! accepted is never dropped for lack of memory.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Budget of a host whose machine does not tell how much memory it has.
const FALLBACK_BYTES: usize = 1 << 30;

/// The smallest budget a host starts with: below that a single request of each kind does not fit.
pub const BYTES_MIN: usize = 256 << 20;

/// What bytes are held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Bodies of requests and messages of WebSockets, from their first byte until they are handled.
    Requests,
    /// Components that are sent, from their first byte until they are stored: few and large, so that
    /// they would leave no room for anybody else's request.
    Uploads,
    /// Answers and pages that are being built or that a client has not read yet.
    Answers,
    /// Records that streams have not written to their clients yet.
    Streams,
    /// Events and deliveries that wait for an instance.
    Queues,
    /// Records that are not durable yet.
    Commits,
    /// Callers' keys; the store knows those beyond it.
    Keys,
    /// Instances in memory, with their contexts.
    Instances,
    /// Linear memories of sandboxes, in use or kept for the next call.
    Sandboxes,
    /// Compiled components.
    Code,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Requests,
        Self::Uploads,
        Self::Answers,
        Self::Streams,
        Self::Queues,
        Self::Commits,
        Self::Keys,
        Self::Instances,
        Self::Sandboxes,
        Self::Code,
    ];

    /// The stable text form, as in `/metrics`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Uploads => "uploads",
            Self::Answers => "answers",
            Self::Streams => "streams",
            Self::Queues => "queues",
            Self::Commits => "commits",
            Self::Keys => "keys",
            Self::Instances => "instances",
            Self::Sandboxes => "sandboxes",
            Self::Code => "code",
        }
    }

    /// Its part of the whole, in percent. Together they are 80: the rest is for the program itself,
    /// the database's cache and what the allocator cannot hand back at once.
    const fn percent(self) -> usize {
        match self {
            Self::Requests | Self::Streams => 5,
            // Of 1 GiB this is more than the largest component.
            Self::Uploads | Self::Code => 7,
            Self::Commits => 9,
            Self::Answers => 10,
            Self::Instances => 9,
            Self::Queues => 11,
            Self::Keys => 3,
            Self::Sandboxes => 14,
        }
    }
}

/// The budget. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Memory {
    pools: Arc<[Pool; Purpose::ALL.len()]>,
}

#[derive(Debug)]
struct Pool {
    max: usize,
    used: AtomicUsize,
    /// Somebody gave bytes back.
    freed: Notify,
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    purpose: Purpose,
    bytes: usize,
}

impl Memory {
    /// A budget of so many bytes in all.
    pub fn new(bytes: usize) -> Self {
        let pool = |purpose: Purpose| Pool {
            max: bytes / 100 * purpose.percent(),
            used: AtomicUsize::new(0),
            freed: Notify::new(),
        };
        Self {
            pools: Arc::new(Purpose::ALL.map(pool)),
        }
    }

    /// Half of the memory of this machine, or of the control group that the host runs in.
    pub fn of_this_machine() -> Self {
        let bytes = [machine_bytes(), group_bytes()].into_iter().flatten().min();
        Self::new(
            bytes
                .map_or(FALLBACK_BYTES, |bytes| bytes / 2)
                .max(BYTES_MIN),
        )
    }

    /// Bytes that may be held for a purpose, by all holders together.
    pub fn max(&self, purpose: Purpose) -> usize {
        self.pool(purpose).max
    }

    /// Bytes that are held for it.
    pub fn used(&self, purpose: Purpose) -> usize {
        self.pool(purpose).used.load(Ordering::Relaxed)
    }

    /// Takes bytes, if there is room for them.
    pub fn take(&self, purpose: Purpose, bytes: usize) -> Option<Share> {
        self.take_up_to(purpose, bytes, self.max(purpose))
    }

    /// Takes bytes, if all holders together hold no more than `most` then.
    pub fn take_up_to(&self, purpose: Purpose, bytes: usize, most: usize) -> Option<Share> {
        let pool = self.pool(purpose);
        let most = most.min(pool.max);
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= most);
        pool.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits)
            .ok()?;
        Some(self.share(purpose, bytes))
    }

    /// Takes bytes, waiting until there is room. More than there will ever be room for wait until
    /// nobody else holds any.
    pub async fn wait_for(&self, purpose: Purpose, bytes: usize) -> Share {
        let bytes = bytes.min(self.max(purpose));
        self.wait_until(purpose, || self.take(purpose, bytes)).await
    }

    /// Tries something now, and again each time that somebody gives bytes back, until it succeeds.
    pub async fn wait_until<T>(
        &self,
        purpose: Purpose,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> T {
        let pool = self.pool(purpose);
        loop {
            let freed = pool.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, so that bytes given back in between are not missed.
            freed.as_mut().enable();
            if let Some(done) = attempt() {
                return done;
            }
            freed.await;
        }
    }

    /// Takes bytes whether there is room or not: for work that was accepted already.
    pub fn force(&self, purpose: Purpose, bytes: usize) -> Share {
        self.pool(purpose).used.fetch_add(bytes, Ordering::AcqRel);
        self.share(purpose, bytes)
    }

    fn share(&self, purpose: Purpose, bytes: usize) -> Share {
        Share {
            memory: self.clone(),
            purpose,
            bytes,
        }
    }

    fn pool(&self, purpose: Purpose) -> &Pool {
        &self.pools[purpose as usize]
    }
}

impl Share {
    /// How many bytes it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more bytes into it, if there is room for them; says whether there was.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Some(more) = self.memory.take(self.purpose, bytes) else {
            return false;
        };
        self.merge(more);
        true
    }

    /// Takes more bytes into it, if all holders together hold no more than `most` then; says
    /// whether that was so.
    pub fn grow_up_to(&mut self, bytes: usize, most: usize) -> bool {
        let more = self.memory.take_up_to(self.purpose, bytes, most);
        more.map(|more| self.merge(more)).is_some()
    }

    /// Makes it stand for so many bytes: gives back the rest, or takes what is missing whether
    /// there is room or not.
    pub fn resize(&mut self, bytes: usize) {
        self.shrink_to(bytes);
        let missing = bytes - self.bytes;
        self.merge(self.memory.force(self.purpose, missing));
    }

    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.memory.give_back(self.purpose, rest);
    }

    /// Stands for so many bytes from now on, whether there is room for them or not.
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.merge(self.memory.force(self.purpose, bytes - self.bytes));
        } else {
            self.shrink_to(bytes);
        }
    }

    /// Makes one of two.
    pub fn merge(&mut self, mut more: Self) {
        debug_assert_eq!(self.purpose, more.purpose);
        self.bytes += std::mem::take(&mut more.bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.give_back(self.purpose, self.bytes);
    }
}

impl Memory {
    fn give_back(&self, purpose: Purpose, bytes: usize) {
        if bytes > 0 {
            let pool = self.pool(purpose);
            pool.used.fetch_sub(bytes, Ordering::AcqRel);
            pool.freed.notify_waiters();
        }
    }
}

/// Bytes of memory of this machine.
fn machine_bytes() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Bytes that the control group of this process may use, where it is limited.
fn group_bytes() -> Option<usize> {
    let read = |path: &str| -> io::Result<String> { fs::read_to_string(path) };
    read("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_a_fifth_for_the_program() {
        let parts: usize = Purpose::ALL.into_iter().map(Purpose::percent).sum();
        assert_eq!(parts, 80);
    }

    #[test]
    fn a_share_beyond_the_budget_is_refused_until_another_is_dropped() {
        let memory = Memory::new(1_000);
        let first = memory
            .take(Purpose::Requests, 40)
            .expect("room for 40 of 50");
        assert!(memory.take(Purpose::Requests, 20).is_none());
        drop(first);
        assert!(memory.take(Purpose::Requests, 20).is_some());
        assert_eq!(memory.used(Purpose::Requests), 0);
    }

    #[test]
    fn one_purpose_takes_nothing_of_another() {
        let memory = Memory::new(1_000);
        let _all = memory.take(Purpose::Requests, 50).expect("all of it");
        assert!(memory.take(Purpose::Answers, 100).is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_bytes_as_soon_as_they_are_given_back() {
        let memory = Memory::new(1_000);
        let all = memory.take(Purpose::Answers, 100).expect("all of it");
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.wait_for(Purpose::Answers, 50).await.bytes() }
        });
        drop(all);
        assert_eq!(waiting.await.expect("it ends"), 50);
    }
}
