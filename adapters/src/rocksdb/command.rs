//! What is the writer asked to do? Commands wait in one buffer that it takes whole; each carries the way to its answer.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::companion::Identity;
use super::cursor::Due;
use super::error::closed;
use super::outbox::Backlog;
use super::room::Reservation;
use super::subscription::Sub;
use super::topic::Topic;
use crate::broker::{Error, Failure, History, Publication, Status, Subscription};

/// The way to an answer.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// How many commands the buffer has room for from the beginning, if there were so many the last time.
const MOST_ROOM: usize = 1024;

/// A subscription's state, and where its oldest unfinished message stands.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) status: Status,
    pub(super) oldest: Option<(Arc<Topic>, u64)>,
    /// The one that was put back first, as in the key of its row.
    pub(super) returned: Option<(u32, Due)>,
}

/// What the writer holds as long as publications wait for it.
#[derive(Debug)]
pub(super) struct Hold {
    _reservation: Reservation,
    _permit: OwnedSemaphorePermit,
}

impl Hold {
    pub(super) fn new(reservation: Reservation, permit: OwnedSemaphorePermit) -> Self {
        Self { _reservation: reservation, _permit: permit }
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Publish {
        publications: Vec<Publication>,
        hold: Hold,
        reply: Reply<()>,
    },
    Ack {
        sub: Arc<Sub>,
        tags: Vec<u64>,
        reply: Reply<()>,
    },
    Nack {
        sub: Arc<Sub>,
        back: Back,
        reply: Reply<()>,
    },
    /// Takes what was noted about messages of this subscription.
    Note {
        sub: Arc<Sub>,
    },
    Dead {
        sub: Arc<Sub>,
        tag: u64,
        id: Uuid,
        value: Vec<u8>,
        reply: Reply<()>,
    },
    /// Messages of another broker were handled.
    Handled {
        sub: Arc<Sub>,
        messages: Vec<Identity>,
        reply: Reply<()>,
    },
    /// Takes messages of another broker over: rows of `returned`, each with when it is due. `handled` is what that broker may hand out again.
    HandOver {
        sub: Arc<Sub>,
        rows: Vec<(u64, Vec<u8>)>,
        handled: Vec<Identity>,
        hold: Hold,
        reply: Reply<()>,
    },
    /// Keeps a message of another broker as a dead letter.
    Bury {
        sub: Arc<Sub>,
        id: Uuid,
        value: Vec<u8>,
        handled: Option<Identity>,
        reply: Reply<()>,
    },
    /// Takes what was noted about messages of another broker.
    NoteForeign {
        sub: Arc<Sub>,
    },
    /// Passes over messages of the log that cannot be read: up to `to`, or else to the end of their span, and no further than `end`, because
    /// what was published behind it later can be read.
    Skip {
        sub: Arc<Sub>,
        from: u64,
        to: Option<u64>,
        end: u64,
        reply: Reply<u64>,
    },
    Subscribe {
        subscription: Subscription,
        reply: Reply<Arc<Sub>>,
    },
    Retire {
        subscription: Subscription,
        reply: Reply<()>,
    },
    Pause {
        subscription: Subscription,
        paused: bool,
        reply: Reply<()>,
    },
    Prune {
        subscription: Subscription,
        reply: Reply<u64>,
    },
    Redrive {
        ids: Vec<Uuid>,
        reply: Reply<Vec<Uuid>>,
    },
    Purge {
        ids: Vec<Uuid>,
        reply: Reply<Vec<Uuid>>,
    },
    Replay {
        subscription: Subscription,
        from: u64,
        reply: Reply<u64>,
    },
    Status {
        reply: Reply<Vec<Overview>>,
    },
    /// Where each event's log continues at a time, in nanoseconds since 1970.
    Since {
        time: u64,
        reply: Reply<Vec<(Arc<Topic>, u64)>>,
    },
    OutboxPush {
        entries: Vec<(String, Publication)>,
        hold: Hold,
        reply: Reply<()>,
    },
    OutboxRemove {
        broker: String,
        up_to: u64,
        reply: Reply<()>,
    },
    /// Moves the oldest publication for this broker, which has the number `number`, to the dead letters.
    OutboxDead {
        broker: String,
        number: u64,
        id: Uuid,
        failure: Failure,
        reply: Reply<()>,
    },
    OutboxStatus {
        reply: Reply<Vec<Backlog>>,
    },
}

/// A delivery that goes back.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) tag: u64,
    pub(super) history: History,
    /// When it comes again, in nanoseconds since 1970; without it at its place.
    pub(super) due: Option<u64>,
    /// Its row in `returned`, if it gets one.
    pub(super) row: Option<Vec<u8>>,
}

impl Command {
    /// Answers that it cannot be done. Deliveries whose end cannot be written stay in flight: their consumer tells it again.
    pub(super) fn refuse(self, error: Error) {
        match self {
            Self::Publish { reply, .. }
            | Self::OutboxPush { reply, .. }
            | Self::Ack { reply, .. }
            | Self::Nack { reply, .. }
            | Self::Dead { reply, .. }
            | Self::Handled { reply, .. }
            | Self::HandOver { reply, .. }
            | Self::Bury { reply, .. }
            | Self::Retire { reply, .. }
            | Self::Pause { reply, .. }
            | Self::OutboxRemove { reply, .. }
            | Self::OutboxDead { reply, .. } => answer(reply, Err(error)),
            // Without them the attempts at these messages begin at what was written before.
            Self::Note { sub } => drop(sub.take_notes()),
            Self::NoteForeign { sub } => sub.foreign().notes.drop_changes(),
            Self::Skip { reply, .. } | Self::Prune { reply, .. } | Self::Replay { reply, .. } => {
                answer(reply, Err(error));
            }
            Self::Subscribe { reply, .. } => answer(reply, Err(error)),
            Self::Redrive { reply, .. } | Self::Purge { reply, .. } => answer(reply, Err(error)),
            Self::Status { reply } => answer(reply, Err(error)),
            Self::Since { reply, .. } => answer(reply, Err(error)),
            Self::OutboxStatus { reply } => answer(reply, Err(error)),
        }
    }
}

/// Whoever asked may have gone away; then nobody wants to know.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, Error>) {
    drop(reply.send(result));
}

/// The buffer between everyone who asks and the writer. What it holds is bounded by the permits of publications and by the deliveries in flight.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Guards what waits; held for a push or a swap.
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    commands: Vec<Command>,
    /// The writer sleeps and has to be woken.
    asleep: bool,
    /// A sync has failed, for this reason.
    broken: Option<String>,
    closed: bool,
}

/// What the writer takes out at once.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) commands: Vec<Command>,
    pub(super) broken: Option<String>,
    /// Nothing comes after this.
    pub(super) closed: bool,
}

impl Inbox {
    /// Hands a command to the writer; gives it back when the store is closed.
    pub(super) fn push(&self, command: Command) -> Result<(), Command> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(command);
        }
        waiting.commands.push(command);
        self.wake(waiting);
        Ok(())
    }

    /// Tells the writer that a sync has failed.
    pub(super) fn report(&self, cause: String) {
        let mut waiting = self.lock();
        waiting.broken = Some(cause);
        self.wake(waiting);
    }

    /// Lets nothing more in; the writer does what waits and ends.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.wake(waiting);
    }

    /// Closes it for good because nobody takes anything out any more: who waits for an answer is told so.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let commands = std::mem::take(&mut waiting.commands);
        drop(waiting);
        commands.into_iter().for_each(|command| command.refuse(closed()));
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let asleep = std::mem::take(&mut waiting.asleep);
        drop(waiting);
        if asleep {
            self.ready.notify_one();
        }
    }

    /// Takes what waits as soon as there is anything, or after `most`.
    pub(super) fn take(&self, most: Duration) -> Taken {
        let mut waiting = self.lock();
        if waiting.is_empty() && !most.is_zero() {
            waiting.asleep = true;
            let idle = |waiting: &mut Waiting| waiting.is_empty();
            waiting = self.ready.wait_timeout_while(waiting, most, idle).unwrap_or_else(PoisonError::into_inner).0;
            waiting.asleep = false;
        }
        // The next commands find room at once; without it the buffer would grow step by step under the lock each time.
        let room = Vec::with_capacity(waiting.commands.len().min(MOST_ROOM));
        let commands = std::mem::replace(&mut waiting.commands, room);
        Taken { commands, broken: waiting.broken.take(), closed: waiting.closed }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the lock is held leaves a buffer that is whole all the same: pushes and swaps are single steps.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.broken.is_none() && !self.closed
    }
}
