//! Content encodings of response bodies: negotiation and compression.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// The smallest body that is compressed, in bytes: below it the headers outweigh the gain.
pub const MIN_COMPRESSED: usize = 1024;
/// The largest body that is compressed with Brotli, in bytes: beyond it gzip takes a fraction of the time.
const MAX_BROTLI: usize = 128 * 1024;
/// The level of gzip: the fastest.
const GZIP_LEVEL: u32 = 1;
/// The quality of Brotli, of 0 to 11: about as fast as gzip's default level.
const BROTLI_QUALITY: i32 = 4;

/// A content encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip`
    Gzip,
    /// `br`
    Brotli,
}

impl Encoding {
    /// The encoding that a request prefers; `None` for an unencoded body.
    #[must_use]
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut lists = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        lists.peek()?;
        let lists = lists.filter_map(|list| list.to_str().ok());
        let (mut gzip, mut brotli, mut others) = (None, None, None);
        for item in lists.flat_map(|list| list.split(',')) {
            let (name, weight) = weighted(item);
            let slot = match name.to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => &mut gzip,
                "br" => &mut brotli,
                "*" => &mut others,
                _ => continue,
            };
            *slot = Some(weight);
        }
        let weight = |named: Option<u16>| named.or(others).unwrap_or(0);
        match (weight(gzip), weight(brotli)) {
            (0, 0) => None,
            (gzip, brotli) if gzip > brotli => Some(Self::Gzip),
            _ => Some(Self::Brotli),
        }
    }

    /// The encoding that is used for a body of this size instead: Brotli takes too long for large ones,
    /// and clients that decode Brotli decode gzip too.
    #[must_use]
    pub fn for_size(self, bytes: usize) -> Self {
        if bytes > MAX_BROTLI { Self::Gzip } else { self }
    }

    /// The value of `Content-Encoding`.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    /// Compresses a body. `None` where that saves less than half of it.
    #[must_use]
    pub fn compress(self, bytes: &[u8]) -> Option<Bytes> {
        let mut compressed = Vec::with_capacity(bytes.len() / 4);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(&mut compressed, Compression::new(GZIP_LEVEL));
                encoder
                    .write_all(bytes)
                    .and_then(|()| encoder.try_finish())
                    .ok()?;
                drop(encoder);
            }
            Self::Brotli => {
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    size_hint: bytes.len(),
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut &*bytes, &mut compressed, &parameters).ok()?;
            }
        }
        (compressed.len() <= bytes.len() / 2).then(|| {
            compressed.shrink_to_fit();
            compressed.into()
        })
    }
}

/// An item of `Accept-Encoding` with its weight in thousandths; one that cannot be read is not acceptable.
fn weighted(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let mut weight = 1000;
    for parameter in parts {
        if let Some(value) = parameter
            .strip_prefix("q=")
            .or(parameter.strip_prefix("Q="))
        {
            let value = value
                .parse::<f32>()
                .ok()
                .filter(|value| (0.0..=1.0).contains(value));
            // Within 0 to 1000.
            weight = value.map_or(0, |value| (value * 1000.0).round() as u16);
        }
    }
    (name, weight)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_preferred_encoding_is_negotiated_by_weight() {
        for (lists, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["identity"], None),
            (&["gzip"], Some(Encoding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Encoding::Brotli)),
            (&["GZIP;q=0.8 , br;q=0.5"], Some(Encoding::Gzip)),
            (&["gzip", "br"], Some(Encoding::Brotli)),
            (&["br;q=0, gzip;q=0.001"], Some(Encoding::Gzip)),
            (&["br;q=0, gzip;q=0"], None),
            (&["*"], Some(Encoding::Brotli)),
            (&["*;q=0.5, br;q=0"], Some(Encoding::Gzip)),
            (&["gzip;q=nonsense"], None),
            (&["gzip;q=2"], None),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(list));
            }
            assert_eq!(Encoding::negotiate(&headers), expected, "{lists:?}");
        }
    }

    #[test]
    fn a_compressed_body_decodes_to_the_original() {
        let body = br#"{"id":1,"state":"SUCCESSFUL"},"#.repeat(100);
        let gzip = Encoding::Gzip.compress(&body).unwrap();
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&*gzip)
            .read_to_end(&mut decoded)
            .unwrap();
        assert_eq!(decoded, body);
        let brotli = Encoding::Brotli.compress(&body).unwrap();
        let mut decoded = Vec::new();
        brotli::BrotliDecompress(&mut &*brotli, &mut decoded).unwrap();
        assert_eq!(decoded, body);
    }

    #[test]
    fn a_body_that_does_not_shrink_stays_as_it_is() {
        // The generator xorshift64.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        })
        .take(4096)
        .collect();
        assert_eq!(Encoding::Gzip.compress(&noise), None);
        assert_eq!(Encoding::Brotli.compress(&noise), None);
    }
}
