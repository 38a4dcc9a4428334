//! Events in this process's memory: bounded queues, one per subscription, gone with the process.

mod announced;
mod broker;
mod consumer;
mod dead;
mod queue;
mod recent;
mod state;
mod tail;

pub use broker::{Memory, Options};
