//! What other modules record about their work: counters that `/metrics` reads, and spans of traces.
//! Recording in a counter takes a few atomic additions: no lock, no allocation.

mod calls;
mod health;
mod histogram;
mod request_id;
mod slow;
mod span;
mod top_keys;

pub use calls::{Calls, Dependency, Failure};
pub use health::{Health, HealthSnapshot, LastFailure};
pub use histogram::{BOUNDS, Histogram, Snapshot};
pub use request_id::{carried, sync_with_request_id, with_request_id};
pub use slow::{SLOW, SlowOperation, SlowOperations};
pub use span::{
    ChildSpan, Recipient, current_trace, in_context, in_span, request_context, trace_headers,
};
pub use top_keys::{TopKey, TopKeys};
