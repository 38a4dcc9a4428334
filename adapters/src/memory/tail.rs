//! What does somebody see who looks on? What is published, in a bounded list of their own: the oldest leave first.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::broker::{Seen, Tail};
use crate::envelope::Envelope;
use crate::memory::state::Shared;

/// Most messages that wait for one who looks.
const MOST: usize = 1024;
/// Most bytes of them.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// One who looks, as publishers see them.
pub(super) struct Watcher {
    /// Of all events when this is `None`.
    event: Option<Arc<str>>,
    envelopes: VecDeque<Arc<Envelope>>,
    bytes: usize,
    missed: u64,
    arrived: Arc<Notify>,
}

impl Watcher {
    pub(super) fn new(event: Option<&str>) -> Self {
        Self { event: event.map(Into::into), envelopes: VecDeque::new(), bytes: 0, missed: 0, arrived: Arc::default() }
    }

    pub(super) fn arrived(&self) -> Arc<Notify> {
        Arc::clone(&self.arrived)
    }

    pub(super) fn see(&mut self, envelope: &Arc<Envelope>) {
        if !self.wants(envelope) {
            return;
        }
        self.bytes += envelope.size();
        self.envelopes.push_back(Arc::clone(envelope));
        while self.envelopes.len() > MOST || (self.bytes > MOST_BYTES && self.envelopes.len() > 1) {
            let Some(lost) = self.envelopes.pop_front() else { break };
            self.bytes -= lost.size();
            self.missed += 1;
        }
        self.wake();
    }

    /// It will never see this one.
    pub(super) fn miss(&mut self, envelope: &Envelope) {
        if self.wants(envelope) {
            self.missed += 1;
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    fn wants(&self, envelope: &Envelope) -> bool {
        self.event.as_ref().is_none_or(|event| *event == envelope.event)
    }

    pub(super) fn next(&mut self) -> Option<Seen> {
        if self.missed > 0 {
            return Some(Seen::Missed(std::mem::take(&mut self.missed)));
        }
        let envelope = self.envelopes.pop_front()?;
        self.bytes -= envelope.size();
        Some(Seen::Message(envelope))
    }
}

pub(super) struct MemoryTail {
    pub(super) shared: Arc<Shared>,
    pub(super) watcher: u64,
    pub(super) arrived: Arc<Notify>,
}

#[async_trait]
impl Tail for MemoryTail {
    async fn next(&mut self) -> Option<Seen> {
        loop {
            let (seen, due) = self.shared.state().look(self.watcher)?;
            if seen.is_some() {
                return seen;
            }
            match due {
                Some(due) => tokio::select! {
                    () = self.arrived.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.arrived.notified().await,
            }
        }
    }
}

impl Drop for MemoryTail {
    fn drop(&mut self) {
        self.shared.state().unwatch(self.watcher);
    }
}
