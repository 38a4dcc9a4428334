//! How is the adapter for NATS set up?

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the servers are, who we are, what the stream is made like and how much is fetched at a time.
#[derive(Debug, Clone)]
pub struct Options {
    /// The project's name, of which the names of streams and subjects are made.
    pub project: String,
    /// The servers of the cluster; one that answers is enough.
    pub servers: Vec<Server>,
    /// What the servers show this connection as; `None` for `rohas <project>`.
    pub name: Option<String>,
    /// Who we are.
    pub auth: Auth,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// How many servers keep each message.
    pub replicas: usize,
    /// How large a stream may become, in bytes; `None` for what the account allows.
    pub max_bytes: Option<u64>,
    /// How long messages are kept, handled or not; zero for ever.
    pub max_age: Duration,
    /// How long a publication of the same id is taken for a copy. It should be at least the longest dedupe window of the events.
    pub duplicate_window: Duration,
    /// How long the server lends a message without hearing of it. When a daemon dies others get its messages after this time.
    pub ack_wait: Duration,
    /// How many messages of one subscription may be lent to all daemons together.
    pub max_ack_pending: u32,
    /// How many messages of one subscription are fetched ahead.
    pub fetch: usize,
    /// How many bytes of messages of one subscription are fetched ahead. One more message is taken when there are less.
    pub fetch_bytes: usize,
    /// How often the server says that it is there while it has no messages. After twice as long without a word it is asked anew.
    pub heartbeat: Duration,
    /// How long an answer of the server, or its confirmation of a message, may take.
    pub request_timeout: Duration,
    /// How often the connection is tested; it is given up after two tests without an answer.
    pub ping_interval: Duration,
}

impl Options {
    /// The defaults: no credentials, one replica, messages are kept for 7 days, copies are known for 10 minutes.
    #[must_use]
    pub fn new(project: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            project: project.into(),
            servers,
            name: None,
            auth: Auth::None,
            tls: Tls::default(),
            replicas: 1,
            max_bytes: None,
            max_age: Duration::from_hours(7 * 24),
            duplicate_window: Duration::from_mins(10),
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 65_536,
            fetch: 1_024,
            fetch_bytes: 8 << 20,
            heartbeat: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }
}

/// The URL of a server, such as `nats://localhost:4222`. It may have a user and a password, which are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Server(String);

impl Server {
    pub(super) fn url(&self) -> &str {
        &self.0
    }
}

impl From<String> for Server {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for Server {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("nats", &self.0));
        let host = rest.rsplit_once('@').map_or(rest, |(_secret, host)| host);
        write!(formatter, "{scheme}://{host}")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// What the servers' URLs say, or nobody.
    None,
    /// A user.
    Password {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
    /// The seed of an nkey, which begins with `SU`.
    NKey(Secret),
    /// A file of credentials as `nsc` makes it, with a JWT and the seed of an nkey.
    Credentials(PathBuf),
}

/// How the connection is encrypted. It is whenever a server asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Nothing is said to servers that do not encrypt.
    pub required: bool,
    /// Encryption begins before the server's first word, as servers with `handshake_first` want it.
    pub first: bool,
    /// Certificates of the authorities to trust, as PEM; those of the system when there are none.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut options = Options::new("shop", vec!["nats://ann:hunter2@host:4222".into(), "hunter2@other".into()]);
        options.auth = Auth::Password { user: "ann".to_owned(), password: Secret::from("hunter2".to_owned()) };
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("nats://host:4222, nats://other"), "{shown}");
    }
}
