//! Upload of one file: written to a temporary file, which then replaces the target atomically.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem;
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use cap_fs_ext::OpenOptionsSyncExt as _;
use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions};
use tokio::runtime::Handle;

use crate::files::extras::{TEMPORARY_PREFIX, open_sub_folder};
use crate::files::folder::open_root;
use crate::files::link::{self, Target};
use crate::files::workers::Workers;
use crate::files::{FileError, Files};

/// Size of a write in bytes.
const CHUNK: usize = 256 * 1024;
/// Age at which a temporary file of an ended process is removed.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of entries checked for abandoned files.
const MAX_CHECKED: usize = 10_000;

/// An upload in progress. Dropped before [`keep`](Self::keep), it leaves no file behind.
pub struct Upload {
    temporary: Temporary,
    file: Arc<File>,
    name: PathBuf,
    buffer: BytesMut,
    remaining: u64,
    workers: Workers,
}

impl Files {
    /// The maximum size of an upload, in bytes.
    #[must_use]
    pub fn largest_upload(&self) -> u64 {
        self.0.settings.extras_max_bytes
    }

    /// Starts an upload into a sub-folder of the extras.
    ///
    /// # Errors
    /// [`FileError::NoFolder`] if the sub-folder does not exist; [`FileError::Refused`] if the file
    /// is not writable, or if it does not exist and has no dot in its name (inherited from the
    /// legacy server).
    pub async fn upload(
        &self,
        sub_folder: &'static str,
        name: String,
    ) -> Result<Upload, FileError> {
        let root = self.0.settings.extras_dir.clone();
        let begin = move || {
            let folder = open_sub_folder(&open_root(&root)?, sub_folder)?;
            let Target { folder, name } = link::resolve(folder, name)?;
            let (temporary, file) = begin(Arc::new(folder), &name)?;
            Ok::<_, FileError>((temporary, file, name))
        };
        let (temporary, file, name) = self.0.workers.run(begin).await??;
        Ok(Upload {
            temporary,
            file: Arc::new(file),
            name,
            buffer: BytesMut::new(),
            remaining: self.0.settings.extras_max_bytes,
            workers: self.0.workers.clone(),
        })
    }
}

impl Upload {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`] beyond the maximum size; [`FileError::NoSpace`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        self.remaining = self
            .remaining
            .checked_sub(bytes.len() as u64)
            .ok_or(FileError::TooLarge)?;
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), FileError> {
        let (file, buffer) = (Arc::clone(&self.file), mem::take(&mut self.buffer));
        let written = self.workers.run(move || (&*file).write_all(&buffer));
        written
            .await?
            .map_err(|error| FileError::from_write(&error))
    }

    /// Syncs the file to disk and moves it to its target.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn keep(mut self) -> Result<(), FileError> {
        self.flush().await?;
        let Self {
            temporary,
            file,
            name,
            workers,
            ..
        } = self;
        let keep = move || {
            file.sync_all()?;
            temporary.rename(&name)
        };
        let kept = workers.run(keep);
        kept.await?.map_err(|error| FileError::from_write(&error))
    }
}

fn begin(folder: Arc<Dir>, name: &Path) -> Result<(Temporary, File), FileError> {
    remove_abandoned(&folder);
    // A file that is not writable must not be replaced either.
    let mut existing = OpenOptions::new();
    existing.write(true).nonblock(true);
    let existing = match folder.open_with(name, &existing) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_dot(name) => None,
        Err(error) => {
            return Err(match FileError::from_write(&error) {
                FileError::Missing => FileError::Refused,
                other => other,
            });
        }
    };
    let failed = |error: io::Error| FileError::from_write(&error);
    let temporary = format!("{TEMPORARY_PREFIX}{:016x}", rand::random::<u64>());
    let file = folder
        .open_with(&temporary, OpenOptions::new().write(true).create_new(true))
        .map_err(failed)?;
    let temporary = Temporary {
        folder,
        name: Some(temporary),
    };
    if let Some(existing) = existing {
        let metadata = existing.metadata().map_err(failed)?;
        // Before the mode, as a change of the owner clears bits of it.
        keep_owner(&file, &metadata);
        file.set_permissions(metadata.permissions())
            .map_err(failed)?;
    }
    Ok((temporary, file.into_std()))
}

fn has_dot(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().contains(&b'.')
}

/// Gives a file the owner and the group of the one that it will replace. Where this process may not
/// change the owner, it keeps the group; where it may change neither, the file is its own.
fn keep_owner(file: &cap_std::fs::File, existing: &Metadata) {
    let (owner, group) = (Some(existing.uid()), Some(existing.gid()));
    let kept = fchown(file, owner, group).or_else(|_| fchown(file, None, group));
    if let Err(error) = kept {
        tracing::debug!(%error, "owner and group of an upload not kept");
    }
}

/// Removes abandoned temporary files. Errors are ignored: they concern earlier uploads.
fn remove_abandoned(folder: &Dir) {
    let Ok(entries) = folder.entries() else {
        return;
    };
    for entry in entries.flatten().take(MAX_CHECKED) {
        let name = entry.file_name();
        let is_old = || {
            let written = entry.metadata().ok()?.modified().ok()?.into_std();
            let age = SystemTime::now().duration_since(written).ok()?;
            Some(age > ABANDONED_AFTER)
        };
        if name.to_string_lossy().starts_with(TEMPORARY_PREFIX)
            && is_old() == Some(true)
            && folder.remove_file(&name).is_ok()
        {
            tracing::info!("abandoned upload removed");
        }
    }
}

/// A temporary file, removed when dropped.
struct Temporary {
    folder: Arc<Dir>,
    name: Option<String>,
}

impl Temporary {
    fn rename(mut self, target: &Path) -> io::Result<()> {
        if let Some(name) = &self.name {
            self.folder.rename(name, &self.folder, target)?;
        }
        self.name = None;
        // The handle is opened with `O_PATH`, which cannot be synced.
        self.folder.open(".")?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else {
            return;
        };
        let folder = Arc::clone(&self.folder);
        let remove = move || {
            if let Err(error) = folder.remove_file(name) {
                tracing::warn!(%error, "temporary upload file not removed");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
