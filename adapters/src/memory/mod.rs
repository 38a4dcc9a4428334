//! Events in this process's memory: bounded queues, one per subscription, gone with the process.

mod broker;
mod queue;

pub use broker::Memory;
