//! An archive in the making, one step at a time.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use zip::ZipWriter;
use zip::write::StreamWriter;

use crate::files::zip::member;
use crate::files::zip::plan::{Entry, Plan};
use crate::files::{FileError, open_regular};

/// How much of a file is read at a time.
const CHUNK: usize = 64 * 1024;
/// How much of an archive is handed on at a time.
const HANDED_ON: usize = 64 * 1024;
/// The most that is read in one step, where little comes of it.
const STEP: usize = 1024 * 1024;

/// An archive in the making. What it holds in memory does not depend on its size.
pub(super) struct Archive {
    root: PathBuf,
    ahead: vec::IntoIter<Entry>,
    current: Option<Reading>,
    /// `None` at the end.
    writer: Option<ZipWriter<StreamWriter<Outlet>>>,
    outlet: Outlet,
    chunk: Vec<u8>,
}

struct Reading {
    file: File,
    /// What of the size that it had when it was opened is still to come.
    left: u64,
}

impl Archive {
    pub(super) fn new(root: PathBuf, plan: Plan) -> Self {
        let outlet = Outlet::default();
        Self {
            root,
            ahead: plan.entries.into_iter(),
            current: None,
            writer: Some(ZipWriter::new_stream(outlet.clone())),
            outlet,
            chunk: vec![0; CHUNK],
        }
    }

    /// Makes the next piece; empty where nothing came of what was read, `None` at the end.
    pub(super) fn step(&mut self) -> Result<Option<Bytes>, FileError> {
        let mut read = 0;
        while read < STEP && self.outlet.holds() < HANDED_ON {
            let Some(writer) = &mut self.writer else {
                let rest = self.outlet.take();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            if let Some(reading) = &mut self.current {
                let bytes = reading.next(&mut self.chunk)?;
                if bytes.is_empty() {
                    self.current = None;
                }
                writer.write_all(bytes).map_err(|error| failed(&error))?;
                read += bytes.len();
            } else if let Some(entry) = self.ahead.next() {
                self.current = Some(begin(&self.root, entry, writer)?);
            } else if let Some(writer) = self.writer.take() {
                writer.finish().map_err(|error| failed(&error.into()))?;
            }
        }
        Ok(Some(self.outlet.take()))
    }
}

fn begin(
    root: &std::path::Path,
    entry: Entry,
    writer: &mut ZipWriter<StreamWriter<Outlet>>,
) -> Result<Reading, FileError> {
    let opened = open_regular(&entry.folder.open(root)?, &entry.path)?;
    let options =
        member::options(&opened.file, &opened.metadata).map_err(|error| failed(&error))?;
    writer
        .start_file(entry.member, options)
        .map_err(|error| failed(&error.into()))?;
    Ok(Reading {
        left: opened.metadata.len(),
        file: opened.file,
    })
}

impl Reading {
    /// The next bytes; none at the end. What was appended meanwhile is left out; a file that
    /// became shorter cannot be told from a broken one.
    fn next<'a>(&mut self, chunk: &'a mut [u8]) -> Result<&'a [u8], FileError> {
        let most = usize::try_from(self.left).map_or(chunk.len(), |left| left.min(chunk.len()));
        let read = self
            .file
            .read(&mut chunk[..most])
            .map_err(|error| failed(&error))?;
        if read == 0 && self.left > 0 {
            return Err(FileError::Failed("a file became shorter".into()));
        }
        self.left -= read as u64;
        Ok(&chunk[..read])
    }
}

fn failed(error: &io::Error) -> FileError {
    FileError::of_write(error)
}

/// Where the writer writes to, and whence pieces are taken.
#[derive(Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Outlet {
    fn made(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock()
    }

    fn holds(&self) -> usize {
        self.made().len()
    }

    fn take(&self) -> Bytes {
        mem::take(&mut *self.made()).into()
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.made().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
