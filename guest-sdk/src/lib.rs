//! Write guards and actions for xcomponent state machines as ordinary Rust functions.
//!
//! ```
//! # #![allow(clippy::needless_doctest_main)]
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! pub struct Order { total: f64, shipped: bool }
//!
//! #[derive(Deserialize)]
//! pub struct Ship { carrier: String }
//!
//! #[xcomponent_guest::component("tests/samples/order.yaml")]
//! mod order {
//!     use super::{Order, Ship};
//!     use xcomponent_guest::{Call, Event, Failure, info, refuse, sender};
//!
//!     /// May the order be shipped? (`guard: isPaid`)
//!     #[guard]
//!     fn is_paid(call: &Call<Order>) -> bool {
//!         call.context.total > 0.0
//!     }
//!
//!     /// Ships it. (`triggeredMethod: ship`)
//!     #[action]
//!     fn ship(order: &mut Order, event: &Event<Ship>) -> Result<(), Failure> {
//!         if event.payload.carrier.is_empty() {
//!             return Err(refuse("no_carrier", "name a carrier"));
//!         }
//!         order.shipped = true;
//!         sender::to_self("SHIPPED", &event.payload.carrier);
//!         info!("shipped by {}", event.payload.carrier);
//!         Ok(())
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! The file that [`component`] names is the definition, usually `component.yaml` beside
//! `Cargo.toml`. What the code has and the definition does not name is a warning; what the
//! definition names and the code lacks is a compile error, as is a definition that is not valid.
//! `camelCase` names in the definition are `snake_case` functions; `#[action(name = "…")]` says
//! otherwise. Methods run natively in unit tests: see [`testing`].
//!
//! # Shapes of methods
//!
//! | kind | parameters | returns |
//! | --- | --- | --- |
//! | guard | none, `&C`, `&Call<C, P>` | `bool`, `Result<bool, Failure>` |
//! | action that changes the context | `&mut C`, `&mut C` and `&Event<P>`, `&mut Call<C, P>` | nothing, `Result<(), Failure>` |
//! | action that leaves it unchanged | none, `&Call<C, P>` | nothing, `Result<(), Failure>` |
//!
//! `C` and `P` are the author's own types; [`Nothing`] is a context or payload that nobody looks
//! at, and the default. What an action changes in `C` is written into the context. Everything else
//! stays byte for byte: fields that `C` does not name, and numbers as they were written. A field
//! that becomes `None` is written as `null`; [`context::remove`] removes a field.
//!
//! That is this crate's doing. A guest that uses the raw contract, in whatever language, answers the
//! whole new context, and what its answer lacks is gone.
//!
//! # Three ways to say no
//!
//! * A guard answers `false`: the transition is not taken, another one may be.
//! * A method answers [`refuse`]: the transition is undone and the caller told why. Nothing is
//!   broken.
//! * A method fails (any error by `?`, a panic, an endless loop): a fault. The transition is undone
//!   and the event parked among the dead letters, to be replayed after a fix.
//!
//! # What is at hand
//!
//! Event and instance are in [`Call`]; [`current`] knows the attempt, the cause, the tenant and the
//! version. [`sender`] sends events and creates instances, [`info!`] and its siblings write to the
//! instance's history. Both take effect only if the transition commits. There is no clock, file or
//! socket: the time is [`Event::timestamp_ms`].
//!
//! Memory comes from an allocator made for short calls; a component that brings another turns the
//! feature `memory` off.

#![warn(missing_docs)]

mod call;
pub mod context;
pub mod current;
#[doc(hidden)]
pub mod export;
mod failure;
mod host;
pub mod log;
#[cfg(any(all(target_arch = "wasm32", feature = "memory"), test))]
mod memory;
mod method;
mod patch;
pub mod sender;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use xcomponent_guest_macros::component;

#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub use crate::host::bindings;
pub use crate::{
    call::{Call, Event, Instance, Nothing},
    failure::{Failure, refuse},
    method::{Action, Guard, Outcome, RawCall, Verdict},
};

#[cfg(all(target_arch = "wasm32", feature = "memory"))]
#[global_allocator]
static MEMORY: memory::Memory = memory::Memory::new();
