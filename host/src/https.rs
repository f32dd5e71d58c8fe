//! How this host connects as a client: HTTP, or HTTPS.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use crate::authorities::Authorities;

/// Connects to `http://` and `https://`; a connection may take so long.
pub(crate) fn connector(
    connect_max: Duration,
    authorities: &Authorities,
) -> HttpsConnector<HttpConnector> {
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    plain.enforce_http(false);
    plain.set_connect_timeout(Some(connect_max));
    HttpsConnectorBuilder::new()
        .with_tls_config(authorities.client())
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain)
}
