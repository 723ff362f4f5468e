//! What the end of a request needs of its beginning.

use http::HeaderValue;
use opentelemetry::trace::TraceId;

use crate::app::access_log::AccessLogEntry;
use crate::traces::RequestSpan;

/// A request in flight.
pub(super) struct Arrival {
    pub(super) entry: AccessLogEntry,
    /// Its id.
    pub(super) id: HeaderValue,
    /// The allowed origin that sent it.
    pub(super) origin: Option<HeaderValue>,
    /// Its span, if it is traced.
    pub(super) span: Option<RequestSpan>,
}

impl Arrival {
    /// The id of its trace.
    pub(super) fn trace_id(&self) -> Option<TraceId> {
        self.span.as_ref().map(RequestSpan::trace_id)
    }
}
