//! What happened? Every invocation is recorded off the hot path, kept for a while, and found again as a trace.
//!
//! [`open`] starts the one writer thread and returns a cheap [`Handle`] to record and query with, and the [`Service`] that
//! owns the thread and the database. Records are stored in blocks of several hundred (`docs/adr/0003-block-oriented-telemetry.md`).

mod handle;
mod ids;
mod inbox;
mod json;
mod options;
mod record;

pub use handle::Handle;
pub use ids::{EventId, InvalidId, SpanId, TraceId};
pub use options::Options;
pub use record::{Emit, Failure, Http, Kind, Level, Log, Phase, Record, Span, Status, Timestamp, UnknownName};
