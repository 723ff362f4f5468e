//! Failures of the file trees.

use std::io;
use std::sync::Arc;

/// A failure of the file trees. None reveals whether an inaccessible file exists.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// The folder does not exist.
    #[error("no such folder")]
    NoFolder,
    /// The folder holds no such file, or a link that leads out of the folder.
    #[error("no such file")]
    Missing,
    /// The file system denies access.
    #[error("not permitted")]
    Refused,
    /// A search exceeded its limits.
    #[error("search limits exceeded")]
    CutShort,
    /// Too many operations are in progress.
    #[error("too many file operations in progress")]
    Busy,
    /// The file exceeds the configured size.
    #[error("file too large")]
    TooLarge,
    /// The archive exceeds the configured number of files or size.
    #[error("archive too large")]
    TooMuch,
    /// The file system is full.
    #[error("no space left")]
    NoSpace,
    /// The file system failed.
    #[error("file system error: {0}")]
    Failed(Arc<str>),
}

impl FileError {
    /// Classifies a failed read below a folder. A file that does not exist and a link that leads
    /// out of the folder give the same error.
    pub(super) fn from_read(error: &io::Error) -> Self {
        match Self::from_write(error) {
            Self::Refused => Self::Missing,
            other => other,
        }
    }

    /// Classifies a failed read of the folder itself.
    pub(super) fn from_folder(error: &io::Error) -> Self {
        match Self::from_read(error) {
            Self::Missing => Self::NoFolder,
            other => other,
        }
    }

    /// Classifies a failed write.
    pub(super) fn from_write(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound
            | Kind::NotADirectory
            | Kind::StaleNetworkFileHandle
            | Kind::InvalidInput
            | Kind::InvalidFilename
            | Kind::Unsupported => Self::Missing,
            Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::IsADirectory
            | Kind::DirectoryNotEmpty => Self::Refused,
            Kind::StorageFull | Kind::QuotaExceeded => Self::NoSpace,
            Kind::FileTooLarge => Self::TooLarge,
            Kind::OutOfMemory => Self::Busy,
            _ => match error.raw_os_error() {
                Some(LOOP | NO_DEVICE) => Self::Missing,
                Some(FILES_OF_PROCESS | FILES_OF_SYSTEM) => Self::Busy,
                _ => Self::Failed(error.to_string().into()),
            },
        }
    }
}

/// `ELOOP`: a symbolic link that is not followed, or too many of them.
const LOOP: i32 = 40;
/// `ENXIO`: a socket, or a pipe without a reader.
const NO_DEVICE: i32 = 6;
/// `EMFILE`
const FILES_OF_PROCESS: i32 = 24;
/// `ENFILE`
const FILES_OF_SYSTEM: i32 = 23;
