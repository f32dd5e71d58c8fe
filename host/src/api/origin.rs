//! Who may address a host that asks for no keys.
//!
//! A web page can make its reader's browser send requests to a host on loopback: directly, which
//! the header `Origin` tells, or after its own name was made to point there (DNS rebinding), which
//! `Host` tells. Both are refused before anything else is looked at.

use std::net::IpAddr;

use axum::{
    extract::{Request, State as Shared},
    http::{HeaderMap, StatusCode, header, uri::Uri},
    middleware::Next,
    response::Response,
};

use super::{
    State,
    error::{ApiError, Result},
};

/// Paths that tell how the host is and change nothing: probes address it by whatever name it has.
const FOR_PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses requests that address the host by a foreign name, or come from a foreign page.
pub(super) async fn check(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Result<Response> {
    if !FOR_PROBES.contains(&request.uri().path()) {
        let allowed = &state.config().allowed_hosts;
        check_names(request.uri(), request.headers(), allowed)?;
    }
    Ok(next.run(request).await)
}

fn check_names(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> Result<()> {
    let named =
        |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    // HTTP/2, and HTTP/1.1 to a proxy, name the host in the target itself.
    let host = uri.authority().map(|authority| authority.as_str());
    let Some(host) = host.or_else(|| named(header::HOST)) else {
        return Err(refused("host_not_allowed", "the request names no host"));
    };
    if !is_allowed(host, allowed) {
        return Err(refused(
            "host_not_allowed",
            "without keys this host answers to loopback names only; see `--allowed-host`",
        ));
    }
    let Some(origin) = named(header::ORIGIN) else {
        return Ok(());
    };
    let page = origin.split_once("://").map(|(_, page)| page);
    if page.is_some_and(|page| page.eq_ignore_ascii_case(host) || is_listed(page, allowed)) {
        return Ok(());
    }
    Err(refused(
        "origin_not_allowed",
        "without keys this host answers to its own pages only",
    ))
}

fn refused(code: &'static str, detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, detail)
}

fn is_allowed(authority: &str, allowed: &[String]) -> bool {
    let name = without_port(authority);
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    is_local || is_listed(authority, allowed)
}

fn is_listed(authority: &str, allowed: &[String]) -> bool {
    let name = without_port(authority);
    let same = |listed: &String| {
        listed.eq_ignore_ascii_case(authority) || listed.eq_ignore_ascii_case(name)
    };
    allowed.iter().any(same)
}

/// `localhost:3000` → `localhost`, `[::1]:3000` → `::1`.
fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(name, _)| name);
    }
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn code(host: &'static str, origin: Option<&'static str>, allowed: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let checked = check_names(&Uri::from_static("/v1/instances"), &headers, &allowed);
        checked.map_or_else(|error| error.code().to_owned(), |()| "ok".to_owned())
    }

    #[test]
    fn loopback_names_and_listed_ones_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:3000",
        ] {
            assert_eq!(code(host, None, &[]), "ok", "{host}");
        }
        assert_eq!(code("flow.example:443", None, &["flow.example"]), "ok");
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:3000",
            "10.0.0.1",
            "[::2]",
            "",
        ] {
            assert_eq!(
                code(host, None, &["flow.example"]),
                "host_not_allowed",
                "{host}"
            );
        }
    }

    #[test]
    fn only_own_pages_may_ask() {
        let ask = |origin| code("localhost:3000", Some(origin), &["flow.example"]);
        assert_eq!(ask("http://localhost:3000"), "ok");
        assert_eq!(ask("https://flow.example"), "ok");
        for origin in [
            "null",
            "http://localhost:4000",
            "https://evil.example",
            "localhost:3000",
        ] {
            assert_eq!(ask(origin), "origin_not_allowed", "{origin}");
        }
    }
}
