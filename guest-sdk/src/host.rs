//! The host as methods see it: imports of the component on wasm, a recorder anywhere else.

#[cfg(target_arch = "wasm32")]
pub use self::wasm::bindings;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::recorder::*;

#[cfg(target_arch = "wasm32")]
pub(crate) use self::wasm::*;

#[cfg(target_arch = "wasm32")]
mod wasm {
    /// What wit-bindgen makes of the WIT package.
    #[allow(
        unsafe_code,
        missing_docs,
        clippy::all,
        clippy::pedantic,
        unused_qualifications,
        reason = "generated from the WIT package"
    )]
    pub mod bindings {
        wit_bindgen::generate!({
            world: "component",
            path: "../wit",
            pub_export_macro: true,
            default_bindings_module: "xcomponent_guest::bindings",
        });
    }

    use bindings::xcomponent::component::{current, logging, sender};

    pub(crate) use current::{attempt, cause, component, tenant, trace_parent, version};
    pub(crate) use sender::{
        broadcast, cancel, create_instance, send, send_to_component, send_to_self,
    };

    use crate::log::Level;

    pub(crate) fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => logging::Level::Trace,
            Level::Debug => logging::Level::Debug,
            Level::Info => logging::Level::Info,
            Level::Warn => logging::Level::Warn,
            Level::Error => logging::Level::Error,
        };
        logging::log(level, message);
    }
}
