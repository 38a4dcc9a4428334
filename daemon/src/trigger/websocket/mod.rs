//! How do WebSocket clients talk to handlers, and handlers to them?
//!
//! `endpoint` lets clients in, `session` is one open connection, `calls` what its handlers do about it. `frame`, `close` and
//! `decoder` are the protocol, without input or output; `registry` knows who is there, `queue` holds what waits for a client,
//! `pulse` and `clock` say who has gone.

mod calls;
mod clock;
mod close;
mod decoder;
mod endpoint;
mod frame;
mod handshake;
mod message;
mod origin;
mod peer;
mod pulse;
mod queue;
mod registry;
mod session;

pub(crate) use clock::beat;
pub(crate) use endpoint::endpoint;
pub(crate) use registry::Registry;

#[cfg(test)]
mod tests;
