//! What is an adapter on a network? A link to its broker, and an embedded store beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::connect;
use super::consumer::RemoteConsumer;
use super::due::{Due, event_of};
use super::held::{Bounds, Counts};
use super::link::{Backlog, Link};
use super::publish;
use super::subscription::{Made, Sub, Wish};
use super::tail::FeedTail;
use super::{Options, replay};
use crate::broker::{
    Broker, Capabilities, Consumer, DeadLetter, DeadLetterFilter, Error, Publication, Status, Subscription, Tail,
};
use crate::rocksdb::RocksDb;

/// A broker that does not say within this that it is there is not.
const READY: Duration = Duration::from_secs(3);

/// A broker on a network. Must be made and used within a tokio runtime; dropping it ends its tasks.
pub struct Remote {
    pub(super) link: Arc<dyn Link>,
    pub(super) due: Due,
    pub(super) companion: Arc<RocksDb>,
    bounds: Bounds,
    /// By event. Guards which there are; held to copy references out, or to put one in.
    subs: RwLock<HashMap<Arc<str>, Vec<Arc<Sub>>>>,
    /// What goes on for each of them. Held to add one.
    tasks: Mutex<JoinSet<()>>,
}

impl Remote {
    /// Puts an adapter together. Does not wait for the broker. The store is this adapter's alone, its outbox excepted, and is closed with it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn new(link: Arc<dyn Link>, companion: Arc<RocksDb>, options: Options) -> Result<Self, Error> {
        let due = Due::new(Arc::clone(&link), Arc::clone(&companion));
        due.start().await?;
        let bounds = Bounds { messages: options.window.max(1), bytes: options.window_bytes.max(1) };
        Ok(Self { link, due, companion, bounds, subs: RwLock::default(), tasks: Mutex::default() })
    }

    /// The way to the broker, for what is not about events.
    #[must_use]
    pub fn link(&self) -> &Arc<dyn Link> {
        &self.link
    }

    /// What this process has subscribed to of an event.
    pub(super) fn subs_of(&self, event: &str) -> Vec<Arc<Sub>> {
        let subs = self.subs.read().unwrap_or_else(PoisonError::into_inner);
        subs.get(event).cloned().unwrap_or_default()
    }

    fn all_subs(&self) -> Vec<Arc<Sub>> {
        self.subs.read().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    pub(super) fn sub(&self, subscription: &Subscription) -> Option<Arc<Sub>> {
        self.subs_of(&subscription.event).into_iter().find(|sub| sub.subscription == *subscription)
    }

    /// The subscription's part of this process, made when it is missing.
    fn sub_or(&self, new: Sub) -> Arc<Sub> {
        let mut subs = self.subs.write().unwrap_or_else(PoisonError::into_inner);
        let of_event = subs.entry(Arc::clone(&new.subscription.event)).or_default();
        if let Some(known) = of_event.iter().find(|sub| sub.subscription == new.subscription) {
            return Arc::clone(known);
        }
        let sub = Arc::new(new);
        of_event.push(Arc::clone(&sub));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(connect::run(Arc::clone(&sub)));
        sub
    }

    /// Gives back what is ours of a subscription and ends its part of this process.
    async fn end(&self, subscription: &Subscription) {
        let Some(sub) = self.sub(subscription) else { return };
        if let Some(subs) = self.subs.write().unwrap_or_else(PoisonError::into_inner).get_mut(&subscription.event) {
            subs.retain(|other| !Arc::ptr_eq(other, &sub));
        }
        end(&sub).await;
    }

    /// What waits at the broker, of each of these.
    async fn backlogs(&self, subscriptions: impl Iterator<Item = Subscription>) -> Result<Vec<Backlog>, Error> {
        let mut asking = JoinSet::new();
        for (place, subscription) in subscriptions.enumerate() {
            let link = Arc::clone(&self.link);
            asking.spawn(async move { (place, link.backlog(&subscription).await) });
        }
        let mut backlogs = BTreeMap::new();
        while let Some(answer) = asking.join_next().await {
            let (place, backlog) = answer.map_err(|panicked| Error::Unavailable(panicked.to_string()))?;
            backlogs.insert(place, backlog?);
        }
        Ok(backlogs.into_values().collect())
    }
}

async fn end(sub: &Sub) {
    sub.wish.send_replace(Wish::End);
    // The sender is in `sub`.
    drop(sub.ended.subscribe().wait_for(|ended| *ended).await);
}

/// What the companion knows, what is ours and what waits at the broker.
fn sum(own: Status, backlog: Backlog, delayed: u64, sub: Option<&Arc<Sub>>) -> Status {
    let (Counts { out, back, waiting }, oldest) = sub.map(|sub| sub.counts()).unwrap_or_default();
    Status {
        waiting: own.waiting + backlog.waiting + back,
        delayed: own.delayed + waiting + if own.declared { delayed } else { 0 },
        in_flight: own.in_flight + out,
        oldest: [own.oldest, oldest, backlog.oldest].into_iter().flatten().min(),
        ..own
    }
}

#[async_trait]
impl Broker for Remote {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, dedupe: true, history: self.link.traits().history }
    }

    async fn ready(&self) -> Result<(), Error> {
        let silent = |_elapsed| Err(Error::Unavailable(format!("it did not answer within {} s", READY.as_secs())));
        timeout(READY, self.link.ready()).await.unwrap_or_else(silent)?;
        for sub in self.all_subs() {
            if let Made::Failed(error) = &*sub.made.borrow() {
                return Err(error.clone());
            }
        }
        Ok(())
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error> {
        let companion = self.companion.accompany(subscription).await?;
        let new = Sub::new(subscription.clone(), Arc::clone(&self.link), companion, self.bounds);
        let sub = self.sub_or(new);
        sub.wish.send_if_modified(|wish| std::mem::replace(wish, Wish::Consume) != Wish::Consume);
        Ok(Arc::new(RemoteConsumer { sub }))
    }

    async fn retire(&self, subscription: &Subscription) -> Result<(), Error> {
        self.companion.retire(subscription).await?;
        if let Some(sub) = self.sub(subscription) {
            sub.wish.send_replace(Wish::Rest);
        }
        Ok(())
    }

    async fn set_paused(&self, subscription: &Subscription, paused: bool) -> Result<(), Error> {
        self.companion.set_paused(subscription, paused).await
    }

    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error> {
        let known = self.companion.status().await?.into_iter().find(|status| status.subscription == *subscription);
        match known {
            None => return Err(Error::Unknown(subscription.clone())),
            Some(status) if status.declared => return Err(Error::Declared(subscription.clone())),
            Some(_) => {}
        }
        self.end(subscription).await;
        let at_broker = self.link.prune(subscription).await?;
        Ok(at_broker + self.companion.prune(subscription).await?)
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        publish::publish(self, publications, true).await
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        publish::publish(self, publications, false).await
    }

    async fn declared(&self) -> Result<Vec<Subscription>, Error> {
        let all = self.companion.declared().await?;
        Ok(all.into_iter().filter(|subscription| event_of(&subscription.event).is_none()).collect())
    }

    async fn status(&self) -> Result<Vec<Status>, Error> {
        let (due, own): (Vec<Status>, Vec<Status>) = self
            .companion
            .status()
            .await?
            .into_iter()
            .partition(|status| event_of(&status.subscription.event).is_some());
        let backlogs = self.backlogs(own.iter().map(|status| status.subscription.clone())).await?;
        let delayed_of = |event: &str| -> u64 {
            let of_event = due.iter().filter(|status| event_of(&status.subscription.event) == Some(event));
            of_event.map(|status| status.delayed + status.waiting + status.in_flight).sum()
        };
        let all = own.into_iter().zip(backlogs).map(|(own, backlog)| {
            let (delayed, sub) = (delayed_of(&own.subscription.event), self.sub(&own.subscription));
            sum(own, backlog, delayed, sub.as_ref())
        });
        Ok(all.collect())
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.companion.dead_letters(filter, limit).await
    }

    async fn redrive(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        self.companion.redrive(ids).await
    }

    async fn purge(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        self.companion.purge(ids).await
    }

    async fn replay(&self, subscription: &Subscription, from: SystemTime) -> Result<u64, Error> {
        replay::replay(self, subscription, from).await
    }

    async fn tail(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Tail>, Error> {
        if since.is_some() && !self.link.traits().history {
            return Err(Error::Unsupported { adapter: self.link.adapter(), what: "look back" });
        }
        Ok(Box::new(FeedTail::new(self.link.feed(event, since).await?)))
    }

    async fn close(&self) -> Result<(), Error> {
        self.due.stop();
        for sub in self.all_subs() {
            sub.wish.send_replace(Wish::End);
        }
        for sub in self.all_subs() {
            end(&sub).await;
        }
        let closed = self.link.close().await;
        self.companion.close().await?;
        closed
    }
}
