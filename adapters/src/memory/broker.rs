//! What can the `memory` adapter do? All that does not outlive the process.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::broker::{
    Broker, Capabilities, Consumer, DeadLetter, DeadLetterFilter, Error, Publication, Status, Subscription, Tail,
};
use crate::memory::consumer::MemoryConsumer;
use crate::memory::queue::Publisher;
use crate::memory::state::{Offer, Shared};
use crate::memory::tail::MemoryTail;

/// Bounds of each subscription. They hold for what waits and is in flight together, once more for what is published with a
/// delay, and once more for dead letters, of which the oldest are dropped beyond it. Publishers wait when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most messages, at least 1.
    pub buffer_size: usize,
    /// Most bytes.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { buffer_size: 1000, max_bytes: 64 * 1024 * 1024 }
    }
}

/// The `memory` adapter. At most once across a restart of the process, at least once within it. It remembers at most 100,000 ids for
/// dropping copies, the newest ones, whatever their windows.
pub struct Memory {
    shared: Arc<Shared>,
}

impl Memory {
    /// A broker without subscriptions.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let options = Options { buffer_size: options.buffer_size.max(1), ..options };
        Self { shared: Arc::new(Shared::new(options)) }
    }

    /// Publishes, or stands in line for it.
    fn begin(&self, publications: Vec<Publication>) -> Result<Option<Turn<'_>>, Error> {
        let mut state = self.shared.state();
        let Offer::NoRoom(queue, publications) = state.offer(publications, Publisher::Outside)? else {
            return Ok(None);
        };
        let (number, outcome) = state.line_up(queue, publications);
        Ok(Some(Turn { shared: &self.shared, number, outcome }))
    }
}

/// A publisher's place in line. Dropping it gives the place up.
struct Turn<'a> {
    shared: &'a Shared,
    number: u64,
    outcome: oneshot::Receiver<Result<(), Error>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.state().leave_line(self.number);
    }
}

#[async_trait]
impl Broker for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: false, dedupe: true, history: false }
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error> {
        let place = self.shared.state().subscribe(subscription);
        let (shared, subscription) = (Arc::clone(&self.shared), subscription.clone());
        Ok(Arc::new(MemoryConsumer { shared, subscription, place }))
    }

    async fn retire(&self, subscription: &Subscription) -> Result<(), Error> {
        self.shared.state().retire(subscription);
        Ok(())
    }

    async fn set_paused(&self, subscription: &Subscription, paused: bool) -> Result<(), Error> {
        self.shared.state().set_paused(subscription, paused)
    }

    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error> {
        self.shared.state().prune(subscription)
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        let Some(mut turn) = self.begin(publications)? else { return Ok(()) };
        let outcome = (&mut turn.outcome).await;
        outcome.unwrap_or_else(|_dropped| Err(Error::Unavailable("it is closed".to_owned())))
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        let mut state = self.shared.state();
        match state.offer(publications, Publisher::Consumer)? {
            Offer::Taken => Ok(()),
            Offer::NoRoom(queue, _) => Err(state.full(queue)),
        }
    }

    async fn status(&self) -> Result<Vec<Status>, Error> {
        Ok(self.shared.state().status())
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.shared.state().dead.list(filter, limit))
    }

    async fn redrive(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        Ok(self.shared.state().redrive(ids))
    }

    async fn purge(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let mut state = self.shared.state();
        Ok(ids.iter().copied().filter(|id| state.dead.remove(id).is_some()).collect())
    }

    async fn replay(&self, _: &Subscription, _: SystemTime) -> Result<u64, Error> {
        Err(Error::Unsupported { adapter: "memory", what: "replay what was handled" })
    }

    async fn tail(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Tail>, Error> {
        if since.is_some() {
            return Err(Error::Unsupported { adapter: "memory", what: "show what was published before" });
        }
        let (watcher, arrived) = self.shared.state().watch(event);
        Ok(Box::new(MemoryTail { shared: Arc::clone(&self.shared), watcher, arrived }))
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.state().close();
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
