//! Sample file trees, multipart forms and archives.

use std::io::{Cursor, Read as _};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use zip::ZipArchive;

use crate::harness::{Vars, vars};

/// A private copy of the sample files.
pub(crate) struct SampleFiles(TempDir);

impl SampleFiles {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        devstack::materialise_files(dir.path()).unwrap();
        Self(dir)
    }

    /// Settings with the directories of this copy.
    pub(crate) fn vars(&self) -> Vars {
        let path = |name| self.0.path().join(name).display().to_string();
        vars(&[
            ("CEPH_DIR", &path("ceph")),
            ("EXTRAS_DIRECTORY", &path("extras")),
        ])
    }

    /// A path below the reduced-data root.
    pub(crate) fn reduced(&self, path: &str) -> PathBuf {
        self.0.path().join("ceph").join(path)
    }

    /// A path below the extras root.
    pub(crate) fn extras(&self, path: &str) -> PathBuf {
        self.0.path().join("extras").join(path)
    }
}

/// The content type and body of a form with one file.
pub(crate) fn form(field: &str, content: &str) -> (&'static str, String) {
    let head = format!("content-disposition: form-data; name=\"{field}\"; filename=\"x\"");
    let body = format!("--parts\r\n{head}\r\n\r\n{content}\r\n--parts--\r\n");
    ("multipart/form-data; boundary=parts", body)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names and contents of an archive's members, in order.
pub(crate) fn unzip(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let all = 0..archive.len();
    let member = |i| {
        let mut member = archive.by_index(i).unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        (member.name().unwrap().into_owned(), content)
    };
    all.map(member).collect()
}
