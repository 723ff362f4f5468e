//! Symbolic links at the target of an upload.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use crate::files::FileError;

/// Maximum number of links that are followed, as in Linux.
const MAX_LINKS: usize = 40;

/// A file or a file to be: a name that is no link, and the folder that has it.
pub(super) struct Target {
    pub(super) folder: Dir,
    pub(super) name: PathBuf,
}

/// Follows links from a name in a folder, as long as they stay below the folder. The target need
/// not exist.
///
/// # Errors
/// [`FileError::Refused`] if a link leads out of the folder or nowhere.
pub(super) fn resolve(folder: Dir, name: String) -> Result<Target, FileError> {
    find(folder, name.into()).map_err(|error| match FileError::from_write(&error) {
        FileError::Missing => FileError::Refused,
        other => other,
    })
}

fn find(folder: Dir, name: PathBuf) -> io::Result<Target> {
    let mut path = name;
    for _ in 0..MAX_LINKS {
        match folder.symlink_metadata(&path) {
            // The handle refuses to read a link to an absolute path.
            Ok(metadata) if metadata.is_symlink() => {
                let link = folder.read_link(&path)?;
                path = parent(&path).join(link);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
                let parent = parent(&path);
                return Ok(Target {
                    name: name.into(),
                    folder: if parent == Path::new(".") {
                        folder
                    } else {
                        folder.open_dir(parent)?
                    },
                });
            }
        }
    }
    // `ELOOP`
    Err(io::ErrorKind::InvalidInput.into())
}

/// The folder of a path; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
