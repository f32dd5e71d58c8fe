//! Which servers, and the connection to them.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use async_nats::{
    Client, ConnectOptions, ServerAddr,
    connection::State,
    jetstream::{self, Context},
};
use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;

use crate::{address::option_name, authorities::Authorities};

/// The servers at an address.
pub(in crate::bus) struct Server {
    name: String,
    address: ServerAddr,
    authorities: Authorities,
    client: OnceCell<Client>,
}

impl Server {
    /// The servers at an address such as `nats://USER:PASSWORD@HOST:PORT` or `tls://…`; `set` is
    /// given the options behind its `?`, and says whether it knows them.
    ///
    /// # Errors
    ///
    /// If it is no address, or has an option that nobody knows; `options` says which there are.
    pub(in crate::bus) fn new(
        address: &str,
        authorities: &Authorities,
        options: &str,
        mut set: impl FnMut(&str, &str) -> bool,
    ) -> Result<Self, String> {
        let (address, query) = address.split_once('?').unwrap_or((address, ""));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let known = pair
                .split_once('=')
                .is_some_and(|(name, value)| set(name, value));
            if !known {
                return Err(format!(
                    "option `{}`: expected {options}",
                    option_name(pair)
                ));
            }
        }
        let address: ServerAddr = address.parse().map_err(|error| format!("{error}"))?;
        Ok(Self {
            name: format!("nats {}:{}", address.host(), address.port()),
            address,
            authorities: authorities.clone(),
            client: OnceCell::new(),
        })
    }

    /// What it is called: shows no password.
    pub(in crate::bus) fn name(&self) -> &str {
        &self.name
    }

    /// How often the connection was lost and made again.
    pub(in crate::bus) fn reconnects(&self) -> u64 {
        let client = self.client.get();
        let connects = client.map_or(0, |client| client.statistics().connects.load(Relaxed));
        connects.saturating_sub(1)
    }

    /// The connection, which comes back by itself when it is lost.
    pub(in crate::bus) async fn jetstream(&self) -> Result<Context, String> {
        let connect = || {
            let mut options = ConnectOptions::new().name("xcomponent");
            let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let [user, password] = [self.address.username(), self.address.password()];
            match (user.map(decoded), password.map(decoded)) {
                (Some(user), Some(password)) => options = options.user_and_password(user, password),
                (Some(token), None) => options = options.token(token),
                (None, _) => {}
            }
            options
                .tls_client_config(self.authorities.client())
                .max_reconnects(None)
                .reconnect_delay_callback(|attempts| {
                    Duration::from_millis(50) * u32::try_from(attempts.min(20)).unwrap_or(20)
                })
                .connect(self.address.clone())
        };
        let client = self.client.get_or_try_init(connect).await;
        let client = client.map_err(|error| error.to_string())?;
        if client.connection_state() != State::Connected {
            return Err("the server is away".to_owned());
        }
        Ok(jetstream::new(client.clone()))
    }
}
