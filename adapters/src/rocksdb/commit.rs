//! What does one commit change? Rows in a batch, and, once that is written, what consumers see and who gets which answer.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use rocksdb::WriteBatch;
use uuid::Uuid;

use super::command::{Hold, Reply, answer};
use super::cursor::Due;
use super::handled;
use super::subscription::Sub;
use super::topic::{Recent, Topic};
use crate::broker::{Error, History};

/// Everything that is written at once.
#[derive(Default)]
pub(super) struct Commit {
    pub(super) batch: WriteBatch,
    /// When, in nanoseconds since 1970; later than every commit before, even when the clock was set back.
    pub(super) now: u64,
    /// What the clock says, in nanoseconds since 1970: decides what is due.
    pub(super) wall: u64,
    /// Topics with new messages or changed progress, each once.
    pub(super) topics: Vec<usize>,
    /// Those of them with new messages.
    pub(super) published: Vec<usize>,
    /// Subscriptions whose row is to be written.
    pub(super) subs: Vec<u32>,
    /// What consumers see of it, in order.
    pub(super) effects: Vec<Effect>,
    /// New blocks with about how many bytes they take in memory.
    pub(super) blocks: Vec<(Arc<Topic>, Recent, u64)>,
    /// Dead letters that are dead no more.
    pub(super) unburied: HashSet<Uuid>,
    /// Answers for those who wait for the write.
    pub(super) written: Vec<Answer>,
    /// Answers for those who wait for the disk.
    pub(super) durable: Vec<Answer>,
    /// Whether something was put into the outbox.
    pub(super) outboxed: bool,
    /// Room of the publications in it.
    pub(super) holds: Vec<Hold>,
}

/// A change of what consumers see, once it is written.
pub(super) struct Effect {
    pub(super) sub: Arc<Sub>,
    pub(super) change: Change,
}

pub(super) enum Change {
    /// These are handled, or moved elsewhere.
    Finished(Finished),
    /// It goes back to its place.
    PutBack(u64),
    /// What the message with this tag has been through.
    Marked(u64, History),
    /// It comes again at this time.
    Returned(Due),
    /// These of another broker are handled; earlier ones up to that number are forgotten.
    Handled(handled::Block, Option<u64>),
    Paused(bool),
    /// Nothing from this position on enters.
    Retired(u64),
    /// Declared again; it goes on at this position.
    Declared(u64),
    /// These are handed out again.
    Rewound(Vec<Range<u64>>),
    /// The subscription is gone.
    Pruned,
}

/// Positions, and messages that had been put back.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub(super) runs: Vec<Range<u64>>,
    pub(super) returned: Vec<Due>,
}

impl Effect {
    /// Shows consumers what was written.
    pub(super) fn apply(self) {
        let mut cursor = self.sub.cursor();
        let wake = !matches!(self.change, Change::Finished(_) | Change::Marked(..) | Change::Handled(..));
        match self.change {
            Change::Finished(finished) => {
                finished.runs.into_iter().for_each(|run| cursor.finish(run));
                finished.returned.into_iter().for_each(|due| cursor.finish_returned(due));
            }
            Change::PutBack(position) => cursor.put_back(position..position + 1),
            Change::Marked(tag, history) => cursor.set_history(tag, history),
            Change::Returned(due) => drop(cursor.returned.insert(due)),
            Change::Handled(block, forgotten) => self.sub.foreign().handled.apply(block, forgotten),
            Change::Paused(paused) => drop(self.sub.paused.send_replace(paused)),
            Change::Retired(end) => cursor.end = Some(end),
            Change::Declared(end) => cursor.declare(end),
            Change::Rewound(runs) => runs.into_iter().for_each(|run| cursor.ready.insert(run)),
            Change::Pruned => cursor.gone = true,
        }
        drop(cursor);
        if wake {
            self.sub.arrived.notify_waiters();
            self.sub.arrived.notify_one();
        }
    }
}

/// Who is told what when all went well.
pub(super) enum Answer {
    Done(Reply<()>),
    Count(Reply<u64>, u64),
    Ids(Reply<Vec<Uuid>>, Vec<Uuid>),
    Sub(Reply<Arc<Sub>>, Arc<Sub>),
}

impl Answer {
    pub(super) fn succeed(self) {
        match self {
            Self::Done(reply) => answer(reply, Ok(())),
            Self::Count(reply, count) => answer(reply, Ok(count)),
            Self::Ids(reply, ids) => answer(reply, Ok(ids)),
            Self::Sub(reply, sub) => answer(reply, Ok(sub)),
        }
    }

    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Done(reply) => answer(reply, Err(error)),
            Self::Count(reply, _) => answer(reply, Err(error)),
            Self::Ids(reply, _) => answer(reply, Err(error)),
            Self::Sub(reply, _) => answer(reply, Err(error)),
        }
    }
}
