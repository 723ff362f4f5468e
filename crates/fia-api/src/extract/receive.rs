//! Receiving a body, within limits of its size, of its duration, and of the bodies that are being
//! received at the same time.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::Extensions;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::admission::{ClientAddress, Receiving, RequestPermit, Sender};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::AppState;

/// The timeout for receiving a body.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(9);

/// A body to be received.
pub(super) struct Transfer {
    body: Body,
    limit: usize,
    length: Option<usize>,
    receiving: Option<Receiving>,
    permit: Option<RequestPermit>,
}

impl Transfer {
    /// Starts to receive a body of at most `limit` bytes. Until it is complete, the request is not
    /// in flight, but counts among the bodies of its sender.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] if `Content-Length` exceeds the limit; [`ApiError::Unavailable`] if
    /// too many bodies are being received.
    pub(super) fn begin(
        parts: &Parts,
        body: Body,
        limit: usize,
        caller: Option<Caller>,
        state: &AppState,
    ) -> Result<Self, ApiError> {
        let length = parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(ApiError::TooLarge);
        }
        let (receiving, permit) = if body.is_end_stream() {
            (None, None)
        } else {
            let (receiving, permit) = admit(&parts.extensions, caller, state)?;
            (Some(receiving), permit)
        };
        Ok(Self {
            body,
            limit,
            length,
            receiving,
            permit,
        })
    }

    /// Returns true if the length was announced, and is within the limit.
    pub(super) fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// Receives the body into one buffer of the announced size, which is never copied. The request
    /// is in flight again then.
    ///
    /// # Errors
    /// As [`Transfer::chunks`]; [`ApiError::Unavailable`] if too many requests are in flight.
    pub(super) async fn whole(self) -> Result<Bytes, ApiError> {
        let length = self.length.unwrap_or(0);
        let permit = self.permit.clone();
        let mut only = Bytes::new();
        let mut buffer = BytesMut::new();
        self.chunks(|chunk| {
            if buffer.is_empty() && chunk.len() == length {
                only = chunk;
            } else {
                buffer.reserve(length.saturating_sub(buffer.len()).max(chunk.len()));
                buffer.extend_from_slice(&chunk);
            }
            ControlFlow::Continue(())
        })
        .await?;
        if let Some(permit) = permit {
            permit.acquire()?;
        }
        Ok(if only.is_empty() {
            buffer.freeze()
        } else {
            only
        })
    }

    /// Receives the body chunk by chunk, until its end or until no more is wanted.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`], [`ApiError::TooSlow`]; [`ApiError::UnreadableBody`] if the client
    /// disconnects; [`ApiError::Unavailable`] if it has to make way for other bodies.
    pub(super) async fn chunks(
        self,
        keep: impl FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<(), ApiError> {
        let receiving = timeout(RECEIVE_TIMEOUT, read(self.body, self.limit, keep));
        match self.receiving {
            None => receiving.await,
            Some(mut permit) => tokio::select! {
                biased;
                received = receiving => received,
                () = permit.evicted() => return Err(ApiError::Unavailable),
            },
        }
        .map_err(|_| ApiError::TooSlow)?
    }
}

/// A body whose handler receives it chunk by chunk; the request is not in flight meanwhile.
///
/// # Errors
/// [`ApiError::Unavailable`] if too many bodies are being received.
pub(super) fn streamed(
    extensions: &Extensions,
    body: Body,
    caller: Caller,
    state: &AppState,
) -> Result<Body, ApiError> {
    let (receiving, _) = admit(extensions, Some(caller), state)?;
    let chunks = (body.into_data_stream(), Some(receiving));
    let chunks = stream::unfold(chunks, |(mut body, permit)| async move {
        let mut permit = permit?;
        tokio::select! {
            chunk = body.next() => Some((chunk?.map_err(io::Error::other), (body, Some(permit)))),
            () = permit.evicted() => Some((Err(io::ErrorKind::ConnectionAborted.into()), (body, None))),
        }
    });
    Ok(Body::from_stream(chunks))
}

/// Exchanges the request's permit for one of its sender to send a body.
fn admit(
    extensions: &Extensions,
    caller: Option<Caller>,
    state: &AppState,
) -> Result<(Receiving, Option<RequestPermit>), ApiError> {
    let client = extensions.get::<ClientAddress>();
    let sender = caller.map_or(
        Sender::Stranger(client.map(|ClientAddress(address)| *address)),
        Sender::Known,
    );
    let receiving = state.admission.bodies.admit(sender)?;
    let permit = extensions.get::<RequestPermit>().cloned();
    if let Some(permit) = &permit {
        permit.release();
    }
    Ok((receiving, permit))
}

async fn read(
    mut body: Body,
    limit: usize,
    mut keep: impl FnMut(Bytes) -> ControlFlow<()>,
) -> Result<(), ApiError> {
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
        if !chunk.is_empty() && keep(chunk).is_break() {
            return Ok(());
        }
    }
    Ok(())
}
