//! What is between the hosts: either it hands over what it is given, or it keeps it in queues.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use xcomponent_core::input::{Receive, Ticket};

use super::host::Host;

/// Shipments that a host is given before it has confirmed the first.
const WINDOW: usize = 3;

/// The bus.
#[derive(Debug)]
pub(super) struct Bus {
    /// Whether it keeps what it is given, and confirms that itself.
    is_broker: bool,
    /// On their way, in no order: from, to, what.
    flying: Vec<(usize, usize, Receive)>,
    /// By host: what is kept for it, oldest first.
    queues: Vec<VecDeque<Kept>>,
    /// Who waits for which: from, to, up to which parcel.
    asked: BTreeMap<(usize, Ticket), Asked>,
    /// Confirmations on their way to whoever sent: from, to, up to which parcel.
    confirmed: Vec<(usize, usize, u64)>,
    repeated: u64,
}

#[derive(Debug)]
struct Kept {
    from: usize,
    receive: Receive,
    /// Whether a host has it and has not confirmed it.
    is_given: bool,
    /// Whether it is forgotten if the bus is started anew now.
    is_fresh: bool,
}

#[derive(Debug)]
struct Asked {
    from: usize,
    receive: Receive,
}

impl Bus {
    pub(super) fn new(hosts: usize, is_broker: bool) -> Self {
        Self {
            is_broker,
            flying: Vec::new(),
            queues: (0..hosts).map(|_| VecDeque::new()).collect(),
            asked: BTreeMap::new(),
            confirmed: Vec::new(),
            repeated: 0,
        }
    }

    /// Somebody sends.
    pub(super) fn send(&mut self, from: usize, to: usize, receive: Receive) {
        self.flying.push((from, to, receive));
    }

    /// Something of what is on its way gets lost, arrives, or does so twice.
    pub(super) fn carry(&mut self, hosts: &mut [Host], chance: &mut Rng) {
        if self.is_broker && chance.bool() {
            return self.give(hosts, chance.usize(0..hosts.len()));
        }
        if self.flying.is_empty() {
            return;
        }
        let (from, to, receive) = self.flying.swap_remove(chance.usize(0..self.flying.len()));
        match chance.u32(0..6) {
            0 => return,
            1 => {
                self.repeated += 1;
                self.flying.push((from, to, receive.clone()));
            }
            _ => {}
        }
        self.arrive(hosts, from, to, receive);
    }

    /// All of it arrives.
    pub(super) fn carry_all(&mut self, hosts: &mut [Host]) {
        for (from, to, receive) in std::mem::take(&mut self.flying) {
            self.arrive(hosts, from, to, receive);
        }
        for to in 0..self.queues.len() {
            self.give(hosts, to);
        }
    }

    fn arrive(&mut self, hosts: &mut [Host], from: usize, to: usize, receive: Receive) {
        if !self.is_broker {
            return self.ask(hosts, from, to, receive);
        }
        let last = receive.parcels.last().map_or(0, |parcel| parcel.number);
        self.confirmed.push((from, to, last));
        self.queues[to].push_back(Kept {
            from,
            receive,
            is_given: false,
            is_fresh: true,
        });
    }

    /// The oldest that a host does not have is given to it.
    fn give(&mut self, hosts: &mut [Host], to: usize) {
        let given = self.queues[to].iter().filter(|kept| kept.is_given).count();
        let next = self.queues[to].iter_mut().find(|kept| !kept.is_given);
        if let Some(kept) = next.filter(|_| given < WINDOW) {
            kept.is_given = true;
            let (from, receive) = (kept.from, kept.receive.clone());
            self.ask(hosts, from, to, receive);
        }
    }

    fn ask(&mut self, hosts: &mut [Host], from: usize, to: usize, receive: Receive) {
        let ticket = hosts[to].take_in(receive.clone());
        self.asked.insert((to, ticket), Asked { from, receive });
    }

    /// A host says whether it has taken something in.
    pub(super) fn taken_in(&mut self, to: usize, ticket: Ticket, is_durable: bool) {
        let Some(Asked { from, receive }) = self.asked.remove(&(to, ticket)) else {
            return;
        };
        let last = receive.parcels.last().map_or(0, |parcel| parcel.number);
        if !self.is_broker {
            if is_durable {
                self.confirmed.push((from, to, last));
            }
            return;
        }
        let is_it = |kept: &Kept| {
            let number = kept
                .receive
                .parcels
                .last()
                .map_or(0, |parcel| parcel.number);
            kept.is_given && kept.from == from && number == last
        };
        let queue = &mut self.queues[to];
        let Some(place) = queue.iter().position(is_it) else {
            return;
        };
        if is_durable {
            queue.remove(place);
        } else if let Some(mut kept) = queue.remove(place) {
            // What is missing before it may be behind it.
            kept.is_given = false;
            queue.push_back(kept);
        }
    }

    /// A confirmation arrives, or gets lost.
    pub(super) fn confirm(&mut self, hosts: &mut [Host], chance: &mut Rng) {
        if self.confirmed.is_empty() {
            return;
        }
        let which = chance.usize(0..self.confirmed.len());
        let (from, to, through) = self.confirmed.swap_remove(which);
        if chance.u32(0..4) > 0 {
            self.told(hosts, from, to, through);
        }
        if chance.u32(0..3) == 0 {
            self.settle(hosts);
        }
    }

    /// All of them arrive.
    pub(super) fn confirm_all(&mut self, hosts: &mut [Host]) {
        for (from, to, through) in std::mem::take(&mut self.confirmed) {
            self.told(hosts, from, to, through);
        }
        self.settle(hosts);
    }

    fn told(&self, hosts: &mut [Host], from: usize, to: usize, through: u64) {
        if let Some(lane) = hosts[from].lanes.get_mut(&to) {
            lane.arrived(through);
            if !self.is_broker {
                lane.settled = lane.through;
            }
        }
    }

    /// What the bus has by now it does not forget any more.
    fn settle(&mut self, hosts: &mut [Host]) {
        for kept in self.queues.iter_mut().flatten() {
            kept.is_fresh = false;
        }
        for host in hosts {
            for lane in host.lanes.values_mut() {
                lane.settled = lane.through;
            }
        }
    }

    /// It is started anew and has forgotten some of what it confirmed; whoever sent is told so.
    pub(super) fn forget(&mut self, hosts: &mut [Host], chance: &mut Rng) -> bool {
        if !self.is_broker {
            return false;
        }
        for queue in &mut self.queues {
            let fresh = queue.iter().position(|kept| kept.is_fresh);
            if let Some(first) = fresh {
                let kept = chance.usize(first..=queue.len());
                queue.truncate(kept);
            }
            queue.iter_mut().for_each(|kept| kept.is_given = false);
        }
        self.flying.clear();
        self.confirmed.clear();
        self.asked.clear();
        for host in hosts {
            host.lanes
                .values_mut()
                .for_each(super::lane::Lane::forgotten);
        }
        true
    }

    /// A host has lost what it was asked.
    pub(super) fn cut_off(&mut self, host: usize) {
        self.asked.retain(|(to, _), _| *to != host);
        let queue = self.queues[host].iter_mut();
        queue.for_each(|kept| kept.is_given = false);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.flying.is_empty()
            && self.confirmed.is_empty()
            && self.asked.is_empty()
            && self.queues.iter().all(VecDeque::is_empty)
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }
}
