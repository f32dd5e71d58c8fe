//! What an address of a cluster says.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use rdkafka::ClientConfig;

use crate::{address::option_name, authorities::Authorities};

/// Where a server listens of which nothing is said.
const PORT: u16 = 9092;

/// What may follow the question mark.
const OPTIONS: &str = "`partitions=N`, `replicas=N`, `sasl=plain`, `sasl=scram-sha-256` \
                       or `sasl=scram-sha-512`";

/// A cluster, and how it is spoken to.
pub(super) struct Address {
    /// `HOST:PORT`, several with commas.
    pub(super) servers: String,
    /// Of topics that a host makes.
    pub(super) partitions: i32,
    pub(super) replicas: i32,
    is_encrypted: bool,
    credentials: Option<Credentials>,
    mechanism: &'static str,
}

struct Credentials {
    user: String,
    password: String,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (credentials, servers) = match rest.rsplit_once('@') {
            Some((credentials, servers)) => (Some(credentials_of(credentials)?), servers),
            None => (None, rest),
        };
        let servers = servers.trim_end_matches('/').split(',').map(server);
        let mut address = Self {
            servers: servers.collect::<Result<Vec<_>, _>>()?.join(","),
            partitions: 1,
            replicas: 1,
            is_encrypted: scheme.ends_with("+tls"),
            credentials,
            mechanism: "PLAIN",
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            address.set(pair)?;
        }
        Ok(address)
    }
}

impl Address {
    fn set(&mut self, pair: &str) -> Result<(), String> {
        let count = |text: &str| text.parse().ok().filter(|count| *count > 0);
        let known = match pair.split_once('=') {
            Some(("partitions", text)) => count(text).map(|count| self.partitions = count),
            Some(("replicas", text)) => count(text).map(|count| self.replicas = count),
            Some(("sasl", text)) => mechanism(text).map(|known| self.mechanism = known),
            Some(_) | None => None,
        };
        let name = option_name(pair);
        known.ok_or_else(|| format!("option `{name}`: expected {OPTIONS}"))
    }

    /// What a client is told of it.
    pub(super) fn config(&self, authorities: &Authorities) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        let protocol = match (self.is_encrypted, &self.credentials) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if self.is_encrypted {
            match authorities.pem() {
                Some(pem) => config.set("ssl.ca.pem", pem),
                // Wherever the machine keeps whom it trusts.
                None => config.set("ssl.ca.location", "probe"),
            };
        }
        if let Some(Credentials { user, password }) = &self.credentials {
            config.set("sasl.mechanism", self.mechanism);
            config.set("sasl.username", user);
            config.set("sasl.password", password);
        }
        config
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.servers)
    }
}

/// One server, with its port.
fn server(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}`: expected HOST or HOST:PORT, several with commas");
    let ends_with_host = text.ends_with(']') || !text.contains(':');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !ends_with_host => (host, port.parse().map_err(|_| wrong())?),
        Some(_) | None => (text, PORT),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains(['/', ' ']) || (host.contains(':') && !is_bracketed) {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn credentials_of(text: &str) -> Result<Credentials, String> {
    let (user, password) = text
        .split_once(':')
        .ok_or("credentials are a name and a password: expected USER:PASSWORD@HOST")?;
    Ok(Credentials {
        user: decoded(user)?,
        password: decoded(password)?,
    })
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "what is written with `%` must be UTF-8".to_owned())?;
    Ok(decoded.into_owned())
}

fn mechanism(text: &str) -> Option<&'static str> {
    let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    known
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use crate::authorities::Authorities;

    use super::Address;

    fn said(address: &str, setting: &str) -> Option<String> {
        let address: Address = address.parse().expect("it is an address");
        let config = address.config(&Authorities::default());
        config.get(setting).map(str::to_owned)
    }

    #[test]
    fn an_address_names_servers_credentials_and_options() {
        let address = "kafka+tls://ada:p%40ss:word@one,two:9093?partitions=6&sasl=scram-sha-256";
        let said = |setting| said(address, setting).unwrap_or_default();
        assert_eq!(said("bootstrap.servers"), "one:9092,two:9093");
        assert_eq!(said("security.protocol"), "sasl_ssl");
        assert_eq!(said("sasl.mechanism"), "SCRAM-SHA-256");
        assert_eq!(said("sasl.username"), "ada");
        assert_eq!(said("sasl.password"), "p@ss:word");
    }

    #[test]
    fn without_credentials_and_tls_there_is_neither() {
        let address = "kafka://[::1]:9092";
        assert_eq!(
            said(address, "security.protocol").as_deref(),
            Some("plaintext")
        );
        assert_eq!(said(address, "sasl.password"), None);
    }

    #[test]
    fn what_is_no_address_says_what_was_expected_and_no_secret() {
        for (address, expected) in [
            ("kafka://", "HOST:PORT"),
            ("kafka://one:port", "HOST:PORT"),
            ("kafka://one:1,,two", "HOST:PORT"),
            ("kafka://one:99999", "HOST:PORT"),
            ("kafka://secret@one", "USER:PASSWORD"),
            ("kafka://one?partitions=0", "partitions=N"),
            ("kafka://one?password=secret", "sasl=plain"),
            ("kafka://one?sasl=secret", "scram-sha-512"),
        ] {
            let error = address.parse::<Address>().expect_err(address);
            assert!(error.contains(expected), "{address}: {error}");
            assert!(!error.contains("secret"), "{address}: {error}");
        }
    }
}
