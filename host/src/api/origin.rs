//! Who may address a host that asks for no keys.
//!
//! A web page can make its reader's browser send requests to a host on loopback: directly, which
//! the header `Origin` tells, or after its own name was made to point there (DNS rebinding), which
//! `Host` tells. Both are refused before anything else is looked at, and so is a path that is not
//! text. What leaves says that browsers must not guess at what it is.

use std::net::IpAddr;

use axum::{
    extract::{Request, State as Shared},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Uri},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use percent_encoding::percent_decode_str;

use super::{
    State, compat,
    error::{ApiError, Result},
};

/// Paths that tell how the host is and change nothing: probes address it by whatever name it has.
const FOR_PROBES: [&str; 3] = ["/healthz", "/readyz", "/health"];

/// Whether a path is asked by probes.
pub(super) fn is_probe(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    FOR_PROBES
        .iter()
        .any(|probe| probe.eq_ignore_ascii_case(path))
}

/// An answer whose content no browser takes for something else.
pub(super) fn safe(mut response: Response) -> Response {
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Refuses requests that address the host by a foreign name, come from a foreign page, or ask for
/// what is no path.
pub(super) async fn check(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let allowed = &state.config().allowed_hosts;
    let checked = match is_probe(request.uri().path()) {
        true => Ok(()),
        false => check_names(request.uri(), request.headers(), allowed),
    };
    let path = request.uri().path();
    safe(match checked.map(|()| check_path(path)) {
        Ok(Ok(())) => next.run(request).await,
        Ok(Err(error)) if compat::has(path) => compat::failure(error),
        Ok(Err(error)) | Err(error) => error.into_response(),
    })
}

/// Refuses paths that are no text once they are decoded: no name is in there.
fn check_path(path: &str) -> Result<()> {
    let is_text = !path.contains('%') || percent_decode_str(path).decode_utf8().is_ok();
    if is_text {
        return Ok(());
    }
    let detail = "the path is not UTF-8 once its `%` are decoded";
    Err(ApiError::bad_request("invalid_path", detail))
}

fn check_names(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> Result<()> {
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        let detail = "the request has more than one `Host` header";
        return Err(ApiError::bad_request("two_hosts", detail));
    }
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
    let Some(name) = without_port(authority) else {
        return false;
    };
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    is_local || is_listed(authority, allowed)
}

fn is_listed(authority: &str, allowed: &[String]) -> bool {
    let Some(name) = without_port(authority) else {
        return false;
    };
    let same = |listed: &String| {
        listed.eq_ignore_ascii_case(authority) || listed.eq_ignore_ascii_case(name)
    };
    allowed.iter().any(same)
}

/// `localhost:3000` → `localhost`, `[::1]:3000` → `::1`; none if something else stands there.
fn without_port(authority: &str) -> Option<&str> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = authority.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        let has_port = rest.strip_prefix(':').is_some_and(is_port);
        return (rest.is_empty() || has_port).then_some(name);
    }
    match authority.rsplit_once(':') {
        Some((name, port)) if is_port(port) => Some(name),
        _ => Some(authority),
    }
}

#[cfg(test)]
mod tests {
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
            "[::1]evil.example",
            "[::1]:80.evil.example",
            "[::1",
            "localhost:80@evil.example",
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

    #[test]
    fn a_request_names_one_host() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        let checked = check_names(&Uri::from_static("/v1/instances"), &headers, &[]);
        assert_eq!(checked.unwrap_err().code(), "two_hosts");
    }
}
