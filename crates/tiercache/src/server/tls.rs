//! TLS to a server: the parameters of the URL, and the files that they name.

use std::fs;

use redis::{Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use rustls::crypto::aws_lc_rs;

use crate::server::invalid_url::InvalidUrl;
use crate::server::parameters::Parameters;

/// The TLS parameters of a URL, with redis-py's names and defaults. A CA file replaces the
/// system's roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsOptions {
    /// `ssl_cert_reqs`: whether the server's certificate is verified.
    pub(super) verifies: bool,
    /// `ssl_check_hostname`: whether it must be for this host.
    pub(super) checks_hostname: bool,
    /// `ssl_ca_certs`.
    pub(super) ca_file: Option<String>,
    /// `ssl_certfile`, and `ssl_keyfile`, which by default is the same file.
    pub(super) client: Option<(String, String)>,
}

impl TlsOptions {
    pub(super) fn take(parameters: &mut Parameters) -> Result<Self, InvalidUrl> {
        let verifies = match parameters.take("ssl_cert_reqs").as_deref() {
            // To a client, optional is the same as required.
            None | Some("required" | "optional") => true,
            Some("none") => false,
            Some(_) => {
                let reason = "must be required, optional or none";
                return Err(InvalidUrl::new("ssl_cert_reqs", reason));
            }
        };
        let check = parameters.take("ssl_check_hostname");
        let is_false = |text: String| {
            let text = text.to_uppercase();
            ["0", "F", "FALSE", "N", "NO"].contains(&text.as_str())
        };
        let ca_file = parameters.take("ssl_ca_certs");
        let (cert, key) = (
            parameters.take("ssl_certfile"),
            parameters.take("ssl_keyfile"),
        );
        let client = match (cert, key) {
            (Some(cert), key) => Some((cert.clone(), key.unwrap_or(cert))),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(InvalidUrl::new("ssl_keyfile", "ssl_certfile is missing"));
            }
        };
        Ok(Self {
            verifies,
            checks_hostname: verifies && !check.is_some_and(is_false),
            ca_file,
            client,
        })
    }

    /// Adds the certificates to the connection's settings. Reads files.
    pub(super) fn apply(&self, connection: ConnectionInfo) -> Result<ConnectionInfo, InvalidUrl> {
        // Fails if there is one already, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
        let ca_file = self.ca_file.as_ref();
        let client = self.client.as_ref();
        let certificates = TlsCertificates {
            root_cert: ca_file.map(|path| read("ssl_ca_certs", path)).transpose()?,
            client_tls: client
                .map(|(cert, key)| {
                    Ok(ClientTlsConfig {
                        client_cert: read("ssl_certfile", cert)?,
                        client_key: read("ssl_keyfile", key)?,
                    })
                })
                .transpose()?,
        };
        let invalid = |_| InvalidUrl::new("TLS certificates", "a file is not valid PEM");
        let client = Client::build_with_tls(connection, certificates).map_err(invalid)?;
        let connection = client.get_connection_info().clone();
        let mut address = connection.addr().clone();
        address.set_danger_accept_invalid_hostnames(!self.checks_hostname);
        connection
            .set_addr(address)
            .into_connection_info()
            .map_err(invalid)
    }
}

pub(super) fn read(part: &str, path: &str) -> Result<Vec<u8>, InvalidUrl> {
    fs::read(path).map_err(|error| InvalidUrl::new(part, format!("{path}: {error}")))
}
