//! How what leads to other hosts stands.

use std::sync::Arc;

use super::State;
use crate::bus::{Status, Transport};

/// A transport.
#[derive(Debug)]
pub(super) struct Standing {
    /// Its name.
    pub(super) name: String,
    /// Whether it takes anything.
    pub(super) status: Status,
    /// What does not work, in words; none = it works.
    pub(super) problem: Option<String>,
}

/// All transports. One to another host has a breaker that says how it stands; a broker is away while
/// a lane that goes through it is held up, or while it is not listened to.
pub(super) fn of_all(state: &State) -> Vec<Standing> {
    let directory = &state.shared.directory;
    let lanes = state.handle().lanes();
    let standing = |transport: Arc<dyn Transport>| {
        let held_up = lanes.iter().find_map(|lane| {
            let (channel, problem) = (&lane.channel, lane.problem.as_ref()?);
            let leads_there = directory.find(&channel.tenant, &channel.component)?;
            let is_this = Arc::ptr_eq(&leads_there, &transport);
            is_this.then(|| format!("what is for {} waits: {problem}", channel.component))
        });
        let is_broker = transport.peer().is_none();
        let is_deaf = is_broker && directory.listening().is_away();
        let deaf = is_deaf.then(|| "what it has for this host does not come".to_owned());
        let problem = held_up.or(deaf);
        let status = match (is_broker, &problem) {
            (true, Some(_)) => Status::Away,
            _ => transport.status(),
        };
        let name = transport.name().to_owned();
        let silent = || (status != Status::Working).then(|| "it does not answer".to_owned());
        Standing {
            name,
            status,
            problem: problem.or_else(silent),
        }
    };
    directory.transports().into_iter().map(standing).collect()
}
