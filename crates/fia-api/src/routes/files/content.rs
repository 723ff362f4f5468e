//! Responses with the content of a file, or with ranges of it.

use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::utf8_percent_encode;

use crate::error::ApiError;
use crate::files::range::{self, BadRange};
use crate::files::{OpenFile, Piece};
use crate::model::HEADER_ENCODED;
use crate::routes::HandlerResult;

const ANY_BYTES: &str = "application/octet-stream";

/// Responds with a file, or with the ranges of it that the request names.
///
/// # Errors
/// [`ApiError::MalformedRange`] and [`ApiError::UnsatisfiableRange`].
pub(super) fn respond(
    file: OpenFile,
    name: &str,
    method: &Method,
    request: &HeaderMap,
) -> HandlerResult {
    let mut headers = describe(&file, name)?;
    let size = file.size();
    let parts = match request.get(RANGE) {
        Some(range) if method == Method::GET && is_same_version(request, &headers) => {
            parts(range, size)?
        }
        _ => Vec::new(),
    };
    let mut status = StatusCode::PARTIAL_CONTENT;
    let pieces = match &parts[..] {
        [] => {
            status = StatusCode::OK;
            vec![Piece::Part(0..size)]
        }
        [part] => {
            headers.insert(CONTENT_RANGE, header(content_range(part, size))?);
            vec![Piece::Part(part.clone())]
        }
        parts => {
            let boundary = format!("{:032x}", rand::random::<u128>());
            let kind = format!("multipart/byteranges; boundary={boundary}");
            headers.insert(CONTENT_TYPE, header(kind)?);
            multipart(parts, size, &boundary)
        }
    };
    headers.insert(
        CONTENT_LENGTH,
        pieces.iter().map(length).sum::<u64>().into(),
    );
    let mut response = if method == Method::HEAD {
        Response::default()
    } else {
        Response::new(Body::from_stream(file.read(pieces)))
    };
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn describe(file: &OpenFile, name: &str) -> Result<HeaderMap, ApiError> {
    let encoded = utf8_percent_encode(name, HEADER_ENCODED).to_string();
    let disposition = if encoded == name {
        format!("attachment; filename=\"{name}\"")
    } else {
        format!("attachment; filename*=utf-8''{encoded}")
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(ANY_BYTES));
    headers.insert(CONTENT_DISPOSITION, header(disposition)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let modified = httpdate::fmt_http_date(file.modified());
    headers.insert(LAST_MODIFIED, header(modified)?);
    headers.insert(ETAG, header(format!("\"{}\"", file.etag()))?);
    Ok(headers)
}

/// Returns true unless `If-Range` names another version of the file than this one.
fn is_same_version(request: &HeaderMap, headers: &HeaderMap) -> bool {
    request.get(IF_RANGE).is_none_or(|mark| {
        let is = |name| headers.get(name) == Some(mark);
        is(ETAG) || is(LAST_MODIFIED)
    })
}

fn parts(range: &HeaderValue, size: u64) -> Result<Vec<Range<u64>>, ApiError> {
    let range = range.to_str().map_err(|_| ApiError::MalformedRange)?;
    range::parse(range, size).map_err(|bad| match bad {
        BadRange::Malformed => ApiError::MalformedRange,
        BadRange::Unsatisfiable => ApiError::UnsatisfiableRange(size),
    })
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// A multipart body: several ranges, each with its own header.
fn multipart(parts: &[Range<u64>], size: u64, boundary: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let mut before = "";
    for part in parts {
        let range = content_range(part, size);
        let head = format!(
            "{before}--{boundary}\r\nContent-Type: {ANY_BYTES}\r\nContent-Range: {range}\r\n\r\n"
        );
        pieces.push(Piece::Text(Bytes::from(head)));
        pieces.push(Piece::Part(part.clone()));
        before = "\r\n";
    }
    pieces.push(Piece::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    pieces
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Text(text) => text.len() as u64,
        Piece::Part(part) => part.end - part.start,
    }
}

/// A header value; all texts here are ASCII by construction.
fn header(text: String) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text).map_err(|_| ApiError::Internal)
}
