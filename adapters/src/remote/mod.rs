//! What do all brokers on a network share? An adapter is a [`Link`], which moves messages, and an embedded store beside it, which remembers.

mod link;
pub mod wire;

pub use link::{Arrival, Backlog, Feed, Finding, Intake, Link, Listener, Traits};
