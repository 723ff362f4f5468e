//! Certificates for servers of tests: an authority, and one certificate for server and client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{ServerUser, find_program, run};
use crate::scratch::Scratch;
use crate::{Error, Result};

const KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];
const EXTENSIONS: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n";

/// The files of the certificates, in PEM format.
#[derive(Debug)]
pub struct Certificates {
    /// The authority.
    pub authority: PathBuf,
    /// The certificate for 127.0.0.1 and localhost, for servers and clients.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificates {
    /// Creates certificates with `openssl`, in the server's directory.
    pub(super) fn create(scratch: &Scratch, user: Option<&ServerUser>) -> Result<Self> {
        let dir = scratch.dir();
        let authority = [
            "-x509",
            "-subj",
            "/CN=devstack",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        openssl(dir, &["req"], &[&KEY[..], &authority].concat())?;
        let request = [
            "-subj",
            "/CN=localhost",
            "-keyout",
            "tls.key",
            "-out",
            "tls.csr",
        ];
        openssl(dir, &["req"], &[&KEY[..], &request].concat())?;
        let extensions = dir.join("extensions");
        fs::write(&extensions, EXTENSIONS).map_err(Error::io("writing extensions"))?;
        let sign = [
            "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        ];
        let output = [
            "-CAcreateserial",
            "-extfile",
            "extensions",
            "-out",
            "tls.pem",
        ];
        openssl(dir, &["x509"], &[&sign[..], &output].concat())?;
        let install = |name: &str| {
            let text =
                fs::read_to_string(dir.join(name)).map_err(Error::io(format!("reading {name}")))?;
            scratch.write(name, &text, user)
        };
        Ok(Self {
            authority: install("ca.pem")?,
            certificate: install("tls.pem")?,
            key: install("tls.key")?,
        })
    }
}

fn openssl(dir: &Path, command: &[&str], args: &[&str]) -> Result<()> {
    let mut openssl = Command::new(find_program("openssl", &[])?);
    openssl.current_dir(dir).args(command).args(args);
    run(&mut openssl).map(drop)
}
