//! Incremental generation of an archive.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use crate::files::zip::member;
use crate::files::zip::plan::{Entry, Plan};
use crate::files::{FileError, Regular, open_regular};

/// Size of a read in bytes.
const CHUNK: usize = 64 * 1024;
/// Minimum size of a piece of output in bytes.
const MIN_OUTPUT: usize = 64 * 1024;
/// Maximum input of one step in bytes, for input that compresses well.
const MAX_INPUT: usize = 1024 * 1024;

/// The member that names the files that vanished; no other stands outside a job's folder.
const MISSING: &str = "MISSING.txt";

type Writer = ZipWriter<StreamWriter<SharedBuffer>>;

/// An archive that is being generated, in constant memory.
pub(super) struct Archive {
    root: PathBuf,
    pending: vec::IntoIter<Entry>,
    current: Option<Reading>,
    /// The members whose files disappeared after they were planned.
    vanished: Vec<String>,
    /// `None` once the archive is complete.
    writer: Option<Writer>,
    output: SharedBuffer,
    chunk: Vec<u8>,
}

struct Reading {
    file: File,
    /// Bytes still to be read, of the size at the time of opening.
    remaining: u64,
}

impl Archive {
    pub(super) fn new(root: PathBuf, plan: Plan) -> Self {
        let output = SharedBuffer::default();
        Self {
            root,
            pending: plan.entries.into_iter(),
            current: None,
            vanished: Vec::new(),
            writer: Some(ZipWriter::new_stream(output.clone())),
            output,
            chunk: vec![0; CHUNK],
        }
    }

    /// Generates the next piece; empty if the input read so far gave no output, `None` at the end.
    pub(super) fn step(&mut self) -> Result<Option<Bytes>, FileError> {
        let mut read = 0;
        while read < MAX_INPUT && self.output.len() < MIN_OUTPUT {
            let Some(writer) = &mut self.writer else {
                let rest = self.output.take();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            if let Some(reading) = &mut self.current {
                let bytes = reading.next(&mut self.chunk)?;
                if bytes.is_empty() {
                    self.current = None;
                }
                writer.write_all(bytes).map_err(|error| failed(&error))?;
                read += bytes.len();
            } else if let Some(entry) = self.pending.next() {
                match open(&self.root, &entry) {
                    Ok(opened) => self.current = Some(begin(entry.member, opened, writer)?),
                    Err(FileError::Missing | FileError::NoFolder) => {
                        self.vanished.push(entry.member);
                    }
                    Err(error) => return Err(error),
                }
            } else if !self.vanished.is_empty() {
                let vanished = mem::take(&mut self.vanished);
                tracing::warn!(
                    files = vanished.len(),
                    "files vanished while their archive was sent: named in it"
                );
                list(&vanished, writer).map_err(|error| failed(&error))?;
            } else if let Some(writer) = self.writer.take() {
                writer.finish().map_err(|error| failed(&error.into()))?;
            }
        }
        Ok(Some(self.output.take()))
    }
}

fn open(root: &Path, entry: &Entry) -> Result<Regular, FileError> {
    open_regular(&entry.folder.open(root)?, &entry.path)
}

/// Adds a text with one name a line. The headers of the response, which name the files that were
/// missing from the start, are sent already.
fn list(vanished: &[String], writer: &mut Writer) -> io::Result<()> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    writer.start_file(MISSING, options)?;
    writer.write_all(format!("{}\n", vanished.join("\n")).as_bytes())
}

fn begin(member: String, opened: Regular, writer: &mut Writer) -> Result<Reading, FileError> {
    let options =
        member::options(&opened.file, &opened.metadata).map_err(|error| failed(&error))?;
    writer
        .start_file(member, options)
        .map_err(|error| failed(&error.into()))?;
    Ok(Reading {
        remaining: opened.metadata.len(),
        file: opened.file,
    })
}

impl Reading {
    /// Reads the next bytes; none at the end. Bytes appended since the file was opened are left
    /// out; truncation is an error, as the archive would contain a corrupt file.
    fn next<'a>(&mut self, chunk: &'a mut [u8]) -> Result<&'a [u8], FileError> {
        let max = usize::try_from(self.remaining)
            .map_or(chunk.len(), |remaining| remaining.min(chunk.len()));
        let read = self
            .file
            .read(&mut chunk[..max])
            .map_err(|error| failed(&error))?;
        if read == 0 && self.remaining > 0 {
            return Err(FileError::Failed("file truncated while it was read".into()));
        }
        self.remaining -= read as u64;
        Ok(&chunk[..read])
    }
}

fn failed(error: &io::Error) -> FileError {
    FileError::from_write(error)
}

/// A buffer shared by the archive writer and the archive, which takes the output from it.
#[derive(Clone, Default)]
struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl SharedBuffer {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock()
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn take(&self) -> Bytes {
        mem::take(&mut *self.bytes()).into()
    }
}

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
