//! Does the released binary keep its word? Real projects, real interpreters, real sockets, seen from outside.

mod host;
mod host_workers;
mod smoke;
mod support;
