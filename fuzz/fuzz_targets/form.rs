//! Multipart forms: the file that was put in comes out, and foreign bytes end in an error.
#![no_main]

use arbitrary::Arbitrary;
use axum::body::Body;
use bytes::Bytes;
use fia_api::extract::Form;
use fia_fuzz::RUNTIME;
use futures_util::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// Any header and any body.
    Foreign {
        media_type: &'a [u8],
        body: &'a [u8],
    },
    /// A form with a file.
    Form {
        before: &'a str,
        content: &'a [u8],
        chunk: u8,
        quoted: bool,
    },
}

fuzz_target!(|input: Input<'_>| {
    RUNTIME.block_on(async {
        match input {
            Input::Foreign { media_type, body } => {
                // Only its end matters.
                let _ = first_file(media_type, body, 64).await;
            }
            Input::Form {
                before,
                content,
                chunk,
                quoted,
            } => {
                const BOUNDARY: &str = "0123456789abcdef";
                let taken = |bytes: &[u8]| bytes.windows(16).any(|part| part == BOUNDARY.as_bytes());
                if taken(content) || taken(before.as_bytes()) {
                    return;
                }
                let media_type = if quoted {
                    format!("Multipart/Form-Data; Boundary=\"{BOUNDARY}\"")
                } else {
                    format!("multipart/form-data; boundary={BOUNDARY}")
                };
                let head = format!(
                    "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\n{before}\r\n\
                     --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"
                );
                let end = format!("\r\n--{BOUNDARY}--\r\n");
                let body = [head.as_bytes(), content, end.as_bytes()].concat();
                let found = first_file(media_type.as_bytes(), &body, usize::from(chunk) + 1).await;
                assert_eq!(found.as_deref(), Some(content));
            }
        }
    });
});

/// The content of the first file; `None` for an error or without one.
async fn first_file(media_type: &[u8], body: &[u8], chunk: usize) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_bytes(media_type).ok()?,
    );
    let chunks: Vec<Result<Bytes, std::io::Error>> = body
        .chunks(chunk)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let body = Body::from_stream(stream::iter(chunks));
    let mut form = Form::of(&headers, body, 1 << 20).ok()?;
    let mut file = form.next_file("file").await.ok()??;
    let mut content = Vec::new();
    while let Some(bytes) = file.chunk().await.ok()? {
        content.extend_from_slice(&bytes);
    }
    Some(content)
}
