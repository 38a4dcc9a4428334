//! When is what was written on the disk? A thread syncs the write-ahead log again and again; each sync answers all whose batch was written before it began.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::commit::Answer;
use super::confirmed::Confirmed;
use super::error::{Fault, OpenError};
use super::shared::Shared;
use crate::broker::Error;

const NAME: &str = "events-sync";

/// Those who wait for the disk.
#[derive(Default)]
pub(super) struct Queue {
    /// Guards the answers; held for a push or a swap.
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<Answer>,
    /// Time of the last commit that they wait for.
    time: u64,
    closed: bool,
}

impl Queue {
    /// These are answered after the next sync. They wait for the commit at `time` and those before it.
    pub(super) fn push(&self, answers: Vec<Answer>, time: u64) {
        if answers.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        waiting.answers.extend(answers);
        waiting.time = time;
        drop(waiting);
        self.ready.notify_one();
    }

    /// Answers all who wait that it failed.
    pub(super) fn fail(&self, error: &Error) {
        let answers = std::mem::take(&mut self.lock().answers);
        answers.into_iter().for_each(|answer| answer.fail(error.clone()));
    }

    fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// `None` when it is closed and nobody waits.
    fn take(&self) -> Option<(Vec<Answer>, u64)> {
        let idle = |waiting: &mut Waiting| waiting.answers.is_empty() && !waiting.closed;
        let mut waiting = self.ready.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let answers = std::mem::take(&mut waiting.answers);
        (!answers.is_empty()).then_some((answers, waiting.time))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the lock is held leaves whole state: pushes and swaps are single steps.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that syncs.
pub(super) struct Syncer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(shared: Arc<Shared>, confirmed: Confirmed) -> Result<Self, OpenError> {
        let queue = Arc::new(Queue::default());
        let run = {
            let queue = Arc::clone(&queue);
            move || run(&shared, &queue, &confirmed)
        };
        let thread = thread::Builder::new().name(NAME.to_owned()).spawn(run);
        let thread = thread.map_err(|source| OpenError::Thread { name: NAME, source })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Syncs for those who wait, and ends.
    pub(super) fn stop(&mut self) {
        self.queue.close();
        let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        if panicked {
            tracing::error!(thread = NAME, "a thread of the event store has panicked");
        }
    }
}

fn run(shared: &Shared, queue: &Queue, confirmed: &Confirmed) {
    while let Some((answers, time)) = queue.take() {
        match shared.slot.with(|database| Ok(database.sync()?)) {
            Ok(()) => {
                if let Err(error) = confirmed.write(time) {
                    tracing::warn!(%error, "cannot note what the event store has confirmed; losing it would not be noticed");
                }
                answers.into_iter().for_each(Answer::succeed);
            }
            Err(fault) => {
                let cause = fault.to_string();
                answers.into_iter().for_each(|answer| answer.fail(Error::Unavailable(cause.clone())));
                if matches!(fault, Fault::Database(_)) {
                    shared.inbox.report(cause);
                }
            }
        }
    }
}
