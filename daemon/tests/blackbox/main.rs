//! Does the released binary keep its word? Real projects, real interpreters, real sockets, seen from outside.

mod smoke;
mod support;
