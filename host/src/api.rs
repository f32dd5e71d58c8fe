//! The HTTP API: `/v1`, and beside it the routes that clients of other runtimes know.
//!
//! A handler reads what it is asked ([`body`]), asks the driver's handle or the registry, and
//! writes the answer in the shapes of [`wire`]. Whatever goes wrong becomes an [`error::ApiError`];
//! below this module nobody knows status codes. axum appears in no signature outside it.

mod answers;
mod arrival;
mod aside;
mod body;
mod bulk;
mod caller;
mod compat;
mod components;
mod dead_letters;
mod diagrams;
mod docs;
mod entrance;
mod error;
mod events;
mod gateway;
mod health;
mod history;
mod instances;
mod machine;
mod metrics;
mod mismatch;
mod openapi;
mod operate;
mod origin;
mod prefer;
mod record;
mod seal;
mod serve;
mod shipments;
mod standing;
mod stream;
mod trace;
mod traced;
mod upload;
mod versions;
mod wire;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router as AxumRouter, middleware, routing::get};
use tokio::sync::{Semaphore, watch};
use tower::{ServiceExt as _, service_fn};
use utoipa_axum::{router::OpenApiRouter, routes};
use xcomponent_core::{id::TenantId, record::Snapshot};

use self::seal::Seal;
pub use self::{
    entrance::Entrance,
    health::HANGS_AFTER,
    serve::{ConnectionLimits, serve},
};
use crate::{
    bus::{Directory, peer},
    cache,
    driver::Handle,
    key::Key,
    memory::Memory,
    telemetry::Tracer,
    tenancy::Registry,
};

/// The API as a service.
pub type Router = AxumRouter;

/// What the API is told about its host.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and port that callers see.
    pub public_address: Option<(String, u16)>,
    /// Names under which the host may be addressed besides loopback ones.
    pub allowed_hosts: Vec<String>,
    /// How many bytes requests, answers and streams may hold.
    pub memory: Memory,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// After how long without a record a stream says that it is still there.
    pub heartbeat: Duration,
    /// What other hosts must show to be let in; none = nothing.
    pub link_key: Option<Arc<str>>,
    /// How the cache is written, if there is one.
    pub cache: Option<Arc<cache::Numbers>>,
    /// How long requests are taken after the signal to end, while `/readyz` says `draining`.
    pub drain_wait: Duration,
    /// Who takes spans, if somebody does.
    pub tracer: Option<Tracer>,
}

/// What handlers share.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    registry: Registry,
    /// Where the components are that are not here.
    directory: Arc<Directory>,
    config: Config,
    /// The one tenant of a host without keys.
    tenant: TenantId,
    /// Under which positions and cursors are shown.
    seal: Seal,
    /// One permit for each stream that may be opened.
    streams: Arc<Semaphore>,
    /// Streams that may be open at a time.
    streams_max: usize,
    /// Connections of the port, if there is one.
    connections: OnceLock<Arc<serve::Numbers>>,
    /// Requests by route.
    requests: metrics::Requests,
    /// Whether the host is going to end: it takes requests, and nobody is to send more of them here.
    draining: AtomicBool,
    /// Whether the host ends: whatever would go on for ever stops then.
    stopping: watch::Sender<bool>,
}

impl State {
    /// Connects the API to what it asks; positions and cursors are shown under that key.
    pub fn new(
        handle: Handle,
        registry: Registry,
        directory: Arc<Directory>,
        seal: Key,
        config: Config,
    ) -> Self {
        // Streams go on for ever: half of the connections are left to others.
        let streams_max = stream::STREAMS_MAX.min(config.connections.total / 2);
        Self {
            shared: Arc::new(Shared {
                handle,
                registry,
                directory,
                config,
                tenant: TenantId::default_tenant(),
                seal: Seal::new(seal),
                streams: Arc::new(Semaphore::new(streams_max)),
                streams_max,
                connections: OnceLock::new(),
                requests: metrics::Requests::default(),
                draining: AtomicBool::new(false),
                stopping: watch::Sender::new(false),
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

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    fn count_connections(&self, connections: &Arc<serve::Numbers>) {
        let connections = || Arc::clone(connections);
        self.shared.connections.get_or_init(connections);
    }

    fn seal(&self) -> &Seal {
        &self.shared.seal
    }
}

/// An instance as `GET /v1/instances/{id}` shows it.
pub fn instance_json(snapshot: &Snapshot) -> String {
    let shown = serde_json::to_string(&wire::Instance::of(snapshot));
    shown.expect("what is shown of an instance is JSON")
}

/// All routes.
pub fn router(state: State) -> Router {
    let (routes, document) = native().split_for_parts();
    let routes = routes
        .route("/openapi.json", get(openapi::serve(document)))
        .route(peer::SHIPMENTS, shipments::route())
        .merge(docs::routes())
        .merge(compat::router())
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(middleware::from_fn_with_state(
            state.clone(),
            gateway::pass_on,
        ));
    let routes = match state.config().tracer {
        Some(_) => routes.layer(middleware::from_fn_with_state(
            state.clone(),
            traced::answer,
        )),
        None => routes,
    };
    let routes: Router = routes
        .layer(middleware::from_fn_with_state(state.clone(), answers::step))
        .layer(middleware::from_fn_with_state(state.clone(), aside::step))
        .layer(middleware::from_fn_with_state(state.clone(), origin::check))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            metrics::count,
        ))
        .with_state(state);
    // Asked once more where there is no such route, with the path as the routes have it.
    let again = routes.clone();
    routes.fallback_service(service_fn(move |request| {
        again.clone().oneshot(compat::lenient(request))
    }))
}

/// The routes of the native API, each with its description.
fn native() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(components::list))
        .routes(routes!(components::read, upload::upload, versions::delete))
        .routes(routes!(components::definition))
        .routes(routes!(components::artifact))
        .routes(routes!(diagrams::of_component))
        .routes(routes!(versions::activate))
        .routes(routes!(versions::rollback))
        .routes(routes!(versions::migrate))
        .routes(routes!(components::unblock))
        .routes(routes!(instances::create))
        .routes(routes!(instances::list))
        .routes(routes!(instances::read, operate::delete))
        .routes(routes!(operate::terminate))
        .routes(routes!(operate::unblock))
        .routes(routes!(history::transitions))
        .routes(routes!(history::history))
        .routes(routes!(trace::trace))
        .routes(routes!(diagrams::of_instance))
        .routes(routes!(events::send))
        .routes(routes!(events::broadcast))
        .routes(routes!(trace::of_event))
        .routes(routes!(bulk::send_all))
        .routes(routes!(stream::open))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay_all))
        .routes(routes!(dead_letters::read, dead_letters::discard))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::read))
}
