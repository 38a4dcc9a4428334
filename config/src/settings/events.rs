//! How are events delivered unless their declaration says otherwise? `[events]`.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::duration::{self, DurationText};
use super::reader::Section;
use super::value::{Fault, Value};
use crate::schema::model::Backoff;

/// Defaults of delivery; an `event` in the schema overrides them for itself.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Events {
    /// Attempts in all before an event becomes a dead letter
    ///
    /// The first run counts. At least 1. Default: 5.
    pub attempts: NonZeroU32,

    /// How the delay between attempts grows
    ///
    /// `exponential` doubles it, `linear` adds `delay` each time, `fixed` leaves it. Default: `exponential`.
    #[schemars(with = "BackoffText")]
    pub backoff: Backoff,

    /// Delay before the second attempt
    ///
    /// Every delay is a random time up to its bound, so that failures do not come back all at once. Default: `200ms`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub delay: Duration,

    /// Longest delay between attempts
    ///
    /// At least `delay`. Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub max_delay: Duration,

    /// Time limit of one attempt
    ///
    /// Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub timeout: Duration,

    /// Most events that a subscription handles at a time
    ///
    /// Each pair of event and handler is a subscription of its own. At least 1. Default: 16.
    pub concurrency: NonZeroU32,

    /// How long a handled event is remembered
    ///
    /// A copy that arrives within this time is not handled again. `0s` remembers nothing. Default: `10m`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub dedupe: Duration,

    /// Longest chain of events that cause events
    ///
    /// A longer one is taken for a loop and stopped. At least 1. Default: 32.
    pub hop_limit: NonZeroU32,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            attempts: const { NonZeroU32::new(5).expect("not zero") },
            backoff: Backoff::Exponential,
            delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            concurrency: const { NonZeroU32::new(16).expect("not zero") },
            dedupe: Duration::from_mins(10),
            hop_limit: const { NonZeroU32::new(32).expect("not zero") },
        }
    }
}

impl Events {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let events = Self {
            attempts: section.get("attempts", default.attempts),
            backoff: section.get("backoff", default.backoff),
            delay: section.get("delay", default.delay),
            max_delay: section.get("max_delay", default.max_delay),
            timeout: section.positive("timeout", default.timeout),
            concurrency: section.get("concurrency", default.concurrency),
            dedupe: section.get("dedupe", default.dedupe),
            hop_limit: section.get("hop_limit", default.hop_limit),
        };
        if events.max_delay < events.delay {
            section.contradiction("max_delay", "delay");
        }
        events
    }
}

/// How the delay between attempts grows.
#[derive(JsonSchema)]
#[schemars(rename = "Backoff", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum BackoffText {
    Exponential,
    Linear,
    Fixed,
}

impl Value for Backoff {
    const EXPECTED: &'static str = "\"exponential\", \"linear\" or \"fixed\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "exponential" => Ok(Self::Exponential),
            "linear" => Ok(Self::Linear),
            "fixed" => Ok(Self::Fixed),
            _ => {
                Err(Fault::new(format!("unknown backoff {text:?}")).choices(text, &["exponential", "linear", "fixed"]))
            }
        }
    }
}
