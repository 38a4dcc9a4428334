//! How does one subscription keep its messages? In a bounded queue in which a message has its place until it is finished.
//!
//! A place is a permit of the semaphore: taken before a message enters, given back when it is acked or given up. So the
//! bound covers waiting, delayed and in-flight messages together, and a full queue makes publishers wait; it never drops.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::broker::{DeadLetter, Delivery, Depth, Error, Subscription};
use crate::envelope::Envelope;

pub(super) struct Queue {
    pub(super) subscription: Subscription,
    pub(super) capacity: usize,
    /// Free places. Publishers take them, `ack` and `dead_letter` give them back.
    pub(super) places: Semaphore,
    /// Whether nobody is subscribed any more: publishers pass it by. Set by `pause`, cleared by `subscribe`.
    pub(super) paused: AtomicBool,
    /// Guards the messages themselves; held for a few instructions, never over an await.
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Entry>,
    /// By due time; the number keeps entries of the same instant apart and in order.
    delayed: BTreeMap<(Instant, u64), Entry>,
    in_flight: HashMap<u64, Entry>,
    dead: VecDeque<DeadLetter>,
    last_tag: u64,
}

struct Entry {
    envelope: Arc<Envelope>,
    attempts: u32,
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    fn insert(&mut self, entry: Entry, delay: Duration) {
        if delay.is_zero() {
            self.ready.push_back(entry);
        } else {
            let number = self.next_number();
            self.delayed.insert((Instant::now() + delay, number), entry);
        }
    }

    fn promote_due(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            self.ready.push_back(first.remove());
        }
    }

    fn take(&mut self, limit: usize) -> Vec<Delivery> {
        self.promote_due(Instant::now());
        let count = limit.min(self.ready.len());
        let mut deliveries = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(mut entry) = self.ready.pop_front() else { break };
            entry.attempts += 1;
            let tag = self.next_number();
            deliveries.push(Delivery { envelope: Arc::clone(&entry.envelope), attempt: entry.attempts, tag });
            self.in_flight.insert(tag, entry);
        }
        deliveries
    }
}

impl Queue {
    pub(super) fn new(subscription: Subscription, capacity: usize) -> Self {
        Self {
            subscription,
            capacity,
            places: Semaphore::new(capacity),
            paused: AtomicBool::new(false),
            state: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Puts a message into a place that the caller has already taken.
    pub(super) fn push(&self, envelope: Arc<Envelope>, delay: Duration) {
        self.state().insert(Entry { envelope, attempts: 0 }, delay);
        self.arrived.notify_one();
    }

    pub(super) async fn next(&self, limit: usize) -> Vec<Delivery> {
        loop {
            let arrived = self.arrived.notified();
            let due = {
                let mut state = self.state();
                let deliveries = state.take(limit);
                if !deliveries.is_empty() {
                    return deliveries;
                }
                state.delayed.first_key_value().map(|((due, _), _)| *due)
            };
            match due {
                Some(due) => tokio::select! {
                    () = arrived => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => arrived.await,
            }
        }
    }

    pub(super) fn ack(&self, tag: u64) {
        if self.state().in_flight.remove(&tag).is_some() {
            self.places.add_permits(1);
        }
    }

    pub(super) fn nack(&self, tag: u64, delay: Duration) {
        let mut state = self.state();
        if let Some(entry) = state.in_flight.remove(&tag) {
            state.insert(entry, delay);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Keeps the message among the dead letters. Beyond the queue's bound the oldest dead letter makes room: memory is the one adapter
    /// that may lose, and it says so.
    pub(super) fn dead_letter(&self, tag: u64, attempts: u32, error: &str) -> Option<DeadLetter> {
        let mut state = self.state();
        let entry = state.in_flight.remove(&tag)?;
        let subscription = self.subscription.clone();
        let error = error.to_owned();
        state.dead.push_back(DeadLetter { envelope: entry.envelope, subscription, attempts, error });
        let lost = if state.dead.len() > self.capacity { state.dead.pop_front() } else { None };
        drop(state);
        self.places.add_permits(1);
        lost
    }

    pub(super) fn depth(&self) -> Depth {
        let state = self.state();
        Depth {
            subscription: self.subscription.clone(),
            waiting: state.ready.len() + state.delayed.len(),
            in_flight: state.in_flight.len(),
            dead: state.dead.len(),
        }
    }

    pub(super) fn full(&self) -> Error {
        Error::Full { subscription: self.subscription.clone(), capacity: self.capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
