//! Settings of the adapter type `kafka`.

use std::borrow::Cow;
use std::num::NonZeroU16;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::remote::{Remote, Tls};
use crate::settings::duration::{self, DurationText};
use crate::settings::reader::Section;
use crate::settings::secret::Secret;
use crate::settings::value::{Fault, Value};

/// Settings of the adapter type `kafka`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Kafka {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub remote: Remote,

    /// Servers of the cluster to begin with
    ///
    /// `host:port`; several as a list, or as text separated by commas. The others are found through them. Default: `127.0.0.1:9092`.
    pub brokers: Brokers,

    /// Whether connections are encrypted
    ///
    /// The servers are verified then, with the authorities of the system unless `ca_file` says otherwise. Default: false.
    pub tls: bool,

    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub certificates: Tls,

    /// How the user proves who they are
    ///
    /// It needs `user` and `password`. `PLAIN` sends the password itself and needs `tls`. Default: none.
    pub sasl_mechanism: Option<SaslMechanism>,

    /// Name of the user
    ///
    /// It needs `password`. Default: none.
    pub user: Option<String>,

    /// Password of the user
    ///
    /// It needs `user`. Default: none.
    pub password: Option<Secret>,

    /// What the names of topics begin with
    ///
    /// An event's topic is this and its name. Letters, digits, `.`, `_` and `-`. Default: the project's name and a dot.
    pub topic_prefix: Option<String>,

    /// How many parts the topics have
    ///
    /// Events of one key share a part, and a part is read by one replica at a time: there can be no more replicas at work on an event than it has parts. It holds for topics that are
    /// made. Unit: partitions, at least 1. Default: 8.
    pub partitions: NonZeroU16,

    /// How many servers have a copy of each topic
    ///
    /// It holds for topics that are made; `rohas doctor` names those that have another number. Unit: servers, at least 1. Default: that of the cluster.
    pub replication_factor: Option<NonZeroU16>,

    /// How many of these copies must be written before an event counts as published
    ///
    /// It holds for topics that are made. Unit: servers, at least 1. Default: that of the cluster.
    pub min_insync_replicas: Option<NonZeroU16>,

    /// Age at which events leave the topics, handled or not
    ///
    /// It holds for topics that are made. Default: `7d`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub retention: Duration,

    /// How batches of events are compressed on their way
    ///
    /// `none`, `gzip`, `snappy` or `lz4`. Default: `lz4`.
    pub compression: Compression,

    /// How long an event may wait for others to be sent with it
    ///
    /// Longer is more throughput, shorter is less delay. At most 1 s. Default: `5ms`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub linger: Duration,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            remote: Remote::default(),
            brokers: Brokers("127.0.0.1:9092".to_owned()),
            tls: false,
            certificates: Tls::default(),
            sasl_mechanism: None,
            user: None,
            password: None,
            topic_prefix: None,
            partitions: NonZeroU16::new(8).expect("not zero"),
            replication_factor: None,
            min_insync_replicas: None,
            retention: Duration::from_hours(7 * 24),
            compression: Compression::default(),
            linger: Duration::from_millis(5),
        }
    }
}

/// Addresses of servers, `host:port`, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Brokers(String);

impl Brokers {
    /// The addresses as Kafka's clients take them, separated by commas.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Brokers {
    const EXPECTED: &'static str = "addresses of servers, as \"host:port\"";

    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            toml::Value::Array(items) => {
                let items: Vec<String> = items.iter().map(String::from_toml).collect::<Result<_, _>>()?;
                Self::from_text(&items.join(","))
            }
            other => Err(Fault::mismatch(Self::EXPECTED, other)),
        }
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let addresses: Vec<&str> = text.split(',').map(str::trim).collect();
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
        let is_address = |address: &&str| {
            let (host, port) = address.rsplit_once(':').unwrap_or(("", ""));
            !host.is_empty() && host.bytes().all(is_host) && port.parse::<u16>().is_ok()
        };
        match addresses.iter().find(|address| !is_address(address)) {
            None => Ok(Self(addresses.join(","))),
            Some(address) => Err(Fault::new(format!("{address:?} is not the address of a server"))
                .help("write for example \"kafka-1:9092\", without a scheme")),
        }
    }
}

impl JsonSchema for Brokers {
    fn schema_name() -> Cow<'static, str> {
        "Brokers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// How a user of Kafka proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SaslMechanism {
    /// By the password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By a proof of it, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// By a proof of it, with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    const NAMES: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

    /// Its name, as Kafka has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl Value for SaslMechanism {
    const EXPECTED: &'static str = "\"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.to_ascii_uppercase().as_str() {
            "PLAIN" => Ok(Self::Plain),
            "SCRAM-SHA-256" => Ok(Self::ScramSha256),
            "SCRAM-SHA-512" => Ok(Self::ScramSha512),
            _ => Err(Fault::new(format!("unknown SASL mechanism {text:?}")).choices(text, &Self::NAMES)),
        }
    }
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Small and slow.
    Gzip,
    /// Fast.
    Snappy,
    /// Fast and smaller.
    #[default]
    Lz4,
}

impl Compression {
    const NAMES: [&str; 4] = ["none", "gzip", "snappy", "lz4"];

    /// Its name, as Kafka has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl Value for Compression {
    const EXPECTED: &'static str = "\"none\", \"gzip\", \"snappy\" or \"lz4\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            _ => Err(Fault::new(format!("unknown compression {text:?}")).choices(text, &Self::NAMES)),
        }
    }
}

impl Kafka {
    pub(super) const KEYS: [&str; 12] = [
        "brokers",
        "tls",
        "sasl_mechanism",
        "user",
        "password",
        "topic_prefix",
        "partitions",
        "replication_factor",
        "min_insync_replicas",
        "retention",
        "compression",
        "linger",
    ];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let kafka = Self {
            remote: Remote::read(section),
            brokers: section.get("brokers", default.brokers),
            tls: section.get("tls", default.tls),
            certificates: Tls::read(section),
            sasl_mechanism: section.optional("sasl_mechanism"),
            user: section.optional("user"),
            password: section.secret("password"),
            topic_prefix: section.name_part("topic_prefix", b"._-"),
            partitions: section.get("partitions", default.partitions),
            replication_factor: section.optional("replication_factor"),
            min_insync_replicas: section.optional("min_insync_replicas"),
            retention: section.positive("retention", default.retention),
            compression: section.get("compression", default.compression),
            linger: section.between("linger", default.linger, Duration::ZERO..=Duration::from_secs(1)),
        };
        section.together("user", "password");
        section.together("user", "sasl_mechanism");
        kafka.certificates.needs(kafka.tls, section, "set `tls = true`");
        if kafka.sasl_mechanism == Some(SaslMechanism::Plain) && !kafka.tls {
            let fault = Fault::new("PLAIN would send the password without encryption");
            section.refuse(&["sasl_mechanism"], fault.help("set `tls = true`, or use SCRAM-SHA-512"));
        }
        if kafka.min_insync_replicas > kafka.replication_factor && kafka.replication_factor.is_some() {
            section.contradiction("replication_factor", "min_insync_replicas");
        }
        kafka
    }
}
