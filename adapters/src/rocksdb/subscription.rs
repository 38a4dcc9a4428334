//! What do a subscription's consumers share? Its place in the log, and the bell that rings when there is something new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::cursor::Cursor;
use super::handled::Handled;
use super::notes::Notes;
use super::topic::Topic;
use crate::broker::{History, Subscription};

/// One subscription, for as long as the store is open or until it is pruned.
#[derive(Debug)]
pub(super) struct Sub {
    pub(super) number: u32,
    pub(super) subscription: Subscription,
    pub(super) topic: Arc<Topic>,
    /// Guards what is handed out; held for a few instructions, never while anything is read or written.
    cursor: Mutex<Cursor>,
    /// What consumers have noted, by the tags of the messages, until the writer takes it; a message has one entry however often it is noted. Held for an
    /// insertion or a swap.
    notes: Mutex<HashMap<u64, History>>,
    /// What is known of messages that are another broker's. Held for the lookups and changes of one batch.
    foreign: Mutex<Foreign>,
    /// Rung by the writer when there is something to hand out.
    pub(super) arrived: Notify,
    /// Whether somebody paused it: nothing is handed out then. The writer changes it, consumers look.
    pub(super) paused: watch::Sender<bool>,
}

/// What a subscription knows of messages that are another broker's.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// The writer adds to it once that is written.
    pub(super) handled: Handled,
    /// Consumers add to it, and the writer follows.
    pub(super) notes: Notes,
}

impl Sub {
    pub(super) fn new(number: u32, subscription: Subscription, topic: Arc<Topic>) -> Self {
        Self {
            number,
            subscription,
            topic,
            cursor: Mutex::default(),
            notes: Mutex::default(),
            foreign: Mutex::default(),
            arrived: Notify::new(),
            paused: watch::Sender::new(false),
        }
    }

    pub(super) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a note for the writer. True when it must be told that there are some.
    pub(super) fn note(&self, tag: u64, history: History) -> bool {
        let mut notes = self.notes();
        let first = notes.is_empty();
        notes.insert(tag, history);
        first
    }

    /// Everything that was noted since the last time.
    pub(super) fn take_notes(&self) -> HashMap<u64, History> {
        std::mem::take(&mut *self.notes())
    }

    pub(super) fn foreign(&self) -> MutexGuard<'_, Foreign> {
        // As for the cursor.
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<u64, History>> {
        // An insertion and a swap are single steps.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
