//! The folders that hold reduced data.

use std::path::Path;

use cap_fs_ext::DirExt as _;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::files::FileError;
use crate::files::name::is_component;
use crate::model::InstrumentName;

/// A folder below the root of the reduced data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Folder {
    /// What was reduced for an experiment at an instrument.
    Instrument {
        /// The instrument.
        instrument: InstrumentName,
        /// The experiment's number.
        experiment: i64,
    },
    /// What scripts without an instrument gave for an experiment.
    Experiment(i64),
    /// What scripts without an experiment gave for a user.
    User(i64),
}

impl Folder {
    /// Its path below the root.
    #[must_use]
    pub fn path(&self) -> String {
        let (shared, own) = self.parts();
        format!("{shared}/{}", own.join("/"))
    }

    /// The part of the path that operators arrange, and the part that belongs to the experiment
    /// or user.
    fn parts(&self) -> (String, Vec<String>) {
        match self {
            Self::Instrument {
                instrument,
                experiment,
            } => (
                format!("{instrument}/RBNumber"),
                vec![format!("RB{experiment}"), "autoreduced".to_owned()],
            ),
            Self::Experiment(number) => (
                "GENERIC/autoreduce/ExperimentNumbers".to_owned(),
                vec![number.to_string()],
            ),
            Self::User(number) => (
                "GENERIC/autoreduce/UserNumbers".to_owned(),
                vec![number.to_string()],
            ),
        }
    }

    /// Opens the folder; what is opened through it lies in it.
    ///
    /// Operators may have symbolic links in their part of the path, as long as they stay below
    /// the root. In the other part there is none: a link there would lead to what belongs to
    /// somebody else.
    pub(super) fn open(&self, root: &Path) -> Result<Dir, FileError> {
        if let Self::Instrument { instrument, .. } = self
            && !is_component(instrument.as_str())
        {
            return Err(FileError::NoFolder);
        }
        let (shared, own) = self.parts();
        let mut dir = open_root(root)?
            .open_dir(shared)
            .map_err(|error| FileError::of_folder(&error))?;
        for component in own {
            dir = dir
                .open_dir_nofollow(component)
                .map_err(|error| FileError::of_folder(&error))?;
        }
        Ok(dir)
    }
}

/// Opens the root of a tree. Each time anew: what is mounted there may have changed.
pub(super) fn open_root(root: &Path) -> Result<Dir, FileError> {
    Dir::open_ambient_dir(root, ambient_authority()).map_err(|error| {
        let root = root.display();
        FileError::Failed(format!("{root} cannot be opened: {error}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_where_they_always_were() {
        let instrument = |name: &str| Folder::Instrument {
            instrument: InstrumentName::new(name).unwrap(),
            experiment: 20024,
        };
        for (folder, path) in [
            (instrument("mari"), "MARI/RBNumber/RB20024/autoreduced"),
            (
                Folder::Experiment(7),
                "GENERIC/autoreduce/ExperimentNumbers/7",
            ),
            (Folder::User(-1), "GENERIC/autoreduce/UserNumbers/-1"),
        ] {
            assert_eq!(folder.path(), path);
        }
        for name in ["..", "../MARI", "a/b", ""] {
            let opened = instrument(name).open(Path::new("/"));
            assert!(matches!(opened, Err(FileError::NoFolder)), "{name}");
        }
    }
}
