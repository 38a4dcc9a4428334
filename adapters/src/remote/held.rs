//! Which messages of the broker are ours, and where is each: handed out, put back, waiting, or being given up?
//!
//! **Invariant**: each has one tag for as long as it is ours, however often its broker hands it out. What is not handed out is ours only as long as the intake that brought it
//! lives: whoever gets it then may be another replica. What is handed out stays until it is finished; its tokens are then of no use.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::identity::Known;
use crate::broker::{Delivery, History, Obituary};
use crate::envelope::Envelope;
use crate::rocksdb::Identity;

/// Marks the tags of this module. Those of the companion have another bit, or none.
pub(super) const TAG: u64 = 1 << 62;

/// Whether a delivery came from the broker, and not from the companion.
pub(super) fn is_ours(tag: u64) -> bool {
    tag & (TAG << 1) == 0 && tag & TAG != 0
}

/// How much of one subscription may be ours at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// A message that has come, looked at.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) token: u64,
    pub(super) known: Known,
    pub(super) envelope: Envelope,
    pub(super) history: History,
    /// Why it is to be given up without being run.
    pub(super) unreadable: Option<Obituary>,
}

/// What is to be done with messages that nobody gets.
#[derive(Debug)]
pub(super) enum Chore {
    /// It was handled before: the broker may forget it.
    Ack { generation: u64, token: u64 },
    /// It cannot be read.
    Bury { tag: u64, obituary: Obituary },
}

#[derive(Debug)]
struct Entry {
    envelope: Arc<Envelope>,
    history: History,
    known: Known,
    /// The id of its dead letter, once somebody has tried to give it up.
    letter: Option<Uuid>,
    tokens: Tokens,
    place: Place,
}

/// The broker's marks of one message: more than one when it has come again, or a copy of it.
#[derive(Debug)]
struct Tokens {
    generation: u64,
    first: u64,
    more: Vec<u64>,
}

impl Tokens {
    fn new(generation: u64, token: u64) -> Self {
        Self { generation, first: token, more: Vec::new() }
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Out,
    /// To be handed out again at once.
    Back,
    /// To be handed out again at this time.
    Waiting(Instant),
    /// It is being given up.
    Aside,
}

/// How many are where.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) out: u64,
    pub(super) back: u64,
    pub(super) waiting: u64,
}

/// One subscription's messages that are ours.
#[derive(Debug)]
pub(super) struct Held {
    bounds: Bounds,
    entries: HashMap<u64, Entry>,
    /// The tags of those that are joined when they come again.
    by_id: HashMap<Uuid, u64>,
    back: BTreeSet<u64>,
    waiting: BTreeSet<(Instant, u64)>,
    aside: usize,
    bytes: usize,
    next: u64,
    /// Of the intake whose tokens are good.
    generation: u64,
}

impl Held {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: HashMap::new(),
            by_id: HashMap::new(),
            back: BTreeSet::new(),
            waiting: BTreeSet::new(),
            aside: 0,
            bytes: 0,
            next: TAG,
            generation: 0,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// For how many more there is room.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= self.bounds.bytes { 0 } else { self.bounds.messages.saturating_sub(self.entries.len()) }
    }

    /// Takes what has come through the present intake. Those that are ours already are joined, the others are handed out.
    pub(super) fn arrive(&mut self, arrived: Vec<Arrived>, chores: &mut Vec<Chore>) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(arrived.len());
        for arrived in arrived {
            if self.join(&arrived) {
                continue;
            }
            let tag = self.next;
            self.next += 1;
            let Arrived { token, known, envelope, history, unreadable } = arrived;
            let envelope = Arc::new(envelope);
            let place = if unreadable.is_some() { Place::Aside } else { Place::Out };
            self.bytes += envelope.size();
            if let Some(identity) = known.identity {
                self.by_id.insert(identity.id, tag);
            }
            let tokens = Tokens::new(self.generation, token);
            let entry = Entry { envelope: Arc::clone(&envelope), history, known, letter: None, tokens, place };
            self.entries.insert(tag, entry);
            match unreadable {
                Some(obituary) => {
                    self.aside += 1;
                    chores.push(Chore::Bury { tag, obituary });
                }
                None => deliveries.push(Delivery { envelope, history, tag }),
            }
        }
        deliveries
    }

    fn join(&mut self, arrived: &Arrived) -> bool {
        let Some(identity) = arrived.known.identity else { return false };
        let Some(entry) = self.by_id.get(&identity.id).and_then(|tag| self.entries.get_mut(tag)) else { return false };
        if entry.tokens.generation == self.generation {
            entry.tokens.more.push(arrived.token);
        } else {
            entry.tokens = Tokens::new(self.generation, arrived.token);
        }
        true
    }

    /// Up to `limit` of those that are to be handed out again, in the order of their arrival.
    pub(super) fn take_back(&mut self, limit: usize, now: Instant) -> Vec<Delivery> {
        while let Some(&(due, tag)) = self.waiting.first().filter(|(due, _)| *due <= now) {
            self.waiting.remove(&(due, tag));
            self.back.insert(tag);
        }
        let mut deliveries = Vec::new();
        while deliveries.len() < limit {
            let Some(tag) = self.back.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&tag) else { continue };
            entry.place = Place::Out;
            deliveries.push(Delivery { envelope: Arc::clone(&entry.envelope), history: entry.history, tag });
        }
        deliveries
    }

    /// When the next one that waits is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Those of these that are handed out go back as they are.
    pub(super) fn put_back(&mut self, tags: impl Iterator<Item = u64>) {
        for tag in tags {
            self.place(tag, Place::Back);
        }
    }

    /// It goes back until a time.
    pub(super) fn wait(&mut self, tag: u64, due: Instant) {
        self.place(tag, Place::Waiting(due));
    }

    fn place(&mut self, tag: u64, place: Place) {
        let Some(entry) = self.entries.get_mut(&tag).filter(|entry| entry.place == Place::Out) else { return };
        if entry.tokens.generation != self.generation {
            // Its broker hands it out again, and perhaps to another replica.
            return drop(self.remove(tag));
        }
        entry.place = place;
        match place {
            Place::Waiting(due) => drop(self.waiting.insert((due, tag))),
            _ => drop(self.back.insert(tag)),
        }
    }

    /// What a message has been through. Returns the id under which that is kept, if it is news.
    pub(super) fn set_history(&mut self, tag: u64, history: History) -> Option<Uuid> {
        let entry = self.entries.get_mut(&tag)?;
        let before = std::mem::replace(&mut entry.history, history);
        (before != history).then_some(entry.known.note)
    }

    /// By what these are known again, if they are.
    pub(super) fn identities(&self, tags: impl Iterator<Item = u64>) -> Vec<Identity> {
        tags.filter_map(|tag| self.entries.get(&tag)?.known.identity).collect()
    }

    /// The message and by what it is known again. `None` when it is finished.
    pub(super) fn get(&self, tag: u64) -> Option<(Arc<Envelope>, Option<Identity>)> {
        let entry = self.entries.get(&tag)?;
        Some((Arc::clone(&entry.envelope), entry.known.identity))
    }

    /// The id of its dead letter, the same each time.
    pub(super) fn letter(&mut self, tag: u64) -> Option<Uuid> {
        let entry = self.entries.get_mut(&tag)?;
        Some(*entry.letter.get_or_insert_with(Uuid::now_v7))
    }

    /// One that is handed out, as it is now.
    pub(super) fn again(&self, tag: u64) -> Option<Delivery> {
        let entry = self.entries.get(&tag)?;
        Some(Delivery { envelope: Arc::clone(&entry.envelope), history: entry.history, tag })
    }

    /// These are finished. Returns what the broker is to be told, and under which ids something may be kept of them.
    pub(super) fn finish(&mut self, tags: impl Iterator<Item = u64>) -> (Vec<u64>, Vec<Uuid>) {
        let (mut tokens, mut notes) = (Vec::new(), Vec::new());
        for tag in tags {
            let Some(entry) = self.remove(tag) else { continue };
            if entry.tokens.generation == self.generation {
                tokens.extend(entry.tokens.iter());
            }
            notes.push(entry.known.note);
        }
        (tokens, notes)
    }

    fn remove(&mut self, tag: u64) -> Option<Entry> {
        let entry = self.entries.remove(&tag)?;
        self.bytes -= entry.envelope.size();
        if let Some(identity) = entry.known.identity
            && self.by_id.get(&identity.id) == Some(&tag)
        {
            self.by_id.remove(&identity.id);
        }
        match entry.place {
            Place::Out => {}
            Place::Back => drop(self.back.remove(&tag)),
            Place::Waiting(due) => drop(self.waiting.remove(&(due, tag)) || self.back.remove(&tag)),
            Place::Aside => self.aside -= 1,
        }
        Some(entry)
    }

    /// The tokens of all that came through the present intake.
    pub(super) fn tokens(&self) -> Vec<u64> {
        let present = self.entries.values().filter(|entry| entry.tokens.generation == self.generation);
        present.flat_map(|entry| entry.tokens.iter()).collect()
    }

    /// The intake is gone, and what is not handed out with it.
    pub(super) fn lose(&mut self) {
        self.generation += 1;
        let tags: Vec<u64> = self.back.iter().copied().chain(self.waiting.iter().map(|(_, tag)| *tag)).collect();
        tags.into_iter().for_each(|tag| drop(self.remove(tag)));
    }

    pub(super) fn counts(&self) -> Counts {
        let [back, waiting, all, aside] =
            [self.back.len(), self.waiting.len(), self.entries.len(), self.aside].map(|count| count as u64);
        Counts { out: all - back - waiting - aside, back, waiting }
    }

    /// Whether somebody has some of them.
    pub(super) fn is_out(&self) -> bool {
        self.entries.len() > self.back.len() + self.waiting.len() + self.aside
    }

    /// When the oldest of them was published.
    pub(super) fn oldest(&self) -> Option<std::time::SystemTime> {
        self.entries.values().map(|entry| entry.envelope.time).min()
    }
}

/// A wait that does not end before the end of time.
pub(super) fn after(delay: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(delay).unwrap_or(now + Duration::from_hours(24))
}
