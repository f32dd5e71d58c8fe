//! The description of the API: generated from the native handlers, and beside them what clients of
//! xcomponent-ai know.

mod narrow;
pub(super) mod words;

use std::future::{Ready, ready};

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use utoipa::openapi::{
    ContactBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, ResponseBuilder,
    path::{Operation, PathItem},
};

/// The routes of xcomponent-ai, which have no types of their own.
const COMPATIBLE: &str = include_str!("compat/openapi.json");

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
             unless the caller says `Prefer: respond-async`: then they say so. Pages end early \
             where their items are large; `next_cursor` says where the next one begins.",
        ))
        .license(Some(license.build()))
        .contact(Some(ContactBuilder::new().name(Some("xcomponent")).build()));
    OpenApiBuilder::new().info(info.build()).build()
}

/// The native document, in which every operation may also be answered with a problem.
pub(super) fn whole(mut document: OpenApi) -> OpenApi {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let problem = RefOr::Ref(Ref::from_schema_name("Problem"));
        let content = ContentBuilder::new().schema(Some(problem)).build();
        let otherwise = ResponseBuilder::new()
            .description("It was not done")
            .content("application/problem+json", content);
        let responses = &mut operation.responses.responses;
        for response in responses.values_mut() {
            as_problem(response);
        }
        responses
            .entry("default".to_owned())
            .or_insert_with(|| otherwise.build().into());
    }
    document
}

/// Gives a problem the media type that it is sent with.
fn as_problem(response: &mut RefOr<utoipa::openapi::Response>) {
    let RefOr::T(response) = response else { return };
    let is_problem = response
        .content
        .get("application/json")
        .is_some_and(|content| {
            let RefOr::T(content) = content else {
                return false;
            };
            let name = match &content.schema {
                Some(RefOr::Ref(schema)) => schema.ref_location.as_str(),
                _ => "",
            };
            name.ends_with("/Problem")
        });
    if is_problem && let Some(content) = response.content.shift_remove("application/json") {
        let kind = "application/problem+json".to_owned();
        response.content.insert(kind, content);
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let methods = [
        &mut path.get,
        &mut path.put,
        &mut path.post,
        &mut path.delete,
    ];
    methods.into_iter().flatten()
}

/// A handler that gives the document.
pub(super) fn serve(document: OpenApi) -> impl Fn() -> Ready<Response> + Clone + Send + 'static {
    let native = serde_json::to_value(whole(document));
    let mut all = native.expect("the document is made of strings and lists");
    let compatible: Value = serde_json::from_str(COMPATIBLE).expect("it is part of the program");
    for place in ["/paths", "/components/schemas"] {
        if let (Some(Value::Object(all)), Some(Value::Object(more))) =
            (all.pointer_mut(place), compatible.pointer(place))
        {
            all.extend(more.clone());
        }
    }
    narrow::texts(&mut all);
    let text: bytes::Bytes = all.to_string().into();
    move || {
        let body = ([(header::CONTENT_TYPE, "application/json")], text.clone());
        ready(body.into_response())
    }
}
