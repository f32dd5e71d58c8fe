//! Which transitions an event may take: tables that are as large as the definition, however many
//! states a `"*"` stands for.

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::{
    definition::{EventIdx, StateIdx, TransitionIdx},
    json::Path,
};

/// The transitions of a machine by state and event, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// Those that name the state.
    pub(crate) explicit:
        HashMap<(StateIdx, EventIdx), Vec<TransitionIdx>, foldhash::fast::FixedState>,
    /// Those from `"*"`, by event. They come after those that name the state.
    pub(crate) any: Vec<Vec<TransitionIdx>>,
    /// By event: transitions with rules. Of several with the same rules, the first.
    pub(crate) ruled: Vec<Vec<TransitionIdx>>,
    /// Instance properties that rules compare for equality, each once: what a broadcast looks up.
    pub(crate) indexed: Vec<Path>,
}

impl Choices {
    /// What may be tried; `live` = the state is one that `"*"` stands for.
    pub(crate) fn of(
        &self,
        state: StateIdx,
        event: EventIdx,
        live: bool,
    ) -> SmallVec<[TransitionIdx; 4]> {
        let explicit = self.explicit.get(&(state, event));
        let mut choices = SmallVec::from_slice(explicit.map_or(&[], Vec::as_slice));
        let any = Self::at(&self.any, event);
        if live && !any.is_empty() {
            choices.extend_from_slice(any);
        }
        choices
    }

    /// Whether anything may be tried.
    pub(crate) fn any_of(&self, state: StateIdx, event: EventIdx, live: bool) -> bool {
        self.explicit.contains_key(&(state, event))
            || live && !Self::at(&self.any, event).is_empty()
    }

    /// The transitions with different rules for an event.
    pub(crate) fn ruled(&self, event: EventIdx) -> &[TransitionIdx] {
        Self::at(&self.ruled, event)
    }

    fn at(table: &[Vec<TransitionIdx>], event: EventIdx) -> &[TransitionIdx] {
        table.get(usize::from(event.0)).map_or(&[], Vec::as_slice)
    }
}
