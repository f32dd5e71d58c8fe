//! Names a definition that is not there.
#[xcomponent_guest::component("nowhere.yaml")]
pub mod methods {}
