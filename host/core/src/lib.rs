//! The sans-io core of xcomponent: what a component's definition means and what its instances do.
//!
//! Nothing here touches a socket, a file, a clock or a random source. Time is an argument, chance
//! comes from a seed, and the outside world is two closed enums, `Input` and `Effect`.

#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::wildcard_enum_match_arm)]

pub mod call;
pub mod definition;
pub mod effect;
pub mod engine;
pub mod id;
pub mod input;
mod instance;
pub mod json;
pub mod limits;
pub mod owed;
pub mod record;
pub mod sabotage;
pub mod schema;
pub mod template;
mod text;
pub mod time;
