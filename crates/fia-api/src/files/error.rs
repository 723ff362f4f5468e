//! Why something about a file cannot be done.

use std::io;
use std::sync::Arc;

/// A failure of the file trees. None says whether a file exists that the caller may not have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// The folder that the file would be in does not exist.
    #[error("no such folder")]
    NoFolder,
    /// The folder holds no such file, or one that cannot be had from within it.
    #[error("no such file")]
    Missing,
    /// The file system does not permit it.
    #[error("not permitted")]
    Refused,
    /// The folder holds more than may be looked through for one request.
    #[error("the folder holds too much to be searched")]
    CutShort,
    /// Too much is under way already.
    #[error("too many file operations under way")]
    Busy,
    /// A file larger than the settings allow.
    #[error("larger than allowed")]
    TooLarge,
    /// More files, or more in them, than the settings allow for one archive.
    #[error("too much for one archive")]
    TooMuch,
    /// No space is left.
    #[error("no space left")]
    NoSpace,
    /// The file system is in trouble.
    #[error("the file system failed: {0}")]
    Failed(Arc<str>),
}

impl FileError {
    /// What a failed look at something below a folder means: one answer for what is not there
    /// and for what leads out of the folder.
    pub(super) fn of_look(error: &io::Error) -> Self {
        match Self::of_write(error) {
            Self::Refused => Self::Missing,
            other => other,
        }
    }

    /// As [`of_look`](Self::of_look), for the folder itself.
    pub(super) fn of_folder(error: &io::Error) -> Self {
        match Self::of_look(error) {
            Self::Missing => Self::NoFolder,
            other => other,
        }
    }

    /// What a failed write means.
    pub(super) fn of_write(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound
            | Kind::NotADirectory
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

/// `ELOOP`: a symbolic link where none is followed, or too many of them.
const LOOP: i32 = 40;
/// `ENXIO`: a socket, or a pipe that nobody reads.
const NO_DEVICE: i32 = 6;
/// `EMFILE`
const FILES_OF_PROCESS: i32 = 24;
/// `ENFILE`
const FILES_OF_SYSTEM: i32 = 23;
