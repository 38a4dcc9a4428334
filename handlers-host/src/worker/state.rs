//! Which worker has which call? The pool's bookkeeping, without processes or sockets, so that it can be tested alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::host::Error as HostError;
use crate::outcome::{Class, HandlerError, Outcome};
use crate::protocol::FromWorker;
use crate::worker::call::{Call, Waiting};
use crate::worker::member::{Phase, Worker};
use crate::worker::slots::SharedWords;

/// Pause after the first failed start; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Calls that may wait for a worker, and as many that may wait to run alone.
const MAX_WAITING: usize = 16_384;

#[derive(Default)]
pub(super) struct State {
    pub(super) workers: Vec<Worker>,
    pub(super) waiting: Waiting,
    /// Calls that wait for a worker of their own, oldest first.
    pub(super) alone: Waiting,
    last_worker: u64,
    /// Starts that failed since one succeeded, and when the last of them did.
    failed_starts: u32,
    last_failure: Option<Instant>,
    /// Since when there has been a worker too many.
    pub(super) spare_since: Option<Instant>,
    /// When to look for calls whose time is over: no unanswered call's deadline is before it, and without any it is `None` or past.
    pub(super) look_at: Option<Instant>,
}

/// What is done with a worker that has loaded the handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It serves.
    Full,
    /// It serves what it has, since no other worker lives that has more.
    Partial,
    /// It is not used.
    Refused,
}

impl State {
    pub(super) fn add_worker(&mut self, pid: u32, slots: Arc<SharedWords>) -> &mut Worker {
        self.last_worker += 1;
        self.workers.push(Worker::new(self.last_worker, pid, slots));
        self.workers.last_mut().expect("it was pushed just now")
    }

    pub(super) fn worker(&mut self, number: u64) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.number == number)
    }

    /// Removes a worker that has ended. What it had entered is answered as failed, the rest goes to other workers.
    pub(super) fn remove_worker(&mut self, number: u64, reason: &str) {
        let Some(position) = self.workers.iter().position(|worker| worker.number == number) else { return };
        let mut worker = self.workers.remove(position);
        if worker.phase == Phase::Starting {
            self.failed_to_start();
        }
        let unstarted = worker.take_back_all();
        worker.lose_calls(reason);
        self.requeue(unstarted);
    }

    /// Remembers that a worker did not get as far as serving.
    pub(super) fn failed_to_start(&mut self) {
        self.failed_starts += 1;
        self.last_failure = Some(Instant::now());
    }

    /// A worker has loaded its handlers, but for those that it lacks. Unless it is refused it takes calls from now on.
    pub(super) fn loaded(&mut self, number: u64, lacks: BTreeMap<u32, String>, wanted: usize) -> Admission {
        let admission = if lacks.is_empty() {
            self.failed_starts = 0;
            self.last_failure = None;
            self.replace_partial();
            Admission::Full
        } else {
            self.failed_to_start();
            self.admit_partial(&lacks, wanted)
        };
        if let Some(worker) = self.worker(number) {
            worker.phase = if admission == Admission::Refused { Phase::Retiring } else { Phase::Ready };
            worker.lacks = lacks;
            self.pump();
        }
        admission
    }

    /// A worker that has every handler is there: those that lack some have done their part.
    fn replace_partial(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| !worker.lacks.is_empty()) {
            worker.due.get_or_insert("it could not load all handlers");
        }
    }

    fn admit_partial(&self, lacks: &BTreeMap<u32, String>, wanted: usize) -> Admission {
        let living = || self.workers.iter().filter(|worker| worker.phase == Phase::Ready && !worker.is_killed());
        let has_more = |worker: &Worker| lacks.keys().any(|handler| !worker.lacks.contains_key(handler));
        if living().any(has_more) || living().count() >= wanted { Admission::Refused } else { Admission::Partial }
    }

    /// Starts that keep failing are tried less and less often.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failed_starts.saturating_sub(1)));
        self.last_failure.is_none_or(|failure| now >= failure + pause.min(LONGEST_PAUSE))
    }

    /// Gives a new call to the least loaded worker, or has it wait. True when its deadline is before all that were known.
    pub(super) fn submit(&mut self, call: Call) -> bool {
        let deadline = call.invocation.deadline;
        let sooner = self.look_at.is_none_or(|look_at| deadline < look_at);
        if sooner {
            self.look_at = Some(deadline);
        }
        self.place(call);
        sooner
    }

    fn place(&mut self, mut call: Call) {
        let alone = call.invocation.alone;
        let queue = if alone { &mut self.alone } else { &mut self.waiting };
        if queue.len() >= MAX_WAITING {
            call.finish(Err(HostError::Busy));
            return;
        }
        if alone {
            queue.push_back(call);
            self.isolate();
        } else if !queue.is_empty() {
            queue.push_back(call);
        } else if let Some(worker) = least_loaded(&mut self.workers) {
            worker.offer(call);
        } else {
            queue.push_back(call);
        }
    }

    /// Puts calls that were taken back before all that wait.
    fn requeue(&mut self, calls: Waiting) {
        for call in calls.into_iter().rev() {
            let queue = if call.invocation.alone { &mut self.alone } else { &mut self.waiting };
            queue.push_front(call);
        }
        self.pump();
    }

    /// Gives waiting calls to workers that have room; first those that need a worker of their own, since the chance of one
    /// that has nothing to do is rare.
    pub(super) fn pump(&mut self) {
        self.isolate();
        while !self.waiting.is_empty() {
            let Some(worker) = least_loaded(&mut self.workers) else { return };
            if let Some(call) = self.waiting.pop_front() {
                worker.offer(call);
            }
        }
    }

    /// Gives calls that must run alone to workers that have nothing to do, as long as another one serves the rest.
    fn isolate(&mut self) {
        while !self.alone.is_empty() && self.workers.iter().filter(|worker| worker.serves()).count() > 1 {
            let idle = self.workers.iter_mut().find(|worker| worker.serves() && worker.is_idle());
            let Some(worker) = idle else { return };
            if let Some(call) = self.alone.pop_front() {
                worker.offer_alone(call);
            }
        }
    }

    /// Ends the calls whose deadlines have come: those that were not begun are taken back, those that run are cancelled. Patient ones
    /// wait on, and have their whole time once they run. False when none has ended.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.in_flight();
        for queue in [&mut self.waiting, &mut self.alone] {
            for call in queue.iter_mut().filter(|call| call.is_over(now)) {
                if !call.put_off(now) {
                    call.finish(Err(HostError::NeverStarted));
                }
            }
            queue.retain(|call| !call.answered());
        }
        self.workers.iter_mut().for_each(|worker| worker.expire(now));
        self.look_at = self.unanswered().map(|call| call.invocation.deadline).min();
        self.in_flight() < before
    }

    fn unanswered(&self) -> impl Iterator<Item = &Call> {
        let given = self.workers.iter().flat_map(Worker::unanswered);
        self.waiting.iter().chain(&self.alone).chain(given)
    }

    /// Takes what a worker is slow to begin and gives it to others, but each call only once.
    pub(super) fn move_slow(&mut self, number: u64) {
        let Some(worker) = self.worker(number) else { return };
        let slow = worker.take_back_slow();
        self.requeue(slow);
    }

    /// Takes all that a worker has not begun and gives it to others.
    pub(super) fn move_unstarted(&mut self, number: u64) {
        let Some(worker) = self.worker(number) else { return };
        let unstarted = worker.take_back_all();
        self.requeue(unstarted);
    }

    /// Takes a message that ends or accompanies a call.
    pub(super) fn receive(&mut self, number: u64, message: FromWorker) {
        let waiting = !self.waiting.is_empty() || !self.alone.is_empty();
        let Some(worker) = self.worker(number) else { return };
        match message {
            FromWorker::Completed { id, completed } => worker.finish(id, Outcome::Completed(completed)),
            FromWorker::Failed { id, error } => worker.finish(id, outcome_of(error)),
            FromWorker::Log { id, level, message, fields, .. } => worker.log(id, level, message, fields),
            FromWorker::Pong(ping) => worker.pong(ping),
            FromWorker::Hello { .. } | FromWorker::Loaded(_) | FromWorker::Push(_) => {}
        }
        if waiting {
            self.pump();
        }
    }

    /// How many calls have not been answered.
    pub(super) fn in_flight(&self) -> usize {
        self.unanswered().count()
    }

    /// Drops all that waits for a worker; its callers are told that the host is closed.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.alone.clear();
    }
}

/// The worker with the fewest calls; one that lacks handlers only when no other has room.
fn least_loaded(workers: &mut [Worker]) -> Option<&mut Worker> {
    let loads = |worker: &&mut Worker| (!worker.lacks.is_empty(), worker.in_flight());
    workers.iter_mut().filter(|worker| worker.has_room()).min_by_key(loads)
}

fn outcome_of(error: HandlerError) -> Outcome {
    match error.class {
        Class::Failed | Class::Cancelled => Outcome::Failed(error),
        Class::Rejected => Outcome::Rejected(error),
        Class::Retry => {
            Outcome::Retry { after: Duration::from_millis(error.retry_after_ms.unwrap_or_default()), error }
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(super) mod tests;
