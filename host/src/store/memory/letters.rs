//! Parked events: found by id, listed by age.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, DeadLetter, Record},
};

use crate::store::{Position, query::Letter};

/// Parked events of one tenant at most; beyond it the oldest goes.
pub(super) const LETTERS_MAX: usize = 100_000;

/// All parked events.
#[derive(Debug, Default)]
pub(super) struct Letters {
    tenants: HashMap<TenantId, Parked>,
}

/// The parked events of one tenant.
#[derive(Debug, Default)]
struct Parked {
    letters: BTreeMap<u64, Letter>,
    /// Positions by event and instance.
    places: BTreeMap<(EventId, Option<InstanceId>), u64>,
}

impl Letters {
    /// Takes over what a record parks, settles or gives up.
    pub(super) fn note(&mut self, position: u64, record: &Record) {
        match &record.body {
            Body::Handled(handled) => {
                if let Some(id) = &handled.settles {
                    self.of(&record.tenant).settle(id, Some(&handled.after.id));
                }
                if let Some(letter) = &handled.parked {
                    self.of(&record.tenant).park(position, letter);
                }
            }
            Body::Parked(letter) => self.of(&record.tenant).park(position, letter),
            Body::Discarded(discarded) => self
                .of(&record.tenant)
                .settle(&discarded.id, discarded.instance.as_ref()),
            Body::Selected(_) | Body::Departed(_) | Body::Moved(_) | Body::Received(_) => {}
        }
    }

    fn of(&mut self, tenant: &TenantId) -> &mut Parked {
        self.tenants.entry_ref(tenant).or_default()
    }

    /// The parked event with this id: at this instance, or the first.
    pub(super) fn find(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Option<&Letter> {
        let parked = self.tenants.get(tenant)?;
        let (key, position) = parked
            .places
            .range((id.clone(), instance.cloned())..)
            .next()?;
        let exact = key.0 == *id && (instance.is_none() || key.1.as_ref() == instance);
        exact.then(|| &parked.letters[position])
    }

    /// Those of a tenant that were parked before a position, the last first.
    pub(super) fn older(&self, tenant: &TenantId, than: u64) -> impl Iterator<Item = &Letter> {
        let parked = self.tenants.get(tenant).into_iter();
        parked.flat_map(move |parked| parked.letters.range(..than).rev().map(|(_, letter)| letter))
    }
}

impl Parked {
    fn park(&mut self, position: u64, letter: &Arc<DeadLetter>) {
        if self.letters.len() == LETTERS_MAX
            && let Some((_, oldest)) = self.letters.pop_first()
        {
            self.places.remove(&key(&oldest.letter));
        }
        if let Some(replaced) = self.places.insert(key(letter), position) {
            self.letters.remove(&replaced);
        }
        let letter = Arc::clone(letter);
        self.letters.insert(
            position,
            Letter {
                position: Position(position),
                letter,
            },
        );
    }

    /// Removes a parked event; one that was parked before an instance was chosen is found under
    /// any.
    fn settle(&mut self, id: &EventId, instance: Option<&InstanceId>) {
        let at_instance = self.places.remove(&(id.clone(), instance.cloned()));
        let position = at_instance.or_else(|| self.places.remove(&(id.clone(), None)));
        if let Some(position) = position {
            self.letters.remove(&position);
        }
    }
}

fn key(letter: &DeadLetter) -> (EventId, Option<InstanceId>) {
    (letter.event.id.clone(), letter.instance.clone())
}
