//! Which broker carries the events? `[adapter]` and `[adapters.NAME]`.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Serialize;

use super::reader::{Refused, Section};
use super::value::{Fault, Value};

/// A broker; `type` chooses which.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(deny_unknown_fields)]
pub enum Adapter {
    /// Queues in the daemon's memory: fast, without anything to install, and gone when the daemon ends.
    Memory(Memory),
}

/// Settings of the adapter type `memory`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Memory {
    /// Capacity of each subscription's queue
    ///
    /// A publisher waits when a queue is full; nothing is dropped. Unit: messages, at least 1. Default: 1000.
    pub buffer_size: NonZeroU32,
}

impl Default for Memory {
    fn default() -> Self {
        Self { buffer_size: const { NonZeroU32::new(1000).expect("not zero") } }
    }
}

impl Default for Adapter {
    fn default() -> Self {
        Self::Memory(Memory::default())
    }
}

/// Keys of the original that mean something to other adapter types only, and those types.
const FOREIGN: [(&str, &str); 5] = [
    ("region", "sqs, eventbridge and aws"),
    ("aws_type", "aws"),
    ("queue_prefix", "sqs and aws"),
    ("event_bus_name", "eventbridge and aws"),
    ("source", "eventbridge and aws"),
];

/// Adapter types by name; those that cannot be chosen yet are refused by name, not as a typo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    Memory,
}

const LATER: [&str; 7] = ["rocksdb", "nats", "kafka", "rabbitmq", "sqs", "aws", "eventbridge"];

impl Value for Type {
    const EXPECTED: &'static str = "the name of an adapter type: \"memory\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.eq_ignore_ascii_case("memory") {
            return Ok(Self::Memory);
        }
        if LATER.iter().any(|later| text.eq_ignore_ascii_case(later)) {
            return Err(Fault::new(format!("this version does not have the adapter type {text:?}"))
                .help("this version offers the adapter type \"memory\" only"));
        }
        Err(Fault::new(format!("unknown adapter type {text:?}")).choices(text, &["memory"]))
    }
}

impl Adapter {
    /// How many messages may wait for a subscription.
    #[must_use]
    pub fn buffer_size(&self) -> NonZeroU32 {
        match self {
            Self::Memory(memory) => memory.buffer_size,
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
        match chosen {
            Type::Memory => {
                for (key, types) in FOREIGN {
                    section.foreign(key, types);
                }
                Self::Memory(Memory { buffer_size: section.get("buffer_size", Memory::default().buffer_size) })
            }
        }
    }
}
