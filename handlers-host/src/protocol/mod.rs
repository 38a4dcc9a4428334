//! How do the daemon and a worker talk? `docs/worker-protocol.md` is the text; this is the daemon's side of it.

mod frame;
mod message;

pub use frame::{Decoder, Error, MAX_FRAME};
pub use message::{FromWorker, encode_cancel, encode_drain, encode_invoke, encode_load, encode_ping};

/// The version of the protocol that this daemon speaks.
pub const VERSION: u64 = 1;
