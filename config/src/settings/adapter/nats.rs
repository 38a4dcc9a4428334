//! Settings of the adapter type `nats`.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::remote::{Remote, Tls};
use crate::settings::duration::{self, DurationText};
use crate::settings::reader::Section;
use crate::settings::secret::Secret;
use crate::settings::size::ByteSize;
use crate::settings::url::BrokerUrl;
use crate::settings::value::Fault;

/// Settings of the adapter type `nats`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Nats {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub remote: Remote,

    /// Servers of the cluster
    ///
    /// `tls://` encrypts the connection, `nats://` does so where the server asks for it. Several are separated by commas. A user, a user with a password, or a token may stand before
    /// an `@`; they are better kept in `user`, `password` and `token`. Default: `nats://127.0.0.1:4222`.
    pub url: BrokerUrl,

    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub tls: Tls,

    /// Name of the user
    ///
    /// It needs `password`. Default: none.
    pub user: Option<String>,

    /// Password of the user
    ///
    /// It needs `user`. Default: none.
    pub password: Option<Secret>,

    /// Token that stands for a user with a password
    ///
    /// Not together with `user` or `creds_file`. Default: none.
    pub token: Option<Secret>,

    /// File with the credentials of a user of a NATS account, a JWT and its seed
    ///
    /// Relative paths count from the project's root. Not together with `user` or `token`. Default: none.
    pub creds_file: Option<PathBuf>,

    /// Whether events are kept by JetStream
    ///
    /// Accepted because existing projects may have it; it can only be true: without JetStream NATS keeps nothing. Default: true.
    pub jetstream: bool,

    /// How many servers of the cluster have a copy of the streams
    ///
    /// It holds for streams that are made; one that is there is left as it is, and `rohas doctor` names the difference. Three survive the loss of one. Unit: servers, at least 1. Default: 1.
    pub replicas: NonZeroU16,

    /// Largest size of the stream of the project's events
    ///
    /// When it is reached, publishers wait and HTTP callers get 503. It holds for a stream that is made. Unit: bytes, or text such as `512MiB`. Default: `1GiB`.
    pub max_bytes: ByteSize,

    /// Age at which events leave the stream, handled or not
    ///
    /// It holds for a stream that is made. Default: `7d`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub retention: Duration,

    /// Most messages that a subscription asks the server for at once
    ///
    /// Unit: messages, at least 1. Default: 500.
    pub fetch: NonZeroU32,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            remote: Remote::default(),
            url: BrokerUrl::new("nats://127.0.0.1:4222"),
            tls: Tls::default(),
            user: None,
            password: None,
            token: None,
            creds_file: None,
            jetstream: true,
            replicas: NonZeroU16::MIN,
            max_bytes: ByteSize::gib(1),
            retention: Duration::from_hours(7 * 24),
            fetch: NonZeroU32::new(500).expect("not zero"),
        }
    }
}

impl Nats {
    pub(super) const KEYS: [&str; 10] =
        ["url", "user", "password", "token", "creds_file", "jetstream", "replicas", "max_bytes", "retention", "fetch"];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let nats = Self {
            remote: Remote::read(section),
            url: section.url("url", default.url, &["nats", "tls"]),
            tls: Tls::read(section),
            user: section.optional("user"),
            password: section.secret("password"),
            token: section.secret("token"),
            creds_file: section.optional("creds_file"),
            jetstream: section.get("jetstream", default.jetstream),
            replicas: section.get("replicas", default.replicas),
            max_bytes: section.get("max_bytes", default.max_bytes),
            retention: section.positive("retention", default.retention),
            fetch: section.get("fetch", default.fetch),
        };
        if !nats.jetstream {
            section.refuse(&["jetstream"], Fault::new("without JetStream NATS keeps no events").help("remove the key"));
        }
        section.together("user", "password");
        section.alternatives(&["user", "token", "creds_file"]);
        nats.tls.needs(nats.url.expose().all(|url| url.starts_with("tls://")), section, "write the URL with tls://");
        nats
    }
}
