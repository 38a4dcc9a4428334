//! What does a subscription keep of a message between its arrival and its end?

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rohas_adapters::broker::{Delivery, Failure, Obituary};
use tokio::sync::OwnedSemaphorePermit;

use crate::trigger::broker::lanes::Entry;
use crate::trigger::broker::pump::{FIRST_PAUSE, longer};
use crate::trigger::broker::retry::{LONGEST_WAIT, Trial};

/// A message that a subscription holds.
pub(super) struct Message {
    /// The message as it arrived.
    pub(super) delivery: Delivery,
    /// What it has been through, earlier deliveries included.
    pub(super) trial: Trial,
    /// The first of its attempts that failed here.
    pub(super) first: Option<Box<Failure>>,
    /// Why it is given up, when it is: it only waits to be kept among the dead letters.
    pub(super) obituary: Option<Box<Obituary>>,
    /// Until when it was told to wait before it came here, as long as that is not looked at.
    pub(super) not_before: Option<SystemTime>,
    /// After how long the broker is told its end again, if it cannot take it.
    pub(super) pause: Duration,
    /// What a suspect holds while it runs, so that it runs alone.
    pub(super) quarantine: Option<OwnedSemaphorePermit>,
}

impl Message {
    pub(super) fn new(delivery: Delivery) -> Self {
        let trial = Trial::new(delivery.history);
        let not_before = delivery.history.not_before;
        Self { delivery, trial, first: None, obituary: None, not_before, pause: FIRST_PAUSE, quarantine: None }
    }

    /// What is left of a wait that began before it came here: once, if anything.
    pub(super) fn left_to_wait(&mut self) -> Option<Duration> {
        let left = self.not_before.take()?.duration_since(SystemTime::now()).ok()?;
        // The clock may have been set back since.
        (!left.is_zero()).then_some(left.min(LONGEST_WAIT))
    }

    /// Whether it is as it arrived.
    pub(super) fn is_new(&self) -> bool {
        self.obituary.is_none() && self.trial == Trial::new(self.delivery.history)
    }

    /// The pause after a broker that cannot take it; the next one is longer.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = longer(pause);
        pause
    }

    /// Takes note of an attempt that failed and is not the last.
    pub(super) fn note(&mut self, failure: Failure) {
        self.first.get_or_insert_with(|| Box::new(failure));
    }

    /// Takes note of the attempt that was the last.
    pub(super) fn give_up(&mut self, last: Failure) {
        let first = self.first.take().map_or_else(|| last.clone(), |first| *first);
        self.obituary = Some(Box::new(Obituary { history: self.trial.history, first, last }));
    }
}

impl Entry for Message {
    fn key(&self) -> Option<&Arc<str>> {
        self.delivery.key()
    }

    fn size(&self) -> usize {
        self.delivery.size()
    }

    fn tag(&self) -> u64 {
        self.delivery.tag
    }
}

impl Entry for Delivery {
    fn key(&self) -> Option<&Arc<str>> {
        self.envelope.key.as_ref()
    }

    fn size(&self) -> usize {
        self.envelope.size()
    }

    fn tag(&self) -> u64 {
        self.tag
    }
}
