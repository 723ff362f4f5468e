//! Receiving a whole body, within a limit of its size and of its duration.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::error::ApiError;

/// The timeout for receiving a body.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(9);

/// Receives a body of at most `limit` bytes into one buffer of the announced size, which is never
/// copied.
///
/// # Errors
/// [`ApiError::TooLarge`], [`ApiError::TooSlow`], and [`ApiError::UnreadableBody`] if the client
/// disconnects.
pub(super) async fn whole(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let length = headers.get(CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge);
    }
    timeout(RECEIVE_TIMEOUT, collect(body, length.unwrap_or(0), limit))
        .await
        .map_err(|_| ApiError::TooSlow)?
}

async fn collect(body: Body, length: usize, limit: usize) -> Result<Bytes, ApiError> {
    let mut body = Limited::new(body, limit);
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => ApiError::TooLarge,
            // The client disconnected or sent an invalid frame; the response is not read.
            None => ApiError::UnreadableBody,
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if buffer.is_empty() && data.len() == length {
            return Ok(data);
        }
        buffer.reserve(length.saturating_sub(buffer.len()).max(data.len()));
        buffer.extend_from_slice(&data);
    }
    Ok(buffer.freeze())
}
