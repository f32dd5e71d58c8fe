//! A host among those of a catalog: it announces itself and what it has, and follows the others.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, sleep_until, timeout},
};
use xcomponent_core::id::{ComponentName, Version};

use super::{
    Catalog, Kind, RENEWALS, Swap, Swapped, Unreachable,
    known::{Known, Standing},
    record::{ComponentRecord, HostRecord, Listed, Load, of_text, to_text},
};
use crate::{
    address::Address,
    bus::{
        Directory, Transport,
        broker::Place,
        directory::Absent,
        now,
        peer::{Peer, Trust},
    },
};

/// Wait before a catalog that is away is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Shortest time between two looks at a catalog, however much there is to see.
const LOOKS_APART: Duration = Duration::from_millis(50);

/// How often a change is tried while others change the same record.
const ATTEMPTS_MAX: usize = 16;

/// How a host announces itself.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Which host.
    pub id: String,
    /// Where it is reached, as in `http://payment:3002`.
    pub address: String,
    /// Whether it waits for the store of another.
    pub standby: bool,
    /// How long it may be silent before it is gone.
    pub lease: Duration,
}

/// What a host says of itself.
pub trait Local: Send + Sync + 'static {
    /// The components that are here, now and whenever that changes.
    fn here(&self) -> watch::Receiver<HashSet<Place>>;

    /// The version of a component that new instances run on, if it is here.
    fn version(&self, place: &Place) -> Option<Version>;

    /// What it has to do.
    fn load(&self) -> Load;
}

/// A host among those of a catalog.
pub struct Member {
    catalog: Arc<dyn Catalog>,
    announcement: Announcement,
    /// Which process.
    run: String,
    /// How the own record stands in the catalog, as far as is known.
    own: Mutex<Option<String>>,
    known: Mutex<Known>,
    /// What is claimed and not here yet.
    claimed: Mutex<HashSet<Place>>,
    is_reachable: AtomicBool,
}

/// Why a component is not this host's.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another host has it.
    #[error("`{component}` is owned by the host at {address}")]
    OwnedElsewhere {
        /// Which component.
        component: ComponentName,
        /// Where that host is.
        address: String,
    },
    /// It cannot be said.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// Why a host must end: somebody else does its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another process runs on what this one ran on.
    #[error("the host at {0} has taken over from this one")]
    Superseded(String),
    /// While this host could not say that it is there, another came by one of its components.
    #[error("`{0}` is owned by the host at {1} now")]
    Component(ComponentName, String),
}

impl Member {
    /// Announces a host; whoever announced itself by the same id before is gone then. Waits for a
    /// catalog that is away.
    pub async fn join(catalog: Arc<dyn Catalog>, announcement: Announcement) -> Self {
        let member = Self {
            catalog,
            announcement,
            run: format!("{:032x}", fastrand::u128(..)),
            own: Mutex::default(),
            known: Mutex::default(),
            claimed: Mutex::default(),
            is_reachable: AtomicBool::new(true),
        };
        loop {
            let joined = member.renew(Load::default(), Existing::Replace).await;
            match member.noted(joined) {
                Some(_) => return member,
                None => sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// Makes a component this host's, or says whose it is. That another host is gone may have to be
    /// waited for, as long as its lease.
    ///
    /// # Errors
    ///
    /// If it is another's, or nobody can say.
    pub async fn claim(&self, place: &Place, version: &Version) -> Result<(), ClaimError> {
        locked(&self.claimed).insert(place.clone());
        let claimed = self.try_claim(place, version).await;
        if claimed.is_err() {
            self.release(place);
        }
        claimed
    }

    /// What was claimed does not come here after all.
    pub fn release(&self, place: &Place) {
        locked(&self.claimed).remove(place);
    }

    /// Renews the announcement, announces what is here and takes back what is not any more, and has
    /// the directory lead to what others have, for as long as it is polled. Ends when somebody else
    /// does this host's work; `trust` is for the others.
    pub async fn follow(
        self: Arc<Self>,
        local: impl Local,
        directory: Arc<Directory>,
        trust: Trust,
    ) -> Lost {
        let news = Arc::new(Notify::new());
        let watching = Arc::clone(&self.catalog).watch(Arc::clone(&news));
        let mut following = Following {
            here: local.here(),
            member: self,
            local,
            directory,
            trust,
            peers: HashMap::new(),
            absent: Arc::new(Absent),
        };
        tokio::select! {
            lost = following.run(&news) => lost,
            () = watching => unreachable!("a catalog is watched for as long as it is polled"),
        }
    }

    /// Renews the announcement for as long as it is polled.
    pub async fn stand_by(&self) {
        loop {
            let renewed = self.renew(Load::default(), Existing::Replace).await;
            self.noted(renewed);
            sleep(self.announcement.lease / RENEWALS).await;
        }
    }

    /// Takes the announcement back, so that nobody waits for the lease to end.
    pub async fn leave(&self) {
        let own = locked(&self.own).take();
        let swap = Swap {
            kind: Kind::Host,
            key: &HostRecord::key(&self.announcement.id),
            from: own.as_deref(),
            to: None,
            tell: true,
        };
        if own.is_some()
            && let Err(error) = self.swap(swap).await
        {
            tracing::debug!("the registry was not told that the host ends: {error}");
        }
    }

    /// Every component and its host, then every host that has none.
    pub fn list(&self) -> (Vec<Listed>, Vec<HostRecord>) {
        locked(&self.known).list()
    }

    /// Whether the catalog answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        self.is_reachable.load(Relaxed)
    }

    /// How many hosts have announced themselves.
    pub fn n_hosts(&self) -> usize {
        locked(&self.known).n_hosts()
    }

    /// How the catalog is called.
    pub fn catalog_name(&self) -> &str {
        self.catalog.name()
    }

    /// Says once more that this host is there. Gives who else says so by the same id, if that is not
    /// to be replaced.
    async fn renew(&self, load: Load, existing: Existing) -> Result<Result<(), Lost>, Unreachable> {
        let key = HostRecord::key(&self.announcement.id);
        for _ in 0..ATTEMPTS_MAX {
            let own = locked(&self.own).clone();
            let next = to_text(&self.record(own.as_deref(), load));
            let swapped = self.swap(Swap {
                kind: Kind::Host,
                key: &key,
                from: own.as_deref(),
                to: Some(&next),
                tell: own.is_none(),
            });
            let other = match swapped.await? {
                Swapped::Done => {
                    *locked(&self.own) = Some(next);
                    return Ok(Ok(()));
                }
                Swapped::Other(other) => other,
            };
            let record = other.as_deref().and_then(of_text::<HostRecord>);
            // One's own record may be another than was known: an answer can get lost.
            match record.filter(|record| record.run != self.run) {
                Some(record) if existing == Existing::Respect => {
                    return Ok(Err(Lost::Superseded(record.address)));
                }
                Some(_) | None => *locked(&self.own) = other,
            }
        }
        Err(Unreachable("others change the same record".to_owned()))
    }

    /// The own record as it is next.
    fn record(&self, own: Option<&str>, load: Load) -> HostRecord {
        let before = own.and_then(of_text::<HostRecord>);
        HostRecord {
            id: self.announcement.id.clone(),
            run: self.run.clone(),
            address: self.announcement.address.clone(),
            standby: self.announcement.standby,
            lease_ms: u64::try_from(self.announcement.lease.as_millis()).unwrap_or(u64::MAX),
            beat: before.map_or(0, |record| record.beat.wrapping_add(1)),
            seen_at: now().0,
            load,
            release: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    async fn try_claim(&self, place: &Place, version: &Version) -> Result<(), ClaimError> {
        let own = ComponentRecord::new(place, version, &self.announcement.id);
        // What is known is good enough to begin with: a change fails where it is not any more.
        let mut is_known = locked(&self.known).generation().is_some();
        let mut attempts = 0;
        while attempts < ATTEMPTS_MAX {
            if !is_known {
                self.look().await?;
            }
            let (owner, standing, address) = self.ownership(place);
            if std::mem::take(&mut is_known) && standing != Standing::Gone {
                continue;
            }
            let wait = match standing {
                Standing::There => {
                    return Err(ClaimError::OwnedElsewhere {
                        component: place.1.clone(),
                        address,
                    });
                }
                Standing::Gone => None,
                Standing::Unsure(left) => Some(left.min(self.announcement.lease / RENEWALS)),
            };
            if let Some(wait) = wait {
                sleep(wait.max(LOOKS_APART)).await;
                continue;
            }
            if self.announce(place, owner.as_deref(), Some(&own)).await? == Swapped::Done {
                return Ok(());
            }
            attempts += 1;
        }
        Err(Unreachable("others change the same record".to_owned()).into())
    }

    /// Who has a component: how that stands in the catalog, whether they are there, and where. This
    /// host itself does not stand in its own way.
    fn ownership(&self, place: &Place) -> (Option<String>, Standing, String) {
        let known = locked(&self.known);
        let Some((text, record)) = known.owner(place) else {
            return (None, Standing::Gone, String::new());
        };
        let standing = match record.host == self.announcement.id {
            true => Standing::Gone,
            false => known.standing(&record.host, Instant::now()),
        };
        let address = known.host(&record.host).map(|host| host.address.clone());
        (Some(text.clone()), standing, address.unwrap_or_default())
    }

    /// Changes the record of a component.
    async fn announce(
        &self,
        place: &Place,
        from: Option<&str>,
        to: Option<&ComponentRecord>,
    ) -> Result<Swapped, Unreachable> {
        self.swap(Swap {
            kind: Kind::Component,
            key: &ComponentRecord::key(place),
            from,
            to: to.map(to_text).as_deref(),
            tell: true,
        })
        .await
    }

    /// Reads what has changed in the catalog.
    async fn look(&self) -> Result<(), Unreachable> {
        let generation = locked(&self.known).generation();
        let view = self.in_time(self.catalog.read(generation)).await?;
        locked(&self.known).observe(view, Instant::now());
        Ok(())
    }

    async fn swap(&self, swap: Swap<'_>) -> Result<Swapped, Unreachable> {
        self.in_time(self.catalog.swap(swap)).await
    }

    /// An answer that comes after the lease has ended comes too late.
    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, Unreachable>>,
    ) -> Result<T, Unreachable> {
        let late = |_| Unreachable("it does not answer".to_owned());
        timeout(self.announcement.lease, asked)
            .await
            .map_err(late)?
    }

    /// Says once that the catalog is away, and once that it is there again.
    fn noted<T>(&self, asked: Result<T, Unreachable>) -> Option<T> {
        let was_reachable = self.is_reachable.swap(asked.is_ok(), Relaxed);
        match asked {
            Ok(answer) => {
                if !was_reachable {
                    tracing::info!(
                        registry = self.catalog.name(),
                        "the registry is there again"
                    );
                }
                Some(answer)
            }
            Err(error) => {
                if was_reachable {
                    tracing::warn!(registry = self.catalog.name(), "{error}");
                }
                None
            }
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.announcement, self.catalog.name())
    }
}

/// What is done about another process that announced itself by the same id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Respect,
}

/// A host that follows the others.
struct Following<L> {
    member: Arc<Member>,
    local: L,
    here: watch::Receiver<HashSet<Place>>,
    directory: Arc<Directory>,
    trust: Trust,
    /// The hosts that are known, by address.
    peers: HashMap<String, Arc<Peer>>,
    absent: Arc<dyn Transport>,
}

impl<L: Local> Following<L> {
    async fn run(&mut self, news: &Notify) -> Lost {
        let between = self.member.announcement.lease / RENEWALS;
        let mut due = tokio::time::Instant::now();
        loop {
            let is_due = tokio::time::Instant::now() >= due;
            if is_due {
                due = tokio::time::Instant::now() + between;
            }
            let done = self.step(is_due).await;
            if let Some(Err(lost)) = self.member.noted(done) {
                return lost;
            }
            sleep(LOOKS_APART).await;
            tokio::select! {
                () = sleep_until(due) => {}
                () = news.notified() => {}
                changed = self.here.changed() => if changed.is_err() {
                    // The host ends.
                    std::future::pending::<()>().await;
                },
            }
        }
    }

    /// Renews what is due, and brings catalog and directory up to date.
    async fn step(&mut self, is_due: bool) -> Result<Result<(), Lost>, Unreachable> {
        if is_due {
            let renewed = self.member.renew(self.local.load(), Existing::Respect);
            if let Err(lost) = renewed.await? {
                return Ok(Err(lost));
            }
        }
        // In this order: what is here by now was claimed before, which the catalog shows then.
        let here = self.here.borrow_and_update().clone();
        self.member.look().await?;
        self.lead();
        self.announce(&here).await
    }

    /// Has the directory lead to what others have.
    fn lead(&mut self) {
        let mut peers = std::mem::take(&mut self.peers);
        let known = locked(&self.member.known);
        let own = &self.member.announcement.id;
        let elsewhere = known.components().filter(|(_, record)| record.host != *own);
        let mut registered: HashMap<Place, Arc<dyn Transport>> = HashMap::new();
        for (place, record) in elsewhere {
            let address = known.host(&record.host).map(|host| &*host.address);
            let peer = address.and_then(|address| {
                let known = self.peers.get(address).cloned();
                let known = known.or_else(|| peers.remove(address));
                let peer = known.or_else(|| {
                    let peer = Peer::new(&Address::from(address), &self.trust);
                    Some(Arc::new(peer.ok()?))
                })?;
                self.peers.insert(address.to_owned(), Arc::clone(&peer));
                Some(peer as Arc<dyn Transport>)
            });
            registered.insert(
                place.clone(),
                peer.unwrap_or_else(|| Arc::clone(&self.absent)),
            );
        }
        drop(known);
        self.directory.set_registered(registered);
    }

    /// Has the catalog say what is here.
    async fn announce(&self, here: &HashSet<Place>) -> Result<Result<(), Lost>, Unreachable> {
        let member = &self.member;
        locked(&member.claimed).retain(|place| !here.contains(place));
        let mut outdated = Vec::new();
        {
            let known = locked(&member.known);
            for place in here {
                let Some(version) = self.local.version(place) else {
                    continue;
                };
                let own = ComponentRecord::new(place, &version, &member.announcement.id);
                match known.owner(place) {
                    Some((_, record)) if *record == own => {}
                    Some((_, other)) if other.host != own.host => {
                        let host = known.host(&other.host);
                        let address = host.map(|host| host.address.clone()).unwrap_or_default();
                        return Ok(Err(Lost::Component(place.1.clone(), address)));
                    }
                    stands => outdated.push((place, stands.map(|(text, _)| text.clone()), own)),
                }
            }
        }
        for (place, stands, own) in outdated {
            // Where it is another by now, the next look tells.
            member
                .announce(place, stands.as_deref(), Some(&own))
                .await?;
        }
        for (place, text) in self.left_behind(here) {
            member.announce(&place, Some(&text), None).await?;
        }
        Ok(Ok(()))
    }

    /// What the catalog says is here, and is not.
    fn left_behind(&self, here: &HashSet<Place>) -> Vec<(Place, String)> {
        let known = locked(&self.member.known);
        let claimed = locked(&self.member.claimed);
        let own = &self.member.announcement.id;
        let is_left = |place: &&Place| !here.contains(*place) && !claimed.contains(*place);
        let ours = known.components().filter(|(_, record)| record.host == *own);
        let places = ours.map(|(place, _)| place).filter(is_left);
        places
            .filter_map(|place| Some((place.clone(), known.owner(place)?.0.clone())))
            .collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
