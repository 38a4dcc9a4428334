//! What do all parts of an open store share? The database's slot, the way to the writer, and what wakes those who wait.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, Semaphore, oneshot};

use super::Options;
use super::command::{Command, Inbox, Reply};
use super::database::Database;
use super::error::{Fault, closed};
use super::ledger::Ledger;
use super::room::Room;
use super::slot::Slot;
use super::topic::Topic;
use crate::broker::Error;

/// So many bytes of publications wait for the writer at most; the next ones wait before it.
const MAX_QUEUED: u32 = 32 << 20;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) slot: Slot,
    pub(super) inbox: Inbox,
    pub(super) room: Arc<Room>,
    /// A permit per byte that waits for the writer.
    pub(super) queue: Arc<Semaphore>,
    /// All topics. The writer adds new ones, those who look read it.
    topics: RwLock<Vec<Arc<Topic>>>,
    /// Rung after each commit with new messages, for those who look.
    pub(super) published: Notify,
    /// Rung after each commit that put something into the outbox, for those who relay it.
    pub(super) outboxed: Notify,
}

impl Shared {
    pub(super) fn new(options: Options, database: Database) -> Self {
        Self {
            slot: Slot::new(options.path.clone(), database),
            inbox: Inbox::default(),
            room: Arc::new(Room::new(options.max_bytes)),
            queue: Arc::new(Semaphore::new(MAX_QUEUED as usize)),
            topics: RwLock::default(),
            published: Notify::new(),
            outboxed: Notify::new(),
            options,
        }
    }

    /// Asks the writer and waits for its answer.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (tx, rx) = oneshot::channel();
        if let Err(command) = self.inbox.push(command(tx)) {
            command.refuse(closed());
        }
        // The answer is dropped unsent only by a writer that has panicked.
        rx.await.unwrap_or_else(|_dropped| Err(closed()))
    }

    /// Reads from the database on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(self);
        let result = tokio::task::spawn_blocking(move || shared.slot.with(read)).await;
        match result {
            Ok(result) => result.map_err(Error::from),
            Err(panicked) => Err(Error::Unavailable(format!("reading the event store failed: {panicked}"))),
        }
    }

    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count_topics(&self) -> usize {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn set_topics(&self, topics: Vec<Arc<Topic>>) {
        *self.topics.write().unwrap_or_else(PoisonError::into_inner) = topics;
    }

    /// Wakes everybody who waits, because waiting is of no use any more.
    pub(super) fn wake_all(&self, ledger: &Ledger) {
        for sub in ledger.subs.values() {
            sub.shared.arrived.notify_waiters();
            sub.shared.arrived.notify_one();
        }
        self.published.notify_waiters();
        self.outboxed.notify_waiters();
    }

    /// How many permits publications of this size take.
    pub(super) fn permits(bytes: u64) -> u32 {
        u32::try_from(bytes).unwrap_or(MAX_QUEUED).clamp(1, MAX_QUEUED)
    }
}
