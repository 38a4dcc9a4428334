//! What does somebody see who looks on? What the broker shows, in a bounded list of their own: the oldest leave first, so that nobody waits for who reads slowly.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::link::Feed;
use super::wire;
use crate::broker::{Seen, Tail};
use crate::envelope::Envelope;

/// Most messages that wait for one who looks.
const MOST: usize = 1024;
/// Most bytes of them.
const MOST_BYTES: usize = 8 << 20;

/// One who looks.
pub(super) struct FeedTail {
    view: Arc<View>,
    /// The task that reads; it ends with this.
    _reading: JoinSet<()>,
}

#[derive(Default)]
struct View {
    /// Guards what waits; held for a push or a pop.
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    envelopes: VecDeque<Arc<Envelope>>,
    bytes: usize,
    missed: u64,
    ended: bool,
}

impl FeedTail {
    pub(super) fn new(feed: Box<dyn Feed>) -> Self {
        let view = Arc::new(View::default());
        let mut reading = JoinSet::new();
        reading.spawn(read(feed, Arc::clone(&view)));
        Self { view, _reading: reading }
    }
}

async fn read(mut feed: Box<dyn Feed>, view: Arc<View>) {
    loop {
        match feed.next().await {
            Ok(incoming) => {
                let envelope = match wire::read(incoming, SystemTime::now()) {
                    Ok((envelope, _)) => envelope,
                    Err(unreadable) => unreadable.envelope,
                };
                view.waiting().push(Arc::new(envelope));
            }
            Err(error) => {
                tracing::warn!(%error, "the broker shows no more messages to one who looks");
                view.waiting().ended = true;
            }
        }
        view.arrived.notify_one();
        if view.waiting().ended {
            return;
        }
    }
}

impl View {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in a critical section panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, envelope: Arc<Envelope>) {
        self.bytes += envelope.size();
        self.envelopes.push_back(envelope);
        while self.envelopes.len() > MOST || (self.bytes > MOST_BYTES && self.envelopes.len() > 1) {
            let Some(lost) = self.envelopes.pop_front() else { break };
            self.bytes -= lost.size();
            self.missed += 1;
        }
    }

    fn pop(&mut self) -> Option<Seen> {
        if self.missed > 0 {
            return Some(Seen::Missed(std::mem::take(&mut self.missed)));
        }
        let envelope = self.envelopes.pop_front()?;
        self.bytes -= envelope.size();
        Some(Seen::Message(envelope))
    }
}

#[async_trait]
impl Tail for FeedTail {
    async fn next(&mut self) -> Option<Seen> {
        loop {
            let arrived = self.view.arrived.notified();
            let ended = {
                let mut waiting = self.view.waiting();
                if let Some(seen) = waiting.pop() {
                    return Some(seen);
                }
                waiting.ended
            };
            if ended {
                return None;
            }
            arrived.await;
        }
    }
}
