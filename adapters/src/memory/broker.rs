//! How does an event reach every subscription at once? Places are taken in all queues first, then the message enters each.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use crate::broker::{Broker, Consumer, Delivery, Depth, Error, Publication, Subscription};
use crate::memory::queue::Queue;

type Topics = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Queue>>>;

/// The `memory` adapter. At most once across a restart of the process, at least once within it.
pub struct Memory {
    capacity: usize,
    /// Queues by event and handler. Written when a subscription is made (start, reload), read by every publish.
    topics: RwLock<Topics>,
}

impl Memory {
    /// A broker whose subscriptions hold at most `buffer_size` messages each (at least 1).
    #[must_use]
    pub fn new(buffer_size: usize) -> Self {
        Self { capacity: buffer_size.clamp(1, tokio::sync::Semaphore::MAX_PERMITS), topics: RwLock::default() }
    }

    /// Which queues these go to, in the order of their names. All publishers take places in this order, so no two of them can
    /// each hold what the other waits for.
    fn targets(&self, publications: &[Publication]) -> BTreeMap<(Arc<str>, Arc<str>), Target> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let mut targets = BTreeMap::new();
        for publication in publications {
            let Some((event, queues)) = topics.get_key_value(&publication.envelope.event) else { continue };
            for (handler, queue) in queues.iter().filter(|(_, queue)| !queue.paused.load(Ordering::Relaxed)) {
                targets
                    .entry((Arc::clone(event), Arc::clone(handler)))
                    .or_insert_with(|| Target { queue: Arc::clone(queue), count: 0 })
                    .count += 1;
            }
        }
        targets
    }

    fn enqueue(targets: &BTreeMap<(Arc<str>, Arc<str>), Target>, publications: Vec<Publication>) {
        for Publication { envelope, delay } in publications {
            let envelope = Arc::new(envelope);
            let event = &envelope.event;
            for ((target_event, _), target) in targets {
                if target_event == event {
                    target.queue.push(Arc::clone(&envelope), delay);
                }
            }
        }
    }
}

struct Target {
    queue: Arc<Queue>,
    count: usize,
}

impl Target {
    /// The number of places to take, if so many can ever be free.
    fn places(&self) -> Result<u32, Error> {
        let Queue { subscription, capacity, .. } = &*self.queue;
        let too_large =
            || Error::TooLarge { subscription: subscription.clone(), count: self.count, capacity: *capacity };
        if self.count > *capacity {
            return Err(too_large());
        }
        u32::try_from(self.count).ok().ok_or_else(too_large)
    }

    fn closed(&self) -> Error {
        Error::Closed(self.queue.subscription.clone())
    }
}

#[async_trait]
impl Broker for Memory {
    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let queue = topics
            .entry(Arc::clone(&subscription.event))
            .or_default()
            .entry(Arc::clone(&subscription.handler))
            .or_insert_with(|| Arc::new(Queue::new(subscription.clone(), self.capacity)));
        queue.paused.store(false, Ordering::Relaxed);
        Ok(Arc::new(MemoryConsumer { queue: Arc::clone(queue) }))
    }

    async fn pause(&self, subscription: &Subscription) -> Result<(), Error> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = topics.get(&subscription.event).and_then(|queues| queues.get(&subscription.handler)) {
            queue.paused.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        let targets = self.targets(&publications);
        let mut taken = Vec::with_capacity(targets.len());
        for target in targets.values() {
            taken.push(target.queue.places.acquire_many(target.places()?).await.map_err(|_closed| target.closed())?);
        }
        taken.into_iter().for_each(tokio::sync::SemaphorePermit::forget);
        Self::enqueue(&targets, publications);
        Ok(())
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        let targets = self.targets(&publications);
        let mut taken = Vec::with_capacity(targets.len());
        for target in targets.values() {
            taken.push(target.queue.places.try_acquire_many(target.places()?).map_err(|_full| target.queue.full())?);
        }
        taken.into_iter().for_each(tokio::sync::SemaphorePermit::forget);
        Self::enqueue(&targets, publications);
        Ok(())
    }

    fn depths(&self) -> Vec<Depth> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().flat_map(|queues| queues.values().map(|queue| queue.depth())).collect()
    }
}

struct MemoryConsumer {
    queue: Arc<Queue>,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        Ok(self.queue.next(limit).await)
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), Error> {
        self.queue.ack(delivery.tag);
        Ok(())
    }

    async fn nack(&self, delivery: &Delivery, delay: Duration) -> Result<(), Error> {
        self.queue.nack(delivery.tag, delay);
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, attempts: u32, error: &str) -> Result<(), Error> {
        if let Some(lost) = self.queue.dead_letter(delivery.tag, attempts, error) {
            tracing::warn!(
                subscription = %lost.subscription,
                event_id = %lost.envelope.id,
                "the oldest dead letter was dropped: the memory adapter keeps as many as its queue holds"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
