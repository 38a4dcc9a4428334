//! Where events go and come from: the envelope, the broker trait and the brokers.
//!
//! Adapters know nothing of handlers or settings. What stands above them (lanes, retries, deadlines) is written once, in the
//! daemon; an adapter only takes envelopes in, hands deliveries out, and is told what became of them.

pub mod broker;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod envelope;
pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;
pub mod remote;
pub mod rocksdb;

pub use broker::{Broker, Consumer, DeadLetter, Delivery, Error, Subscription};
pub use envelope::{Envelope, TraceContext};
