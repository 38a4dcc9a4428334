//! How do events reach their handlers? One consumer per (event, handler), each with lanes and retries of its own.

mod attempt;
mod consumer;
mod lanes;
mod leases;
mod message;
mod pump;
mod retry;
mod subscriptions;

pub(crate) use subscriptions::Subscriptions;
