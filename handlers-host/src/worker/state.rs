//! Which worker has which call? The pool's bookkeeping, without processes or sockets, so that it can be tested alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::host::Error as HostError;
use crate::outcome::{Class, HandlerError, Outcome};
use crate::protocol::{self, FromWorker};
use crate::worker::call::{Call, Waiting};
use crate::worker::slots::SharedWords;

/// Calls that one worker can hold at once. A call's id is its sequence number times this plus its slot.
pub(super) const SLOTS: u32 = 1024;
/// Pause after the first failed start; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Calls that may wait for a worker.
const MAX_WAITING: usize = 16_384;

#[derive(Default)]
pub(super) struct State {
    pub(super) workers: Vec<Worker>,
    pub(super) waiting: Waiting,
    last_key: u64,
    last_worker: u64,
    /// Starts that failed since one succeeded, and when the last of them did.
    failed_starts: u32,
    last_failure: Option<Instant>,
}

pub(super) struct Worker {
    /// Unique in the pool.
    pub(super) number: u64,
    pub(super) pid: u32,
    pub(super) phase: Phase,
    /// Why it is to be replaced as soon as there are enough others.
    pub(super) due: Option<&'static str>,
    /// Its loop has not turned for a while: it gets no calls until it answers.
    pub(super) blocked: bool,
    /// The last ping and when it was sent, until its answer.
    pub(super) ping: Option<(u64, Instant)>,
    pub(super) last_pong: Option<Instant>,
    pub(super) handled: u64,
    pub(super) in_flight: usize,
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
    sequence: u64,
    pub(super) slots: Arc<SharedWords>,
    /// Frames that the writer task has yet to send.
    pub(super) outgoing: Vec<u8>,
    pub(super) wake_writer: Arc<Notify>,
    /// When it was asked to end.
    pub(super) draining_since: Option<Instant>,
    /// Cancelled to have the process killed.
    pub(super) kill: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not loaded yet.
    Starting,
    /// Takes calls.
    Ready,
    /// Takes no new calls; ends when those it has are done.
    Retiring,
}

/// What became of an attempt to end a call at its deadline.
pub(super) enum Expired {
    /// It was answered in the meantime.
    Answered,
    /// It has been ended now.
    Now,
}

impl State {
    pub(super) fn add_worker(&mut self, pid: u32, slots: Arc<SharedWords>) -> &mut Worker {
        self.last_worker += 1;
        let number = self.last_worker;
        self.workers.push(Worker {
            number,
            pid,
            phase: Phase::Starting,
            due: None,
            blocked: false,
            ping: None,
            last_pong: None,
            handled: 0,
            in_flight: 0,
            calls: (0..SLOTS).map(|_| None).collect(),
            free: (0..SLOTS).rev().collect(),
            sequence: 0,
            slots,
            outgoing: Vec::new(),
            wake_writer: Arc::new(Notify::new()),
            draining_since: None,
            kill: CancellationToken::new(),
        });
        self.workers.last_mut().expect("it was pushed just now")
    }

    pub(super) fn worker(&mut self, number: u64) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.number == number)
    }

    /// Removes a worker that has ended. What it had entered is answered as failed, the rest goes to other workers.
    pub(super) fn remove_worker(&mut self, number: u64, reason: &str) {
        let Some(position) = self.workers.iter().position(|worker| worker.number == number) else { return };
        let mut worker = self.workers.remove(position);
        let mut unstarted = worker.take_back_all();
        for mut call in worker.calls.drain(..).flatten() {
            call.finish(Err(HostError::WorkerDied(reason.to_owned())));
        }
        unstarted.append(&mut self.waiting);
        self.waiting = unstarted;
        self.pump();
    }

    /// Remembers that a worker did not get as far as loading.
    pub(super) fn failed_to_start(&mut self) {
        self.failed_starts += 1;
        self.last_failure = Some(Instant::now());
    }

    /// A worker has loaded its handlers and takes calls from now on.
    pub(super) fn ready(&mut self, number: u64) {
        self.failed_starts = 0;
        self.last_failure = None;
        if let Some(worker) = self.worker(number) {
            worker.phase = Phase::Ready;
        }
        self.pump();
    }

    /// Starts that keep failing are tried less and less often.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failed_starts.saturating_sub(1)));
        self.last_failure.is_none_or(|failure| now >= failure + pause.min(LONGEST_PAUSE))
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// Gives a new call to the least loaded worker, or has it wait.
    pub(super) fn submit(&mut self, mut call: Call) {
        if self.waiting.is_empty() {
            match least_loaded(&mut self.workers) {
                Some(worker) => worker.offer(call),
                None => self.waiting.push_back(call),
            }
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(call);
        } else {
            call.finish(Err(HostError::Busy));
        }
    }

    /// Gives waiting calls to workers that have room.
    pub(super) fn pump(&mut self) {
        while !self.waiting.is_empty() {
            let Some(worker) = least_loaded(&mut self.workers) else { return };
            if let Some(call) = self.waiting.pop_front() {
                worker.offer(call);
            }
        }
    }

    /// Ends a call at its deadline: one that was not begun is taken back, one that runs is cancelled.
    pub(super) fn expire(&mut self, key: u64) -> Expired {
        if let Some(position) = self.waiting.iter().position(|call| call.key == key) {
            if let Some(mut call) = self.waiting.remove(position) {
                call.finish(Err(HostError::NeverStarted));
            }
            return Expired::Now;
        }
        for worker in &mut self.workers {
            if worker.expire(key) {
                return Expired::Now;
            }
        }
        Expired::Answered
    }

    /// Takes all that a hanging worker has not begun and gives it to others.
    pub(super) fn move_unstarted(&mut self, number: u64) {
        let Some(worker) = self.worker(number) else { return };
        let mut unstarted = worker.take_back_all();
        unstarted.append(&mut self.waiting);
        self.waiting = unstarted;
        self.pump();
    }

    /// Takes a message that ends or accompanies a call.
    pub(super) fn receive(&mut self, number: u64, message: FromWorker) {
        let waiting = !self.waiting.is_empty();
        let Some(worker) = self.worker(number) else { return };
        match message {
            FromWorker::Completed { id, completed } => worker.finish(id, Outcome::Completed(completed)),
            FromWorker::Failed { id, error } => worker.finish(id, outcome_of(error)),
            FromWorker::Log { id, level, message, fields, .. } => {
                if let Some(call) = worker.call(id) {
                    call.log(level, message, fields);
                }
            }
            FromWorker::Pong(ping) => worker.pong(ping),
            FromWorker::Hello { .. } | FromWorker::Loaded(_) => {}
        }
        if waiting {
            self.pump();
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len() + self.workers.iter().map(|worker| worker.in_flight).sum::<usize>()
    }
}

fn least_loaded(workers: &mut [Worker]) -> Option<&mut Worker> {
    workers.iter_mut().filter(|worker| worker.has_room()).min_by_key(|worker| worker.in_flight)
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

impl Worker {
    fn has_room(&self) -> bool {
        self.phase == Phase::Ready && !self.blocked && !self.free.is_empty()
    }

    fn offer(&mut self, mut call: Call) {
        let Some(slot) = self.free.pop() else {
            debug_assert!(false, "only workers with room are offered calls");
            return;
        };
        self.sequence += 1;
        let id = self.sequence * u64::from(SLOTS) + u64::from(slot);
        call.id = id;
        call.offered = Instant::now();
        self.slots.offer(slot, id);
        protocol::encode_invoke(&mut self.outgoing, id, slot, &call.invocation);
        self.calls[slot as usize] = Some(call);
        self.in_flight += 1;
        self.wake_writer.notify_one();
    }

    fn call(&mut self, id: u64) -> Option<&mut Call> {
        self.calls[slot_of(id)].as_mut().filter(|call| call.id == id)
    }

    fn take(&mut self, id: u64) -> Option<Call> {
        let call = self.calls[slot_of(id)].take_if(|call| call.id == id)?;
        self.free.push(slot_word(id));
        self.in_flight -= 1;
        Some(call)
    }

    fn finish(&mut self, id: u64, outcome: Outcome) {
        if let Some(mut call) = self.take(id) {
            self.handled += 1;
            call.finish(Ok(outcome));
        }
    }

    /// Takes back every call that the worker has not begun, oldest first.
    fn take_back_all(&mut self) -> Waiting {
        let mut ids: Vec<u64> = self.calls.iter().flatten().map(|call| call.id).collect();
        ids.sort_unstable();
        ids.retain(|id| self.slots.take_back(slot_word(*id), *id));
        ids.into_iter().filter_map(|id| self.take(id)).filter(|call| !call.answered()).collect()
    }

    fn expire(&mut self, key: u64) -> bool {
        let Some(call) = self.calls.iter_mut().flatten().find(|call| call.key == key) else { return false };
        let id = call.id;
        if self.slots.take_back(slot_word(id), id) {
            if let Some(mut call) = self.take(id) {
                call.finish(Err(HostError::NeverStarted));
            }
            return true;
        }
        call.finish(Err(HostError::TimedOut));
        call.expired = Some(Instant::now());
        protocol::encode_cancel(&mut self.outgoing, id);
        self.send_ping();
        true
    }

    /// Asks the worker's loop for a sign of life, once until it gives one.
    pub(super) fn send_ping(&mut self) {
        if self.ping.is_none() {
            self.sequence += 1;
            protocol::encode_ping(&mut self.outgoing, self.sequence);
            self.ping = Some((self.sequence, Instant::now()));
        }
        self.wake_writer.notify_one();
    }

    fn pong(&mut self, number: u64) {
        if self.ping.is_some_and(|(expected, _)| expected == number) {
            self.ping = None;
            self.last_pong = Some(Instant::now());
            self.blocked = false;
        }
    }

    /// When the oldest call that the worker has not begun was given to it.
    pub(super) fn oldest_unstarted(&self) -> Option<Instant> {
        if self.in_flight == 0 {
            return None;
        }
        let unstarted = |call: &&Call| !call.answered() && !self.slots.entered(slot_word(call.id), call.id);
        self.calls.iter().flatten().filter(unstarted).map(|call| call.offered).min()
    }

    /// When the first of the calls that are still running was ended for the caller.
    pub(super) fn oldest_expired(&self) -> Option<Instant> {
        if self.in_flight == 0 {
            return None;
        }
        self.calls.iter().flatten().filter_map(|call| call.expired).min()
    }

    /// Whether somebody still waits for a call of this worker.
    pub(super) fn awaited(&self) -> bool {
        self.in_flight > 0 && self.calls.iter().flatten().any(|call| !call.answered())
    }
}

fn slot_of(id: u64) -> usize {
    usize::try_from(id % u64::from(SLOTS)).expect("slots are few")
}

fn slot_word(id: u64) -> u32 {
    u32::try_from(id % u64::from(SLOTS)).expect("slots are few")
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
