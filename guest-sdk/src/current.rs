//! What else is known of the call at hand.

use crate::host;

/// Which attempt this is, from 1.
pub fn attempt() -> u32 {
    host::attempt()
}

/// Id of the event that caused this one, if another machine's transition did.
pub fn cause() -> Option<String> {
    host::cause()
}

/// W3C `traceparent` of the request at the root of the chain, if the caller sent one.
pub fn trace_parent() -> Option<String> {
    host::trace_parent()
}

/// The tenant.
pub fn tenant() -> String {
    host::tenant()
}

/// The component's name.
pub fn component() -> String {
    host::component()
}

/// The component's version.
pub fn version() -> String {
    host::version()
}
