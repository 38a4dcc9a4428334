//! How does an event reach every subscription at once? One lock guards all queues, so room is looked for and taken in all of
//! them in one step; publishers who find none wait in line at one full queue, and hold nothing meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::broker::{DeadLetter, Delivery, Error, History, Obituary, Publication, Seen, Status, Subscription};
use crate::envelope::Envelope;
use crate::memory::Options;
use crate::memory::announced::Announced;
use crate::memory::dead::DeadLetters;
use crate::memory::queue::{Demand, Load, Publisher, Queue, later};
use crate::memory::recent::Recent;
use crate::memory::tail::Watcher;

/// What a broker, its consumers and its tails share.
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        Self(Mutex::new(State::new(options)))
    }

    /// Held for a few instructions per message, never over an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which queue. Never used again for another one, so whoever holds that of a pruned subscription finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueId(u64);

pub(super) struct State {
    options: Options,
    closed: bool,
    queues: BTreeMap<QueueId, Queue>,
    /// Those of `queues` that the schema declares, by event.
    topics: HashMap<Arc<str>, Vec<QueueId>>,
    recent: Recent,
    pub(super) dead: DeadLetters,
    /// What those who look will see when it is due.
    announced: Announced,
    /// Those who look, by the number that they were given.
    watchers: BTreeMap<u64, Watcher>,
    last_id: u64,
}

/// What a consumer has of its queue.
pub(super) struct Place {
    pub(super) queue: QueueId,
    /// Wakes it.
    pub(super) arrived: Arc<Notify>,
    /// Whether the queue is paused.
    pub(super) pauses: watch::Receiver<bool>,
}

/// A publisher in line.
pub(super) struct Waiter {
    publications: Vec<Publication>,
    done: oneshot::Sender<Result<(), Error>>,
}

/// What became of an offer.
pub(super) enum Offer {
    /// It is published.
    Taken,
    /// There is no room in this queue.
    NoRoom(QueueId, Vec<Publication>),
}

impl State {
    fn new(options: Options) -> Self {
        Self {
            options,
            closed: false,
            queues: BTreeMap::new(),
            topics: HashMap::new(),
            recent: Recent::default(),
            dead: DeadLetters::default(),
            announced: Announced::default(),
            watchers: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// Publishes all or nothing, if every queue concerned has room and nobody stands in line there.
    pub(super) fn offer(&mut self, publications: Vec<Publication>, publisher: Publisher) -> Result<Offer, Error> {
        self.offer_in_turn(publications, publisher, u64::MAX)
    }

    /// The same for somebody who has been waiting: only those who came earlier go first.
    fn offer_in_turn(
        &mut self,
        mut publications: Vec<Publication>,
        publisher: Publisher,
        turn: u64,
    ) -> Result<Offer, Error> {
        if self.closed {
            return Err(Error::Unavailable("it is closed".to_owned()));
        }
        let now = Instant::now();
        self.show_due(now);
        publications.retain_mut(|publication| {
            if publication.due.is_some_and(|due| due <= SystemTime::now()) {
                publication.due = None;
            }
            // Copies need no room.
            !self.recent.contains(&publication.envelope.id, now)
        });
        let demands = self.demands(&publications);
        for (id, demand) in &demands {
            let Some(queue) = self.queues.get(id) else { continue };
            if !demand.now.fits(&self.options) || !demand.later.fits(&self.options) {
                return Err(self.too_large(&queue.subscription));
            }
            let behind = publisher == Publisher::Outside && queue.line.keys().next().is_some_and(|first| *first < turn);
            if behind || !queue.has_room(demand, publisher, &self.options) {
                return Ok(Offer::NoRoom(*id, publications));
            }
        }
        for publication in publications {
            self.enqueue(publication, now);
        }
        for (id, demand) in &demands {
            if let Some(queue) = self.queues.get(id) {
                queue.wake(demand.later.items > 0);
            }
        }
        Ok(Offer::Taken)
    }

    /// How much these put into which queue.
    fn demands(&self, publications: &[Publication]) -> Vec<(QueueId, Demand)> {
        let mut demands: Vec<(QueueId, Demand)> = Vec::new();
        for publication in publications {
            let Some(topic) = self.topics.get(&publication.envelope.event) else { continue };
            let bytes = publication.envelope.size();
            for id in topic {
                let place = demands.iter().position(|(known, _)| known == id).unwrap_or_else(|| {
                    demands.push((*id, Demand::default()));
                    demands.len() - 1
                });
                let demand = &mut demands[place].1;
                let load: &mut Load = if publication.due.is_none() { &mut demand.now } else { &mut demand.later };
                load.add(bytes);
            }
        }
        demands
    }

    fn enqueue(&mut self, publication: Publication, now: Instant) {
        let Publication { envelope, due, dedupe } = publication;
        if !self.recent.insert(envelope.id, dedupe, now) {
            return;
        }
        let due = due.map(|due| later(now, due.duration_since(SystemTime::now()).unwrap_or_default()));
        let bytes = envelope.size();
        let envelope = Arc::new(envelope);
        match due {
            Some(due) => self.announce(&envelope, due),
            None => self.watchers.values_mut().for_each(|watcher| watcher.see(&envelope)),
        }
        for id in self.topics.get(&envelope.event).into_iter().flatten() {
            let Some(queue) = self.queues.get_mut(id) else { continue };
            match due {
                Some(due) => queue.schedule(Arc::clone(&envelope), bytes, due),
                None => queue.push(Arc::clone(&envelope), bytes),
            }
        }
    }

    /// Puts a publisher in line. What it waits for is what became of its offer.
    pub(super) fn line_up(
        &mut self,
        id: QueueId,
        publications: Vec<Publication>,
    ) -> (u64, oneshot::Receiver<Result<(), Error>>) {
        let (done, outcome) = oneshot::channel();
        let turn = self.next_id();
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.line.insert(turn, Waiter { publications, done });
        }
        (turn, outcome)
    }

    /// A publisher has given up: those behind it may have room.
    pub(super) fn leave_line(&mut self, turn: u64) {
        let left: Vec<QueueId> =
            self.queues.iter_mut().filter_map(|(id, queue)| queue.line.remove(&turn).map(|_| *id)).collect();
        for id in left {
            self.serve(id);
        }
    }

    /// Lets those in line at a queue publish, one after the other, as long as there is room. One that now lacks room elsewhere goes
    /// there, to the place that its arrival gives it.
    fn serve(&mut self, id: QueueId) {
        while let Some((turn, waiter)) = self.queues.get_mut(&id).and_then(|queue| queue.line.pop_first()) {
            if self.serve_one(turn, waiter) == Some(id) {
                return;
            }
        }
    }

    /// Where this publisher must go on waiting, if it must.
    fn serve_one(&mut self, turn: u64, waiter: Waiter) -> Option<QueueId> {
        let Waiter { publications, done } = waiter;
        let outcome = match self.offer_in_turn(publications, Publisher::Outside, turn) {
            Ok(Offer::NoRoom(id, publications)) => {
                self.queues.get_mut(&id)?.line.insert(turn, Waiter { publications, done });
                return Some(id);
            }
            Ok(Offer::Taken) => Ok(()),
            Err(error) => Err(error),
        };
        if done.send(outcome).is_err() {
            tracing::debug!("a publisher gave up when its turn had come");
        }
        None
    }

    /// Those in line at a queue that takes nothing any more look where else they must wait.
    fn dissolve(&mut self, line: BTreeMap<u64, Waiter>) {
        for (turn, waiter) in line {
            self.serve_one(turn, waiter);
        }
    }

    pub(super) fn subscribe(&mut self, subscription: &Subscription) -> Place {
        let id = self.find(subscription).unwrap_or_else(|| QueueId(self.next_id()));
        let topic = self.topics.entry(Arc::clone(&subscription.event)).or_default();
        if !topic.contains(&id) {
            topic.push(id);
        }
        let queue = self.queues.entry(id).or_insert_with(|| Queue::new(subscription.clone()));
        queue.declared = true;
        Place { queue: id, arrived: Arc::clone(&queue.arrived), pauses: queue.paused.subscribe() }
    }

    pub(super) fn retire(&mut self, subscription: &Subscription) {
        let Some(id) = self.find(subscription) else { return };
        if let Some(topic) = self.topics.get_mut(&subscription.event) {
            topic.retain(|known| *known != id);
        }
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.declared = false;
        let line = std::mem::take(&mut queue.line);
        self.dissolve(line);
    }

    pub(super) fn set_paused(&mut self, subscription: &Subscription, paused: bool) -> Result<(), Error> {
        let queue = self.find(subscription).and_then(|id| self.queues.get_mut(&id));
        let queue = queue.ok_or_else(|| Error::Unknown(subscription.clone()))?;
        queue.paused.send_replace(paused);
        queue.wake(true);
        Ok(())
    }

    pub(super) fn prune(&mut self, subscription: &Subscription) -> Result<u64, Error> {
        let unknown = || Error::Unknown(subscription.clone());
        let id = self.find(subscription).ok_or_else(unknown)?;
        if self.queues.get(&id).is_some_and(|queue| queue.declared) {
            return Err(Error::Declared(subscription.clone()));
        }
        let queue = self.queues.remove(&id).ok_or_else(unknown)?;
        queue.wake(true);
        Ok(count(queue.waiting() + queue.delayed() + queue.in_flight()))
    }

    /// Deliveries, or when to ask again if nothing arrives. `None` when there will be no more.
    pub(super) fn take(&mut self, id: QueueId, limit: usize) -> Option<(Vec<Delivery>, Option<Instant>)> {
        if self.closed {
            return None;
        }
        let queue = self.queues.get_mut(&id)?;
        let freed = queue.promote_due(Instant::now());
        let deliveries = queue.take(limit);
        let due = queue.next_due();
        if !deliveries.is_empty() && queue.is_ready() {
            // Another consumer may be waiting for what this one leaves.
            queue.wake(false);
        }
        if freed {
            self.serve(id);
        }
        Some((deliveries, due))
    }

    pub(super) fn ack(&mut self, id: QueueId, deliveries: &[Delivery]) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        for delivery in deliveries {
            queue.finish(delivery.tag);
        }
        self.serve(id);
    }

    pub(super) fn nack(&mut self, id: QueueId, tag: u64, history: History, delay: Duration) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.put_back(tag, history, delay);
        queue.wake(!delay.is_zero());
    }

    pub(super) fn release(&mut self, id: QueueId, tags: &[u64]) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        tags.iter().for_each(|tag| queue.release(*tag));
        queue.wake(false);
    }

    pub(super) fn recall(&self, id: QueueId, tags: &[u64]) -> Vec<Delivery> {
        let queue = self.queues.get(&id);
        queue.map(|queue| tags.iter().filter_map(|tag| queue.recall(*tag)).collect()).unwrap_or_default()
    }

    pub(super) fn dead_letter(&mut self, id: QueueId, tag: u64, obituary: &Obituary) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let Some(message) = queue.finish(tag) else { return };
        let subscription = queue.subscription.clone();
        let (envelope, obituary) = (message.envelope, obituary.clone());
        self.dead.insert(DeadLetter { id: Uuid::now_v7(), envelope, subscription, obituary }, &self.options);
        self.serve(id);
    }

    /// Their number is bounded by that of the dead letters, so they need no room.
    pub(super) fn redrive(&mut self, ids: &[Uuid]) -> Vec<Uuid> {
        let mut moved = Vec::with_capacity(ids.len());
        let mut ids: Vec<&Uuid> = ids.iter().collect();
        ids.sort_unstable();
        for id in ids {
            let queue = self.dead.subscription(id).and_then(|subscription| self.find(subscription));
            let queue = queue.and_then(|queue| self.queues.get_mut(&queue));
            // What nobody declares may be pruned, and the message with it.
            let Some(queue) = queue.filter(|queue| queue.declared) else { continue };
            let Some(letter) = self.dead.remove(id) else { continue };
            let bytes = letter.envelope.size();
            queue.push(letter.envelope, bytes);
            queue.wake(false);
            moved.push(*id);
        }
        moved
    }

    pub(super) fn status(&mut self) -> Vec<Status> {
        let now = Instant::now();
        let freed: Vec<QueueId> =
            self.queues.iter_mut().filter_map(|(id, queue)| queue.promote_due(now).then_some(*id)).collect();
        for id in freed {
            self.serve(id);
        }
        let mut all: Vec<Status> = self.queues.values().map(|queue| self.status_of(queue)).collect();
        all.sort_unstable_by(|one, other| one.subscription.cmp(&other.subscription));
        all
    }

    fn status_of(&self, queue: &Queue) -> Status {
        Status {
            subscription: queue.subscription.clone(),
            declared: queue.declared,
            paused: queue.is_paused(),
            waiting: count(queue.waiting()),
            delayed: count(queue.delayed()),
            in_flight: count(queue.in_flight()),
            dead: count(self.dead.count(&queue.subscription)),
            oldest: queue.oldest(),
        }
    }

    pub(super) fn watch(&mut self, event: Option<&str>) -> (u64, Arc<Notify>) {
        // What was due before is not for those who begin to look now.
        self.show_due(Instant::now());
        let (number, watcher) = (self.next_id(), Watcher::new(event));
        let arrived = watcher.arrived();
        self.watchers.insert(number, watcher);
        (number, arrived)
    }

    /// Whoever looks sees it when it is due, or is told that it was missed.
    fn announce(&mut self, envelope: &Arc<Envelope>, due: Instant) {
        let kept = self.announced.insert(envelope, due, &self.options);
        for watcher in self.watchers.values_mut() {
            if kept { watcher.wake() } else { watcher.miss(envelope) }
        }
    }

    fn show_due(&mut self, now: Instant) {
        while let Some(envelope) = self.announced.pop(now) {
            self.watchers.values_mut().for_each(|watcher| watcher.see(&envelope));
        }
    }

    /// What a watcher sees next, or when to look again if nothing arrives. `None` when the broker is closed.
    pub(super) fn look(&mut self, watcher: u64) -> Option<(Option<Seen>, Option<Instant>)> {
        self.show_due(Instant::now());
        let seen = self.watchers.get_mut(&watcher)?.next();
        Some((seen, self.announced.next_due()))
    }

    pub(super) fn unwatch(&mut self, watcher: u64) {
        self.watchers.remove(&watcher);
    }

    /// Ends consumers, tails, and publishers in line.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for (_, watcher) in std::mem::take(&mut self.watchers) {
            watcher.wake();
        }
        let lines: Vec<_> = self.queues.values_mut().map(|queue| std::mem::take(&mut queue.line)).collect();
        for line in lines {
            self.dissolve(line);
        }
        for queue in self.queues.values() {
            queue.wake(true);
        }
    }

    pub(super) fn full(&self, id: QueueId) -> Error {
        let name = self.queues.get(&id).map(|queue| &queue.subscription);
        Error::Full { what: name.map(queue_of).unwrap_or_default(), bound: self.bound() }
    }

    fn too_large(&self, subscription: &Subscription) -> Error {
        Error::TooLarge { what: queue_of(subscription), bound: self.bound() }
    }

    fn bound(&self) -> String {
        let Options { buffer_size, max_bytes } = self.options;
        format!("{buffer_size} messages by buffer_size, {} MiB", max_bytes / (1024 * 1024))
    }

    fn find(&self, subscription: &Subscription) -> Option<QueueId> {
        self.queues.iter().find(|(_, queue)| queue.subscription == *subscription).map(|(id, _)| *id)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn queue_of(subscription: &Subscription) -> String {
    format!("the queue of {subscription}")
}

fn count(items: usize) -> u64 {
    items as u64
}
