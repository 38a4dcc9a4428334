//! Settings of the adapter type `rabbitmq`.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::Serialize;

use super::remote::{Remote, Tls};
use crate::settings::reader::Section;
use crate::settings::secret::Secret;
use crate::settings::size::ByteSize;
use crate::settings::url::BrokerUrl;
use crate::settings::value::{Fault, Value};

/// Settings of the adapter type `rabbitmq`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct RabbitMq {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub remote: Remote,

    /// Nodes of the cluster
    ///
    /// `amqps://` encrypts the connection. The virtual host is the path. Several are separated by commas and tried in this order. A user with a password may stand before an `@`; they are better kept in
    /// `user` and `password`. Default: `amqp://127.0.0.1:5672`.
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

    /// The exchange that events are published to
    ///
    /// It is made when it is missing. Letters, digits, `.`, `_`, `-` and `:`. Default: `rohas.` and the project's name.
    pub exchange: Option<String>,

    /// Type of the exchange
    ///
    /// `topic` or `direct`: events are routed by their names. Default: `topic`.
    pub exchange_type: ExchangeType,

    /// What the names of queues begin with
    ///
    /// A handler's queue is this, the event, a dot and the handler. Letters, digits, `.`, `_`, `-` and `:`. Default: the project's name and a dot.
    pub queue_prefix: Option<String>,

    /// How many nodes of the cluster have a copy of each queue
    ///
    /// Queues are quorum queues. It holds for queues that are made. Unit: nodes, at least 1. Default: that of the cluster.
    pub replicas: Option<NonZeroU16>,

    /// Largest size of each queue
    ///
    /// When it is reached, publishers wait and HTTP callers get 503. It holds for queues that are made. Unit: bytes, or text such as `512MiB`. Default: none.
    pub max_bytes: Option<ByteSize>,

    /// Most messages that a subscription is sent before it has finished the first of them
    ///
    /// Unit: messages, at least 1. Default: 500.
    pub prefetch: NonZeroU16,
}

impl Default for RabbitMq {
    fn default() -> Self {
        Self {
            remote: Remote::default(),
            url: BrokerUrl::new("amqp://127.0.0.1:5672"),
            tls: Tls::default(),
            user: None,
            password: None,
            exchange: None,
            exchange_type: ExchangeType::default(),
            queue_prefix: None,
            replicas: None,
            max_bytes: None,
            prefetch: NonZeroU16::new(500).expect("not zero"),
        }
    }
}

/// How an exchange finds the queues of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeType {
    /// By patterns of names, so that others can bind to many events at once.
    #[default]
    Topic,
    /// By the name.
    Direct,
}

impl Value for ExchangeType {
    const EXPECTED: &'static str = "\"topic\" or \"direct\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "topic" => Ok(Self::Topic),
            "direct" => Ok(Self::Direct),
            "fanout" | "headers" => {
                Err(Fault::new(format!("an exchange of the type {text:?} does not route by the event's name"))
                    .help("use \"topic\" or \"direct\""))
            }
            _ => Err(Fault::new(format!("unknown exchange type {text:?}")).choices(text, &["topic", "direct"])),
        }
    }
}

/// Signs in names besides letters and digits.
const SIGNS: &[u8] = b"._-:";

impl RabbitMq {
    pub(super) const KEYS: [&str; 9] =
        ["url", "user", "password", "exchange", "exchange_type", "queue_prefix", "replicas", "max_bytes", "prefetch"];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let rabbitmq = Self {
            remote: Remote::read(section),
            url: section.url("url", default.url, &["amqp", "amqps"]),
            tls: Tls::read(section),
            user: section.optional("user"),
            password: section.secret("password"),
            exchange: section.name_part("exchange", SIGNS),
            exchange_type: section.get("exchange_type", default.exchange_type),
            queue_prefix: section.name_part("queue_prefix", SIGNS),
            replicas: section.optional("replicas"),
            max_bytes: section.optional("max_bytes"),
            prefetch: section.get("prefetch", default.prefetch),
        };
        section.together("user", "password");
        let encrypted = rabbitmq.url.expose().all(|url| url.starts_with("amqps://"));
        rabbitmq.tls.needs(encrypted, section, "write the URL with amqps://");
        rabbitmq
    }
}
