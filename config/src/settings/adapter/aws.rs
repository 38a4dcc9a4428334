//! Settings of the adapter types `sqs`, `eventbridge` and `aws`, which is both.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::remote::Remote;
use crate::settings::duration::{self, DurationText};
use crate::settings::reader::Section;
use crate::settings::url::BrokerUrl;
use crate::settings::value::{Fault, Value};

/// Settings of the adapter type `sqs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Sqs {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub remote: Remote,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub account: Account,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub queues: Queues,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub names: QueueNames,
}

/// Settings of the adapter type `eventbridge`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct EventBridge {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub remote: Remote,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub account: Account,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub queues: Queues,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub bus: Bus,
}

/// Settings of the adapter type `aws`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Aws {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub remote: Remote,

    /// What carries an event whose `type` in the schema does not say it
    ///
    /// `sqs` or `eventbridge`. Default: `sqs`.
    pub aws_type: AwsType,

    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub account: Account,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub queues: Queues,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub names: QueueNames,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its fields are described where they are")]
    pub bus: Bus,
}

/// Whose queues they are. Keys come from where the AWS SDK finds them and from nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Account {
    /// Region of AWS
    ///
    /// Without it the one that the AWS SDK finds, in `AWS_REGION` or the profile, and `us-east-1` where it finds none. Default: none.
    pub region: Option<String>,

    /// URL of the service, for stand-ins and private endpoints
    ///
    /// Default: none.
    pub endpoint_url: Option<BrokerUrl>,

    /// Profile of the AWS configuration from which the credentials come
    ///
    /// Default: none.
    pub profile: Option<String>,
}

/// How the queues behave from which events come.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Queues {
    /// How long a message is kept from other replicas without a word from the one that has it
    ///
    /// It is renewed while the message is at work; after the sudden end of a daemon another one has it after this time. From 5 s to 12 h. Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub visibility_timeout: Duration,

    /// How long a request waits for messages
    ///
    /// Longer is fewer requests; nothing comes later for it. From 1 s to 20 s. Default: `20s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub wait_time: Duration,

    /// Age at which events leave the queues, handled or not
    ///
    /// It holds for queues that are made. From 1 m to 14 d. Default: `4d`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub retention: Duration,
}

/// What the queues of events are called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct QueueNames {
    /// What the names of queues begin with
    ///
    /// An event's queue is this and its name; what a queue's name cannot have becomes `-`. Default: none.
    pub queue_prefix: Option<String>,

    /// Whether the queues keep the order of the events of one key
    ///
    /// Their names end with `.fifo` then, and each of them is limited in its throughput. Default: false.
    pub fifo: bool,
}

/// Where events are published.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Bus {
    /// The event bus that events are published to
    ///
    /// Default: `default`.
    pub event_bus_name: String,

    /// The `source` of events on the bus
    ///
    /// Rules choose events by it. Default: `rohas`.
    pub source: String,
}

/// What carries events on AWS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AwsType {
    /// A queue per event.
    #[default]
    Sqs,
    /// An event bus, with a queue per event behind it.
    EventBridge,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(30),
            wait_time: Duration::from_secs(20),
            retention: Duration::from_hours(4 * 24),
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self { event_bus_name: "default".to_owned(), source: "rohas".to_owned() }
    }
}

impl Value for AwsType {
    const EXPECTED: &'static str = "\"sqs\" or \"eventbridge\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.to_ascii_lowercase().as_str() {
            "sqs" => Ok(Self::Sqs),
            "eventbridge" => Ok(Self::EventBridge),
            _ => Err(Fault::new(format!("unknown AWS type {text:?}")).choices(text, &["sqs", "eventbridge"])),
        }
    }
}

impl Sqs {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            remote: Remote::read(section),
            account: Account::read(section),
            queues: Queues::read(section),
            names: QueueNames::read(section),
        }
    }
}

impl EventBridge {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            remote: Remote::read(section),
            account: Account::read(section),
            queues: Queues::read(section),
            bus: Bus::read(section),
        }
    }
}

impl Aws {
    pub(super) const KEYS: [&str; 1] = ["aws_type"];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            remote: Remote::read(section),
            aws_type: section.get("aws_type", AwsType::default()),
            account: Account::read(section),
            queues: Queues::read(section),
            names: QueueNames::read(section),
            bus: Bus::read(section),
        }
    }
}

impl Account {
    pub(super) const KEYS: [&str; 3] = ["region", "endpoint_url", "profile"];

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            region: section.name_part("region", b"-"),
            endpoint_url: section.optional_url("endpoint_url", &["http", "https"]),
            profile: section.optional("profile"),
        }
    }
}

impl Queues {
    pub(super) const KEYS: [&str; 3] = ["visibility_timeout", "wait_time", "retention"];

    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let seconds = Duration::from_secs;
        Self {
            visibility_timeout: section.between(
                "visibility_timeout",
                default.visibility_timeout,
                seconds(5)..=Duration::from_hours(12),
            ),
            wait_time: section.between("wait_time", default.wait_time, seconds(1)..=seconds(20)),
            retention: section.between("retention", default.retention, seconds(60)..=Duration::from_hours(14 * 24)),
        }
    }
}

impl QueueNames {
    pub(super) const KEYS: [&str; 2] = ["queue_prefix", "fifo"];

    fn read(section: &mut Section<'_>) -> Self {
        Self { queue_prefix: section.optional("queue_prefix"), fifo: section.get("fifo", false) }
    }
}

impl Bus {
    pub(super) const KEYS: [&str; 2] = ["event_bus_name", "source"];

    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            event_bus_name: section.not_empty("event_bus_name", default.event_bus_name),
            source: section.not_empty("source", default.source),
        }
    }
}
