//! How do events go over NATS JetStream? One stream per project, a durable pull consumer per subscription.
//!
//! `options` says how it is set up, `connection` keeps the connection, `names` and `topology` make and look at streams and consumers, `publish` and
//! `intake` (with `desk` and `pull` below it) move messages, `feed` is for those who look on, `headers` knows what a message looks like.

mod connection;
mod desk;
mod feed;
mod headers;
mod intake;
mod link;
mod names;
mod options;
mod publish;
mod pull;
mod room;
mod topology;
mod verify;

pub use connection::ConnectError;
pub use link::Nats;
pub use options::{Auth, Options, Secret, Server, Tls};
