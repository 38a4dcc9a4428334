//! What happened? Every invocation is recorded off the hot path, kept for a while, and found again as a trace.
//!
//! [`open`] starts the one writer thread and returns a cheap [`Handle`] to record and query with, and the [`Service`] that
//! owns the thread and the database. Records are stored in blocks of several hundred (`docs/adr/0003-block-oriented-telemetry.md`).

mod block;
mod error;
mod handle;
mod ids;
mod inbox;
mod json;
mod limits;
mod options;
mod query;
mod record;
pub mod render;
mod retention;
mod service;
mod store;
mod tree;
mod writer;

pub use error::Error;
pub use handle::{Handle, Stats};
pub use ids::{EventId, InvalidId, SpanId, TraceId};
pub use options::Options;
pub use query::{Entry, Filter, Listing};
pub use record::{Cron, Emit, Failure, Http, Kind, Level, Log, Phase, Record, Span, Status, Timestamp, UnknownName};
pub use service::{Service, open};
pub use store::{Damage, Removed, Store};
pub use tree::{Node, Tree};
