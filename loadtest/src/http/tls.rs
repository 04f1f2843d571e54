//! The client's side of TLS: whom it trusts, and the handshake.
//!
//! Sessions are not resumed: each connection stands for a visitor who has never been here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Authority, HttpVersion, Trust};
use crate::error::LoadError;

/// Where systems keep the certificates that they trust; the first that is there counts.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Environment variable that names another file.
const SYSTEM_FILE_ENV: &str = "SSL_CERT_FILE";

/// What all TLS connections to a target share.
pub(super) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
    http: HttpVersion,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(
        authority: &Authority,
        trust: &Trust,
        http: HttpVersion,
    ) -> Result<Self, LoadError> {
        let host = authority.host();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            LoadError::usage(format!("{host:?} is no name that a certificate may have"))
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| LoadError::input(format!("TLS can't be set up: {e}")))?;
        let builder = match trust {
            Trust::Anything => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAnything(provider))),
            Trust::Ca(file) => builder.with_root_certificates(roots(file)?),
            Trust::System => builder.with_root_certificates(roots(&system_file()?)?),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![alpn(http).to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, http })
    }

    /// Shakes hands; what went wrong is said in words.
    pub(super) async fn shake_hands(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let stream = self.connector.connect(self.name.clone(), tcp).await.map_err(|e| {
            let hint = match e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                Some(Error::InvalidCertificate(_)) => {
                    "; name the certificate of who signed it with --ca FILE"
                }
                Some(Error::InvalidMessage(_)) => "; does the target speak TLS?",
                _ => "",
            };
            format!("no TLS: {e}{hint}")
        })?;
        if self.http == HttpVersion::Two && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("the target does not offer HTTP/2 over TLS (ALPN h2)".to_owned());
        }
        Ok(stream)
    }
}

const fn alpn(http: HttpVersion) -> &'static [u8] {
    match http {
        HttpVersion::One => b"http/1.1",
        HttpVersion::Two => b"h2",
    }
}

fn system_file() -> Result<PathBuf, LoadError> {
    if let Some(file) = std::env::var_os(SYSTEM_FILE_ENV).filter(|file| !file.is_empty()) {
        return Ok(file.into());
    }
    let found = SYSTEM_FILES.iter().map(Path::new).find(|path| path.is_file());
    found.map(Path::to_path_buf).ok_or_else(|| {
        LoadError::usage(
            "this system keeps no certificates where they are looked for; name those to trust with \
             --ca FILE",
        )
    })
}

fn roots(file: &Path) -> Result<RootCertStore, LoadError> {
    let show = file.display();
    let wrong = |what: String| LoadError::input(format!("certificates {show}: {what}"));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
    let all: Result<Vec<_>, _> = certificates.collect();
    let all = all.map_err(|e| wrong(format!("not well-formed PEM: {e}")))?;
    let mut roots = RootCertStore::empty();
    // A system's file may have a certificate of a form that nobody uses any more.
    let (taken, _) = roots.add_parsable_certificates(all);
    if taken == 0 {
        return Err(wrong("it has no certificate (BEGIN CERTIFICATE) in PEM form".to_owned()));
    }
    Ok(roots)
}

/// Takes any certificate, for a host under test whose certificate nobody has signed.
#[derive(Debug)]
struct TrustAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that can't be trusted is named with what is wrong.
    #[test]
    fn files_of_certificates_are_checked() {
        let authority = Authority::parse("https://localhost:1").expect("well formed");
        let client = |file: &Path| {
            let trust = Trust::Ca(file.to_path_buf());
            Client::new(&authority, &trust, HttpVersion::One).map(|_| ()).map_err(|e| e.to_string())
        };
        let error = client(Path::new("/nowhere/ca.pem")).expect_err("no such file");
        assert!(error.contains("certificates /nowhere/ca.pem: "), "{error}");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let error = client(file.path()).expect_err("an empty file");
        assert!(error.contains("it has no certificate (BEGIN CERTIFICATE)"), "{error}");
        assert!(Client::new(&authority, &Trust::Anything, HttpVersion::Two).is_ok());
    }
}
