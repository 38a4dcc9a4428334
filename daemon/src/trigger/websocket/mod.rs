//! How do WebSocket clients talk to handlers, and handlers to them?
//!
//! `endpoint` lets clients in, `session` is one open connection, `calls` what its handlers do about it. The protocol is
//! tokio-tungstenite's. `registry` knows who is there, `queue` holds what waits for a client, `close` says why a connection
//! ends, `pulse` and `clock` say who has gone.

mod calls;
mod clock;
mod close;
mod endpoint;
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
mod fuzz;
#[cfg(test)]
mod tests;
