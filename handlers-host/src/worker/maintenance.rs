//! When is a worker in trouble, and what is done about it?
//!
//! * A call that goes on after its deadline plus the grace is stuck. If the worker's loop hangs, the worker is killed at once.
//!   If the loop turns, the call harms only the thread that it has; a worker with too many of those gets no new calls once
//!   its replacement is there, and ends when nobody waits for the others it has.
//! * Calls that a worker does not begin although its loop hangs move to other workers; a spare one is started if need be. One that
//!   has moved so moves on only from a loop that hangs for long: a call that is slow to begin by itself must not stop worker after worker. When
//!   nobody waits for what the worker has left, something else blocks its loop, and it is killed.
//! * A large frame that is being read or written is a sign of life.
//! * A worker that dies, or grows beyond its memory limit, is replaced, after a pause that grows while starts keep failing.
//! * A call that must run alone gets a worker that has nothing to do, or one more is started for it.
//! * The number of processes is bounded. When the bound keeps a replacement from being started, the worker on its way out that
//!   the fewest wait for is killed; when nothing serves, one whose loop hangs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::protocol;
use crate::worker::member::{Ending, Overdue, Phase, Worker};
use crate::worker::pool::Shared;
use crate::worker::process;
use crate::worker::state::State;

/// How often a busy pool is looked at.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// How often an idle pool is looked at.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// A call that has not begun after this raises the question whether the worker's loop turns.
const SLOW_START: Duration = Duration::from_millis(100);
/// A loop that does not answer for so long hangs.
const HANGS_AFTER: Duration = Duration::from_millis(200);
/// A loop that does not answer for so long is given up when nobody waits for its calls, or when the pool can serve nothing and
/// start nothing. What only makes it slow, such as many busy threads, lets it turn once in such a time.
const HOPELESS_AFTER: Duration = Duration::from_secs(2);
/// How long a worker too many is kept: whatever asked for it often asks again.
const SPARE_PATIENCE: Duration = Duration::from_secs(5);
/// How often memory is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long a worker that nobody waits for may take to end by itself.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// Why workers are killed when their pool has been dropped.
const STOPPED: Ending = Ending::ForOthers("its time to finish was over");
/// Why a worker is killed that nobody waits for.
const UNAWAITED: Ending = Ending::ForOthers("nobody waited for it any more");

impl Shared {
    /// Looks after the workers until the pool is dropped, then drains them.
    pub(super) async fn maintain(self: Arc<Self>) {
        let mut measured = Instant::now();
        while !self.closing.is_cancelled() {
            let now = Instant::now();
            if now >= measured + MEASURE_EVERY {
                measured = now;
                self.limit_memory().await;
            }
            self.check(now);
            self.fill(now).await;
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
        let nothing_waits = state.waiting.is_empty() && state.alone.is_empty();
        let quiet = |worker: &Worker| worker.serves() && worker.is_idle();
        !(nothing_waits && state.workers.len() == self.options.workers && state.workers.iter().all(quiet))
    }

    /// Looks at each worker and moves, retires or kills where needed.
    fn check(&self, now: Instant) {
        let mut state = self.state();
        let mut stopped = Vec::new();
        for worker in &mut state.workers {
            if worker.phase == Phase::Starting || worker.is_killed() {
                continue;
            }
            self.check_overdue(worker, now);
            end_hopeless(worker, now);
            if self.options.recycle_after.is_some_and(|calls| worker.handled >= calls) {
                worker.due.get_or_insert("it has run as many calls as recycle_after allows");
            }
            if hangs(worker, now) {
                stopped.push((worker.number, worker.silent_for(now) >= HOPELESS_AFTER));
            }
        }
        for number in self.retire_due(&mut state) {
            state.move_unstarted(number);
        }
        for (number, hopeless) in stopped {
            if hopeless { state.move_unstarted(number) } else { state.move_slow(number) }
        }
        end_retired(&mut state, now);
        self.retire_spare(&mut state, now);
    }

    fn check_overdue(&self, worker: &mut Worker, now: Instant) {
        // One that a stuck call has for itself is of no other use.
        let limit = if worker.reserved { 1 } else { self.options.stuck_limit };
        match worker.overdue(now, self.options.grace) {
            Overdue::Stuck(count) if count >= limit => {
                worker.due.get_or_insert("too many of its handlers ran on after their deadlines");
            }
            Overdue::Hangs => {
                tracing::warn!(
                    pid = worker.pid,
                    "a handler blocks its worker beyond its deadline; the worker is killed"
                );
                worker.kill(Ending::ForOthers("another handler blocked it beyond its deadline"));
            }
            Overdue::Nothing | Overdue::Stuck(_) => {}
        }
    }

    async fn limit_memory(&self) {
        let Some(limit) = self.options.memory_limit else { return };
        let workers: Vec<(u64, u32)> = self.state().workers.iter().map(|worker| (worker.number, worker.pid)).collect();
        // The kernel lets readers wait for a process that is busy with its memory.
        let measuring = spawn_blocking(move || {
            let used =
                workers.into_iter().map(|(number, pid)| (number, process::resident_bytes(pid).unwrap_or_default()));
            used.filter(|(_, used)| *used > limit).collect::<Vec<_>>()
        });
        // It fails only with the runtime.
        let Ok(large) = measuring.await else { return };
        let mut state = self.state();
        for (number, used) in large {
            let Some(worker) = state.worker(number).filter(|worker| !worker.is_killed()) else { continue };
            tracing::warn!(pid = worker.pid, used, limit, "a worker exceeds its memory limit and is killed");
            worker.kill(if worker.in_flight() == 1 {
                Ending::ByItsCall("it exceeded its memory limit")
            } else {
                Ending::ForOthers("it exceeded its memory limit, perhaps because of another handler")
            });
        }
    }

    /// Starts workers until as many are sound as are wanted, and one more for a call that waits to run alone; but there are never
    /// more than twice as many processes as wanted, plus one.
    async fn fill(self: &Arc<Self>, now: Instant) {
        while self.wants_worker(now) {
            if let Err(error) = self.start_worker().await {
                tracing::error!(%error, "a worker could not be started");
                self.state().failed_to_start();
                self.announce(Err(error));
                return;
            }
        }
    }

    fn wants_worker(&self, now: Instant) -> bool {
        !self.closing.is_cancelled() && wants_worker(&mut self.state(), self.options.workers, now)
    }

    /// Workers that are due go on until their replacements are ready. Says which are retired now.
    fn retire_due(&self, state: &mut State) -> Vec<u64> {
        if state.workers.iter().filter(|worker| worker.serves()).count() < self.options.workers {
            return Vec::new();
        }
        let due = state.workers.iter_mut().filter(|worker| worker.phase == Phase::Ready);
        let retired = due.filter_map(|worker| {
            let reason = worker.due?;
            retire(worker, reason);
            Some(worker.number)
        });
        retired.collect()
    }

    /// After a hanging worker has come back, or a call that had a worker for itself has ended, there is one too many.
    fn retire_spare(&self, state: &mut State, now: Instant) {
        let serving = state.workers.iter().filter(|worker| worker.serves()).count();
        if serving <= self.options.workers {
            state.spare_since = None;
            return;
        }
        if now < *state.spare_since.get_or_insert(now) + SPARE_PATIENCE {
            return;
        }
        if let Some(worker) = state.workers.iter_mut().find(|worker| worker.serves() && worker.is_idle()) {
            retire(worker, "it is a spare one");
            state.spare_since = None;
        }
    }

    /// Ends all workers: they finish what they have within the grace, then they are killed; sooner when nobody waits for it.
    async fn drain(&self) {
        let began = Instant::now();
        let deadline = began + self.options.drain;
        {
            let mut state = self.state();
            state.forget_waiting();
            for worker in &mut state.workers {
                if worker.phase == Phase::Starting {
                    worker.kill(STOPPED);
                } else {
                    send_drain(worker);
                }
            }
        }
        self.wait_for_ends(deadline.min(began + DRAIN_PATIENCE)).await;
        for worker in self.state().workers.iter_mut().filter(|worker| worker.awaited() == 0 && !worker.is_idle()) {
            worker.kill(UNAWAITED);
        }
        self.wait_for_ends(deadline).await;
        for worker in &mut self.state().workers {
            tracing::warn!(pid = worker.pid, "a worker did not end within the grace and is killed");
            worker.kill(STOPPED);
        }
    }

    async fn wait_for_ends(&self, deadline: Instant) {
        while !self.state().workers.is_empty() {
            if timeout_at(deadline, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// Whether one more worker is to be started now. If there are too many processes for that, one of them has to go.
fn wants_worker(state: &mut State, workers: usize, now: Instant) -> bool {
    let sound = state.workers.iter().filter(|worker| worker.is_sound()).count();
    let one_starts = || state.workers.iter().any(|worker| worker.phase == Phase::Starting);
    let enough = sound >= workers && (state.alone.is_empty() || one_starts());
    if enough || !state.may_start(now) {
        return false;
    }
    let room = state.workers.len() <= 2 * workers;
    if !room {
        make_room(state, now);
    }
    room
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
        Some(_) if worker.silent_for(now) >= HANGS_AFTER => {
            if !worker.blocked {
                tracing::warn!(pid = worker.pid, "a handler blocks its worker; what it has not begun moves to others");
            }
            worker.blocked = true;
            true
        }
        Some(_) => false,
    }
}

/// Kills a worker whose loop hangs although it runs nothing that somebody waits for: what blocks it has no deadline.
fn end_hopeless(worker: &mut Worker, now: Instant) {
    if worker.blocked && worker.awaited() == 0 && !worker.is_killed() && worker.silent_for(now) >= HOPELESS_AFTER {
        tracing::warn!(pid = worker.pid, "what a handler left behind blocks its worker; the worker is killed");
        worker.kill(UNAWAITED);
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
        if worker.phase != Phase::Retiring || worker.awaited() > 0 || worker.is_killed() {
            continue;
        }
        if worker.is_idle() {
            send_drain_once(worker, now);
        } else {
            worker.kill(UNAWAITED);
        }
    }
}

/// Kills the process whose end costs least, so that one that serves can be started; none while another is on its way out.
fn make_room(state: &mut State, now: Instant) {
    if state.workers.iter().any(Worker::is_killed) {
        return;
    }
    let nothing_serves = !state.workers.iter().any(Worker::is_sound);
    let hopeless = |worker: &Worker| nothing_serves && worker.blocked && worker.silent_for(now) >= HOPELESS_AFTER;
    let candidates = state.workers.iter_mut().filter(|worker| worker.phase == Phase::Retiring || hopeless(worker));
    let Some(worker) = candidates.min_by_key(|worker| (worker.phase != Phase::Retiring, worker.awaited())) else {
        return;
    };
    let awaited = worker.awaited();
    tracing::warn!(pid = worker.pid, awaited, "there are too many worker processes; this one is killed to make room");
    worker.kill(Ending::ForOthers("there were too many worker processes"));
}

fn send_drain_once(worker: &mut Worker, now: Instant) {
    if worker.draining_since.is_none() {
        worker.draining_since = Some(now);
        send_drain(worker);
    } else if worker.draining_since.is_some_and(|since| now >= since + DRAIN_PATIENCE) {
        worker.kill(UNAWAITED);
    }
}

fn send_drain(worker: &mut Worker) {
    protocol::encode_drain(&mut worker.outgoing);
    worker.wake_writer.notify_one();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::state::tests::{enter_all, ready_worker, submit, submit_alone, submit_brief};

    #[test]
    fn room_is_made_where_the_fewest_wait() {
        let mut state = State::default();
        let mut answers = Vec::new();
        let mut retiring_with = |state: &mut State, calls: usize| {
            let number = ready_worker(state);
            answers.extend((0..calls).map(|_| submit(state)));
            enter_all(state, number);
            retire(state.worker(number).unwrap(), "a test");
            number
        };
        let numbers = [2, 1, 3].map(|calls| retiring_with(&mut state, calls));
        make_room(&mut state, Instant::now());
        make_room(&mut state, Instant::now());
        assert_eq!(numbers.map(|number| state.worker(number).unwrap().is_killed()), [false, true, false]);
    }

    #[test]
    fn a_worker_whose_loop_hangs_without_a_call_that_somebody_waits_for_is_killed_when_it_has_been_silent_for_long() {
        let mut state = State::default();
        let number = ready_worker(&mut state);
        let _answer = submit_brief(&mut state);
        enter_all(&mut state, number);
        let worker = state.worker(number).unwrap();
        worker.send_ping();
        worker.blocked = true;
        let (soon, late) = (Instant::now(), Instant::now() + HOPELESS_AFTER);
        end_hopeless(worker, late);
        assert!(!worker.is_killed(), "somebody waits for its call");
        state.expire(Instant::now());
        let worker = state.worker(number).unwrap();
        end_hopeless(worker, soon);
        assert!(!worker.is_killed(), "it may only be slow");
        end_hopeless(worker, late);
        assert!(worker.is_killed());
    }

    #[test]
    fn a_worker_that_takes_or_sends_a_large_frame_bit_by_bit_does_not_hang() {
        let mut state = State::default();
        let number = ready_worker(&mut state);
        let _answer = submit(&mut state);
        let worker = state.worker(number).unwrap();
        let slow = Instant::now() + SLOW_START;
        assert!(!hangs(worker, slow), "it is asked");
        let asked = Instant::now();
        worker.took = Some(asked + HANGS_AFTER);
        assert!(!hangs(worker, asked + 2 * HANGS_AFTER - Duration::from_millis(1)));
        worker.spoke = Some(asked + 2 * HANGS_AFTER);
        assert!(!hangs(worker, asked + 3 * HANGS_AFTER - Duration::from_millis(1)));
        assert!(hangs(worker, asked + 3 * HANGS_AFTER) && worker.blocked);
    }

    #[test]
    fn room_is_made_for_a_call_that_must_run_alone() {
        let mut state = State::default();
        let mut answers = Vec::new();
        let retiring = [(), ()].map(|()| {
            let number = ready_worker(&mut state);
            answers.push(submit(&mut state));
            enter_all(&mut state, number);
            retire(state.worker(number).unwrap(), "a test");
            number
        });
        ready_worker(&mut state);
        assert!(!wants_worker(&mut state, 1, Instant::now()));
        let _alone = submit_alone(&mut state);
        assert!(!wants_worker(&mut state, 1, Instant::now()), "there are as many processes as there may be");
        assert!(state.worker(retiring[0]).unwrap().is_killed());
        state.remove_worker(retiring[0], "it was killed");
        assert!(wants_worker(&mut state, 1, Instant::now()));
    }

    #[test]
    fn a_worker_that_hangs_makes_room_only_when_nothing_serves_and_it_has_been_silent_for_long() {
        let mut state = State::default();
        let (hanging, other) = (ready_worker(&mut state), ready_worker(&mut state));
        let worker = state.worker(hanging).unwrap();
        worker.send_ping();
        worker.blocked = true;
        let (soon, late) = (Instant::now(), Instant::now() + HOPELESS_AFTER);
        make_room(&mut state, late);
        assert!(!state.worker(hanging).unwrap().is_killed(), "the other one serves");
        state.worker(other).unwrap().blocked = true;
        make_room(&mut state, soon);
        assert!(!state.worker(hanging).unwrap().is_killed(), "it may only be slow");
        make_room(&mut state, late);
        assert!(state.worker(hanging).unwrap().is_killed() && !state.worker(other).unwrap().is_killed());
    }
}
