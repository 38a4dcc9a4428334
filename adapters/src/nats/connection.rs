//! Is there a connection to a server, and why not? The client connects by itself, again and again; here is what it says about that.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ClientError, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::timeout;

use super::options::{Auth, Options, Server};
use crate::broker::Error;

/// Between two attempts to connect, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Settings that can never work.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A server's URL.
    #[error("{server} is no address of a NATS server, such as nats://localhost:4222")]
    Address {
        /// Which.
        server: Server,
        /// Why.
        source: io::Error,
    },
    /// The file of credentials.
    #[error("the credentials for NATS cannot be read")]
    Credentials(#[source] io::Error),
    /// There is no server.
    #[error("no NATS server is named; set url")]
    NoServer,
    /// The client refuses the rest.
    #[error("the client for NATS cannot be set up")]
    Client(#[source] async_nats::ConnectError),
}

/// How the connection is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Grows with every loss and every return.
    pub(super) epoch: u64,
    pub(super) up: bool,
    /// Why it is not there, as far as that is known.
    why: Option<String>,
}

/// The connection that all parts share.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) context: Context,
    status: watch::Receiver<Status>,
    /// For messages to people.
    servers: Arc<str>,
    patience: Duration,
}

impl Connection {
    /// Begins to connect. It returns at once, whether a server is there or not.
    pub(super) async fn open(options: &Options) -> Result<Self, ConnectError> {
        let servers: Vec<String> = options.servers.iter().map(ToString::to_string).collect();
        let servers: Arc<str> = servers.join(", ").into();
        let (sender, status) = watch::channel(Status::default());
        let log = Arc::new(Log { status: sender, servers: Arc::clone(&servers) });
        let connecting = connect_options(options).await?.event_callback(move |event| {
            log.note(&event);
            std::future::ready(())
        });
        let client = connecting.connect(addresses(options)?).await.map_err(ConnectError::Client)?;
        let context = ContextBuilder::new().timeout(options.request_timeout).build(client.clone());
        Ok(Self { client, context, status, servers, patience: options.request_timeout })
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Fails at once where there is no connection.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.status.borrow().up { Ok(()) } else { Err(self.away()) }
    }

    /// Waits for a connection, for a while.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        let mut status = self.status.clone();
        let up = timeout(self.patience, status.wait_for(|status| status.up)).await.is_ok_and(|up| up.is_ok());
        if up { Ok(()) } else { Err(self.away()) }
    }

    /// Something to be done while the connection lasts.
    pub(super) async fn with<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.check()?;
        let mut status = self.status.clone();
        tokio::select! {
            biased;
            outcome = work => outcome,
            _lost = status.wait_for(|status| !status.up) => Err(self.away()),
        }
    }

    /// There is none.
    pub(super) fn away(&self) -> Error {
        let why = self.status.borrow().why.clone().unwrap_or_else(|| "it was not reached".to_owned());
        Error::Unavailable(format!("no connection to {}: {why}", self.servers))
    }
}

/// What was asked for did not work.
pub(super) fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("{what}: {error}"))
}

fn addresses(options: &Options) -> Result<Vec<ServerAddr>, ConnectError> {
    let parse = |server: &Server| {
        let parsed = server.url().parse();
        parsed.map_err(|source| ConnectError::Address { server: server.clone(), source })
    };
    let addresses = options.servers.iter().map(parse).collect::<Result<Vec<ServerAddr>, _>>()?;
    if addresses.is_empty() { Err(ConnectError::NoServer) } else { Ok(addresses) }
}

async fn connect_options(options: &Options) -> Result<ConnectOptions, ConnectError> {
    let name = options.name.clone().unwrap_or_else(|| format!("rohas {}", options.project));
    let mut connect = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        .ping_interval(options.ping_interval)
        .connection_timeout(options.request_timeout)
        .request_timeout(Some(options.request_timeout))
        .require_tls(options.tls.required);
    if options.tls.first {
        connect = connect.tls_first();
    }
    if let Some(ca) = &options.tls.ca {
        connect = connect.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &options.tls.identity {
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(match &options.auth {
        Auth::None => connect,
        Auth::Password { user, password } => connect.user_and_password(user.clone(), password.reveal().to_owned()),
        Auth::Token(token) => connect.token(token.reveal().to_owned()),
        Auth::NKey(seed) => connect.nkey(seed.reveal().to_owned()),
        Auth::Credentials(path) => connect.credentials_file(path).await.map_err(ConnectError::Credentials)?,
    })
}

/// From 50 ms on, doubling.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(2)).unwrap_or(u32::MAX).min(10);
    if attempts <= 1 { Duration::ZERO } else { (Duration::from_millis(50) * (1 << doublings)).min(LONGEST_PAUSE) }
}

/// Keeps what the client says, and tells people each thing once.
struct Log {
    status: watch::Sender<Status>,
    servers: Arc<str>,
}

impl Log {
    fn note(&self, event: &Event) {
        let servers = &*self.servers;
        match event {
            Event::Connected => {
                self.status.send_modify(|status| *status = Status { epoch: status.epoch + 1, up: true, why: None });
                tracing::info!(adapter = "nats", servers, "connected");
            }
            Event::Disconnected | Event::Closed | Event::Draining => self.lose(),
            Event::ServerError(error) => self.explain(&error.to_string()),
            Event::ClientError(ClientError::Other(error)) => self.explain(error),
            Event::ClientError(error) => self.explain(&error.to_string()),
            Event::LameDuckMode => tracing::info!(adapter = "nats", servers, "the server is about to stop"),
            Event::SlowConsumer(_) => tracing::warn!(
                adapter = "nats",
                servers,
                "the client has dropped messages that nobody took; they come again"
            ),
        }
    }

    fn lose(&self) {
        let lost = self.status.send_if_modified(|status| {
            let up = std::mem::take(&mut status.up);
            status.epoch += u64::from(up);
            up
        });
        if lost {
            tracing::warn!(
                adapter = "nats",
                servers = &*self.servers,
                "the connection is lost; it is tried until it is back"
            );
        }
    }

    fn explain(&self, error: &str) {
        let news = self.status.send_if_modified(|status| {
            let news = status.why.as_deref() != Some(error);
            if news {
                status.why = Some(error.to_owned());
            }
            news
        });
        if news {
            tracing::warn!(
                adapter = "nats",
                servers = &*self.servers,
                error,
                "the server or the way to it has a problem"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses = [0, 1, 2, 3, 4, 20, usize::MAX].map(|attempts| pause(attempts).as_millis());
        assert_eq!(pauses, [0, 0, 50, 100, 200, 1_000, 1_000]);
    }

    #[tokio::test]
    async fn addresses_that_are_none_are_named_without_their_secrets() {
        let options = Options::new("shop", vec!["nats://ann:hunter2@[::".into()]);
        let error = Connection::open(&options).await.expect_err("this is no address");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(matches!(Connection::open(&Options::new("shop", Vec::new())).await, Err(ConnectError::NoServer)));
    }
}
