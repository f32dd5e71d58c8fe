//! Encrypted connections: how far a server must prove who it is.
//!
//! The words are those of `libpq`: `prefer` and `require` keep listeners out, `verify-ca` servers
//! without a certificate of a known authority, `verify-full` also those that have one for another
//! name.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_postgres::config::SslMode;

use crate::authorities::{Authorities, InvalidAuthorities};

/// How far a server must prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    proof: Proof,
    /// File with the authorities that are trusted; none = those that browsers trust.
    authorities: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Any certificate will do.
    None,
    /// One that an authority has signed.
    Authority,
    /// One that an authority has signed for this name.
    Name,
}

/// The authorities that a URL names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// They cannot be read.
    #[error("`sslrootcert` names no authorities")]
    Unreadable(#[from] InvalidAuthorities),
    /// They do not fit together.
    #[error("the certificates of the authorities cannot be used")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
}

/// Why a server's certificate is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody vouches for it who is trusted.
    #[error(
        "no authority that is trusted has signed the server's certificate: expected one of those \
         in the file that `sslrootcert` names, or of those that browsers trust if it names none"
    )]
    Stranger,
    /// It is somebody else's.
    #[error("the server's certificate is for another name: {0}")]
    Name(CertificateError),
    /// Anything else.
    #[error("the server's certificate is not accepted: {0}")]
    Other(CertificateError),
}

impl Refused {
    /// Finds what is wrong with a certificate under the error of a connection.
    pub(super) fn find(error: &tokio_postgres::Error) -> Option<Self> {
        let inner = error.source()?.downcast_ref::<io::Error>()?.get_ref()?;
        let Some(rustls::Error::InvalidCertificate(why)) = inner.downcast_ref() else {
            return None;
        };
        Some(match why {
            // One that only has the name of an authority signed it.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Stranger,
            why if is_about_the_name(why) => Self::Name(why.clone()),
            why => Self::Other(why.clone()),
        })
    }
}

impl Tls {
    /// What the options of a URL say, and what the client is to ask the server for. None if there is
    /// no such mode.
    pub(super) fn read(
        mode: Option<&str>,
        authorities: Option<PathBuf>,
    ) -> Option<(SslMode, Self)> {
        let with_authorities = match authorities {
            Some(_) => Proof::Authority,
            None => Proof::None,
        };
        let (mode, proof) = match mode {
            Some("disable") => (SslMode::Disable, Proof::None),
            None | Some("prefer") => (SslMode::Prefer, Proof::None),
            Some("require") => (SslMode::Require, with_authorities),
            Some("verify-ca") => (SslMode::Require, Proof::Authority),
            Some("verify-full") => (SslMode::Require, Proof::Name),
            Some(_) => return None,
        };
        Some((mode, Self { proof, authorities }))
    }

    /// How a connection is encrypted. The file of the authorities is read each time, so that it may
    /// be replaced.
    pub(super) fn client(&self) -> Result<ClientConfig, AuthoritiesError> {
        let unusable = |error| AuthoritiesError::Unusable(Box::new(error));
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            judge: match self.proof {
                Proof::None => None,
                Proof::Authority | Proof::Name => Some(self.judge(&provider)?),
            },
            looks_at_name: self.proof == Proof::Name,
            provider: Arc::clone(&provider),
        };
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(client)
    }

    /// Who judges certificates.
    fn judge(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<WebPkiServerVerifier>, AuthoritiesError> {
        let authorities = self.authorities.as_deref().map(Authorities::read);
        let roots = authorities.transpose()?.unwrap_or_default().roots();
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| AuthoritiesError::Unusable(Box::new(error)))
    }
}

/// Looks at certificates as far as it was asked to.
#[derive(Debug)]
struct Verifier {
    judge: Option<Arc<WebPkiServerVerifier>>,
    looks_at_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(judge) = &self.judge else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last.
        match judge.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(why))
                if !self.looks_at_name && is_about_the_name(&why) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn is_about_the_name(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}
