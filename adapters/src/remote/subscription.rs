//! What do the consumers and the tasks of one subscription share? What is ours of its messages, the intake that brings them, and what wakes those who wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::held::{Arrived, Bounds, Chore, Counts, Held};
use super::identity::{Known, Origin};
use super::link::{Arrival, Intake, Link};
use super::wire::{self, Unreadable};
use crate::broker::{Consumer, Delivery, Error, Failure, History, Obituary, Subscription};
use crate::rocksdb::Companion;

/// Telling a broker of what was finished must not take longer: it hands these out again, and they are known.
pub(super) const TELLING: Duration = Duration::from_secs(10);

/// What the daemon wants of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Consume,
    /// Nothing declares it any more; what is handed out is finished.
    Rest,
    /// For good. What is ours goes back.
    End,
}

/// Whether the broker keeps messages for a subscription.
#[derive(Debug, Clone)]
pub(super) enum Made {
    /// It is tried for the first time.
    Trying,
    /// It did not work yet, and is tried again.
    Failed(Error),
    Yes,
}

/// An intake that messages come through.
pub(super) struct Opened {
    pub(super) generation: u64,
    pub(super) intake: Box<dyn Intake>,
}

/// One subscription.
pub(super) struct Sub {
    pub(super) subscription: Subscription,
    pub(super) link: Arc<dyn Link>,
    pub(super) companion: Companion,
    /// Hands out what the companion has for this subscription.
    pub(super) own: Arc<dyn Consumer>,
    /// Guards what is ours; held for the changes of one batch.
    state: Mutex<State>,
    /// Rung when there may be something else to hand out, or another intake.
    pub(super) changed: Notify,
    /// Rung when there are chores.
    pub(super) chores: Notify,
    /// Rung when the intake is lost, or nothing is handed out any more and that matters.
    pub(super) turn: Notify,
    pub(super) wish: watch::Sender<Wish>,
    pauses: watch::Receiver<bool>,
    pub(super) made: watch::Sender<Made>,
    /// Its tasks have ended.
    pub(super) ended: watch::Sender<bool>,
}

struct State {
    held: Held,
    chores: Vec<Chore>,
    opened: Option<Arc<Opened>>,
    /// Nothing new is handed out; the intake is closed when nothing is handed out any more.
    resting: bool,
}

/// What a consumer does next.
pub(super) enum Step {
    Deliver(Vec<Delivery>),
    Wait(Wait),
}

/// What a consumer waits for.
pub(super) struct Wait {
    /// For so many messages of this intake.
    pub(super) intake: Option<(Arc<Opened>, usize)>,
    /// For something that is due then.
    pub(super) until: Option<Instant>,
}

impl Sub {
    pub(super) fn new(subscription: Subscription, link: Arc<dyn Link>, companion: Companion, bounds: Bounds) -> Self {
        let own = companion.consumer();
        let pauses = own.pauses();
        let held = Held::new(bounds);
        Self {
            subscription,
            link,
            companion,
            own,
            state: Mutex::new(State { held, chores: Vec::new(), opened: None, resting: false }),
            changed: Notify::new(),
            chores: Notify::new(),
            turn: Notify::new(),
            wish: watch::Sender::new(Wish::Consume),
            pauses,
            made: watch::Sender::new(Made::Trying),
            ended: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was put back and may be handed out, or what to wait for.
    pub(super) fn step(&self, limit: usize) -> Step {
        // Whoever has paused it must see nothing more, so this does not wait until the task does.
        let is_resting = *self.pauses.borrow() || *self.wish.borrow() != Wish::Consume;
        let mut state = self.state();
        if is_resting {
            return Step::Wait(Wait { intake: None, until: None });
        }
        let back = state.held.take_back(limit, Instant::now());
        if !back.is_empty() {
            return Step::Deliver(back);
        }
        let room = state.held.room().min(limit);
        let intake = state.opened.as_ref().filter(|_| room > 0).map(|opened| (Arc::clone(opened), room));
        Step::Wait(Wait { intake, until: state.held.next_due() })
    }

    /// Takes what an intake has brought. What was handled before, and what cannot be read, is left out.
    pub(super) fn arrive(&self, opened: &Opened, arrivals: Vec<Arrival>) -> Vec<Delivery> {
        let mut arrived: Vec<Arrived> = arrivals.into_iter().map(read).collect();
        let messages = arrived.iter().map(|arrived| (arrived.known.note, arrived.known.identity.as_ref()));
        let found = self.companion.look_up(messages);
        let mut state = self.state();
        if state.held.generation() != opened.generation {
            return Vec::new();
        }
        let State { held, chores, .. } = &mut *state;
        let before = chores.len();
        let mut found = found.into_iter();
        arrived.retain_mut(|arrived| {
            let Some(history) = found.next().flatten() else {
                chores.push(Chore::Ack { generation: opened.generation, token: arrived.token });
                return false;
            };
            arrived.history = history;
            true
        });
        let deliveries = held.arrive(arrived, chores);
        let busy = chores.len() > before;
        drop(state);
        if busy {
            self.chores.notify_one();
        }
        deliveries
    }

    /// Looks at what is ours.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.state().held)
    }

    /// Changes what is ours, and wakes those for whom that matters.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state.held);
        let at_rest = state.resting && !state.held.is_out();
        drop(state);
        self.changed.notify_waiters();
        if at_rest {
            self.turn.notify_one();
        }
        result
    }

    /// These are finished, and that is known here: has the broker forget them.
    pub(super) async fn finish(&self, tags: impl Iterator<Item = u64>) {
        let (opened, tokens) = self.take_finished(tags);
        self.tell(opened, tokens).await;
    }

    /// Takes these out. Returns what the broker is to be told, and through which intake.
    fn take_finished(&self, tags: impl Iterator<Item = u64>) -> (Option<Arc<Opened>>, Vec<u64>) {
        let mut state = self.state();
        let was_full = state.held.room() == 0;
        let (tokens, notes) = state.held.finish(tags);
        let at_rest = state.resting && !state.held.is_out();
        let opened = state.opened.clone();
        drop(state);
        if was_full {
            self.changed.notify_waiters();
        }
        if at_rest {
            self.turn.notify_one();
        }
        self.companion.forget(notes.into_iter());
        (opened, tokens)
    }

    /// Has the broker forget these. What it is not told it hands out again, and it is known then.
    async fn tell(&self, opened: Option<Arc<Opened>>, tokens: Vec<u64>) {
        let Some(opened) = opened.filter(|_| !tokens.is_empty()) else { return };
        match timeout(TELLING, opened.intake.ack(&tokens)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.lose(opened.generation, &error),
            Err(_elapsed) => self.lose(opened.generation, &silent()),
        }
    }

    /// Has the broker forget what was handled before.
    pub(super) async fn tell_of_copies(&self, copies: impl Iterator<Item = (u64, u64)>) {
        let Some(opened) = self.opened() else { return };
        let present = copies.filter(|(generation, _)| *generation == opened.generation);
        let tokens = present.map(|(_, token)| token).collect();
        self.tell(Some(opened), tokens).await;
    }

    pub(super) fn take_chores(&self) -> Vec<Chore> {
        std::mem::take(&mut self.state().chores)
    }

    /// The intake that messages come through now.
    pub(super) fn opened(&self) -> Option<Arc<Opened>> {
        self.state().opened.clone()
    }

    /// Messages come through this one from now on.
    pub(super) fn open(&self, intake: Box<dyn Intake>) {
        let mut state = self.state();
        let generation = state.held.generation();
        state.opened = Some(Arc::new(Opened { generation, intake }));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes the intake away: what is not handed out goes with it.
    pub(super) fn take_opened(&self) -> Option<Arc<Opened>> {
        let mut state = self.state();
        let opened = state.opened.take();
        if opened.is_some() {
            state.held.lose();
        }
        drop(state);
        self.changed.notify_waiters();
        opened
    }

    /// This intake does not work any more.
    pub(super) fn lose(&self, generation: u64, error: &Error) {
        if self.opened().is_none_or(|opened| opened.generation != generation) || self.take_opened().is_none() {
            return;
        }
        let adapter = self.link.adapter();
        tracing::warn!(adapter, subscription = %self.subscription, %error, "the broker hands out no messages; it is subscribed to again until it does");
        self.turn.notify_one();
    }

    /// Whether the intake waits for the end of what is handed out.
    pub(super) fn set_resting(&self, resting: bool) {
        self.state().resting = resting;
        self.changed.notify_waiters();
    }

    pub(super) fn is_out(&self) -> bool {
        self.state().held.is_out()
    }

    pub(super) fn counts(&self) -> (Counts, Option<SystemTime>) {
        let state = self.state();
        (state.held.counts(), state.held.oldest())
    }
}

pub(super) fn silent() -> Error {
    Error::Unavailable(format!("it did not answer within {} s", TELLING.as_secs()))
}

fn read(arrival: Arrival) -> Arrived {
    let Arrival { token, message } = arrival;
    let (origin, now) = (Origin::of(&message), SystemTime::now());
    let (envelope, dedupe, unreadable) = match wire::read(message, now) {
        Ok((envelope, dedupe)) => (envelope, dedupe, None),
        Err(error) => {
            let obituary = unreadable(&error, now);
            (error.envelope, None, Some(obituary))
        }
    };
    let known = Known::new(&envelope, dedupe, origin);
    Arrived { token, known, envelope, history: History::default(), unreadable }
}

fn unreadable(error: &Unreadable, at: SystemTime) -> Obituary {
    let failure = Failure { at, code: Unreadable::CODE.to_owned(), message: error.to_string(), traceback: None };
    Obituary { history: History::default(), first: failure.clone(), last: failure }
}
