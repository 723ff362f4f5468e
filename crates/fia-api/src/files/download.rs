//! Download of one file, read in chunks while it is sent.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use cap_std::fs::MetadataExt as _;
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use crate::files::workers::Workers;
use crate::files::{FileError, Regular};

/// Size of a read in bytes; a download holds a few of them in memory.
const CHUNK: u64 = 128 * 1024;

/// A regular file, open for reading.
pub struct OpenFile {
    file: Arc<File>,
    size: u64,
    modified: SystemTime,
    workers: Workers,
    permit: OwnedSemaphorePermit,
}

/// A piece of a response body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// These bytes.
    Text(Bytes),
    /// This range of the file.
    Part(Range<u64>),
}

impl OpenFile {
    pub(super) fn new(opened: Regular, workers: Workers, permit: OwnedSemaphorePermit) -> Self {
        let seconds = u64::try_from(opened.metadata.mtime()).unwrap_or(0);
        let nanoseconds = u32::try_from(opened.metadata.mtime_nsec()).unwrap_or(0);
        Self {
            size: opened.metadata.len(),
            modified: UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds),
            file: Arc::new(opened.file),
            workers,
            permit,
        }
    }

    /// Its size in bytes when it was opened, which is the size that is sent.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Time of the last modification, from 1970 on.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    /// The opaque part of its `ETag`, the same on every replica: 32 hexadecimal digits of a digest
    /// of modification time and size.
    #[must_use]
    pub fn etag(&self) -> String {
        let since = self.modified.duration_since(UNIX_EPOCH);
        let nanoseconds = since.map_or(0, |since| since.as_nanos());
        let digest = Sha256::digest(format!("{nanoseconds}-{}", self.size));
        digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Streams pieces in order, with backpressure.
    ///
    /// The stream fails if the file was truncated in the meantime: the announced length cannot
    /// be sent.
    pub fn read(self, pieces: Vec<Piece>) -> impl Stream<Item = Result<Bytes, FileError>> + Send {
        let reading = Reading {
            file: self.file,
            workers: self.workers,
            pending: pieces.into(),
            _permit: self.permit,
        };
        stream::try_unfold(reading, |mut reading| async move {
            let next = reading.next().await.inspect_err(|error| {
                tracing::warn!(%error, "download aborted");
            })?;
            Ok(next.map(|bytes| (bytes, reading)))
        })
    }
}

struct Reading {
    file: Arc<File>,
    workers: Workers,
    pending: VecDeque<Piece>,
    _permit: OwnedSemaphorePermit,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        let part = match self.pending.pop_front() {
            None => return Ok(None),
            Some(Piece::Text(text)) => return Ok(Some(text)),
            Some(Piece::Part(part)) => part,
        };
        let length = (part.end - part.start).min(CHUNK);
        if length == 0 {
            return Ok(Some(Bytes::new()));
        }
        let (file, start) = (Arc::clone(&self.file), part.start);
        let read = self.workers.run(move || read_at(&file, start, length));
        let bytes = read.await?.map_err(|error| FileError::from_write(&error))?;
        if bytes.is_empty() {
            return Err(FileError::Failed("file truncated while it was read".into()));
        }
        let rest = start + bytes.len() as u64..part.end;
        if !rest.is_empty() {
            self.pending.push_front(Piece::Part(rest));
        }
        Ok(Some(bytes))
    }
}

fn read_at(file: &File, start: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(usize::try_from(length).unwrap_or(usize::MAX));
    let read = file.read_at(&mut buffer, start)?;
    buffer.truncate(read);
    Ok(buffer.freeze())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use cap_std::ambient_authority;
    use cap_std::fs::Dir;
    use futures_util::TryStreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::files::open_regular;

    fn open(path: &std::path::Path) -> OpenFile {
        let dir = Dir::open_ambient_dir(path.parent().unwrap(), ambient_authority()).unwrap();
        let opened = open_regular(&dir, path.file_name().unwrap().as_ref());
        let workers = Workers::new(1, Duration::from_secs(1));
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned();
        OpenFile::new(opened.ok().unwrap(), workers, permit.unwrap())
    }

    #[tokio::test]
    async fn pieces_are_sent_in_order_without_bytes_appended_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let content: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        fs::write(&path, &content).unwrap();
        let file = open(&path);
        let etag = file.etag();
        assert_eq!((file.size(), etag.len()), (300_000, 32));
        fs::write(&path, [&content[..], b"more"].concat()).unwrap();
        assert_ne!(open(&path).etag(), etag);
        let pieces = vec![
            Piece::Text("head".into()),
            Piece::Part(0..file.size()),
            Piece::Part(5..7),
        ];
        let read: Vec<Bytes> = file.read(pieces).try_collect().await.unwrap();
        assert_eq!(
            read.concat(),
            [b"head", &content[..], &content[5..7]].concat()
        );
    }

    #[tokio::test]
    async fn a_truncated_file_fails_the_stream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, vec![b'x'; 400_000]).unwrap();
        let file = open(&path);
        let all = vec![Piece::Part(0..file.size())];
        fs::write(&path, vec![b'x'; 200_000]).unwrap();
        let read: Result<Vec<Bytes>, FileError> = file.read(all).try_collect().await;
        assert!(matches!(read, Err(FileError::Failed(_))));
    }
}
