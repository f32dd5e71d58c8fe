//! Addresses that may have a secret in them: `redis://USER:PASSWORD@HOST:PORT/0`.
//!
//! The secret is split off where the text comes in. What is shown of an address, in metrics, errors,
//! logs and help, has neither credentials nor options; only who connects asks for all of it.

use std::{convert::Infallible, fmt, str::FromStr};

/// A text that names a server, as somebody gave it. Whether it is an address is for who connects to
/// say.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: String,
    shown: String,
}

impl Address {
    /// All of it, with its secrets: for who connects, and never for a message.
    pub fn exposed(&self) -> &str {
        &self.text
    }

    /// The same without credentials, with its options.
    pub fn without_credentials(&self) -> String {
        match self.text.split_once("://") {
            Some((scheme, rest)) => {
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{host}")
            }
            None => self.text.clone(),
        }
    }

    /// User and password as they are written, with a colon in between, if there are any.
    pub fn credentials(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("://")?;
        Some(rest.rsplit_once('@')?.0)
    }

    /// What comes before `://`; empty if that is no scheme.
    pub fn scheme(&self) -> &str {
        let scheme = self.text.split_once("://").map_or("", |(scheme, _)| scheme);
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if scheme.chars().all(is_scheme) {
            scheme
        } else {
            ""
        }
    }
}

/// What may be shown. A password may have any character in it, unencoded: whatever comes before the
/// last `@` is taken for credentials, and what has no scheme is not shown at all.
fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return "(not a URL)".to_owned();
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// The name of an option as errors show it. Behind a password with a `?` in it something else may
/// stand where options are expected, which is not shown.
pub fn option_name(pair: &str) -> &str {
    let name = pair.split_once('=').map_or("", |(name, _)| name);
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    if !name.is_empty() && name.chars().all(is_name) && !pair.contains('@') {
        name
    } else {
        "…"
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        let shown = shown(&text);
        Self { text, shown }
    }
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn what_is_shown_has_no_secret() {
        for (text, shown) in [
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis://me:secret@host:6379/0", "redis://host:6379/0"),
            ("nats://secret@host", "nats://host"),
            ("amqp://me:sec/ret?s@host/v", "amqp://host/v"),
            ("amqp://me:s@secret#@host/v", "amqp://host/v"),
            ("postgres://host/db?password=secret", "postgres://host/db"),
            ("kafka://me:secret@one,two", "kafka://one,two"),
            ("me:secret@host", "(not a URL)"),
            ("secret", "(not a URL)"),
        ] {
            let address = Address::from(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            assert_eq!(address.exposed(), text);
        }
    }

    #[test]
    fn credentials_are_apart_from_the_rest() {
        let address = Address::from("http://me:secret@host:1/?a=b");
        assert_eq!(address.credentials(), Some("me:secret"));
        assert_eq!(address.without_credentials(), "http://host:1/?a=b");
        assert_eq!(address.scheme(), "http");
        assert_eq!(Address::from("me:secret@h://x").scheme(), "");
    }
}
