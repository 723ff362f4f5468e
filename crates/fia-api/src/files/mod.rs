//! The file trees: reduced data, to be found and read, and the extras, to be listed and
//! written.
//!
//! Nothing here can leave the folder it is about: every path is opened relative to a handle of
//! that folder, by calls that refuse to lead out of it, symbolic links included. In reading
//! order: [`Name`] and [`Folder`] say what is meant, `workers` keeps the work off the threads
//! that serve connections, `walk` and `search` look through sub-folders, `download`, `zip`,
//! `extras` and `upload` are what the routes are for.

mod download;
mod error;
mod extras;
mod folder;
mod name;
pub mod range;
mod search;
mod upload;
mod walk;
mod workers;
pub mod zip;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cap_fs_ext::OpenOptionsSyncExt as _;
use cap_std::fs::{Dir, File, OpenOptions};

use tokio::sync::Semaphore;

use crate::config;

pub use download::{OpenFile, Piece};
pub use error::FileError;
pub use folder::Folder;
pub use name::Name;
pub use upload::Upload;

use search::{Searches, Wanted};
use workers::Workers;

/// Looks, reads and writes at once. Most take microseconds; those of a file system that hangs
/// must not take every thread there is.
const AT_ONCE: usize = 64;
/// How long one of them waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Downloads under way at once: each keeps some chunks in memory, however slow its client.
const DOWNLOADS: usize = 256;

/// The file trees; cheap to clone.
#[derive(Clone)]
pub struct Files(Arc<Trees>);

struct Trees {
    settings: config::Files,
    workers: Workers,
    downloads: Arc<Semaphore>,
    archivers: zip::Archivers,
    searches: Searches,
}

impl Files {
    /// Prepares the access; nothing is opened yet, and nothing needs to be there.
    #[must_use]
    pub fn new(settings: &config::Files) -> Self {
        Self(Arc::new(Trees {
            settings: settings.clone(),
            workers: Workers::new(AT_ONCE, PATIENCE),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            archivers: zip::archivers(),
            searches: Searches::new(),
        }))
    }

    /// Finds a file or folder: by its path, or, where that is a bare name, in any sub-folder.
    /// Returns its path below the root of the reduced data.
    ///
    /// # Errors
    /// [`FileError::Missing`] where it is not there, [`FileError::NoFolder`] where the folder is
    /// not; others where that cannot be found out.
    pub async fn find(&self, folder: Folder, name: Name) -> Result<String, FileError> {
        let path = folder.path();
        if self.is_there(&folder, &name).await? {
            return Ok(match name.as_str() {
                "" => path,
                name => format!("{path}/{name}"),
            });
        }
        let place = self.search(&folder, name, Wanted::Any).await?;
        Ok(format!("{path}/{}", place.display()))
    }

    /// Opens a regular file: by its path, or, where that is a bare name, in any sub-folder.
    ///
    /// # Errors
    /// As [`find`](Self::find); [`FileError::Busy`] where too many downloads are under way.
    pub async fn open(&self, folder: Folder, name: Name) -> Result<OpenFile, FileError> {
        if self.is_there(&folder, &name).await? {
            return self.open_at(&folder, name.as_path().to_owned()).await;
        }
        let place = self.search(&folder, name, Wanted::File).await?;
        self.open_at(&folder, place).await
    }

    async fn is_there(&self, folder: &Folder, name: &Name) -> Result<bool, FileError> {
        let (root, folder, name) = (self.reduced(), folder.clone(), name.clone());
        let look = move || {
            let folder = folder.open(&root)?;
            if name.is_folder() {
                return Ok(true);
            }
            match folder.metadata(name.as_path()) {
                Ok(metadata) => Ok(metadata.is_file() || metadata.is_dir()),
                Err(error) => match FileError::of_look(&error) {
                    FileError::Missing => Ok(false),
                    other => Err(other),
                },
            }
        };
        self.0.workers.run(look).await?
    }

    async fn search(
        &self,
        folder: &Folder,
        name: Name,
        wanted: Wanted,
    ) -> Result<PathBuf, FileError> {
        if !name.is_bare() {
            return Err(FileError::Missing);
        }
        let asked = vec![name.clone()];
        let searches = &self.0.searches;
        let places = searches
            .find(&self.reduced(), folder, asked, wanted)
            .await?;
        places.get(&name).cloned().ok_or(FileError::Missing)
    }

    async fn open_at(&self, folder: &Folder, path: PathBuf) -> Result<OpenFile, FileError> {
        let place = Arc::clone(&self.0.downloads)
            .try_acquire_owned()
            .map_err(|_| FileError::Busy)?;
        let (root, folder) = (self.reduced(), folder.clone());
        let opened = self
            .0
            .workers
            .run(move || open_regular(&folder.open(&root)?, &path));
        let workers = self.0.workers.clone();
        Ok(OpenFile::new(opened.await??, workers, place))
    }

    fn reduced(&self) -> PathBuf {
        self.0.settings.ceph_dir.clone()
    }
}

/// A regular file that is open for reading.
struct Regular {
    file: std::fs::File,
    metadata: cap_std::fs::Metadata,
}

/// Opens a regular file below a folder; what is none, is missing. It must not be waited for a
/// pipe's other end.
fn open_regular(folder: &Dir, path: &std::path::Path) -> Result<Regular, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).nonblock(true);
    let opened = folder.open_with(path, &options);
    let read = opened.and_then(|file: File| Ok((file.metadata()?, file.into_std())));
    let (metadata, file) = read.map_err(|error| FileError::of_look(&error))?;
    if metadata.is_file() {
        Ok(Regular { file, metadata })
    } else {
        Err(FileError::Missing)
    }
}
