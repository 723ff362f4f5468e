//! File names given by clients.

use std::path::Path;

/// Maximum length of a path component in bytes (`NAME_MAX`).
const MAX_COMPONENT: usize = 255;
/// Maximum length of a path in bytes (`PATH_MAX` without NUL).
const MAX_PATH: usize = 4095;

/// A relative path below a folder, taken literally: never a pattern, and never leaving the folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Normalizes a name: empty components and `.` are removed. `None` if it contains NUL or `..`,
    /// is absolute, or is longer than file systems allow: no such file exists.
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

    /// The path; empty for the folder itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last component.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it denotes the folder itself.
    pub(super) fn is_folder(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has no sub-folder, and is therefore searched for in all of them.
    pub(super) fn is_bare(&self) -> bool {
        !self.is_folder() && !self.0.contains('/')
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// Whether a text is a single path component.
pub(super) fn is_component(text: &str) -> bool {
    Name::new(text).is_some_and(|name| name.is_bare() && name.0 == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized_and_confined_to_their_folder() {
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
    fn only_a_single_component_is_a_component() {
        assert!(is_component("MARI"));
        for text in ["", ".", "..", "a/b", "a/", "/a", "a\0"] {
            assert!(!is_component(text), "{text:?}");
        }
    }
}
