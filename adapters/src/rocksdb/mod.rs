//! Events in an embedded database: durable on one machine, the default of a new project.
//!
//! Each event has a log of blocks, each subscription its progress in it as one small row; docs/adr/0008 says why. One thread writes everything,
//! another brings it to the disk, and whoever publishes is answered by the one that its durability asks for.

mod block;
mod broker;
mod build;
mod codec;
mod command;
mod commit;
mod companion;
mod confirmed;
mod consumer;
mod cursor;
mod database;
mod dead;
mod dedupe;
mod due;
mod error;
mod handled;
mod ledger;
mod load;
mod manage;
mod notes;
mod options;
mod outbox;
mod overview;
mod progress;
mod publish;
mod ranges;
mod recall;
mod retention;
mod room;
mod rows;
mod shared;
mod slot;
mod spans;
mod subscription;
mod syncer;
mod tail;
mod topic;
mod writer;

pub use broker::{Lost, RocksDb};
pub(crate) use companion::{Companion, HandOver, Identity};
pub use error::OpenError;
pub use options::{Durability, Options};
pub use outbox::Backlog;

#[cfg(test)]
mod tests;
