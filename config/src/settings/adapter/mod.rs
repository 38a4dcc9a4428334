//! Which broker carries the events? `[adapter]` and `[adapters.NAME]`, with a file for each type.

mod aws;
mod kafka;
mod memory;
mod nats;
mod rabbitmq;
mod remote;
mod rocksdb;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::reader::{Foreign, Refused, Section};
use super::value::{Fault, Value};

pub use aws::{Account, Aws, AwsType, Bus, EventBridge, QueueNames, Queues, Sqs};
pub use kafka::{Brokers, Compression, Kafka, SaslMechanism};
pub use memory::Memory;
pub use nats::Nats;
pub use rabbitmq::{ExchangeType, RabbitMq};
pub use remote::{Remote, Tls};
pub use rocksdb::{Durability, RocksDb};

/// A broker; `type` chooses which.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schemars(deny_unknown_fields)]
pub enum Adapter {
    /// Queues in the daemon's memory: fast, without anything to install, and gone when the daemon ends.
    Memory(Memory),
    /// A durable queue on this machine, inside the daemon: nothing to install, and it survives the end of the daemon.
    RocksDb(RocksDb),
    /// NATS with JetStream.
    Nats(Box<Nats>),
    /// Apache Kafka, or what speaks its protocol. This version checks these settings and refuses to run with them.
    Kafka(Box<Kafka>),
    /// RabbitMQ with quorum queues. This version checks these settings and refuses to run with them.
    RabbitMq(Box<RabbitMq>),
    /// Amazon SQS. This version checks these settings and refuses to run with them.
    Sqs(Box<Sqs>),
    /// Amazon EventBridge, with queues of SQS behind it. This version checks these settings and refuses to run with them.
    EventBridge(Box<EventBridge>),
    /// Amazon SQS and EventBridge, chosen per event. This version checks these settings and refuses to run with them.
    Aws(Box<Aws>),
}

const BUFFER_SIZE: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");

impl Default for Adapter {
    fn default() -> Self {
        Self::Memory(Memory::default())
    }
}

/// Adapter types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Memory,
    RocksDb,
    Nats,
    Kafka,
    RabbitMq,
    Sqs,
    EventBridge,
    Aws,
}

impl Type {
    const ALL: [Self; 8] =
        [Self::Memory, Self::RocksDb, Self::Nats, Self::Kafka, Self::RabbitMq, Self::Sqs, Self::EventBridge, Self::Aws];

    const NAMES: [&str; 8] = ["memory", "rocksdb", "nats", "kafka", "rabbitmq", "sqs", "eventbridge", "aws"];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The keys that it has besides `type`, in groups.
    fn keys(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Memory => &[&["buffer_size"]],
            Self::RocksDb => &[&["buffer_size", "path", "durability", "max_bytes", "retention"]],
            Self::Nats => &[&Remote::KEYS, &Tls::KEYS, &Nats::KEYS],
            Self::Kafka => &[&Remote::KEYS, &Tls::KEYS, &Kafka::KEYS],
            Self::RabbitMq => &[&Remote::KEYS, &Tls::KEYS, &RabbitMq::KEYS],
            Self::Sqs => &[&Remote::KEYS, &Account::KEYS, &Queues::KEYS, &QueueNames::KEYS],
            Self::EventBridge => &[&Remote::KEYS, &Account::KEYS, &Queues::KEYS, &Bus::KEYS],
            Self::Aws => &[&Remote::KEYS, &Account::KEYS, &Queues::KEYS, &QueueNames::KEYS, &Bus::KEYS, &Aws::KEYS],
        }
    }

    fn has(self, key: &str) -> bool {
        self.keys().iter().any(|group| group.contains(&key))
    }

    /// Keys that only other types have, each with those types.
    fn foreign_keys(self) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
        let keys = Self::ALL.into_iter().flat_map(|other| other.keys().iter().copied().flatten().copied());
        keys.filter(move |key| !self.has(key)).map(|key| {
            let types = Self::ALL.into_iter().filter(|other| other.has(key));
            (key, types.map(Self::name).collect())
        })
    }
}

impl Value for Type {
    const EXPECTED: &'static str = "the name of an adapter type";

    fn from_text(text: &str) -> Result<Self, Fault> {
        let lower = text.to_ascii_lowercase();
        let chosen = Self::ALL.into_iter().find(|chosen| chosen.name() == lower);
        chosen.ok_or_else(|| Fault::new(format!("unknown adapter type {text:?}")).choices(text, &Self::NAMES))
    }
}

impl Adapter {
    /// Its `type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// How many messages of a subscription may be in memory.
    #[must_use]
    pub fn buffer_size(&self) -> NonZeroU32 {
        match self {
            Self::Memory(memory) => memory.buffer_size,
            Self::RocksDb(rocksdb) => rocksdb.buffer_size,
            other => other.remote().map_or(BUFFER_SIZE, |remote| remote.buffer_size),
        }
    }

    /// The directory of its store, for the project at `root`; `None` when it has none.
    #[must_use]
    pub fn directory(&self, root: &Path) -> Option<PathBuf> {
        match self {
            Self::RocksDb(rocksdb) => Some(rocksdb.directory(root)),
            other => other.remote().map(|remote| remote.directory(root)),
        }
    }

    /// What a broker on a network needs on this side; `None` for those inside the daemon.
    #[must_use]
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Memory(_) | Self::RocksDb(_) => None,
            Self::Nats(nats) => Some(&nats.remote),
            Self::Kafka(kafka) => Some(&kafka.remote),
            Self::RabbitMq(rabbitmq) => Some(&rabbitmq.remote),
            Self::Sqs(sqs) => Some(&sqs.remote),
            Self::EventBridge(eventbridge) => Some(&eventbridge.remote),
            Self::Aws(aws) => Some(&aws.remote),
        }
    }

    fn kind(&self) -> Type {
        match self {
            Self::Memory(_) => Type::Memory,
            Self::RocksDb(_) => Type::RocksDb,
            Self::Nats(_) => Type::Nats,
            Self::Kafka(_) => Type::Kafka,
            Self::RabbitMq(_) => Type::RabbitMq,
            Self::Sqs(_) => Type::Sqs,
            Self::EventBridge(_) => Type::EventBridge,
            Self::Aws(_) => Type::Aws,
        }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let chosen = match section.attempt("type") {
            Ok(chosen) => chosen.unwrap_or(Type::Memory),
            Err(Refused) => {
                // What the other keys mean depends on the type.
                section.skip_rest();
                return Self::default();
            }
        };
        for (key, types) in chosen.foreign_keys() {
            section.foreign(key, Foreign(types));
        }
        match chosen {
            Type::Memory => Self::Memory(Memory::read(section)),
            Type::RocksDb => Self::RocksDb(RocksDb::read(section)),
            Type::Nats => Self::Nats(Box::new(Nats::read(section))),
            Type::Kafka => Self::Kafka(Box::new(Kafka::read(section))),
            Type::RabbitMq => Self::RabbitMq(Box::new(RabbitMq::read(section))),
            Type::Sqs => Self::Sqs(Box::new(Sqs::read(section))),
            Type::EventBridge => Self::EventBridge(Box::new(EventBridge::read(section))),
            Type::Aws => Self::Aws(Box::new(Aws::read(section))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_has_the_keys_that_it_says() {
        let default = |chosen: Type| match chosen {
            Type::Memory => Adapter::default(),
            Type::RocksDb => Adapter::RocksDb(RocksDb::default()),
            Type::Nats => Adapter::Nats(Box::default()),
            Type::Kafka => Adapter::Kafka(Box::default()),
            Type::RabbitMq => Adapter::RabbitMq(Box::default()),
            Type::Sqs => Adapter::Sqs(Box::default()),
            Type::EventBridge => Adapter::EventBridge(Box::default()),
            Type::Aws => Adapter::Aws(Box::default()),
        };
        for chosen in Type::ALL {
            let adapter = default(chosen);
            let json = serde_json::to_value(&adapter).unwrap();
            assert_eq!((adapter.name(), json["type"].as_str()), (chosen.name(), Some(chosen.name())));
            let written: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
            let known = chosen.keys().iter().copied().flatten().copied().chain(["type"]);
            assert_eq!(written, known.collect(), "{}", chosen.name());
        }
    }
}
