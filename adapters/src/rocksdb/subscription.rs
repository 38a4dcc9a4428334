//! What do a subscription's consumers share? Its place in the log, and the bell that rings when there is something new.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::cursor::Cursor;
use super::topic::Topic;
use crate::broker::Subscription;

/// One subscription, for as long as the store is open or until it is pruned.
#[derive(Debug)]
pub(super) struct Sub {
    pub(super) number: u32,
    pub(super) subscription: Subscription,
    pub(super) topic: Arc<Topic>,
    /// Guards what is handed out; held for a few instructions, never while anything is read or written.
    cursor: Mutex<Cursor>,
    /// Rung by the writer when there is something to hand out.
    pub(super) arrived: Notify,
    /// Whether somebody paused it: nothing is handed out then. The writer changes it, consumers look.
    pub(super) paused: watch::Sender<bool>,
}

impl Sub {
    pub(super) fn new(number: u32, subscription: Subscription, topic: Arc<Topic>) -> Self {
        Self {
            number,
            subscription,
            topic,
            cursor: Mutex::default(),
            arrived: Notify::new(),
            paused: watch::Sender::new(false),
        }
    }

    pub(super) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
