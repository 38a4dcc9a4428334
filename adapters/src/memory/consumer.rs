//! One subscription's end: how does it wait for messages, and what becomes of those it has finished?

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::broker::{Consumer, Delivery, Error, History, Obituary, Subscription};
use crate::memory::state::{Place, Shared};

pub(super) struct MemoryConsumer {
    pub(super) shared: Arc<Shared>,
    pub(super) subscription: Subscription,
    pub(super) place: Place,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        loop {
            // Made before looking, so that whatever happens after that wakes it.
            let arrived = self.place.arrived.notified();
            let taken = self.shared.state().take(self.place.queue, limit.max(1));
            let (deliveries, due) = taken.ok_or_else(|| Error::Closed(self.subscription.clone()))?;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            match due {
                Some(due) => tokio::select! {
                    () = arrived => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => arrived.await,
            }
        }
    }

    fn pauses(&self) -> watch::Receiver<bool> {
        self.place.pauses.clone()
    }

    async fn release(&self, tags: &[u64]) -> Result<(), Error> {
        self.shared.state().release(self.place.queue, tags);
        Ok(())
    }

    async fn recall(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error> {
        Ok(self.shared.state().recall(self.place.queue, tags))
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        self.shared.state().ack(self.place.queue, deliveries);
        Ok(())
    }

    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error> {
        self.shared.state().nack(self.place.queue, delivery.tag, history, delay);
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        self.shared.state().dead_letter(self.place.queue, delivery.tag, obituary);
        Ok(())
    }
}
