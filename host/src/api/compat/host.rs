//! `/health` and `/api/runtimes`: the host as a client sees it.

use axum::{
    Json as JsonAnswer,
    extract::State as Shared,
    http::{HeaderMap, StatusCode, Uri, header},
};
use serde::Serialize;

use super::super::{State, caller::Caller};
use crate::bus::registry::record::Listed;

/// How the host is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    /// `ok`, or `ending` with 503.
    status: &'static str,
    mode: &'static str,
    broker: String,
    database: &'static str,
    database_type: &'static str,
    connected_runtimes: usize,
    /// Names of the loaded components.
    components: Vec<String>,
    timestamp: u64,
}

/// A loaded component, as a runtime of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Runtime {
    runtime_id: String,
    component_name: String,
    host: String,
    port: u16,
    last_seen: u64,
}

/// The loaded components.
#[derive(Serialize)]
pub(super) struct Runtimes {
    runtimes: Vec<Runtime>,
}

/// Whether the host takes work, and what is loaded.
pub(super) async fn health(
    Shared(state): Shared<State>,
    caller: Caller,
) -> (StatusCode, JsonAnswer<Health>) {
    let loaded = state.registry().list(&caller.tenant);
    let components: Vec<String> = loaded.iter().map(|(name, _)| name.to_string()).collect();
    let (status, text) = match state.handle().is_ready() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
    };
    let directory = &state.shared.directory;
    let health = Health {
        status: text,
        mode: match (directory.registry(), directory.transports().is_empty()) {
            (None, true) => "standalone",
            (Some(_), _) | (None, false) => "distributed",
        },
        broker: directory
            .broker_kind()
            .unwrap_or_else(|| "in-memory".to_owned()),
        database: "connected",
        database_type: "memory",
        connected_runtimes: components.len() + announced(&state, &caller).len(),
        components,
        timestamp: state.handle().now().0,
    };
    std::future::ready((status, JsonAnswer(health))).await
}

/// One runtime for each loaded component of this host, and for each that others have announced.
pub(super) async fn runtimes(
    Shared(state): Shared<State>,
    caller: Caller,
    headers: HeaderMap,
) -> JsonAnswer<Runtimes> {
    let address = state.config().public_address.clone();
    let (host, port) = address.unwrap_or_else(|| asked_at(&headers));
    let last_seen = state.handle().now().0;
    let loaded = state.registry().list(&caller.tenant);
    let runtimes = loaded.into_iter().map(|(name, _)| Runtime {
        runtime_id: format!("{name}@{host}:{port}"),
        component_name: name.to_string(),
        host: host.clone(),
        port,
        last_seen,
    });
    let runtimes = runtimes.chain(announced(&state, &caller)).collect();
    std::future::ready(JsonAnswer(Runtimes { runtimes })).await
}

/// The components that other hosts have announced.
fn announced(state: &State, caller: &Caller) -> Vec<Runtime> {
    let Some(member) = state.shared.directory.registry() else {
        return Vec::new();
    };
    let (components, _) = member.list();
    let others = components.into_iter().filter(|one| {
        let (tenant, component) = one.record.place();
        tenant == caller.tenant && !state.handle().is_here(&tenant, &component)
    });
    let runtime = |one: Listed| {
        let host = one.host?;
        let address: Uri = host.address.parse().ok()?;
        let scheme = address.scheme_str();
        Some(Runtime {
            runtime_id: format!("{}@{}", one.record.component, address.authority()?),
            component_name: one.record.component,
            host: address.host()?.to_owned(),
            port: address.port_u16().unwrap_or(match scheme {
                Some("https") => 443,
                _ => 80,
            }),
            last_seen: host.seen_at,
        })
    };
    others.filter_map(runtime).collect()
}

/// Where the caller reached this host.
fn asked_at(headers: &HeaderMap) -> (String, u16) {
    let named = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let named = named.and_then(|host| host.parse::<axum::http::uri::Authority>().ok());
    named.map_or_else(
        || ("localhost".to_owned(), 80),
        |named| (named.host().to_owned(), named.port_u16().unwrap_or(80)),
    )
}
