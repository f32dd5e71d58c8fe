//! Certificates for servers that speak encrypted, and an authority that signs them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// Who vouches for servers; known to nobody but who is told.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// Proves that a server has a name.
pub struct Certificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("making a key")?;
        let issuer = CertifiedIssuer::self_signed(params, key).context("making an authority")?;
        let folder = tempfile::Builder::new()
            .prefix("xcomponent-authority-")
            .tempdir()
            .context("making a folder")?;
        let authority = Self { issuer, folder };
        fs::write(authority.file(), authority.issuer.pem()).context("writing a certificate")?;
        Ok(authority)
    }

    /// The file with its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Vouches for a server under this name or address.
    ///
    /// # Errors
    ///
    /// If it is no name.
    pub fn vouch_for(&self, name: &str) -> Result<Certificate> {
        let params = CertificateParams::new([name.to_owned()]).context("naming a server")?;
        let key = KeyPair::generate().context("making a key")?;
        let certificate = params.signed_by(&key, &self.issuer);
        Ok(Certificate {
            certificate: certificate.context("making a certificate")?.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Certificate {
    /// Writes it and its key to `server.crt` and `server.key`, which nobody else may read.
    pub(crate) fn write(&self, folder: &Path) -> Result<[PathBuf; 2]> {
        use std::os::unix::fs::PermissionsExt as _;
        let files = ["server.crt", "server.key"].map(|name| folder.join(name));
        for (file, text) in files.iter().zip([&self.certificate, &self.key]) {
            fs::write(file, text).context("writing a certificate")?;
            let owner_only = fs::Permissions::from_mode(0o600);
            fs::set_permissions(file, owner_only).context("hiding a key")?;
        }
        Ok(files)
    }
}
