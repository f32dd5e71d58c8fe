//! Who asks.

use axum::{extract::FromRequestParts, http::request::Parts};
use xcomponent_core::id::TenantId;

use super::State;

/// The tenant on whose behalf a request is made: without keys everything belongs to `default`.
pub(super) struct Caller {
    /// Whose.
    pub(super) tenant: TenantId,
}

impl FromRequestParts<State> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, state: &State) -> Result<Self, Self::Rejection> {
        Ok(Self {
            tenant: state.shared.tenant.clone(),
        })
    }
}
