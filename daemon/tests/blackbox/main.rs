//! Does the released binary keep its word? Real projects, real interpreters, real sockets, seen from outside.

mod chaos;
mod cli;
mod cli_daemon;
mod cli_schema;
mod crash;
mod dlq;
mod drain;
mod durable;
mod events;
mod host;
mod host_workers;
mod http;
mod http_connections;
mod http_hostile;
mod http_replies;
mod http_requests;
mod init;
mod journal;
mod output;
mod reload;
mod settings;
mod smoke;
mod subscriptions;
mod support;
mod traces;
