//! How do events reach their handlers? One consumer per (event, handler), each with lanes, retries and a memory of its own.

mod consumer;
mod inbox;
mod lanes;
mod retry;

pub(crate) use consumer::Subscriptions;
