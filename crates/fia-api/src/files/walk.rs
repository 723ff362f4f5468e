//! Bounded traversal of a folder and its sub-folders.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cap_fs_ext::DirExt as _;
use cap_std::fs::{Dir, DirEntry, FileType};

use crate::files::FileError;

/// Limits of a walk, which fails with [`FileError::CutShort`] beyond any of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) depth: usize,
    pub(super) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 200_000,
            depth: 32,
            time: Duration::from_secs(2),
        }
    }
}

/// Number of entries between two checks of time and cancellation.
const CHECK_INTERVAL: usize = 256;

/// An entry visited by a walk.
pub(super) struct WalkEntry<'a> {
    /// The path of its sub-folder; empty in the folder itself.
    pub(super) parent: &'a Path,
    pub(super) name: &'a OsStr,
    pub(super) kind: FileType,
}

impl WalkEntry<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(self.name)
    }
}

/// Visits every entry of a folder, then those of each sub-folder in turn. Ends when `visit` breaks,
/// fails when `has_waiters` turns false. Symbolic links are visited, not followed.
pub(super) fn walk(
    folder: &Dir,
    limits: Limits,
    has_waiters: impl Fn() -> bool,
    mut visit: impl FnMut(&WalkEntry<'_>) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let deadline = Instant::now() + limits.time;
    let mut visited = 0;
    let mut pending = vec![(PathBuf::new(), 0)];
    while let Some((parent, depth)) = pending.pop() {
        let Some(entries) = open(folder, &parent)? else {
            continue;
        };
        let mut below = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| FileError::from_read(&error))?;
            visited += 1;
            let expired =
                visited % CHECK_INTERVAL == 0 && (Instant::now() >= deadline || !has_waiters());
            if visited > limits.entries || expired {
                return Err(FileError::CutShort);
            }
            let (name, kind) = (entry.file_name(), kind(&entry)?);
            let entry = WalkEntry {
                parent: &parent,
                name: &name,
                kind,
            };
            if visit(&entry).is_break() {
                return Ok(());
            }
            if kind.is_dir() {
                below.push(name);
            }
        }
        descend(&mut pending, &parent, depth, below, limits.depth)?;
    }
    Ok(())
}

/// Pushes the sub-folders, the first of them on top.
fn descend(
    pending: &mut Vec<(PathBuf, usize)>,
    parent: &Path,
    depth: usize,
    below: Vec<OsString>,
    deepest: usize,
) -> Result<(), FileError> {
    if !below.is_empty() && depth == deepest {
        return Err(FileError::CutShort);
    }
    let below = below.into_iter().rev();
    pending.extend(below.map(|name| (parent.join(name), depth + 1)));
    Ok(())
}

/// Returns the entries of a sub-folder; `None` if it was removed or is not readable.
fn open(
    folder: &Dir,
    parent: &Path,
) -> Result<Option<impl Iterator<Item = io::Result<DirEntry>>>, FileError> {
    let opened = if parent.as_os_str().is_empty() {
        folder.entries()
    } else {
        folder
            .open_dir_nofollow(parent)
            .and_then(|dir| dir.entries())
    };
    match opened {
        Ok(entries) => Ok(Some(entries)),
        Err(error) => match FileError::from_read(&error) {
            FileError::Missing => Ok(None),
            other => Err(other),
        },
    }
}

/// Returns the type of an entry. Some file systems do not list it, which costs a `stat`.
fn kind(entry: &DirEntry) -> Result<FileType, FileError> {
    let listed = entry
        .file_type()
        .map_err(|error| FileError::from_read(&error))?;
    if listed.is_dir() || listed.is_file() || listed.is_symlink() {
        return Ok(listed);
    }
    Ok(entry
        .metadata()
        .map_or(listed, |metadata| metadata.file_type()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cap_std::ambient_authority;

    use super::*;

    fn tree(files: &[&str]) -> (tempfile::TempDir, Dir) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let dir = Dir::open_ambient_dir(root.path(), ambient_authority()).unwrap();
        (root, dir)
    }

    fn names(folder: &Dir, limits: Limits) -> Result<Vec<String>, FileError> {
        let mut found = Vec::new();
        walk(
            folder,
            limits,
            || true,
            |entry| {
                found.push(entry.path().display().to_string());
                ControlFlow::Continue(())
            },
        )?;
        found.sort();
        Ok(found)
    }

    #[test]
    fn every_entry_is_visited_and_no_link_followed() {
        let (root, dir) = tree(&["a", "sub/b", "sub/deeper/c"]);
        std::os::unix::fs::symlink("/", root.path().join("out")).unwrap();
        std::os::unix::fs::symlink("..", root.path().join("sub/loop")).unwrap();
        let found = names(&dir, Limits::default()).unwrap();
        let all = [
            "a",
            "out",
            "sub",
            "sub/b",
            "sub/deeper",
            "sub/deeper/c",
            "sub/loop",
        ];
        assert_eq!(found, all);
    }

    #[test]
    fn a_walk_beyond_a_limit_fails() {
        let (_root, dir) = tree(&["1/2/3/x", "a", "b"]);
        let limits = Limits::default();
        for (limits, fits) in [
            (limits, true),
            (Limits { depth: 3, ..limits }, true),
            (Limits { depth: 2, ..limits }, false),
            (
                Limits {
                    entries: 6,
                    ..limits
                },
                true,
            ),
            (
                Limits {
                    entries: 5,
                    ..limits
                },
                false,
            ),
        ] {
            let walked = names(&dir, limits);
            assert_eq!(walked.is_ok(), fits, "{limits:?}");
        }
        let many: Vec<String> = (0..2 * CHECK_INTERVAL).map(|i| i.to_string()).collect();
        let (_root, dir) = tree(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let expired = Limits {
            time: Duration::ZERO,
            ..limits
        };
        assert!(matches!(names(&dir, expired), Err(FileError::CutShort)));
        let cancelled = walk(&dir, limits, || false, |_| ControlFlow::Continue(()));
        assert!(matches!(cancelled, Err(FileError::CutShort)));
    }
}
