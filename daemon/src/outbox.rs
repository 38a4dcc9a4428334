//! What becomes of a request's emits while their broker is not available? They wait in the embedded store, in order, and are relayed when it is back.
//!
//! Emits of a consumed event don't come here: their message is tried again, because its own broker still holds it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rohas_adapters::broker::{Broker, Error, Failure, Publication};
use rohas_adapters::rocksdb::{self, RocksDb};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::view::section;

/// Publications that are relayed at once, at most.
const BATCH: usize = 500;
/// Stored bytes of them, unless one alone has more.
const BATCH_BYTES: usize = 4 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The outbox in one embedded store.
pub(crate) struct Outbox {
    store: Arc<RocksDb>,
    /// The name of the broker that this store is, if it is one: what it cannot take itself it cannot keep either.
    own: Option<String>,
    /// All brokers of the settings, by name.
    lanes: HashMap<String, Lane>,
}

/// The way to one broker.
struct Lane {
    broker: Arc<dyn Broker>,
    way: Way,
    /// Rung when the way was closed, for it may be time to open it again.
    closed: Notify,
}

/// Whether publications go straight to their broker. As long as something waits for it they wait behind that.
///
/// Each closing has a number of its own, so that whoever found nothing that waits opens the way only if it was not closed since.
#[derive(Default)]
struct Way {
    /// The number of the last closing, 0 while it is open.
    closing: AtomicU64,
    last: AtomicU64,
}

/// What waits for one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) waiting: rocksdb::Backlog,
    /// Whether the settings name the broker; otherwise it waits until they do.
    pub(crate) configured: bool,
}

impl Way {
    fn is_open(&self) -> bool {
        self.closing() == 0
    }

    fn closing(&self) -> u64 {
        self.closing.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closing.store(self.last.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Opens it, unless it was closed after `closing`.
    fn open(&self, closing: u64) -> bool {
        self.closing.compare_exchange(closing, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Outbox {
    /// The outbox in `store`, which is the broker `own` if it is one, for all these brokers, with what an earlier daemon has left in it.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn open(
        (own, store): (Option<String>, Arc<RocksDb>),
        brokers: impl Iterator<Item = (String, Arc<dyn Broker>)>,
    ) -> Result<Self, Error> {
        let left = store.outbox_status().await?;
        let lanes = brokers.map(|(name, broker)| {
            let way = Way::default();
            if left.iter().any(|backlog| backlog.broker == name) {
                way.close();
            }
            (name, Lane { broker, way, closed: Notify::new() })
        });
        Ok(Self { lanes: lanes.collect(), own, store })
    }

    /// Whether something waits here for a broker, so that what comes now must wait behind it.
    pub(crate) fn has_waiting(&self, broker: &str) -> bool {
        self.lanes.get(broker).is_some_and(|lane| !lane.way.is_open())
    }

    /// Publishes at a broker, or keeps for it what it cannot take now. `None` when this outbox does not serve it.
    pub(crate) async fn publish(&self, broker: &str, publications: &[Publication]) -> Option<Result<(), Error>> {
        if self.own.as_deref() == Some(broker) {
            return None;
        }
        let lane = self.lanes.get(broker)?;
        if lane.way.is_open() {
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
        let entries = publications.iter().map(|publication| (broker.to_owned(), publication.clone()));
        self.store.outbox_push(entries.collect()).await?;
        // Before the caller knows that it is kept: what comes after that waits behind it. The relay may have taken it out already, and looks again.
        lane.way.close();
        lane.closed.notify_one();
        Ok(())
    }

    /// What waits, by broker.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn status(&self) -> Result<Vec<Backlog>, Error> {
        let waiting = self.store.outbox_status().await?.into_iter();
        let backlog =
            |waiting: rocksdb::Backlog| Backlog { configured: self.lanes.contains_key(&waiting.broker), waiting };
        Ok(waiting.map(backlog).collect())
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
        let (mut pause, mut most) = (FIRST_PAUSE, BATCH);
        loop {
            // Both before the look: what comes after it is then not missed.
            let (arrival, closing) = (self.store.outbox_arrival(), lane.way.closing());
            match self.relay_some(name, lane, &mut most).await {
                Ok(0) if lane.way.open(closing) => tokio::select! {
                    () = arrival => {}
                    () = lane.closed.notified() => {}
                },
                Ok(0) => {}
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

    /// Relays the oldest ones, about `most`, and returns how many have left. Whoever is interrupted between publishing and removing publishes again,
    /// which brokers that know the ids drop.
    async fn relay_some(&self, name: &str, lane: &Lane, most: &mut usize) -> Result<usize, Error> {
        let mut waiting = self.store.outbox_read(name, *most, BATCH_BYTES).await?;
        if !waiting.is_empty() {
            lane.way.close();
        }
        while let Some((last, _)) = waiting.last() {
            let last = *last;
            let batch = waiting.iter().map(|(_, publication)| publication.clone()).collect();
            match lane.broker.publish(batch).await {
                Err(error @ Error::TooLarge { .. }) if waiting.len() == 1 => self.give_up(name, last, &error).await?,
                Err(Error::TooLarge { .. }) => {
                    waiting.truncate(waiting.len() / 2);
                    *most = waiting.len();
                    continue;
                }
                outcome => {
                    outcome?;
                    self.store.outbox_remove(name, last).await?;
                }
            }
            *most = (*most * 2).min(BATCH);
            return Ok(waiting.len());
        }
        Ok(0)
    }

    /// Makes a dead letter of one that its broker can never take, so that those behind it need not wait for ever.
    async fn give_up(&self, name: &str, number: u64, error: &Error) -> Result<(), Error> {
        let failure = Failure {
            at: SystemTime::now(),
            code: "too_large".to_owned(),
            message: format!("[{}] cannot take it: {error}", section(name)),
            traceback: None,
        };
        self.store.outbox_dead(name, number, failure).await?;
        tracing::error!(broker = name, %error, "an event of the outbox was given up; it is among the dead letters");
        Ok(())
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
