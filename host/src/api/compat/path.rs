//! Paths as these clients write them: the routes were Express routes, which do not care about upper
//! case or a slash at the end.

use axum::{
    extract::Request,
    http::{Uri, uri::PathAndQuery},
};

/// Whether a path belongs to these routes.
pub(in super::super) fn has(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    ["api", "health"]
        .iter()
        .any(|name| first.eq_ignore_ascii_case(name))
}

/// The same request with its path as the routes have it.
pub(in super::super) fn lenient(mut request: Request) -> Request {
    if let Some(path) = normal(request.uri().path()) {
        let query = request.uri().query();
        let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        let mut parts = request.uri().clone().into_parts();
        // What is left out of a path or lowered in it leaves a path.
        parts.path_and_query = PathAndQuery::try_from(target).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// The path with its fixed parts in lower case and without slashes at the end; none if it is so
/// already, or belongs to others.
fn normal(path: &str) -> Option<String> {
    if !has(path) {
        return None;
    }
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    let is_known = parts.get(1).is_none_or(|part| {
        let is = |name: &&str| part.eq_ignore_ascii_case(name);
        let known = ["runtimes", "components", "machines", "instances", "history"];
        known.iter().any(is)
    });
    let is_history = parts
        .get(1)
        .is_some_and(|part| part.eq_ignore_ascii_case("history"));
    let lowered = parts.iter().enumerate().map(|(place, part)| {
        let is_fixed = match place {
            0 => true,
            // The first releases had the component's name there.
            _ if !is_known => false,
            1 => true,
            2 | 4 => is_history,
            _ => !is_history && place % 2 == 1,
        };
        match is_fixed {
            true => format!("/{}", part.to_ascii_lowercase()),
            false => format!("/{part}"),
        }
    });
    let normal: String = lowered.collect();
    (normal != path).then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fixed_parts_are_lowered() {
        for (written, meant) in [
            ("/HEALTH/", "/health"),
            ("/api/components/", "/api/components"),
            (
                "/API/Components/Lamp/Instances//",
                "/api/components/Lamp/instances",
            ),
            ("/API/Lamp/Lamp/instance/", "/api/Lamp/Lamp/instance"),
            ("/Api/Instances/A-1/Events", "/api/instances/A-1/events"),
            (
                "/api/History/Instances/A-1/EVENTS/",
                "/api/history/instances/A-1/events",
            ),
            (
                "/api/components/Lamp/Diagrams/Lamp/",
                "/api/components/Lamp/diagrams/Lamp",
            ),
        ] {
            assert_eq!(normal(written).as_deref(), Some(meant));
        }
        for path in ["/api/instances/A-1", "/v1/Instances/", "/healthz/", "/"] {
            assert_eq!(normal(path), None);
        }
    }
}
