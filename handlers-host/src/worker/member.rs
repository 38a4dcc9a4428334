//! What does the pool know of one of its workers, and what does it tell it?

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::host::Error as HostError;
use crate::outcome::{LogLevel, Outcome};
use crate::protocol;
use crate::worker::call::{Call, Waiting};
use crate::worker::calls::{Calls, slot_of};
use crate::worker::slots::SharedWords;

/// A worker process as the pool sees it.
pub(super) struct Worker {
    /// Unique in the pool.
    pub(super) number: u64,
    pub(super) pid: u32,
    pub(super) phase: Phase,
    /// Why it is to be replaced as soon as there are enough others.
    pub(super) due: Option<&'static str>,
    /// Its loop has not turned for a while: it gets no calls until it answers.
    pub(super) blocked: bool,
    /// It has a call that must run alone, and gets no other until that one has ended.
    pub(super) reserved: bool,
    /// Handlers that it could not load although the version's first worker did, with the reason.
    pub(super) lacks: BTreeMap<u32, String>,
    /// The last ping and when it was sent, until its answer.
    pub(super) ping: Option<(u64, Instant)>,
    /// When the last ping that was answered was sent: the loop has turned since.
    turned: Option<Instant>,
    pings: u64,
    /// When its socket last took some of what waits to be sent to it: its loop had read, then.
    pub(super) took: Option<Instant>,
    /// When some of a large frame last came from it. Its loop need not have turned for that.
    pub(super) spoke: Option<Instant>,
    pub(super) handled: u64,
    calls: Calls,
    slots: Arc<SharedWords>,
    /// Frames that the writer task has yet to send.
    pub(super) outgoing: Vec<u8>,
    pub(super) wake_writer: Arc<Notify>,
    /// When it was asked to end.
    pub(super) draining_since: Option<Instant>,
    /// Why the daemon has it killed, once it has.
    ending: Option<Ending>,
    /// Cancelled to have the process killed.
    kill: CancellationToken,
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

/// Why the daemon has a worker killed, seen from the calls that it runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Not for any of those whose callers still wait.
    ForOthers(&'static str),
    /// For what the only call that it runs has done.
    ByItsCall(&'static str),
}

/// What the calls that ran on after their deadlines say of their worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// None has done so for longer than the grace, or it is not known yet what they do.
    Nothing,
    /// So many are stuck in threads, or ignore that they are cancelled, while the loop turns.
    Stuck(usize),
    /// The loop has not turned since the deadline of one.
    Hangs,
}

impl Worker {
    pub(super) fn new(number: u64, pid: u32, slots: Arc<SharedWords>) -> Self {
        Self {
            number,
            pid,
            phase: Phase::Starting,
            due: None,
            blocked: false,
            reserved: false,
            lacks: BTreeMap::new(),
            ping: None,
            turned: None,
            pings: 0,
            took: None,
            spoke: None,
            handled: 0,
            calls: Calls::default(),
            slots,
            outgoing: Vec::new(),
            wake_writer: Arc::new(Notify::new()),
            draining_since: None,
            ending: None,
            kill: CancellationToken::new(),
        }
    }

    /// Whether it is one of those that make up the pool's capacity, now or once it is loaded.
    pub(super) fn is_sound(&self) -> bool {
        let usable = self.phase != Phase::Retiring && !self.blocked && !self.reserved;
        usable && self.due.is_none() && self.lacks.is_empty() && !self.is_killed()
    }

    /// The same, of one that is loaded.
    pub(super) fn serves(&self) -> bool {
        self.phase == Phase::Ready && self.is_sound()
    }

    pub(super) fn has_room(&self) -> bool {
        let usable = self.phase == Phase::Ready && !self.blocked && !self.reserved;
        usable && !self.is_killed() && self.calls.has_room()
    }

    /// How many calls it has been given and not ended, whether or not somebody waits for them.
    pub(super) fn in_flight(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// Gives it a call. It must have room.
    pub(super) fn offer(&mut self, mut call: Call) {
        if let Some(reason) = self.lacks.get(&call.invocation.handler) {
            call.finish(Err(HostError::NoLongerLoads(reason.clone())));
            return;
        }
        call.offered = Some(Instant::now());
        let (slot, call) = self.calls.add(call);
        self.slots.offer(slot, call.id);
        protocol::encode_invoke(&mut self.outgoing, call.id, slot, &call.invocation);
        self.wake_writer.notify_one();
    }

    /// Gives it a call that must run alone. It must be idle.
    pub(super) fn offer_alone(&mut self, call: Call) {
        debug_assert!(self.is_idle(), "a call that must run alone finds no other");
        self.offer(call);
        self.reserved = !self.is_idle();
    }

    pub(super) fn log(&mut self, id: u64, level: LogLevel, message: String, fields: Option<String>) {
        if let Some(call) = self.calls.get_mut(id) {
            call.log(level, message, fields);
        }
    }

    pub(super) fn finish(&mut self, id: u64, outcome: Outcome) {
        if let Some(mut call) = self.take(id) {
            self.handled += 1;
            call.finish(Ok(outcome));
        }
    }

    fn take(&mut self, id: u64) -> Option<Call> {
        let call = self.calls.take(id)?;
        self.reserved = false;
        Some(call)
    }

    /// Takes back every call that it has not begun, oldest first.
    pub(super) fn take_back_all(&mut self) -> Waiting {
        self.take_back(|_any| true)
    }

    /// Takes back those calls that it has not begun although it had time to. One that was taken back so before is left where it is:
    /// what makes it slow may be the call itself.
    pub(super) fn take_back_slow(&mut self) -> Waiting {
        let mut calls = self.take_back(|call| !call.was_slow);
        calls.iter_mut().for_each(|call| call.was_slow = true);
        calls
    }

    fn take_back(&mut self, which: impl Fn(&Call) -> bool) -> Waiting {
        let mut ids: Vec<u64> = self.calls.iter().filter(|call| which(call)).map(|call| call.id).collect();
        ids.sort_unstable();
        ids.retain(|id| self.slots.take_back(slot_of(*id), *id));
        ids.into_iter().filter_map(|id| self.take(id)).filter(|call| !call.answered()).collect()
    }

    /// Ends the calls whose deadlines have come.
    pub(super) fn expire(&mut self, now: Instant) {
        let over: Vec<u64> = self.calls.iter().filter(|call| call.is_over(now)).map(|call| call.id).collect();
        for id in over {
            let entered = self.slots.entered(slot_of(id), id);
            let put_off = |call: &mut Call| if entered { call.put_off_end(now) } else { call.put_off(now) };
            if self.calls.get_mut(id).is_some_and(put_off) {
                continue;
            }
            if self.slots.take_back(slot_of(id), id) {
                if let Some(mut call) = self.take(id) {
                    call.finish(Err(HostError::NeverStarted));
                }
            } else {
                self.cancel(id, now);
            }
        }
    }

    /// Ends a call that runs.
    fn cancel(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.finish(Err(HostError::TimedOut));
        call.expired = Some(now);
        protocol::encode_cancel(&mut self.outgoing, id);
        self.send_ping();
    }

    /// Asks the worker's loop for a sign of life, once until it gives one.
    pub(super) fn send_ping(&mut self) {
        if self.ping.is_none() {
            self.pings += 1;
            protocol::encode_ping(&mut self.outgoing, self.pings);
            self.ping = Some((self.pings, Instant::now()));
        }
        self.wake_writer.notify_one();
    }

    pub(super) fn pong(&mut self, number: u64) {
        if let Some((_, sent)) = self.ping.take_if(|(expected, _)| *expected == number) {
            self.turned = Some(sent);
            self.blocked = false;
        }
    }

    /// When the oldest call that it has not begun was given to it.
    pub(super) fn oldest_unstarted(&self) -> Option<Instant> {
        let unstarted = |call: &&Call| !call.answered() && !self.slots.entered(slot_of(call.id), call.id);
        self.calls.iter().filter(unstarted).filter_map(|call| call.offered).min()
    }

    /// What the calls that ran on for longer than `grace` after their deadlines say of it. It is asked for a sign of life
    /// where that is needed to tell.
    pub(super) fn overdue(&mut self, now: Instant, grace: Duration) -> Overdue {
        let overdue = self.calls.iter().filter_map(|call| call.expired).filter(|expired| now >= *expired + grace);
        let (count, last) = overdue.fold((0, None), |(count, last), expired| (count + 1, last.max(Some(expired))));
        if count == 0 {
            return Overdue::Nothing;
        }
        if self.turned >= last {
            return Overdue::Stuck(count);
        }
        match self.ping {
            Some((_, sent)) if now >= self.took.map_or(sent, |took| took.max(sent)) + grace => Overdue::Hangs,
            Some(_) => Overdue::Nothing,
            None => {
                self.send_ping();
                Overdue::Nothing
            }
        }
    }

    /// For how long it has owed an answer to a ping and given no other sign of life. Large frames take their time, and a ping or its answer
    /// behind one comes no sooner.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        let Some((_, sent)) = self.ping else { return Duration::ZERO };
        let last = Some(sent).max(self.took).max(self.spoke);
        last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }

    /// Those of its calls that somebody still waits for.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| !call.answered())
    }

    /// How many of its calls somebody still waits for.
    pub(super) fn awaited(&self) -> usize {
        self.unanswered().count()
    }

    /// Has the process killed.
    pub(super) fn kill(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
        self.kill.cancel();
    }

    pub(super) fn is_killed(&self) -> bool {
        self.ending.is_some()
    }

    /// Cancelled when the process is to be killed.
    pub(super) fn kill_token(&self) -> CancellationToken {
        self.kill.clone()
    }

    /// Answers the calls that it took along when it ended for this reason.
    pub(super) fn lose_calls(&mut self, reason: &str) {
        let error = match self.ending {
            None => HostError::WorkerDied(reason.to_owned()),
            Some(Ending::ByItsCall(why)) => HostError::WorkerDied(why.to_owned()),
            Some(Ending::ForOthers(why)) => HostError::WorkerEnded(why),
        };
        for mut call in self.calls.drain() {
            call.finish(Err(error.clone()));
        }
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.calls.iter().map(|call| call.id).collect();
        ids.sort_unstable();
        ids
    }

    /// What a worker does before it runs user code.
    #[cfg(test)]
    pub(super) fn enter(&self, id: u64) -> bool {
        self.slots.enter(slot_of(id), id)
    }
}
