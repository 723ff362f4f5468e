//! The folders of reduced data.

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
    /// Results for an experiment at an instrument.
    Instrument {
        /// The instrument.
        instrument: InstrumentName,
        /// The experiment number.
        experiment: i64,
    },
    /// Results of scripts without an instrument, for an experiment.
    Experiment(i64),
    /// Results of scripts without an experiment, for a user.
    User(i64),
}

impl Folder {
    /// Returns its path below the root.
    #[must_use]
    pub fn path(&self) -> String {
        let (shared, own) = self.parts();
        format!("{shared}/{}", own.join("/"))
    }

    /// Splits the path into the part managed by operators and the part owned by the experiment or
    /// user.
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

    /// Opens a handle of the folder, which confines all access through it.
    ///
    /// Symbolic links are followed in the part managed by operators, as long as they stay below
    /// the root. In the other part they are refused: a link there would lead to data of another
    /// owner.
    pub(super) fn open(&self, root: &Path) -> Result<Dir, FileError> {
        if let Self::Instrument { instrument, .. } = self
            && !is_component(instrument.as_str())
        {
            return Err(FileError::NoFolder);
        }
        let (shared, own) = self.parts();
        let mut dir = open_root(root)?
            .open_dir(shared)
            .map_err(|error| FileError::from_folder(&error))?;
        for component in own {
            dir = dir
                .open_dir_nofollow(component)
                .map_err(|error| FileError::from_folder(&error))?;
        }
        Ok(dir)
    }
}

/// Opens the root of a tree. The handle is not kept, because the mount may change.
pub(super) fn open_root(root: &Path) -> Result<Dir, FileError> {
    Dir::open_ambient_dir(root, ambient_authority()).map_err(|error| {
        let root = root.display();
        FileError::Failed(format!("open {root}: {error}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_their_established_paths() {
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
