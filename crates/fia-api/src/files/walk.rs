//! A walk through a folder and its sub-folders, within limits.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cap_fs_ext::DirExt as _;
use cap_std::fs::{Dir, DirEntry, FileType};

use crate::files::FileError;

/// How far a walk may go. Beyond any of these it ends with [`FileError::CutShort`].
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

/// How many entries may pass between two looks at the clock.
const BETWEEN_LOOKS: usize = 256;

/// What a walk comes by.
pub(super) struct Passed<'a> {
    /// The sub-folder it is in; empty for the folder itself.
    pub(super) parent: &'a Path,
    pub(super) name: &'a OsStr,
    pub(super) kind: FileType,
}

impl Passed<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(self.name)
    }
}

/// Passes every entry of a folder, then those of each sub-folder in turn, until `visit` breaks
/// off or `wanted` says that nobody waits any more. Symbolic links are passed, not followed.
pub(super) fn walk(
    folder: &Dir,
    limits: Limits,
    wanted: impl Fn() -> bool,
    mut visit: impl FnMut(&Passed<'_>) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let end = Instant::now() + limits.time;
    let mut passed = 0;
    let mut ahead = vec![(PathBuf::new(), 0)];
    while let Some((parent, depth)) = ahead.pop() {
        let Some(entries) = open(folder, &parent)? else {
            continue;
        };
        let mut below = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| FileError::of_look(&error))?;
            passed += 1;
            let late = passed % BETWEEN_LOOKS == 0 && (Instant::now() >= end || !wanted());
            if passed > limits.entries || late {
                return Err(FileError::CutShort);
            }
            let (name, kind) = (entry.file_name(), kind(&entry)?);
            let entry = Passed {
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
        descend(&mut ahead, &parent, depth, below, limits.depth)?;
    }
    Ok(())
}

/// Puts the sub-folders ahead, the first of them on top.
fn descend(
    ahead: &mut Vec<(PathBuf, usize)>,
    parent: &Path,
    depth: usize,
    below: Vec<OsString>,
    deepest: usize,
) -> Result<(), FileError> {
    if !below.is_empty() && depth == deepest {
        return Err(FileError::CutShort);
    }
    let below = below.into_iter().rev();
    ahead.extend(below.map(|name| (parent.join(name), depth + 1)));
    Ok(())
}

/// The entries of a sub-folder; `None` where it has gone or may not be read.
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
        Err(error) => match FileError::of_look(&error) {
            FileError::Missing => Ok(None),
            other => Err(other),
        },
    }
}

/// Some file systems do not tell the kind along with the name.
fn kind(entry: &DirEntry) -> Result<FileType, FileError> {
    let told = entry
        .file_type()
        .map_err(|error| FileError::of_look(&error))?;
    if told.is_dir() || told.is_file() || told.is_symlink() {
        return Ok(told);
    }
    Ok(entry
        .metadata()
        .map_or(told, |metadata| metadata.file_type()))
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
            |passed| {
                found.push(passed.path().display().to_string());
                ControlFlow::Continue(())
            },
        )?;
        found.sort();
        Ok(found)
    }

    #[test]
    fn everything_is_passed_and_no_link_followed() {
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
    fn a_walk_has_limits() {
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
        let many: Vec<String> = (0..2 * BETWEEN_LOOKS).map(|i| i.to_string()).collect();
        let (_root, dir) = tree(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let hasty = Limits {
            time: Duration::ZERO,
            ..limits
        };
        assert!(matches!(names(&dir, hasty), Err(FileError::CutShort)));
        let unwanted = walk(&dir, limits, || false, |_| ControlFlow::Continue(()));
        assert!(matches!(unwanted, Err(FileError::CutShort)));
    }
}
