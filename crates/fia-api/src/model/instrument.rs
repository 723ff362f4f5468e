//! Names of instruments.

use std::fmt;

/// An instrument's name in the form of the database and of cache keys: upper case, without NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstrumentName(String);

impl InstrumentName {
    /// Converts a client's spelling of a name, which is case-insensitive.
    ///
    /// Upper-cased as Unicode does (`ß` becomes `SS`), as the older server's `str.upper()`.
    /// `None` if it contains NUL, which PostgreSQL cannot store.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (!name.contains('\0')).then(|| Self(name.to_uppercase()))
    }

    /// The upper-case name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstrumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upper_cased_as_unicode_does() {
        for (given, kept) in [
            ("mari", "MARI"),
            ("MaRi", "MARI"),
            ("straße", "STRASSE"),
            ("ü", "Ü"),
        ] {
            assert_eq!(InstrumentName::new(given).unwrap().as_str(), kept);
        }
        assert_eq!(InstrumentName::new("a\0b"), None);
    }
}
