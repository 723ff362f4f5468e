//! What other modules record about their work: counters that `/metrics` reads, and spans of traces.
//! Recording in a counter takes a few atomic additions: no lock, no allocation.

mod calls;
mod histogram;
mod span;

pub use calls::{Calls, Dependency, Failure};
pub use histogram::{BOUNDS, Histogram, Snapshot};
pub use span::{
    ChildSpan, Recipient, current_trace, in_context, in_span, request_context, trace_headers,
};
