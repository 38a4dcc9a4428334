//! One subscription's end: how does it wait for messages, and what becomes of those it has finished?

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::broker::{Consumer, Delivery, Error, History, Obituary, Subscription};
use crate::memory::state::{QueueId, Shared};

pub(super) struct MemoryConsumer {
    pub(super) shared: Arc<Shared>,
    pub(super) subscription: Subscription,
    pub(super) queue: QueueId,
    pub(super) arrived: Arc<Notify>,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        loop {
            // Made before looking, so that whatever happens after that wakes it.
            let arrived = self.arrived.notified();
            let taken = self.shared.state().take(self.queue, limit.max(1));
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

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        self.shared.state().ack(self.queue, deliveries);
        Ok(())
    }

    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error> {
        self.shared.state().nack(self.queue, delivery.tag, history, delay);
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        self.shared.state().dead_letter(self.queue, delivery.tag, obituary);
        Ok(())
    }
}
