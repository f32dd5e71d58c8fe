//! What is known of a catalog, and who of those in it is there.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::{
    View,
    record::{ComponentRecord, HostRecord, Listed, of_text},
};
use crate::bus::broker::Place;

/// What is known of a catalog. Needs no clock of its own: who asks says what time it is.
#[derive(Default)]
pub(super) struct Known {
    generation: Option<u64>,
    hosts: HashMap<String, Sighting>,
    components: HashMap<Place, (String, ComponentRecord)>,
}

/// A host as it was seen.
struct Sighting {
    record: HostRecord,
    /// When its record was first seen as it is.
    since: Instant,
    /// Whether it was seen to change.
    has_moved: bool,
}

/// Whether a host is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its record was renewed within its lease.
    There,
    /// It was not watched long enough: it is gone if its record stays as it is for so long.
    Unsure(Duration),
    /// It was not renewed for its lease, or has left.
    Gone,
}

impl Known {
    /// Of which generation the components are known.
    pub(super) fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// Takes over what a catalog has. Records that nobody here understands are left out.
    pub(super) fn observe(&mut self, view: View, now: Instant) {
        let mut before = std::mem::take(&mut self.hosts);
        let records = view.hosts.iter();
        for record in records.filter_map(|(_, text)| of_text::<HostRecord>(text)) {
            let sighting = match before.remove(&record.id) {
                Some(seen) if seen.record.run == record.run && seen.record.beat == record.beat => {
                    seen
                }
                seen => Sighting {
                    since: now,
                    // A host that was not there a moment ago is there now.
                    has_moved: seen.is_some() || self.generation.is_some(),
                    record,
                },
            };
            self.hosts.insert(sighting.record.id.clone(), sighting);
        }
        if let Some(components) = view.components {
            let records = components.into_iter().filter_map(|(_, text)| {
                let record: ComponentRecord = of_text(&text)?;
                Some((record.place(), (text, record)))
            });
            self.components = records.collect();
            self.generation = Some(view.generation);
        }
    }

    /// Whether a host is there.
    pub(super) fn standing(&self, host: &str, now: Instant) -> Standing {
        let Some(sighting) = self.hosts.get(host) else {
            return Standing::Gone;
        };
        let silent = now.saturating_duration_since(sighting.since);
        match sighting.record.lease().checked_sub(silent) {
            None | Some(Duration::ZERO) => Standing::Gone,
            Some(_) if sighting.has_moved => Standing::There,
            Some(left) => Standing::Unsure(left),
        }
    }

    /// A host, as it announced itself.
    pub(super) fn host(&self, id: &str) -> Option<&HostRecord> {
        Some(&self.hosts.get(id)?.record)
    }

    /// Who has a component: as it stands in the catalog, and what that says.
    pub(super) fn owner(&self, place: &Place) -> Option<&(String, ComponentRecord)> {
        self.components.get(place)
    }

    /// Every component, and where it is.
    pub(super) fn components(&self) -> impl Iterator<Item = (&Place, &ComponentRecord)> {
        let components = self.components.iter();
        components.map(|(place, (_, record))| (place, record))
    }

    /// Every component and its host, then every host that has none.
    pub(super) fn list(&self) -> (Vec<Listed>, Vec<HostRecord>) {
        let mut listed: Vec<Listed> = self
            .components()
            .map(|(_, record)| Listed {
                record: record.clone(),
                host: self.host(&record.host).cloned(),
            })
            .collect();
        let place = |one: &Listed| (one.record.tenant.clone(), one.record.component.clone());
        listed.sort_by_cached_key(place);
        let has_any = |host: &&HostRecord| listed.iter().any(|one| one.record.host == host.id);
        let hosts = self.hosts.values().map(|sighting| &sighting.record);
        let mut idle: Vec<HostRecord> = hosts.filter(|host| !has_any(host)).cloned().collect();
        idle.sort_by(|one, other| (&one.address, &one.id).cmp(&(&other.address, &other.id)));
        (listed, idle)
    }

    /// How many hosts have announced themselves.
    pub(super) fn n_hosts(&self) -> usize {
        self.hosts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::registry::record::{Load, to_text};

    const LEASE: Duration = Duration::from_secs(5);

    fn view(beats: &[(&str, u64)]) -> View {
        let host = |(id, beat): &(&str, u64)| {
            let record = HostRecord {
                id: (*id).to_owned(),
                run: "1".to_owned(),
                address: format!("http://{id}"),
                standby: false,
                lease_ms: 5_000,
                beat: *beat,
                seen_at: 0,
                load: Load::default(),
                release: String::new(),
            };
            ((*id).to_owned(), to_text(&record))
        };
        View {
            hosts: beats.iter().map(host).collect(),
            generation: 1,
            components: Some(Vec::new()),
        }
    }

    #[test]
    fn a_host_is_gone_when_its_record_stays_as_it_is_for_its_lease() {
        let (mut known, start) = (Known::default(), Instant::now());
        known.observe(view(&[("a", 1)]), start);
        assert_eq!(known.standing("a", start), Standing::Unsure(LEASE));
        let renewed = start + LEASE / 2;
        known.observe(view(&[("a", 2)]), renewed);
        assert_eq!(known.standing("a", renewed + LEASE / 2), Standing::There);
        known.observe(view(&[("a", 2)]), renewed + LEASE / 2);
        assert_eq!(known.standing("a", renewed + LEASE), Standing::Gone);
    }

    #[test]
    fn a_host_that_nobody_renews_is_not_known_to_be_gone_at_first_sight() {
        let (mut known, start) = (Known::default(), Instant::now());
        known.observe(view(&[("a", 7)]), start);
        let later = start + LEASE - Duration::from_secs(1);
        let unsure = Standing::Unsure(Duration::from_secs(1));
        assert_eq!(known.standing("a", later), unsure);
        assert_eq!(known.standing("a", start + LEASE), Standing::Gone);
    }

    #[test]
    fn a_host_that_comes_is_there_and_one_that_leaves_is_gone() {
        let (mut known, start) = (Known::default(), Instant::now());
        known.observe(view(&[]), start);
        known.observe(view(&[("a", 1)]), start);
        assert_eq!(known.standing("a", start), Standing::There);
        known.observe(view(&[]), start);
        assert_eq!(known.standing("a", start), Standing::Gone);
    }
}
