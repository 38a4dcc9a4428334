//! How does one subscription keep its messages? Waiting in the order of their publication, handed out, or not yet due.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::broker::{Delivery, History, Subscription};
use crate::envelope::Envelope;
use crate::memory::Options;
use crate::memory::state::Waiter;

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

impl Load {
    pub(super) fn add(&mut self, bytes: usize) {
        self.items += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.items -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn plus(self, other: Self) -> Self {
        Self { items: self.items + other.items, bytes: self.bytes.saturating_add(other.bytes) }
    }

    pub(super) fn fits(self, options: &Options) -> bool {
        self.items <= options.buffer_size && self.bytes <= options.max_bytes
    }
}

/// What somebody wants to put into one subscription.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    /// Due now.
    pub(super) now: Load,
    /// Due later.
    pub(super) later: Load,
}

/// Who wants to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publisher {
    /// Somebody who can wait for the consumers.
    Outside,
    /// A consumer. It has taken what it works on out of the room that counts for it, so one that publishes as much as it takes
    /// always goes on.
    Consumer,
}

/// One message of this subscription.
pub(super) struct Message {
    /// Its place in the order of publication, never given twice.
    number: u64,
    bytes: usize,
    pub(super) envelope: Arc<Envelope>,
    history: History,
}

/// The messages of one subscription.
pub(super) struct Queue {
    pub(super) subscription: Subscription,
    /// Whether the schema declares it: publishers pass it by otherwise.
    pub(super) declared: bool,
    /// Whether somebody paused it: nothing is handed out then.
    pub(super) paused: watch::Sender<bool>,
    /// Wakes its consumers.
    pub(super) arrived: Arc<Notify>,
    /// Publishers who wait for room here, by the order of their arrival.
    pub(super) line: BTreeMap<u64, Waiter>,
    /// Never handed out yet. Numbers rise, and all of them are above those of `put_back`.
    fresh: VecDeque<Message>,
    put_back: BTreeMap<u64, Message>,
    /// Put back with a delay. The number keeps those of one instant apart.
    resting: BTreeMap<(Instant, u64), Message>,
    /// Published with a delay; they get their place in the order when they are due.
    scheduled: BTreeMap<(Instant, u64), (usize, Arc<Envelope>)>,
    in_flight: HashMap<u64, Message>,
    last_number: u64,
    last_tag: u64,
    /// Of `fresh` and `put_back`.
    waiting: Load,
    taken: Load,
    rested: Load,
    delayed: Load,
}

impl Queue {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            declared: true,
            paused: watch::Sender::new(false),
            arrived: Arc::default(),
            line: BTreeMap::new(),
            fresh: VecDeque::new(),
            put_back: BTreeMap::new(),
            resting: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            in_flight: HashMap::new(),
            last_number: 0,
            last_tag: 0,
            waiting: Load::default(),
            taken: Load::default(),
            rested: Load::default(),
            delayed: Load::default(),
        }
    }

    /// Whether so much more may enter. Messages that were put back with a delay count for everybody, otherwise a handler that
    /// always fails would make room for ever more of them.
    pub(super) fn has_room(&self, demand: &Demand, publisher: Publisher, options: &Options) -> bool {
        let mut held = self.waiting.plus(self.rested);
        if publisher == Publisher::Outside {
            held = held.plus(self.taken);
        }
        (demand.now.items == 0 || held.plus(demand.now).fits(options))
            && (demand.later.items == 0 || self.delayed.plus(demand.later).fits(options))
    }

    /// Puts a message at the end.
    pub(super) fn push(&mut self, envelope: Arc<Envelope>, bytes: usize) {
        self.waiting.add(bytes);
        let number = self.next_number();
        self.fresh.push_back(Message { number, bytes, envelope, history: History::default() });
    }

    /// Keeps a message until it is due.
    pub(super) fn schedule(&mut self, envelope: Arc<Envelope>, bytes: usize, due: Instant) {
        self.delayed.add(bytes);
        let number = self.next_number();
        self.scheduled.insert((due, number), (bytes, envelope));
    }

    /// Hands out at most `limit` messages: those that were put back first.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Delivery> {
        if self.is_paused() {
            return Vec::new();
        }
        let count = limit.min(self.waiting.items);
        let mut deliveries = Vec::with_capacity(count);
        while deliveries.len() < count {
            let put_back = self.put_back.pop_first().map(|(_, message)| message);
            let Some(message) = put_back.or_else(|| self.fresh.pop_front()) else { break };
            self.waiting.remove(message.bytes);
            self.taken.add(message.bytes);
            self.last_tag += 1;
            let (envelope, history) = (Arc::clone(&message.envelope), message.history);
            deliveries.push(Delivery { envelope, history, tag: self.last_tag });
            self.in_flight.insert(self.last_tag, message);
        }
        deliveries
    }

    /// Lets those enter that have become due. Whether one did that had been published with a delay, which makes room for others.
    pub(super) fn promote_due(&mut self, now: Instant) -> bool {
        while let Some(first) = self.resting.first_entry().filter(|first| first.key().0 <= now) {
            let message = first.remove();
            self.rested.remove(message.bytes);
            self.restore(message);
        }
        let mut freed = false;
        while let Some(first) = self.scheduled.first_entry().filter(|first| first.key().0 <= now) {
            let (bytes, envelope) = first.remove();
            self.delayed.remove(bytes);
            self.push(envelope, bytes);
            freed = true;
        }
        freed
    }

    /// When the next one becomes due, of those that can be handed out then.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.is_paused() {
            return None;
        }
        let resting = self.resting.first_key_value().map(|((due, _), _)| *due);
        let scheduled = self.scheduled.first_key_value().map(|((due, _), _)| *due);
        resting.into_iter().chain(scheduled).min()
    }

    /// Whether there is something to hand out.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_paused() && self.waiting.items > 0
    }

    /// Wakes one consumer for messages that are there, or all of them when the time has changed at which they must look again.
    pub(super) fn wake(&self, all: bool) {
        if all {
            self.arrived.notify_waiters();
        }
        self.arrived.notify_one();
    }

    /// Takes a message out that was handed out. `None` when it was finished before.
    pub(super) fn finish(&mut self, tag: u64) -> Option<Message> {
        let message = self.in_flight.remove(&tag)?;
        self.taken.remove(message.bytes);
        Some(message)
    }

    pub(super) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Puts a message back that was handed out and did not run.
    pub(super) fn release(&mut self, tag: u64) {
        if let Some(message) = self.finish(tag) {
            self.restore(message);
        }
    }

    /// A message that was handed out and is not finished.
    pub(super) fn recall(&self, tag: u64) -> Option<Delivery> {
        let message = self.in_flight.get(&tag)?;
        Some(Delivery { envelope: Arc::clone(&message.envelope), history: message.history, tag })
    }

    /// Puts a message back that was handed out.
    pub(super) fn put_back(&mut self, tag: u64, history: History, delay: Duration) {
        let Some(mut message) = self.finish(tag) else { return };
        message.history = history;
        if delay.is_zero() {
            self.restore(message);
        } else {
            self.rested.add(message.bytes);
            self.resting.insert((later(Instant::now(), delay), message.number), message);
        }
    }

    /// At the place of its publication.
    fn restore(&mut self, message: Message) {
        self.waiting.add(message.bytes);
        self.put_back.insert(message.number, message);
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.items
    }

    pub(super) fn delayed(&self) -> usize {
        self.rested.items + self.delayed.items
    }

    pub(super) fn in_flight(&self) -> usize {
        self.taken.items
    }

    /// When the oldest unfinished message was published.
    pub(super) fn oldest(&self) -> Option<SystemTime> {
        // The first of those that wait in order stands for them.
        let waiting = self.fresh.front().into_iter().chain(self.put_back.values().next());
        let messages = waiting.chain(self.resting.values()).chain(self.in_flight.values());
        let envelopes =
            messages.map(|message| &message.envelope).chain(self.scheduled.values().map(|(_, envelope)| envelope));
        envelopes.map(|envelope| envelope.time).min()
    }
}

/// A time after another, or one that nobody lives to see.
pub(super) fn later(now: Instant, delay: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now + delay.min(CENTURY)
}
