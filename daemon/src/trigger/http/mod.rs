//! How does an HTTP request reach its handler, and the handler's answer the client?

mod accept;
mod connection;
mod guard;
mod names;
pub(crate) mod path;
mod reply;
mod request;
mod routes;

pub(crate) use accept::{ACCEPT_PAUSE, Listener};
pub(crate) use reply::ErrorBody;
pub(crate) use routes::Site;
