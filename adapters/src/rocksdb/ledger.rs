//! What does the writer know? Everything that is stored except the messages: it changes here first, and is loaded anew whenever a write has failed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::block::Message;
use super::codec::to_nanos;
use super::cursor::{Due, RETURNED_TAG};
use super::dedupe::Dedupe;
use super::rows::Stored;
use super::spans::Spans;
use super::subscription::Sub;
use super::topic::Topic;
use crate::broker::{History, Subscription};

/// All that is stored, without the messages.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) topics: Vec<TopicLedger>,
    /// Index of an event's topic.
    pub(super) by_event: HashMap<Arc<str>, usize>,
    pub(super) subs: BTreeMap<u32, SubLedger>,
    pub(super) by_name: BTreeMap<Subscription, u32>,
    pub(super) dedupe: Dedupe,
    /// When the first publication in `due` is due; nothing before it is there.
    pub(super) next_due: Option<Due>,
    pub(super) dead: HashMap<Subscription, u64>,
    pub(super) outbox: BTreeMap<String, OutboxLedger>,
    /// Bytes of rows that are no blocks and that retention cannot remove.
    pub(super) row_bytes: u64,
    /// The last sequence number that was given.
    pub(super) sequence: u64,
    /// The last number that a subscription was given.
    pub(super) last_sub: u32,
    /// The last time that was given to a commit.
    pub(super) clock: u64,
    /// Time of the last commit that wrote anything.
    pub(super) written: u64,
    /// Sum of what the topics hold.
    held: u64,
}

#[derive(Debug)]
pub(super) struct TopicLedger {
    pub(super) shared: Arc<Topic>,
    /// The first position that is not written.
    pub(super) next: u64,
    /// What this commit adds.
    pub(super) pending: Vec<Message>,
    pub(super) spans: Spans,
    pub(super) subs: Vec<u32>,
    /// How many publications of it are not yet due.
    pub(super) delayed: u64,
    /// Bytes that some subscription has not finished.
    held: u64,
}

#[derive(Debug)]
pub(super) struct SubLedger {
    pub(super) stored: Stored,
    pub(super) shared: Arc<Sub>,
    pub(super) topic: usize,
    /// Rows in `returned` by their sequence number.
    pub(super) returned: BTreeMap<u64, Returned>,
    /// What unfinished messages have been through, by their tags, where that is anything: rows in `marks`.
    pub(super) marks: BTreeMap<u64, History>,
    /// Its row is to be written with this commit.
    pub(super) dirty: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Returned {
    pub(super) due: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct OutboxLedger {
    pub(super) length: u64,
    /// When the oldest entry was put there, in nanoseconds since 1970.
    pub(super) oldest: u64,
}

impl TopicLedger {
    pub(super) fn new(shared: Arc<Topic>, next: u64, spans: Spans) -> Self {
        Self { shared, next, pending: Vec::new(), spans, subs: Vec::new(), delayed: 0, held: 0 }
    }

    /// Behind everything that this commit will have written.
    pub(super) fn end(&self) -> u64 {
        self.next + self.pending.len() as u64
    }
}

impl SubLedger {
    /// Below this nothing is needed any more.
    fn floor(&self) -> u64 {
        let floor = self.stored.progress.floor();
        if self.stored.end.is_some_and(|end| floor >= end) { u64::MAX } else { floor }
    }

    pub(super) fn new(stored: Stored, shared: Arc<Sub>, topic: usize) -> Self {
        Self { stored, shared, topic, returned: BTreeMap::new(), marks: BTreeMap::new(), dirty: false }
    }

    /// Whether it holds the message with this tag.
    pub(super) fn holds(&self, tag: u64) -> bool {
        let sequence = tag & !RETURNED_TAG;
        if tag == sequence { !self.stored.progress.is_finished(tag) } else { self.returned.contains_key(&sequence) }
    }

    /// How many messages it has not finished, when its event's log ends at `end`.
    pub(super) fn unfinished(&self, end: u64) -> u64 {
        let end = end.min(self.stored.end.unwrap_or(u64::MAX));
        self.stored.progress.count_unfinished(end) + self.returned.len() as u64
    }
}

impl Ledger {
    pub(super) fn empty(most_ids: usize) -> Self {
        Self {
            topics: Vec::new(),
            by_event: HashMap::new(),
            subs: BTreeMap::new(),
            by_name: BTreeMap::new(),
            dedupe: Dedupe::new(most_ids),
            next_due: None,
            dead: HashMap::new(),
            outbox: BTreeMap::new(),
            row_bytes: 0,
            sequence: 0,
            last_sub: 0,
            clock: 0,
            written: 0,
            held: 0,
        }
    }

    /// The time of the next commit, for the order of the log. It never goes back; what is due is decided by the clock itself.
    pub(super) fn tick(&mut self) -> u64 {
        self.clock = to_nanos(SystemTime::now()).max(self.clock + 1);
        self.clock
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn sub(&mut self, subscription: &Subscription) -> Option<&mut SubLedger> {
        let number = self.by_name.get(subscription)?;
        self.subs.get_mut(number)
    }

    pub(super) fn add_topic(&mut self, topic: TopicLedger) -> usize {
        self.by_event.insert(Arc::clone(&topic.shared.event), self.topics.len());
        self.topics.push(topic);
        self.topics.len() - 1
    }

    pub(super) fn add_sub(&mut self, sub: SubLedger) {
        let number = sub.shared.number;
        self.by_name.insert(sub.stored.subscription.clone(), number);
        self.topics[sub.topic].subs.push(number);
        self.last_sub = self.last_sub.max(number);
        self.subs.insert(number, sub);
    }

    pub(super) fn remove_sub(&mut self, number: u32) -> Option<SubLedger> {
        let sub = self.subs.remove(&number)?;
        self.by_name.remove(&sub.stored.subscription);
        self.topics[sub.topic].subs.retain(|other| *other != number);
        Some(sub)
    }

    /// Everything in this topic's log below it is finished by all subscriptions.
    pub(super) fn floor(&self, topic: usize) -> u64 {
        let subs = self.topics[topic].subs.iter().filter_map(|number| self.subs.get(number));
        subs.map(SubLedger::floor).min().unwrap_or(u64::MAX)
    }

    /// Counts what this topic holds anew.
    pub(super) fn recount(&mut self, index: usize) {
        let floor = self.floor(index);
        let topic = &mut self.topics[index];
        let held = topic.spans.held(floor);
        self.held = self.held - topic.held + held;
        topic.held = held;
    }

    /// The bytes that count against `max_bytes`.
    pub(super) fn used(&self) -> u64 {
        self.held + self.row_bytes
    }

    /// All bytes, those included that retention may remove.
    pub(super) fn bytes(&self) -> u64 {
        self.topics.iter().map(|topic| topic.spans.bytes()).sum::<u64>() + self.row_bytes
    }
}
