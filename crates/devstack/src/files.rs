//! The embedded sample data: database, experiment files and reduction scripts.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

/// The schema and its sample data, as SQL for an empty database.
pub const SEED_SQL: &str = include_str!("../data/seed.sql");

/// Path and content of each sample file.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The reduction scripts of the GitHub stand-in: file name (`INSTRUMENT.py`) and text.
pub(crate) const SCRIPTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// Writes the sample files to `dir/ceph` (for `CEPH_DIR`) and `dir/extras` (for
/// `EXTRAS_DIRECTORY`).
///
/// # Errors
/// [`Error::Io`].
pub fn materialise_files(dir: &Path) -> Result<()> {
    for (name, content) in FILES {
        let file = dir.join(name);
        let written = file
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&file, content));
        written.map_err(Error::io(format!("writing {}", file.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_files_are_written() {
        let dir = tempfile::tempdir().unwrap();
        materialise_files(dir.path()).unwrap();
        let rb = dir.path().join("ceph/MARI/RBNumber/RB1820497/autoreduced");
        assert_eq!(fs::metadata(rb.join("MAR1.nxspe")).unwrap().len(), 9000);
        assert_eq!(fs::read(rb.join("ünï.txt")).unwrap().len(), 13);
        assert!(dir.path().join("extras/test/keep").is_file());
        assert_eq!(FILES.len(), 16);
        assert_eq!(SCRIPTS.len(), 10);
    }
}
