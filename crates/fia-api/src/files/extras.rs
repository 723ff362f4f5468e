//! Listing of the extras, files that instrument scientists maintain for their reductions.

use cap_std::fs::Dir;

use crate::files::folder::open_root;
use crate::files::name::is_component;
use crate::files::walk::Limits;
use crate::files::{FileError, Files};

/// Name prefix of temporary upload files.
pub(super) const TEMPORARY_PREFIX: &str = ".fia-api-upload-";

impl Files {
    /// Lists the names in the folder of the extras, or in one of its sub-folders, unsorted.
    ///
    /// # Errors
    /// [`FileError::NoFolder`] if the sub-folder does not exist or is not a folder.
    pub async fn extras(&self, sub_folder: Option<String>) -> Result<Vec<String>, FileError> {
        let root = self.0.settings.extras_dir.clone();
        let list = move || {
            let root = open_root(&root)?;
            match sub_folder {
                None => names(&root),
                Some(name) => names(&open_sub_folder(&root, &name)?),
            }
        };
        self.0.workers.run(list).await?
    }
}

/// Opens a sub-folder of the extras.
pub(super) fn open_sub_folder(root: &Dir, name: &str) -> Result<Dir, FileError> {
    if !is_component(name) {
        return Err(FileError::NoFolder);
    }
    root.open_dir(name)
        .map_err(|error| FileError::from_folder(&error))
}

/// Lists the names in a folder without temporary upload files. Invalid UTF-8 becomes U+FFFD.
fn names(folder: &Dir) -> Result<Vec<String>, FileError> {
    let failed = |error| FileError::from_folder(&error);
    let mut names = Vec::new();
    for entry in folder.entries().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(TEMPORARY_PREFIX) {
            names.push(name.into_owned());
        }
        if names.len() > Limits::default().entries {
            return Err(FileError::CutShort);
        }
    }
    Ok(names)
}
