//! The description of the API, generated from its handlers.

use std::future::{Ready, ready};

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::openapi::{ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

/// What stands above the routes.
pub(super) fn document() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"));
    let info = InfoBuilder::new()
        .title("xcomponent")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Runs state machines packed as WebAssembly components. Errors are \
             `application/problem+json`; answers about events leave after a durable commit, \
             unless the caller says `Prefer: respond-async`: then they say so.",
        ))
        .license(Some(license.build()))
        .contact(Some(ContactBuilder::new().name(Some("xcomponent")).build()));
    OpenApiBuilder::new().info(info.build()).build()
}

/// A handler that gives the document.
pub(super) fn serve(document: &OpenApi) -> impl Fn() -> Ready<Response> + Clone + Send + 'static {
    let text: bytes::Bytes = serde_json::to_vec(document)
        .expect("the document is made of strings and lists")
        .into();
    move || {
        let body = ([(header::CONTENT_TYPE, "application/json")], text.clone());
        ready(body.into_response())
    }
}
