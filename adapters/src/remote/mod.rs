//! What do all brokers on a network share? An adapter is a [`Link`], which moves messages, and an embedded store beside it, which remembers.
//!
//! `broker` puts them together. Per subscription, `subscription` and `held` have what is ours of its messages, `consumer` hands them out, and `connect`,
//! `leases` and `burial` go on beside it.

mod broker;
mod burial;
mod connect;
mod consumer;
mod due;
mod held;
mod identity;
mod leases;
mod link;
mod options;
mod publish;
mod replay;
mod subscription;
mod tail;
#[cfg(test)]
mod tests;
pub mod wire;

pub use broker::Remote;
pub use link::{Arrival, Backlog, Feed, Finding, Intake, Link, Listener, Traits};
pub use options::Options;
