//! Who may be connected: places, in total and for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use tokio::{sync::Notify, time::Instant};

/// Most connections, however many files the process may open: each costs some memory.
const CONNECTIONS_MAX: usize = 16_384;

/// Files that are left to the rest of the host (store, sandboxes, other hosts) where the process
/// may open few: a quarter of them, and at least this many.
const OTHER_FILES_MIN: usize = 128;

/// Least connections, also where hardly any file may be opened.
const CONNECTIONS_MIN: usize = 16;

/// How long a connection must have been without a request before a newcomer gets its place.
const SETTLED: Duration = Duration::from_secs(1);

/// How many connections there may be, and how long they may do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at a time.
    pub total: usize,
    /// Of these, from one address (IPv6: one /64 network). Loopback addresses are exempt, since a
    /// proxy on this machine speaks for many clients.
    pub per_address: usize,
    /// How long a new connection may take until its first request is complete up to its headers.
    pub first_request: Duration,
    /// How long a connection may be without a request after that.
    pub idle: Duration,
    /// How long the body of a request may stand still. It may take twice that in all, and a second
    /// more for each 16 KiB.
    pub body: Duration,
    /// How long a client may read nothing of an answer that it was sent.
    pub stalled: Duration,
}

impl Default for ConnectionLimits {
    /// Three quarters of the files that this process may open; half of that for one address.
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        });
        let total = files
            .saturating_sub((files / 4).max(OTHER_FILES_MIN))
            .clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        Self {
            total,
            per_address: total.div_ceil(2),
            first_request: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(10),
            stalled: Duration::from_secs(30),
        }
    }
}

/// The places of a port.
#[derive(Clone)]
pub(in super::super) struct Places(Arc<Shared>);

struct Shared {
    limits: ConnectionLimits,
    numbers: Arc<Numbers>,
    /// From when the times of [`Seat`] are counted.
    start: Instant,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
    by_address: HashMap<IpAddr, usize>,
    /// Before this moment, in milliseconds, no connection has been without a request for long.
    none_settled_before: u64,
}

/// Connections, for `/metrics`.
#[derive(Debug, Default)]
pub(in super::super) struct Numbers {
    /// That are open, without the reserve.
    pub(in super::super) open: AtomicUsize,
    /// That may be open; 0 = there is no port.
    pub(in super::super) max: AtomicUsize,
    /// That were ended because a newcomer needed their place.
    pub(in super::super) evicted: AtomicU64,
    /// That found no place.
    pub(in super::super) refused: AtomicU64,
}

/// What is known of a connection.
struct Seat {
    address: IpAddr,
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// Since when there are none, in milliseconds.
    idle_since: AtomicU64,
    /// Whether there ever was one.
    has_asked: AtomicBool,
    /// Somebody else gets this place.
    evicted: Notify,
}

/// A place, given back when it is dropped.
pub(super) struct Place {
    places: Places,
    number: u64,
    seat: Arc<Seat>,
}

/// A request that is being answered.
pub(super) struct Busy(Arc<Place>);

impl Places {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let numbers = Numbers {
            max: limits.total.into(),
            ..Numbers::default()
        };
        Self(Arc::new(Shared {
            limits,
            numbers: Arc::new(numbers),
            start: Instant::now(),
            taken: Mutex::default(),
        }))
    }

    pub(super) fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.0.numbers)
    }

    /// Gives a newcomer a place, if need be that of a connection without a request.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = source(address);
        let limits = &self.0.limits;
        let mut taken = self.taken();
        let of_address = taken.by_address.get(&address).copied().unwrap_or_default();
        let is_over = of_address >= limits.per_address && !address.is_loopback();
        let has_room = match (is_over, taken.seats.len() >= limits.total) {
            (true, _) => self.evict(&mut taken, Some(address)),
            (false, true) => self.evict(&mut taken, None),
            (false, false) => true,
        };
        if !has_room {
            self.0.numbers.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let seat = Arc::new(Seat {
            address,
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            has_asked: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, Arc::clone(&seat));
        *taken.by_address.entry(address).or_default() += 1;
        self.0.numbers.open.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            places: self.clone(),
            number,
            seat,
        })
    }

    /// Takes the place of whoever has been without a request for longest; says whether somebody was.
    fn evict(&self, taken: &mut Taken, address: Option<IpAddr>) -> bool {
        let now = self.now();
        if now < taken.none_settled_before {
            return false;
        }
        let idle = taken.seats.iter().filter(|(_, seat)| {
            seat.busy.load(Ordering::Acquire) == 0
                && address.is_none_or(|address| seat.address == address)
        });
        let longest =
            idle.min_by_key(|(number, seat)| (seat.idle_since.load(Ordering::Acquire), **number));
        let longest = longest.map(|(number, seat)| {
            let since = seat.idle_since.load(Ordering::Acquire);
            (*number, since.saturating_add(millis(SETTLED)))
        });
        match longest {
            Some((number, settled_at)) if settled_at <= now => {
                if let Some(seat) = taken.remove(number) {
                    seat.evicted.notify_one();
                }
                self.0.numbers.open.fetch_sub(1, Ordering::Relaxed);
                self.0.numbers.evicted.fetch_add(1, Ordering::Relaxed);
                true
            }
            // So that a flood does not look at all places for each newcomer.
            _ if address.is_none() => {
                let soonest = longest.map(|(_, settled_at)| settled_at);
                let soonest = soonest.unwrap_or_else(|| now + millis(SETTLED));
                taken.none_settled_before = soonest;
                false
            }
            _ => false,
        }
    }

    fn now(&self) -> u64 {
        millis(self.0.start.elapsed())
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        let taken = self.0.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn remove(&mut self, number: u64) -> Option<Arc<Seat>> {
        let seat = self.seats.remove(&number)?;
        if let Some(count) = self.by_address.get_mut(&seat.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&seat.address);
            }
        }
        Some(seat)
    }
}

impl Place {
    /// How long its client may read nothing of what it is sent.
    pub(super) fn stalled_max(&self) -> Duration {
        self.places.0.limits.stalled
    }

    /// Notes that a request is being answered, until that is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.seat.busy.fetch_add(1, Ordering::AcqRel);
        self.seat.has_asked.store(true, Ordering::Release);
        Busy(Arc::clone(self))
    }

    /// Waits until the connection has to end: it has been without a request for too long, or a
    /// newcomer needs its place.
    pub(super) async fn over(&self) {
        tokio::select! {
            () = self.seat.evicted.notified() => {}
            () = self.idle_for_too_long() => {}
        }
    }

    async fn idle_for_too_long(&self) {
        let limits = &self.places.0.limits;
        loop {
            let most = match self.seat.has_asked.load(Ordering::Acquire) {
                true => limits.idle,
                false => limits.first_request,
            };
            let idle = match self.seat.busy.load(Ordering::Acquire) {
                0 => self.places.now() - self.seat.idle_since.load(Ordering::Acquire),
                _ => 0,
            };
            match millis(most).checked_sub(idle) {
                None | Some(0) => return,
                Some(left) => tokio::time::sleep(Duration::from_millis(left)).await,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.places.taken().remove(self.number).is_some() {
            self.places.0.numbers.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Busy {
    /// Counts the connection as busy until it ends.
    pub(super) fn for_good(&self) {
        self.0.seat.busy.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let place = &self.0;
        let now = place.places.now();
        place.seat.idle_since.store(now, Ordering::Release);
        place.seat.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whom an address stands for: who has one of IPv6 has a whole network of them.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        address => address,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(total: usize, per_address: usize) -> Places {
        Places::new(ConnectionLimits {
            total,
            per_address,
            ..ConnectionLimits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_gets_the_place_of_who_has_been_idle_for_longest() {
        let places = places(2, 2);
        let first = Arc::new(places.enter(address(1)).expect("there is room"));
        tokio::time::advance(SETTLED).await;
        let second = Arc::new(places.enter(address(2)).expect("there is room"));
        let _asking = second.busy();
        let third = places.enter(address(3)).expect("the first one is idle");
        first.over().await;
        assert_eq!(places.numbers().open.load(Ordering::Relaxed), 2);
        assert!(
            places.enter(address(4)).is_none(),
            "nobody is idle for long"
        );
        drop(third);
        assert!(places.enter(address(4)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_does_not_take_the_places_of_others() {
        let places = places(4, 2);
        let all: Vec<_> = (0..2).map(|_| places.enter(address(1))).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(places.enter(address(1)).is_none());
        assert!(places.enter(address(2)).is_some());
        tokio::time::advance(SETTLED).await;
        assert!(places.enter(address(1)).is_some(), "in place of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_without_a_request_is_over() {
        let place = Arc::new(places(1, 1).enter(address(1)).expect("there is room"));
        let limits = place.places.0.limits;
        let asking = place.busy();
        let soon = tokio::time::timeout(limits.idle * 10, place.over()).await;
        assert!(soon.is_err(), "a request may take long");
        drop(asking);
        place.over().await;
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| source(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
