//! `/docs`: the API to browse and try, made from its description. Everything the page needs is in
//! this program, so that it works without a network.

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::State;

/// What the page may load and who may show it: its own files, in no frame of others.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The page and its files.
pub(super) fn routes() -> Router<State> {
    let page: Router<State> = SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json"))
        .into();
    page.layer(map_response(guarded))
}

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static(POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    std::future::ready(response).await
}
