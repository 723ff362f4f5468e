//! One uploaded file: written beside the old one, then put in its place.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use cap_fs_ext::OpenOptionsSyncExt as _;
use cap_std::fs::{Dir, OpenOptions};
use tokio::runtime::Handle;

use crate::files::extras::{TEMPORARY, open_sub_folder};
use crate::files::folder::open_root;
use crate::files::workers::Workers;
use crate::files::{FileError, Files};

/// How much is gathered before it is written.
const CHUNK: usize = 256 * 1024;
/// The age at which what an ended process left half written is removed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// How many entries are looked at for that.
const LOOKED_AT: usize = 10_000;

/// A file that is being written. Dropped before it is [kept](Self::keep), it leaves nothing.
pub struct Upload {
    temporary: Temporary,
    file: Arc<File>,
    name: String,
    gathered: BytesMut,
    left: u64,
    workers: Workers,
}

impl Files {
    /// The largest file that may be uploaded, in bytes.
    #[must_use]
    pub fn largest_upload(&self) -> u64 {
        self.0.settings.extras_max_bytes
    }

    /// Begins to write a file into a sub-folder of the extras.
    ///
    /// # Errors
    /// [`FileError::NoFolder`] where the sub-folder does not exist; [`FileError::Refused`] where
    /// the file may not be written, or would be new and has no dot in its name, as ever.
    pub async fn upload(
        &self,
        sub_folder: &'static str,
        name: String,
    ) -> Result<Upload, FileError> {
        let root = self.0.settings.extras_dir.clone();
        let begin = move || {
            let folder = open_sub_folder(&open_root(&root)?, sub_folder)?;
            let (temporary, file) = begin(Arc::new(folder), &name)?;
            Ok::<_, FileError>((temporary, file, name))
        };
        let (temporary, file, name) = self.0.workers.run(begin).await??;
        Ok(Upload {
            temporary,
            file: Arc::new(file),
            name,
            gathered: BytesMut::new(),
            left: self.0.settings.extras_max_bytes,
            workers: self.0.workers.clone(),
        })
    }
}

impl Upload {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`] beyond the limit; [`FileError::NoSpace`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or(FileError::TooLarge)?;
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), FileError> {
        let (file, gathered) = (Arc::clone(&self.file), mem::take(&mut self.gathered));
        let written = self.workers.run(move || (&*file).write_all(&gathered));
        written.await?.map_err(|error| FileError::of_write(&error))
    }

    /// Puts the file in its place, whole and on the disk.
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
        kept.await?.map_err(|error| FileError::of_write(&error))
    }
}

fn begin(folder: Arc<Dir>, name: &str) -> Result<(Temporary, File), FileError> {
    remove_abandoned(&folder);
    // A file that may not be written may not be replaced either.
    let mut existing = OpenOptions::new();
    existing.write(true).nonblock(true);
    let existing = match folder.open_with(name, &existing) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.contains('.') => None,
        Err(error) => {
            return Err(match FileError::of_write(&error) {
                FileError::Missing => FileError::Refused,
                other => other,
            });
        }
    };
    let failed = |error: io::Error| FileError::of_write(&error);
    let temporary = format!("{TEMPORARY}{:016x}", rand::random::<u64>());
    let file = folder
        .open_with(&temporary, OpenOptions::new().write(true).create_new(true))
        .map_err(failed)?;
    let temporary = Temporary {
        folder,
        name: Some(temporary),
    };
    if let Some(existing) = existing {
        let mode = existing.metadata().map_err(failed)?.permissions();
        file.set_permissions(mode).map_err(failed)?;
    }
    Ok((temporary, file.into_std()))
}

/// Whatever goes wrong here concerns earlier uploads, not this one.
fn remove_abandoned(folder: &Dir) {
    let Ok(entries) = folder.entries() else {
        return;
    };
    for entry in entries.flatten().take(LOOKED_AT) {
        let name = entry.file_name();
        let is_old = || {
            let written = entry.metadata().ok()?.modified().ok()?.into_std();
            let age = SystemTime::now().duration_since(written).ok()?;
            Some(age > ABANDONED)
        };
        if name.to_string_lossy().starts_with(TEMPORARY)
            && is_old() == Some(true)
            && folder.remove_file(&name).is_ok()
        {
            tracing::info!("an upload that was never finished was removed");
        }
    }
}

/// The file beside the old one, removed when it is dropped.
struct Temporary {
    folder: Arc<Dir>,
    name: Option<String>,
}

impl Temporary {
    fn rename(mut self, target: &str) -> io::Result<()> {
        if let Some(name) = &self.name {
            self.folder.rename(name, &self.folder, target)?;
        }
        self.name = None;
        // The handle itself is one for looking things up only.
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
                tracing::warn!(%error, "an unfinished upload was left behind");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
