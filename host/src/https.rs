//! How this host connects as a client: HTTP, or HTTPS with the authorities that browsers trust.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

/// Connects to `http://` and `https://`; a connection may take so long.
pub(crate) fn connector(connect_max: Duration) -> HttpsConnector<HttpConnector> {
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    plain.enforce_http(false);
    plain.set_connect_timeout(Some(connect_max));
    HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain)
}
