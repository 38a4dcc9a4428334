//! How does a consumer get its messages and say what became of them? What was put back first, then what the companion has, then what the broker brings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::sleep_until;
use uuid::Uuid;

use super::burial;
use super::held::{after, is_ours};
use super::link::Arrival;
use super::subscription::{Opened, Step, Sub, Wait};
use crate::broker::{Consumer, Delivery, Error, History, Obituary};
use crate::rocksdb::HandOver;

/// Who waits longer for another attempt waits in the companion: brokers do not lend their messages for so long.
const LONG_WAIT: Duration = Duration::from_mins(1);

/// One consumer. Several of one subscription share what is ours.
pub(super) struct RemoteConsumer {
    pub(super) sub: Arc<Sub>,
}

/// What a consumer that waited goes on with.
enum Woken {
    /// Something may be there.
    Look,
    Own(Result<Vec<Delivery>, Error>),
    Arrived(Arc<Opened>, Result<Vec<Arrival>, Error>),
}

impl RemoteConsumer {
    /// Dropping it loses nothing: whatever has come is taken in the same step.
    async fn wait(&self, limit: usize, changed: impl Future<Output = ()>, wait: Wait) -> Woken {
        let Wait { intake, until } = wait;
        let due = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let arrival = async {
            let Some((opened, room)) = intake else { return std::future::pending().await };
            let arrivals = opened.intake.next(room).await;
            (opened, arrivals)
        };
        tokio::select! {
            biased;
            () = changed => Woken::Look,
            deliveries = self.sub.own.next(limit) => Woken::Own(deliveries),
            (opened, arrivals) = arrival => Woken::Arrived(opened, arrivals),
            () = due => Woken::Look,
        }
    }

    /// Those of the broker, and those of the companion.
    fn divide(deliveries: &[Delivery]) -> (impl Iterator<Item = u64> + Clone, Vec<Delivery>) {
        let ours = deliveries.iter().map(|delivery| delivery.tag).filter(|tag| is_ours(*tag));
        let others = deliveries.iter().filter(|delivery| !is_ours(delivery.tag));
        (ours, others.cloned().collect())
    }

    /// Writes a message that waits for long to the companion, which hands it out then.
    async fn hand_over(&self, tag: u64, history: History, delay: Duration) -> Result<(), Error> {
        let Some((envelope, identity)) = self.sub.look(|held| held.get(tag)) else { return Ok(()) };
        let due = SystemTime::now().checked_add(delay);
        let message = HandOver { envelope: &envelope, history, due };
        self.sub.companion.hand_over(&[message], identity.into_iter().collect()).await?;
        self.sub.finish(std::iter::once(tag)).await;
        Ok(())
    }
}

#[async_trait]
impl Consumer for RemoteConsumer {
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error> {
        let limit = limit.max(1);
        loop {
            let changed = self.sub.changed.notified();
            let wait = match self.sub.step(limit) {
                Step::Deliver(deliveries) => return Ok(deliveries),
                Step::Wait(wait) => wait,
            };
            match self.wait(limit, changed, wait).await {
                Woken::Look => {}
                Woken::Own(deliveries) => return deliveries,
                Woken::Arrived(opened, Ok(arrivals)) => {
                    let deliveries = self.sub.arrive(&opened, arrivals);
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Woken::Arrived(opened, Err(error)) => self.sub.lose(opened.generation, &error),
            }
        }
    }

    fn pauses(&self) -> watch::Receiver<bool> {
        self.sub.own.pauses()
    }

    async fn release(&self, tags: &[u64]) -> Result<(), Error> {
        let (ours, others): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| is_ours(**tag));
        self.sub.change(|held| held.put_back(ours.into_iter()));
        if others.is_empty() { Ok(()) } else { self.sub.own.release(&others).await }
    }

    async fn recall(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error> {
        let (ours, others): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| is_ours(**tag));
        let ours = self.sub.look(|held| ours.into_iter().filter_map(|tag| held.again(tag)).collect::<Vec<_>>());
        if others.is_empty() {
            return Ok(ours);
        }
        let others = self.sub.own.recall(&others).await?;
        let mut found: HashMap<u64, Delivery> =
            ours.into_iter().chain(others).map(|delivery| (delivery.tag, delivery)).collect();
        Ok(tags.iter().filter_map(|tag| found.remove(tag)).collect())
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        let (ours, others) = Self::divide(deliveries);
        let identities = self.sub.look(|held| held.identities(ours.clone()));
        self.sub.companion.handled(identities).await?;
        self.sub.finish(ours).await;
        if others.is_empty() { Ok(()) } else { self.sub.own.ack(&others).await }
    }

    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error> {
        let tag = delivery.tag;
        if !is_ours(tag) {
            return self.sub.own.nack(delivery, history, delay).await;
        }
        if delay > LONG_WAIT {
            return self.hand_over(tag, history, delay).await;
        }
        self.note(delivery, history);
        self.sub.change(|held| match delay.is_zero() {
            true => held.put_back(std::iter::once(tag)),
            false => held.wait(tag, after(delay)),
        });
        Ok(())
    }

    fn note(&self, delivery: &Delivery, history: History) {
        if !is_ours(delivery.tag) {
            return self.sub.own.note(delivery, history);
        }
        if let Some(id) = self.sub.look(|held| held.set_history(delivery.tag, history)) {
            self.sub.companion.note(id, history);
        }
    }

    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error> {
        if is_ours(delivery.tag) {
            return burial::bury(&self.sub, delivery.tag, obituary).await;
        }
        let id = Uuid::now_v7();
        burial::show(&self.sub, id, &delivery.envelope, obituary).await?;
        self.sub.companion.give_up(id, delivery, obituary).await
    }
}
