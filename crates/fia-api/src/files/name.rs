//! A file's name as a client gives it.

use std::path::Path;

/// What a file system takes as one name, in bytes.
const MAX_COMPONENT: usize = 255;
/// What it takes as a path, in bytes.
const MAX_PATH: usize = 4095;

/// A path below a folder, taken literally: never a pattern, never out of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Takes a name, without empty components and `.`, which say nothing. `None` where it holds
    /// NUL or `..`, is absolute, or is longer than file systems allow: there is no such file.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if name.contains('\0') || name.starts_with('/') || name.len() > MAX_PATH {
            return None;
        }
        let components: Vec<&str> = name
            .split('/')
            .filter(|component| !matches!(*component, "" | "."))
            .collect();
        let fits = |component: &&str| *component != ".." && component.len() <= MAX_COMPONENT;
        components
            .iter()
            .all(fits)
            .then(|| Self(components.join("/")))
    }

    /// The path; empty where it is the folder itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last component.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is the folder itself.
    pub(super) fn is_folder(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names no sub-folder, and so is looked for in all of them.
    pub(super) fn is_bare(&self) -> bool {
        !self.is_folder() && !self.0.contains('/')
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// Whether a text is one component of a path: a plain name.
pub(super) fn is_component(text: &str) -> bool {
    Name::new(text).is_some_and(|name| name.is_bare() && name.0 == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_literal_and_stay_below_their_folder() {
        let long = "x".repeat(MAX_COMPONENT);
        for (given, kept) in [
            ("MAR1.nxspe", Some("MAR1.nxspe")),
            ("sub/deep.nxspe", Some("sub/deep.nxspe")),
            ("./sub//deep.nxspe/", Some("sub/deep.nxspe")),
            ("", Some("")),
            (".", Some("")),
            ("*", Some("*")),
            ("..x", Some("..x")),
            (r"..\x", Some(r"..\x")),
            (&long, Some(long.as_str())),
            ("/etc/passwd", None),
            ("..", None),
            ("sub/../../x", None),
            ("a\0b", None),
            (&format!("{long}x"), None),
            (&"a/".repeat(3000), None),
        ] {
            let name = Name::new(given);
            assert_eq!(name.as_ref().map(Name::as_str), kept, "{given}");
        }
    }

    #[test]
    fn only_a_plain_name_is_a_component() {
        assert!(is_component("MARI"));
        for text in ["", ".", "..", "a/b", "a/", "/a", "a\0"] {
            assert!(!is_component(text), "{text:?}");
        }
    }
}
