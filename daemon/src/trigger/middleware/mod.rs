//! What happens before and after a handler? One pipeline for every trigger whose clients wait for an answer.

mod chain;
mod client;
mod said;
mod vain;

pub(crate) use chain::{Chain, Subject};
pub(crate) use client::client_address;
pub(crate) use said::Changes;
pub(crate) use vain::Vain;
