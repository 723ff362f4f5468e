//! Files that an archive lacks.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters of a file name that headers percent-encode: all but letters, digits, and
/// `_.-~/`.
pub const HEADER_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'/');
/// The longest header in bytes; proxies reject longer ones.
const MAX_HEADER: usize = 8 * 1024;

/// The missing files, each as `<job>/<name>`, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFiles(pub Vec<String>);

impl MissingFiles {
    /// The value of the header `x-missing-files`: names joined by `;`, as many as fit.
    #[must_use]
    pub fn header(&self) -> String {
        let mut header = String::new();
        for (i, name) in self.0.iter().enumerate() {
            let end = header.len();
            if i > 0 {
                header.push(';');
            }
            header.extend(utf8_percent_encode(name, HEADER_ENCODED));
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
    fn names_are_encoded_and_truncated_at_a_name() {
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
