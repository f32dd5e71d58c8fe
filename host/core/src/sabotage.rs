//! Mistakes that are made on purpose, so that the simulator can show that it finds them. Nobody
//! else makes them: `host/tests/tidy.rs` looks.

use crate::engine::Engine;

/// A mistake of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Instances that are loaded are not found by their properties.
    ForgetIndex,
    /// Deliveries whose payloads were left in the log are lost.
    ForgetSpilled,
}

/// Makes an engine make a mistake from now on.
pub fn sabotage(engine: &mut Engine, mistake: Sabotage) {
    match mistake {
        Sabotage::ForgetIndex => engine.forgets_index = true,
        Sabotage::ForgetSpilled => engine.forgets_spilled = true,
    }
}
