//! What the fuzz targets reach beyond the public interface. Compiled with `--cfg fuzzing` only.

use bytes::Bytes;

use crate::protocol::marker::{FenceToken, Lease, Stored};

/// The kind of a key's content, by its bytes.
#[must_use]
pub fn kind(content: &[u8]) -> &'static str {
    match Stored::from(Some(Bytes::copy_from_slice(content))) {
        Stored::Nothing => "tombstone",
        Stored::Leased => "lease",
        Stored::Fenced => "fence",
        Stored::Payload(_) => "payload",
        Stored::OtherType => "other type",
    }
}

/// A new lease and a new fence, as they are stored.
#[must_use]
pub fn markers() -> [Vec<u8>; 2] {
    [
        Lease::new().as_ref().to_vec(),
        FenceToken::new().as_ref().to_vec(),
    ]
}
