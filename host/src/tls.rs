//! TLS of the served address: the certificate's chain and its key from PEM files, read again when
//! the operator asks, and the handshake of one connection.
//!
//! TLS 1.2 and 1.3 with the cipher suites that rustls takes for safe; ALPN chooses between HTTP/2
//! and HTTP/1.1. There are no certificates of clients: who may write is a matter of API keys.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest certificate or key file in bytes.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Protocols that are offered, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Certificate and key of a server.
///
/// Connections that are open keep the certificate with which they began.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<TlsAcceptor>,
}

impl fmt::Debug for Tls {
    /// Names the files; what is in them is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).field("key", &self.key).finish()
    }
}

impl Tls {
    /// Reads a certificate's chain, the server's own first, and its key.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file and what is wrong with it.
    pub fn read(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (cert, key) = (cert.into(), key.into());
        let current = RwLock::new(acceptor(&cert, &key)?);
        Ok(Self { cert, key, current })
    }

    /// Reads both files again; from now on connections begin with what they say.
    ///
    /// # Errors
    ///
    /// Returns what [`Tls::read`] returns; the certificate in use stays in use then.
    pub fn renew(&self) -> Result<(), TlsError> {
        let fresh = acceptor(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Returns the file of the certificate.
    pub fn cert(&self) -> &Path {
        &self.cert
    }

    /// Shakes hands with a client; the caller limits the time.
    pub(crate) async fn accept<I>(&self, stream: I) -> std::io::Result<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        acceptor.accept(stream).await
    }
}

/// What is wrong with a certificate or a key: a text that names setting, file and way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = read_chain(cert)?;
    let secret = read_key(key)?;
    let wrong = |error: &Error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError(format!(
            "tls.key: {} is not the key of the certificate in {}; its own certificate must stand \
             first there",
            key.display(),
            cert.display()
        )),
        Error::InvalidCertificate(_) => TlsError(format!(
            "tls.cert: the first certificate of {} is not usable: {error}",
            cert.display()
        )),
        _ => TlsError(format!("tls.key: {} is not usable: {error}", key.display())),
    };
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = contents("tls.cert", path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| not_pem("tls.cert", path, &error))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let show = path.display();
    Err(TlsError(match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(_) => format!("tls.cert: {show} has a private key and no certificate; swapped?"),
        Err(_) => format!("tls.cert: {show} has no certificate (BEGIN CERTIFICATE) in PEM form"),
    }))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = contents("tls.key", path)?;
    let show = path.display();
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let text = String::from_utf8_lossy(&bytes);
            TlsError(if text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
                format!("tls.key: {show} is encrypted; write the key without a passphrase")
            } else if text.contains("BEGIN CERTIFICATE") {
                format!("tls.key: {show} has a certificate and no private key; swapped?")
            } else {
                format!("tls.key: {show} has no private key (BEGIN PRIVATE KEY) in PEM form")
            })
        }
        error => not_pem("tls.key", path, &error),
    })
}

fn contents(setting: &str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let show = path.display();
    let cant =
        |error: &std::io::Error| TlsError(format!("{setting}: {show} can't be read: {error}"));
    let file = std::fs::File::open(path).map_err(|error| cant(&error))?;
    let mut bytes = Vec::new();
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| cant(&error))?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(TlsError(format!("{setting}: {show} is over {PEM_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn not_pem(setting: &str, path: &Path, error: &pem::Error) -> TlsError {
    TlsError(format!("{setting}: {} is not well-formed PEM: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERT: &str = include_str!("../tests/data/shop.pem");
    const KEY: &str = include_str!("../tests/data/shop-key.pem");
    const OTHER: &str = include_str!("../tests/data/other.pem");

    /// Each fault of the two files names the setting, the file and what is wrong.
    #[test]
    fn faults_of_the_files_are_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE \
                      KEY-----\n";
        let torn = &CERT[..CERT.len() - 30];
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let long = "#".repeat(PEM_BYTES_MAX as usize + 1);
        let read = |cert: &str, key: &str| {
            let paths = [("c.pem", cert), ("k.pem", key)].map(|(name, text)| {
                let path = dir.path().join(name);
                std::fs::write(&path, text).expect("a writable file");
                path
            });
            let [cert, key] = paths;
            let place = format!("{}/", dir.path().display());
            Tls::read(cert, key).map(|_| ()).map_err(|e| e.to_string().replace(&place, ""))
        };
        assert_eq!(read(CERT, KEY), Ok(()));
        for (cert, key, text) in [
            (OTHER, KEY, "k.pem is not the key of the certificate in c.pem"),
            (KEY, CERT, "tls.cert: c.pem has a private key and no certificate; swapped?"),
            (CERT, CERT, "tls.key: k.pem has a certificate and no private key; swapped?"),
            (CERT, sealed, "tls.key: k.pem is encrypted; write the key without a passphrase"),
            (CERT, "", "tls.key: k.pem has no private key"),
            ("hello", KEY, "tls.cert: c.pem has no certificate (BEGIN CERTIFICATE)"),
            (torn, KEY, "tls.cert: c.pem is not well-formed PEM"),
            (broken, KEY, "tls.cert: the first certificate of c.pem is not usable"),
            (&long, KEY, "tls.cert: c.pem is over 1048576 bytes"),
        ] {
            let error = read(cert, key).expect_err(text);
            assert!(error.contains(text), "{error} lacks {text}");
        }
        let missing = Tls::read(dir.path().join("none.pem"), dir.path().join("k.pem"));
        let error = missing.expect_err("no such file").to_string();
        assert!(error.contains("none.pem can't be read: "), "{error}");
    }

    /// A renewal that fails leaves the certificate in use.
    #[test]
    fn a_failed_renewal_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [c, k] = ["c.pem", "k.pem"].map(|name| dir.path().join(name));
        std::fs::write(&c, CERT).expect("a writable file");
        std::fs::write(&k, KEY).expect("a writable file");
        let tls = Tls::read(&c, &k).expect("a pair");
        assert_eq!(tls.renew(), Ok(()));
        let before = Arc::as_ptr(tls.current.read().expect("no panic").config());
        std::fs::write(&k, "").expect("a writable file");
        assert!(tls.renew().is_err());
        assert_eq!(Arc::as_ptr(tls.current.read().expect("no panic").config()), before);
    }
}
