//! Receiving a body within a limit of its size and of its duration.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::ApiError;

/// The timeout for receiving a body.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(9);

/// Receives a body of at most `limit` bytes into one buffer of the announced size, which is never
/// copied.
///
/// # Errors
/// As [`chunks`].
pub(super) async fn whole(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let length = length(headers).unwrap_or(0);
    let mut only = Bytes::new();
    let mut buffer = BytesMut::new();
    chunks(headers, body, limit, |chunk| {
        if buffer.is_empty() && chunk.len() == length {
            only = chunk;
            return;
        }
        buffer.reserve(length.saturating_sub(buffer.len()).max(chunk.len()));
        buffer.extend_from_slice(&chunk);
    })
    .await?;
    Ok(if only.is_empty() {
        buffer.freeze()
    } else {
        only
    })
}

/// Receives a body of at most `limit` bytes chunk by chunk.
///
/// # Errors
/// [`ApiError::TooLarge`], [`ApiError::TooSlow`], and [`ApiError::UnreadableBody`] if the client
/// disconnects.
pub(super) async fn chunks(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    keep: impl FnMut(Bytes),
) -> Result<(), ApiError> {
    if length(headers).is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge);
    }
    timeout(RECEIVE_TIMEOUT, read(body, limit, keep))
        .await
        .map_err(|_| ApiError::TooSlow)?
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(mut body: Body, limit: usize, mut keep: impl FnMut(Bytes)) -> Result<(), ApiError> {
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        // The client disconnected or sent an invalid frame; the response is not read.
        let frame = frame.map_err(|_| ApiError::UnreadableBody)?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        received += chunk.len();
        if received > limit {
            return Err(ApiError::TooLarge);
        }
        if !chunk.is_empty() {
            keep(chunk);
        }
    }
    Ok(())
}
