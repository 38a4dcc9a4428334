//! Does the released binary keep its word? Real projects, real interpreters, real sockets, seen from outside.

mod events;
mod host;
mod host_workers;
mod http;
mod http_replies;
mod http_requests;
mod smoke;
mod support;
