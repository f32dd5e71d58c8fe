//! `/docs`: the API to browse and try, made from its description. Everything the page needs is in
//! this program, so that it works without a network.

use axum::Router;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::State;

/// The page and its files.
pub(super) fn routes() -> Router<State> {
    SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json"))
        .into()
}
