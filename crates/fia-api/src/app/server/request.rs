//! Requests as they leave the HTTP library, and the marks on them that end with their response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::app::server::activity::{Activity, BusyGuard};

/// Refuses a request without exactly one `Host` (RFC 9112, section 3.2): proxies in front may route
/// it by another one.
pub(super) fn refuse(request: &http::Request<Incoming>) -> Option<Response<Body>> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_valid = match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    (!is_valid).then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        close_after(response)
    })
}

/// Has the connection closed after this response.
pub(super) fn close_after(mut response: Response<Body>) -> Response<Body> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// Makes the request for the handlers. Whether its body is read to the end is recorded.
pub(super) fn received(request: http::Request<Incoming>, activity: &Arc<Activity>) -> Request {
    request.map(|body| {
        let is_unread = !http_body::Body::is_end_stream(&body);
        activity.set_unread_body(is_unread);
        if is_unread {
            Body::new(ReceivedBody {
                body,
                activity: Arc::clone(activity),
            })
        } else {
            Body::empty()
        }
    })
}

/// A body that records its end.
struct ReceivedBody {
    body: Incoming,
    activity: Arc<Activity>,
}

impl http_body::Body for ReceivedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.activity.set_unread_body(false);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, whose connection is busy until it is sent.
pub(super) struct SentBody {
    body: Body,
    _busy: BusyGuard,
}

impl SentBody {
    pub(super) fn new(body: Body, busy: BusyGuard) -> Self {
        Self { body, _busy: busy }
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
