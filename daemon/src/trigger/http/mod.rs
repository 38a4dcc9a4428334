//! How does an HTTP request reach its handler, and the handler's answer the client?

mod accept;
mod connection;
mod guard;
mod guarded;
mod names;
pub(crate) mod path;
mod reply;
mod request;
mod routes;

pub(crate) use accept::{ACCEPT_PAUSE, ClientAddress, Listener, into_socket};
pub(crate) use reply::{ErrorBody, of_handler};
pub(crate) use request::parse_query;
pub(crate) use routes::{REQUEST_ID, Site, request_id, trace_of};
