//! What is being published? The log is read along with everybody else: from memory where it is new, from the disk where the reader is slow.
//!
//! So a slow reader misses only what retention has removed before it came there, and is told how many messages that were.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use super::error::Fault;
use super::shared::Shared;
use super::topic::{Found, Topic};
use crate::broker::{Error, Seen, Tail};
use crate::envelope::Envelope;

/// So many messages of one event wait in memory at most.
const AHEAD: u64 = 256;

/// A reader of one event's log or of all.
#[derive(Debug)]
pub(super) struct LogTail {
    shared: Arc<Shared>,
    event: Option<Arc<str>>,
    sources: Vec<Source>,
}

/// One event's log.
#[derive(Debug)]
struct Source {
    topic: Arc<Topic>,
    /// Behind what is in `ahead`.
    next: u64,
    ahead: VecDeque<Arc<Envelope>>,
}

impl LogTail {
    /// Reads on at these positions.
    pub(super) fn new(shared: Arc<Shared>, event: Option<&str>, positions: Vec<(Arc<Topic>, u64)>) -> Self {
        let wanted = positions.into_iter().filter(|(topic, _)| event.is_none_or(|event| event == &*topic.event));
        let sources = wanted.map(|(topic, next)| Source { topic, next, ahead: VecDeque::new() }).collect();
        Self { event: event.map(Arc::from), sources, shared }
    }

    /// Events that had no log yet when this began are read from their beginning.
    fn add_new_topics(&mut self) {
        if self.event.is_some() && !self.sources.is_empty() {
            return;
        }
        for topic in self.shared.topics() {
            let wanted = self.event.as_ref().is_none_or(|event| *event == topic.event);
            if wanted && !self.sources.iter().any(|source| source.topic.number == topic.number) {
                self.sources.push(Source { topic, next: 0, ahead: VecDeque::new() });
            }
        }
    }

    /// Reads ahead wherever nothing waits. Returns how many messages are gone, if some are.
    async fn read_ahead(&mut self) -> Result<Option<u64>, Error> {
        for source in &mut self.sources {
            if let Some(missed) = source.read_ahead(&self.shared).await? {
                return Ok(Some(missed));
            }
        }
        Ok(None)
    }

    /// The oldest of the messages that wait.
    fn pop(&mut self) -> Option<Arc<Envelope>> {
        let waiting = self.sources.iter_mut().filter(|source| !source.ahead.is_empty());
        let oldest = waiting.min_by_key(|source| source.ahead.front().map(|envelope| envelope.time))?;
        oldest.ahead.pop_front()
    }
}

impl Source {
    async fn read_ahead(&mut self, shared: &Arc<Shared>) -> Result<Option<u64>, Error> {
        let end = self.topic.end();
        if !self.ahead.is_empty() || self.next >= end {
            return Ok(None);
        }
        let mut envelopes = Vec::new();
        let count = self.topic.copy_recent(self.next..end.min(self.next + AHEAD), &mut envelopes);
        if count > 0 {
            self.next += count;
            self.ahead = envelopes.into();
            return Ok(None);
        }
        let (topic, next) = (Arc::clone(&self.topic), self.next);
        match shared.read(move |database| topic.read(database, next)).await? {
            Found::Page(page) => {
                let skip = usize::try_from(self.next.saturating_sub(page.first)).unwrap_or(usize::MAX);
                self.next = page.first + page.messages.len() as u64;
                self.ahead = page.messages.into_iter().skip(skip).collect();
                Ok(None)
            }
            Found::Unreadable(_, next) => Ok(Some(self.miss(next.unwrap_or(end)))),
            Found::Gone(next) => Ok(Some(self.miss(next))),
        }
    }

    /// Goes on at `next`. Returns how many lie before it.
    fn miss(&mut self, next: u64) -> u64 {
        let next = next.max(self.next + 1);
        next - std::mem::replace(&mut self.next, next)
    }
}

#[async_trait]
impl Tail for LogTail {
    async fn next(&mut self) -> Option<Seen> {
        let shared = Arc::clone(&self.shared);
        loop {
            let published = shared.published.notified();
            if matches!(shared.slot.check(), Err(Fault::Closed)) {
                return None;
            }
            if let Some(envelope) = self.pop() {
                return Some(Seen::Message(envelope));
            }
            self.add_new_topics();
            match self.read_ahead().await {
                Ok(Some(missed)) => return Some(Seen::Missed(missed)),
                Ok(None) if self.sources.iter().any(|source| !source.ahead.is_empty()) => {}
                // While the store cannot be read nothing is published either.
                Ok(None) | Err(_) => published.await,
            }
        }
    }
}
