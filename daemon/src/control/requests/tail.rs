//! What is published from now on, or since a time that has passed?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{BoxStream, StreamExt as _, select_all, unfold};
use rohas_adapters::broker::Tail;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::brokers::Brokers;
use crate::control::view::Seen;

/// Which messages somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Of this event only.
    pub(crate) event: Option<String>,
    /// Nanoseconds since 1970; from now on without it.
    pub(crate) since: Option<u64>,
}

/// Messages as they are published, until the brokers close.
pub(crate) type Seeing = BoxStream<'static, Seen>;

impl Watch {
    /// Where the daemon takes it in; it answers with a line of JSON for each message.
    pub(crate) const PATH: &'static str = "/tail";

    pub(crate) async fn begin(&self, brokers: &Brokers) -> Result<Seeing, Error> {
        let since = self.since.map(|since| UNIX_EPOCH + Duration::from_nanos(since));
        if let Some(event) = &self.event {
            let broker = brokers.carrier(event)?.ok_or_else(|| Error::Carrier(event.clone()))?;
            return Ok(stream(broker.tail(Some(event), since).await?));
        }
        let mut tails = Vec::new();
        for (_, broker) in brokers.all() {
            tails.push(stream(broker.tail(None, since).await?));
        }
        Ok(select_all(tails).boxed())
    }
}

/// Since then, as it is asked for.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn stream(tail: Box<dyn Tail>) -> Seeing {
    unfold(tail, |mut tail| async move { tail.next().await.map(|seen| (Seen::from(seen), tail)) }).boxed()
}
