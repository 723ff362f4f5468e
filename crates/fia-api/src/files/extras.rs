//! The extras: files that instrument scientists keep for their reductions.

use cap_std::fs::Dir;

use crate::files::folder::open_root;
use crate::files::name::is_component;
use crate::files::walk::Limits;
use crate::files::{FileError, Files};

/// What the names of files begin with that are being written.
pub(super) const TEMPORARY: &str = ".fia-api-upload-";

impl Files {
    /// The names in the folder of the extras, or in one of its sub-folders, in no order.
    ///
    /// # Errors
    /// [`FileError::NoFolder`] where the sub-folder does not exist, or is none.
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
        .map_err(|error| FileError::of_folder(&error))
}

/// The names in a folder, without what is being written. One that is not UTF-8 stands with
/// U+FFFD in it.
fn names(folder: &Dir) -> Result<Vec<String>, FileError> {
    let failed = |error| FileError::of_folder(&error);
    let mut names = Vec::new();
    for entry in folder.entries().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(TEMPORARY) {
            names.push(name.into_owned());
        }
        if names.len() > Limits::default().entries {
            return Err(FileError::CutShort);
        }
    }
    Ok(names)
}
