//! Whom this host trusts to vouch for the servers that it connects to.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject as _},
    },
};

/// Those in a file, or else those that browsers trust.
#[derive(Clone, Default)]
pub struct Authorities(Option<Arc<str>>);

/// The authorities cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuthorities {
    /// The file is not there, or is no such file.
    #[error("the certificates in `{path}` cannot be read")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: pem::Error,
    },
    /// There is none that can be used.
    #[error("`{0}` has no certificate of an authority")]
    Empty(String),
}

impl Authorities {
    /// Those whose certificates are in a file, as PEM.
    ///
    /// # Errors
    ///
    /// If there are none that can be read.
    pub fn read(file: &Path) -> Result<Self, InvalidAuthorities> {
        let path = || file.display().to_string();
        let unreadable = |source| InvalidAuthorities::Unreadable {
            path: path(),
            source,
        };
        let text =
            std::fs::read_to_string(file).map_err(|error| unreadable(pem::Error::Io(error)))?;
        let read = CertificateDer::pem_slice_iter(text.as_bytes());
        let read: Vec<_> = read.collect::<Result<_, _>>().map_err(unreadable)?;
        match RootCertStore::empty().add_parsable_certificates(read).0 {
            0 => Err(InvalidAuthorities::Empty(path())),
            _ => Ok(Self(Some(text.into()))),
        }
    }

    /// Their certificates, if they are in a file.
    pub(crate) fn pem(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Their keys.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        match self.pem() {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(text) => {
                let read = CertificateDer::pem_slice_iter(text.as_bytes());
                roots.add_parsable_certificates(read.filter_map(Result::ok));
            }
        }
        roots
    }

    /// How a connection to a server is encrypted.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows what is the default")
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.0 {
            Some(_) => "Authorities(of a file)",
            None => "Authorities(of browsers)",
        };
        f.write_str(whose)
    }
}
