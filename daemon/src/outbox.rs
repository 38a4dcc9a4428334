//! What becomes of a request's emits while their broker is not available? They wait in the embedded store, in order, and are relayed when it is back.
//!
//! Emits of a consumed event don't come here: their message is tried again, because its own broker still holds it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rohas_adapters::broker::{Broker, Error, Publication};
use rohas_adapters::rocksdb::{Backlog, RocksDb};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Publications that are relayed at once.
const BATCH: usize = 500;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The outbox of all brokers but the one that is the embedded store itself.
pub(crate) struct Outbox {
    store: Arc<RocksDb>,
    /// By the broker's name.
    lanes: HashMap<String, Lane>,
}

/// The way to one broker.
struct Lane {
    broker: Arc<dyn Broker>,
    /// Something waits, so that what is published now has to wait behind it.
    behind: AtomicBool,
    /// Rung when something was added.
    more: Notify,
}

impl Outbox {
    /// An outbox in `store` for these brokers, with what an earlier daemon has left in it.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn open(
        store: Arc<RocksDb>,
        brokers: impl Iterator<Item = (String, Arc<dyn Broker>)>,
    ) -> Result<Self, Error> {
        let left = store.outbox_status().await?;
        let lanes = brokers.map(|(name, broker)| {
            let behind = AtomicBool::new(left.iter().any(|backlog| backlog.broker == name));
            (name, Lane { broker, behind, more: Notify::new() })
        });
        Ok(Self { lanes: lanes.collect(), store })
    }

    /// Publishes at a broker, or keeps for it what it cannot take now. `None` when this outbox does not serve it.
    pub(crate) async fn publish(&self, broker: &str, publications: &[Publication]) -> Option<Result<(), Error>> {
        let lane = self.lanes.get(broker)?;
        if !lane.behind.load(Ordering::Acquire) {
            match lane.broker.publish(publications.to_vec()).await {
                Err(Error::Unavailable(cause)) => {
                    tracing::warn!(broker, cause, "a broker is not available; what requests emit waits in the outbox");
                }
                outcome => return Some(outcome),
            }
        }
        Some(self.keep(broker, lane, publications).await)
    }

    async fn keep(&self, broker: &str, lane: &Lane, publications: &[Publication]) -> Result<(), Error> {
        lane.behind.store(true, Ordering::Release);
        let entries = publications.iter().map(|publication| (broker.to_owned(), publication.clone()));
        let kept = self.store.outbox_push(entries.collect()).await;
        lane.more.notify_one();
        kept
    }

    /// What waits, by broker.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn status(&self) -> Result<Vec<Backlog>, Error> {
        self.store.outbox_status().await
    }

    /// Relays to each broker until `stop`.
    pub(crate) fn relay(self: &Arc<Self>, tracker: &TaskTracker, stop: &CancellationToken) {
        for name in self.lanes.keys() {
            let (outbox, stop, name) = (Arc::clone(self), stop.clone(), name.clone());
            tracker.spawn(async move {
                stop.run_until_cancelled(outbox.follow(&name)).await;
            });
        }
    }

    async fn follow(&self, name: &str) {
        let lane = &self.lanes[name];
        let mut pause = FIRST_PAUSE;
        loop {
            let more = lane.more.notified();
            match self.relay_some(name, lane).await {
                Ok(0) if lane.behind.swap(false, Ordering::AcqRel) => {} // Something may have come since it was read: look again.
                Ok(0) => more.await,
                Ok(count) => {
                    tracing::info!(broker = name, count, "events were relayed from the outbox");
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    tracing::warn!(broker = name, %error, "the outbox cannot be relayed yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Relays the oldest ones and returns how many. Whoever is interrupted between publishing and removing publishes again, which
    /// brokers that know the ids drop.
    async fn relay_some(&self, name: &str, lane: &Lane) -> Result<usize, Error> {
        let waiting = self.store.outbox_read(name, BATCH).await?;
        let Some((last, _)) = waiting.last() else { return Ok(0) };
        lane.behind.store(true, Ordering::Release);
        let (last, count) = (*last, waiting.len());
        lane.broker.publish(waiting.into_iter().map(|(_, publication)| publication).collect()).await?;
        self.store.outbox_remove(name, last).await?;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
