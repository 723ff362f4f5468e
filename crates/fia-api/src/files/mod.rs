//! The file trees: reduced data (search, download) and the extras (list, upload).
//!
//! Access is confined to a folder: every path is opened relative to a handle of the folder, by
//! calls that refuse to leave it, symbolic links included. In reading order: [`Name`] and
//! [`Folder`] are the addresses, `workers` runs blocking work off the async threads, `walk` and
//! `search` traverse sub-folders, `download`, `zip`, `extras` and `upload` serve the routes.

mod download;
mod error;
mod extras;
mod folder;
mod link;
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

/// Maximum number of concurrent file operations. Most take microseconds; a file system that hangs
/// must not occupy every blocking thread.
const MAX_OPERATIONS: usize = 64;
/// Maximum wait of an operation for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent downloads: each holds some chunks in memory, however slow its
/// client.
const MAX_DOWNLOADS: usize = 256;

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
    /// Configures access without opening anything; the trees need not exist.
    #[must_use]
    pub fn new(settings: &config::Files) -> Self {
        Self(Arc::new(Trees {
            settings: settings.clone(),
            workers: Workers::new(MAX_OPERATIONS, PERMIT_TIMEOUT),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            archivers: zip::archivers(),
            searches: Searches::new(),
        }))
    }

    /// Finds a file or folder by its path or, if that is a bare name, in any sub-folder.
    /// Returns its path below the root of the reduced data.
    ///
    /// # Errors
    /// [`FileError::Missing`] if it does not exist, [`FileError::NoFolder`] if the folder does not;
    /// others if the search fails.
    pub async fn find(&self, folder: Folder, name: Name) -> Result<String, FileError> {
        let path = folder.path();
        if self.exists(&folder, &name).await? {
            return Ok(match name.as_str() {
                "" => path,
                name => format!("{path}/{name}"),
            });
        }
        let found = self.search(&folder, name, Wanted::Any).await?;
        Ok(format!("{path}/{}", found.display()))
    }

    /// Opens a regular file by its path or, if that is a bare name, in any sub-folder.
    ///
    /// # Errors
    /// As [`find`](Self::find); [`FileError::Busy`] if there are too many downloads.
    pub async fn open(&self, folder: Folder, name: Name) -> Result<OpenFile, FileError> {
        if self.exists(&folder, &name).await? {
            return self.open_at(&folder, name.as_path().to_owned()).await;
        }
        let found = self.search(&folder, name, Wanted::File).await?;
        self.open_at(&folder, found).await
    }

    async fn exists(&self, folder: &Folder, name: &Name) -> Result<bool, FileError> {
        let (root, folder, name) = (self.reduced(), folder.clone(), name.clone());
        let check = move || {
            let folder = folder.open(&root)?;
            if name.is_folder() {
                return Ok(true);
            }
            match folder.metadata(name.as_path()) {
                Ok(metadata) => Ok(metadata.is_file() || metadata.is_dir()),
                Err(error) => match FileError::from_read(&error) {
                    FileError::Missing => Ok(false),
                    other => Err(other),
                },
            }
        };
        self.0.workers.run(check).await?
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
        let names = vec![name.clone()];
        let searches = &self.0.searches;
        let found = searches
            .find(&self.reduced(), folder, names, wanted)
            .await?;
        found.get(&name).cloned().ok_or(FileError::Missing)
    }

    async fn open_at(&self, folder: &Folder, path: PathBuf) -> Result<OpenFile, FileError> {
        let permit = Arc::clone(&self.0.downloads)
            .try_acquire_owned()
            .map_err(|_| FileError::Busy)?;
        let (root, folder) = (self.reduced(), folder.clone());
        let opened = self
            .0
            .workers
            .run(move || open_regular(&folder.open(&root)?, &path));
        let workers = self.0.workers.clone();
        Ok(OpenFile::new(opened.await??, workers, permit))
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

/// Opens a regular file below a folder; anything else counts as missing. Non-blocking, because
/// opening a pipe would wait for its other end.
fn open_regular(folder: &Dir, path: &std::path::Path) -> Result<Regular, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).nonblock(true);
    let opened = folder.open_with(path, &options);
    let read = opened.and_then(|file: File| Ok((file.metadata()?, file.into_std())));
    let (metadata, file) = read.map_err(|error| FileError::from_read(&error))?;
    if metadata.is_file() {
        Ok(Regular { file, metadata })
    } else {
        Err(FileError::Missing)
    }
}
