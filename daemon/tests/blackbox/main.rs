//! Does the released binary keep its word? Real projects, real interpreters, real sockets, seen from outside.

mod drain;
mod events;
mod host;
mod host_workers;
mod http;
mod http_connections;
mod http_hostile;
mod http_replies;
mod http_requests;
mod reload;
mod smoke;
mod support;
