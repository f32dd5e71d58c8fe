//! Connections that nobody listens to, and servers that prove who they are.

use xcomponent_servers::{Authority, Postgres as Server};

use crate::{
    postgres::{open, refused, server},
    sample::Shard,
};

/// A server with a certificate for this name, and who signed that.
fn encrypted(name: &str) -> (Server, Authority) {
    let authority = Authority::new().unwrap();
    let mut server = server();
    server.encrypt(&authority.vouch_for(name).unwrap()).unwrap();
    (server, authority)
}

/// The server's URL with these words about encryption.
fn url(server: &Server, mode: &str, authority: Option<&Authority>) -> String {
    let url = format!("{}?sslmode={mode}", server.url("postgres"));
    match authority {
        Some(authority) => format!("{url}&sslrootcert={}", authority.file().display()),
        None => url,
    }
}

/// Why a database is not opened, with all that is under it.
fn reason(url: &str) -> String {
    format!("{:#}", anyhow::Error::from(refused(url)))
}

#[test]
fn a_server_that_proves_who_it_is_is_spoken_to() {
    let (server, authority) = encrypted("127.0.0.1");
    for mode in ["prefer", "require"] {
        Shard::new(&open(&url(&server, mode, None))).create(mode, "{}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let id = format!("{mode}-known");
        Shard::new(&open(&url(&server, mode, Some(&authority)))).create(&id, "{}");
    }
    let plain = reason(&url(&server, "disable", None));
    assert!(plain.contains("no encryption"), "{plain}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let (server, _) = encrypted("127.0.0.1");
    let other = Authority::new().unwrap();
    for (mode, authority) in [
        ("require", Some(&other)),
        ("verify-ca", Some(&other)),
        ("verify-full", Some(&other)),
        // Those that browsers trust.
        ("verify-ca", None),
    ] {
        let reason = reason(&url(&server, mode, authority));
        let expected = "no authority that is trusted has signed the server's certificate";
        assert!(reason.contains(expected), "{mode}: {reason}");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_by_who_looks_at_the_name() {
    let (server, authority) = encrypted("db.example");
    let reason = reason(&url(&server, "verify-full", Some(&authority)));
    assert!(
        reason.contains("certificate is for another name") && reason.contains("db.example"),
        "{reason}"
    );
    open(&url(&server, "verify-ca", Some(&authority)));
}

#[test]
fn a_server_without_encryption_is_spoken_to_only_where_that_may_be() {
    let server = server();
    for mode in ["require", "verify-full"] {
        let reason = reason(&url(&server, mode, None));
        assert!(reason.contains("does not support TLS"), "{reason}");
    }
    for mode in ["disable", "prefer"] {
        open(&url(&server, mode, None));
    }
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let server = server();
    let url = url(&server, "verify-full&sslrootcert=/no/such%20file.pem", None);
    let reason = reason(&url);
    assert!(
        reason.contains("`sslrootcert` names no authorities: the certificates in `/no/such file.pem` cannot be read"),
        "{reason}"
    );
}
