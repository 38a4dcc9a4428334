//! How do the daemon and a worker talk? `docs/worker-protocol.md` is the text; this is the daemon's side of it.

mod frame;
mod input;
mod message;
mod pack;

pub use frame::{Decoder, Error, MAX_FRAME};
pub(crate) use input::{encode_connection, encode_context};
pub use message::{FromWorker, encode_cancel, encode_drain, encode_invoke, encode_load, encode_ping};

/// Most bytes of a call's payload. The rest of its frame is for what goes with it.
pub const MAX_PAYLOAD: usize = MAX_FRAME - (1 << 20);

/// The version of the protocol that this daemon speaks.
pub const VERSION: u64 = 1;
