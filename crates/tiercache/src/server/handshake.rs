//! TLS of the cache's own connections. The client could do it, but its bytes could not be counted.

use std::sync::Arc;

use redis::{ErrorKind, RedisResult};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::invalid_url::InvalidUrl;
use crate::server::tls::{TlsOptions, read};

/// The settings of a handshake. Cheap to clone; clones resume each other's sessions.
#[derive(Clone)]
pub(crate) struct Handshake(TlsConnector);

impl Handshake {
    /// Reads the files of certificates.
    pub(super) fn new(options: &TlsOptions) -> Result<Self, InvalidUrl> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let schemes = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("TLS", &error))?;
        let builder = match (options.verifies, options.checks_hostname) {
            (true, true) => builder.with_root_certificates(roots(options)?),
            (verifies, _) => {
                let inner = verifies.then(|| verifier(options, provider)).transpose()?;
                let lenient = Arc::new(Lenient { inner, schemes });
                let builder = builder.dangerous();
                builder.with_custom_certificate_verifier(lenient)
            }
        };
        let mut config = match &options.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates("ssl_certfile", cert)?;
                let pem = read("ssl_keyfile", key)?;
                let key = PrivateKeyDer::from_pem_slice(&pem);
                let key = key.map_err(|error| invalid("ssl_keyfile", &error))?;
                let with_client = builder.with_client_auth_cert(chain, key);
                with_client.map_err(|error| invalid("ssl_certfile", &error))?
            }
        };
        config.enable_sni = options.verifies;
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Encrypts a connection to a host.
    pub(super) async fn over(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> RedisResult<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| (ErrorKind::InvalidClientConfig, "not a name for TLS"))?;
        Ok(self.0.connect(name, stream).await?)
    }
}

fn invalid(part: &str, error: &impl ToString) -> InvalidUrl {
    InvalidUrl::new(part, error.to_string())
}

fn certificates(part: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, InvalidUrl> {
    let pem = read(part, path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>();
    certificates.map_err(|error| invalid(part, &error))
}

/// The trusted authorities: those of the file, or the system's.
fn roots(options: &TlsOptions) -> Result<RootCertStore, InvalidUrl> {
    let mut roots = RootCertStore::empty();
    match &options.ca_file {
        Some(path) => {
            for certificate in certificates("ssl_ca_certs", path)? {
                let added = roots.add(certificate);
                added.map_err(|error| invalid("ssl_ca_certs", &error))?;
            }
        }
        // Without those that cannot be read, the handshake fails for servers that need them.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn verifier(
    options: &TlsOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, InvalidUrl> {
    let roots = Arc::new(roots(options)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    verifier.map_err(|error| invalid("ssl_ca_certs", &error))
}

/// Accepts a certificate for another host, or any (`ssl_check_hostname`, `ssl_cert_reqs`).
#[derive(Debug)]
struct Lenient {
    /// Verifies the authority, if it must be known.
    inner: Option<Arc<WebPkiServerVerifier>>,
    schemes: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        match inner.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}
