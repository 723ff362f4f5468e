//! What an archive was to hold and does not.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands unencoded in the header, beside letters and digits.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'/');
/// The longest header: proxies refuse longer ones.
const MAX_HEADER: usize = 8 * 1024;

/// Files that are not there, each as `<job>/<name>`, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFiles(pub Vec<String>);

impl MissingFiles {
    /// The header `x-missing-files`: names joined by `;`, as many as fit.
    #[must_use]
    pub fn header(&self) -> String {
        let mut header = String::new();
        for (i, name) in self.0.iter().enumerate() {
            let end = header.len();
            if i > 0 {
                header.push(';');
            }
            header.extend(utf8_percent_encode(name, ENCODED));
            if header.len() > MAX_HEADER {
                header.truncate(end);
                break;
            }
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_cut_between_two() {
        let header = |names: &[&str]| {
            MissingFiles(names.iter().map(|name| (*name).to_owned()).collect()).header()
        };
        assert_eq!(header(&[]), "");
        assert_eq!(
            header(&["1/gone.nxs", "2/a;b\r\n☃"]),
            "1/gone.nxs;2/a%3Bb%0D%0A%E2%98%83"
        );
        let long = format!("1/{}", "x".repeat(998));
        let names = vec![long.as_str(); 20];
        assert_eq!(header(&names), [long.as_str(); 8].join(";"));
    }
}
