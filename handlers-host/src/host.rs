//! What does the daemon ask of whoever runs handlers?

use std::sync::Arc;

use async_trait::async_trait;

use crate::invocation::Invocation;
use crate::load::Report;
use crate::outcome::Finished;
use crate::protocol::MAX_PAYLOAD;

/// One version of a project's handlers, loaded and ready to run. Made by the constructor of each host, which is its `load`.
/// Dropping the last reference drains it: what runs is finished within the grace, then its workers end.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// How each handler loaded, in the order in which they were given.
    fn report(&self) -> Arc<Report>;

    /// Runs a handler to its end or its deadline, whichever comes first. User code never makes it wait longer.
    async fn invoke(&self, invocation: Invocation) -> Finished;

    /// How many calls have not been answered. One that runs on after its deadline has been.
    fn in_flight(&self) -> usize;
}

/// Why an invocation has no outcome. Nothing of what the handler wanted to emit is known then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The handler was still running at its deadline; it is stopped, or its worker is replaced.
    #[error("timeout: the handler did not finish in time")]
    TimedOut,
    /// No worker had begun the call at its deadline.
    #[error("timeout: no worker was free to start the handler in time")]
    NeverStarted,
    /// The worker that ran the call died.
    #[error("the worker process died while it ran the handler ({0})")]
    WorkerDied(String),
    /// The daemon ended the worker that ran the call, but not because of this call as far as it knows.
    #[error("the worker process was ended while it ran the handler: {0}")]
    WorkerEnded(&'static str),
    /// The handler could not be loaded; the report says why.
    #[error("{0}")]
    NotLoaded(String),
    /// The handler could be loaded before, but not by the worker that had to replace the others.
    #[error("{0}")]
    NoLongerLoads(String),
    /// The payload does not fit into a message to a worker.
    #[error("a payload of {0} bytes, with its defaults, is more than the {MAX_PAYLOAD} that a worker can be given")]
    TooLarge(usize),
    /// Too many calls wait for a worker.
    #[error("too many calls are waiting for a worker")]
    Busy,
    /// The host is going away.
    #[error("the host is shutting down")]
    Closed,
}
