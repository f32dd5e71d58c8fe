//! Records that the log refused for what is in them: their events are parked, and no others.

use std::collections::{BTreeMap, BTreeSet};

use xcomponent_core::{
    json::Json,
    record::{Body, DeadLetter, Handled, Parked, Record},
};

use super::Model;

/// How often the log refuses what is about the same event: the third time nothing is left of it
/// that could be refused.
const REFUSED_MAX: u32 = 2;

/// Events whose records the log refused.
#[derive(Debug, Default)]
pub struct Refusals {
    /// By tenant and event: how often.
    times: BTreeMap<(String, String), u32>,
    /// By tenant, instance and event: nothing else may become of it. Not so if it came from
    /// outside, where somebody may have tried again.
    to_park: BTreeSet<(String, String, String)>,
}

impl Model {
    /// The log refuses a record, if it may.
    pub fn refused(&mut self, record: &Record) -> bool {
        let tenant = record.tenant.to_string();
        let event = match &record.body {
            Body::Handled(handled) => handled.event.id.to_string(),
            Body::Selected(selected) => selected.event.id.to_string(),
            // Nothing is left of such a letter that could be refused.
            Body::Parked(letter) if letter.event.payload == Json::empty() => return false,
            Body::Parked(letter) => letter.event.id.to_string(),
            // Nothing in these is new to a log.
            Body::Departed(_) | Body::Moved(_) | Body::Discarded(_) | Body::Received(_) => {
                return false;
            }
        };
        let times = self.refusals.times.entry((tenant.clone(), event.clone()));
        let times = times.or_default();
        *times += 1;
        if *times > REFUSED_MAX {
            return false;
        }
        let is_outside = self.outside.contains_key(&(tenant.clone(), event.clone()));
        if let Body::Handled(handled) = &record.body
            && handled.from.is_some()
            && !is_outside
        {
            let instance = handled.after.id.to_string();
            self.refusals.to_park.insert((tenant, instance, event));
        }
        true
    }
}

impl Refusals {
    /// What was to be parked and was not is owed again, like anything else.
    pub fn crashed(&mut self) {
        self.to_park.clear();
    }

    /// An event came to something.
    pub(super) fn handled(&mut self, handled: &Handled) -> Result<(), String> {
        let (after, event) = (&handled.after, handled.event.id.to_string());
        let tenant = after.tenant().to_string();
        let is_parked = handled.parked.as_ref();
        let is_parked = is_parked.is_some_and(|letter| letter.why == Parked::Unstorable);
        if is_parked && !self.times.contains_key(&(tenant.clone(), event.clone())) {
            return Err(format!("{event} was parked, and nobody refused it"));
        }
        let at = (tenant, after.id.to_string(), event);
        if self.to_park.remove(&at) && !is_parked {
            return Err(format!("{} was refused and is not parked", at.2));
        }
        Ok(())
    }

    /// An event was parked that no instance took.
    pub(super) fn parked(&self, letter: &DeadLetter) -> Result<(), String> {
        let key = (letter.tenant.to_string(), letter.event.id.to_string());
        if letter.why == Parked::Unstorable && !self.times.contains_key(&key) {
            return Err(format!("{} was parked, and nobody refused it", key.1));
        }
        Ok(())
    }
}
