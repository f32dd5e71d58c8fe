//! The HTTP API: `/v1`, and beside it the routes that clients of other runtimes know.
//!
//! A handler reads what it is asked ([`body`]), asks the driver's handle or the registry, and
//! writes the answer in the shapes of [`wire`]. Whatever goes wrong becomes an [`error::ApiError`];
//! below this module nobody knows status codes. axum appears in no signature outside it.

mod body;
mod caller;
mod compat;
mod error;
mod events;
mod health;
mod instances;
mod openapi;
mod serve;
mod wire;

use std::sync::Arc;

use axum::{Router as AxumRouter, routing::get};
use utoipa_axum::{router::OpenApiRouter, routes};
use xcomponent_core::id::TenantId;

pub use self::serve::serve;
use crate::{driver::Handle, tenancy::Registry};

/// The API as a service.
pub type Router = AxumRouter;

/// What the API is told about its host.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Address and port that callers see.
    pub public_address: Option<(String, u16)>,
    /// Names under which the host may be addressed besides loopback ones.
    pub allowed_hosts: Vec<String>,
}

/// What handlers share.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    registry: Registry,
    config: Config,
    /// The one tenant of a host without keys.
    tenant: TenantId,
}

impl State {
    /// Connects the API to what it asks.
    pub fn new(handle: Handle, registry: Registry, config: Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                handle,
                registry,
                config,
                tenant: TenantId::default_tenant(),
            }),
        }
    }

    fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }
}

/// All routes.
pub fn router(state: State) -> Router {
    let (routes, document) = OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(instances::create))
        .routes(routes!(instances::list))
        .routes(routes!(instances::read))
        .routes(routes!(events::send))
        .routes(routes!(events::broadcast))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .split_for_parts();
    routes
        .merge(compat::router())
        .route("/openapi.json", get(openapi::serve(&document)))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(state)
}
