//! When is a worker in trouble, and what is done about it?
//!
//! * A call that goes on after its deadline plus the grace: if the worker's loop still turns, the worker gets no new calls and
//!   ends once nobody waits for the others it has; if the loop hangs, it is killed at once.
//! * Calls that a worker does not begin although its loop hangs move to other workers; a spare one is started if need be.
//! * A worker that dies, or grows beyond its memory limit, is replaced, after a pause that grows while starts keep failing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::protocol;
use crate::worker::pool::Shared;
use crate::worker::process;
use crate::worker::state::{Phase, State, Worker};

/// How often a busy pool is looked at.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// How often an idle pool is looked at.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// A call that has not begun after this raises the question whether the worker's loop turns.
const SLOW_START: Duration = Duration::from_millis(100);
/// A loop that does not answer for so long hangs.
const HANGS_AFTER: Duration = Duration::from_millis(200);
/// How often memory is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long a retired worker without calls may take to end by itself.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

impl Shared {
    /// Looks after the workers until the pool is dropped, then drains them.
    pub(super) async fn maintain(self: Arc<Self>) {
        let mut measured = Instant::now();
        while !self.closing.is_cancelled() {
            let now = Instant::now();
            if now >= measured + MEASURE_EVERY {
                measured = now;
                self.limit_memory();
            }
            self.check(now);
            self.fill(now);
            let next = now + if self.busy() { BUSY_TICK } else { IDLE_TICK };
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(next) => {}
                () = self.closing.cancelled() => {}
            }
        }
        self.drain().await;
    }

    fn busy(&self) -> bool {
        let state = self.state();
        let quiet = |worker: &Worker| {
            worker.phase == Phase::Ready && worker.in_flight == 0 && !worker.blocked && worker.due.is_none()
        };
        !(state.waiting.is_empty() && state.workers.len() == self.options.workers && state.workers.iter().all(quiet))
    }

    /// Looks at each worker and moves, retires or kills where needed.
    fn check(&self, now: Instant) {
        let mut state = self.state();
        let mut hanging = Vec::new();
        for worker in &mut state.workers {
            if worker.phase == Phase::Starting {
                continue;
            }
            self.check_expired(worker, now);
            if self.options.recycle_after.is_some_and(|calls| worker.handled >= calls) {
                worker.due.get_or_insert("it has run as many calls as recycle_after allows");
            }
            if hangs(worker, now) {
                hanging.push(worker.number);
            }
        }
        for number in hanging {
            state.move_unstarted(number);
        }
        self.retire_due(&mut state);
        end_retired(&mut state, now);
        self.retire_spare(&mut state);
    }

    fn check_expired(&self, worker: &mut Worker, now: Instant) {
        let Some(expired) = worker.oldest_expired() else { return };
        if now < expired + self.options.grace {
            return;
        }
        if worker.last_pong.is_some_and(|pong| pong >= expired) {
            worker.due.get_or_insert("a handler ran on after its deadline");
        } else if !worker.kill.is_cancelled() {
            tracing::warn!(pid = worker.pid, "a handler blocks its worker beyond its deadline; the worker is killed");
            worker.kill.cancel();
        }
    }

    fn limit_memory(&self) {
        let Some(limit) = self.options.memory_limit else { return };
        for worker in &mut self.state().workers {
            let used = process::resident_bytes(worker.pid).unwrap_or_default();
            if used > limit && !worker.kill.is_cancelled() {
                tracing::warn!(pid = worker.pid, used, limit, "a worker exceeds its memory limit and is killed");
                worker.kill.cancel();
            }
        }
    }

    /// Starts workers until as many are usable as are wanted. Hanging ones don't count, but there are never more than twice
    /// as many processes as wanted, plus one.
    fn fill(self: &Arc<Self>, now: Instant) {
        loop {
            {
                let state = self.state();
                let usable =
                    |worker: &&Worker| worker.phase != Phase::Retiring && !worker.blocked && worker.due.is_none();
                let enough = state.workers.iter().filter(usable).count() >= self.options.workers;
                if enough || state.workers.len() > 2 * self.options.workers || !state.may_start(now) {
                    return;
                }
            }
            if let Err(error) = self.start_worker() {
                tracing::error!(%error, "a worker could not be started");
                self.state().failed_to_start();
                self.announce(Err(error));
                return;
            }
        }
    }

    /// Workers that are due go on until their replacements are ready.
    fn retire_due(&self, state: &mut State) {
        let lasting = |worker: &&Worker| worker.phase == Phase::Ready && !worker.blocked && worker.due.is_none();
        if state.workers.iter().filter(lasting).count() < self.options.workers {
            return;
        }
        for worker in &mut state.workers {
            if let Some(reason) = worker.due {
                retire(worker, reason);
            }
        }
    }

    /// After a hanging worker has come back there is one too many.
    fn retire_spare(&self, state: &mut State) {
        let usable = |worker: &&mut Worker| worker.phase == Phase::Ready && !worker.blocked && worker.due.is_none();
        let count = state.workers.iter_mut().filter(usable).count();
        if count > self.options.workers
            && let Some(worker) = state.workers.iter_mut().filter(usable).find(|worker| worker.in_flight == 0)
        {
            retire(worker, "it is a spare one");
        }
    }

    /// Ends all workers: they finish what they have within the grace, then they are killed.
    async fn drain(&self) {
        let deadline = Instant::now() + self.options.drain;
        {
            let mut state = self.state();
            state.waiting.clear();
            for worker in &mut state.workers {
                if worker.phase == Phase::Starting {
                    worker.kill.cancel();
                } else {
                    send_drain(worker);
                }
            }
        }
        while !self.state().workers.is_empty() {
            if timeout_at(deadline, self.changed.notified()).await.is_err() {
                break;
            }
        }
        for worker in &self.state().workers {
            tracing::warn!(pid = worker.pid, "a worker did not end within the grace and is killed");
            worker.kill.cancel();
        }
    }
}

/// Asks a worker that is slow to begin for a sign of life; true when it owes one for too long.
fn hangs(worker: &mut Worker, now: Instant) -> bool {
    let slow = worker.oldest_unstarted().is_some_and(|offered| now >= offered + SLOW_START);
    if !slow {
        return false;
    }
    match worker.ping {
        None => {
            worker.send_ping();
            false
        }
        Some((_, sent)) if now >= sent + HANGS_AFTER => {
            if !worker.blocked {
                tracing::warn!(pid = worker.pid, "a handler blocks its worker; what it has not begun moves to others");
            }
            worker.blocked = true;
            true
        }
        Some(_) => false,
    }
}

fn retire(worker: &mut Worker, reason: &str) {
    if worker.phase != Phase::Retiring {
        tracing::info!(pid = worker.pid, reason, "a worker is replaced");
        worker.phase = Phase::Retiring;
    }
}

/// Has retired workers end once nobody waits for what they run.
fn end_retired(state: &mut State, now: Instant) {
    for worker in &mut state.workers {
        if worker.phase != Phase::Retiring || worker.awaited() || worker.kill.is_cancelled() {
            continue;
        }
        if worker.oldest_expired().is_some() {
            worker.kill.cancel();
        } else {
            send_drain_once(worker, now);
        }
    }
}

fn send_drain_once(worker: &mut Worker, now: Instant) {
    if worker.draining_since.is_none() {
        worker.draining_since = Some(now);
        send_drain(worker);
    } else if worker.draining_since.is_some_and(|since| now >= since + DRAIN_PATIENCE) {
        worker.kill.cancel();
    }
}

fn send_drain(worker: &mut Worker) {
    protocol::encode_drain(&mut worker.outgoing);
    worker.wake_writer.notify_one();
}
