//! What is a broker in memory that fails on demand? It keeps its queues while daemons come and go, loses connections and confirmations, and hands messages out twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::broker::{DeadLetter, Error, Subscription};
use crate::remote::wire::{self, Incoming, Outgoing};
use crate::remote::{Arrival, Backlog, Feed, Finding, Intake, Link, Listener, Traits};

/// What the next calls are to suffer.
#[derive(Debug, Default, Clone)]
pub(super) struct Faults {
    /// It cannot be reached at all.
    pub(super) away: bool,
    /// So many publications are taken and not confirmed.
    pub(super) lost_confirmations: usize,
    /// So many acks do not arrive, and their connections end.
    pub(super) lost_acks: usize,
    /// So many letters are refused.
    pub(super) refused_letters: usize,
    /// Every publication is there twice.
    pub(super) copies: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    /// How long messages are lent.
    pub(super) lease: Option<Duration>,
    /// Messages have a name of their own.
    pub(super) places: bool,
    /// So many bytes wait for one subscription at most.
    pub(super) room: usize,
}

impl Default for Nature {
    fn default() -> Self {
        Self { lease: None, places: true, room: 1 << 30 }
    }
}

/// The broker.
#[derive(Default)]
pub(super) struct FakeBroker {
    nature: Nature,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    faults: Faults,
    log: Vec<Incoming>,
    queues: BTreeMap<Subscription, Queue>,
    letters: Vec<DeadLetter>,
    last_connection: u64,
    /// How often a message was lent longer.
    extended: usize,
}

#[derive(Default)]
struct Queue {
    ready: BTreeMap<u64, Incoming>,
    bytes: usize,
    lent: HashMap<u64, Lent>,
    last: u64,
    /// The connections that live.
    connections: Vec<u64>,
}

struct Lent {
    message: Incoming,
    connection: u64,
    until: Option<Instant>,
}

impl Queue {
    fn put(&mut self, number: u64, message: Incoming) {
        self.bytes += message.body.len();
        self.ready.insert(number, message);
    }

    fn take_back(&mut self, which: impl Fn(&Lent) -> bool) {
        let numbers: Vec<u64> = self.lent.iter().filter(|(_, lent)| which(lent)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(lent) = self.lent.remove(&number) {
                self.put(number, lent.message);
            }
        }
    }
}

fn away() -> Error {
    Error::Unavailable("as told".to_owned())
}

impl FakeBroker {
    pub(super) fn new(nature: Nature) -> Arc<Self> {
        Arc::new(Self { nature, ..Self::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens from now on.
    pub(super) fn suffer(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
        self.changed.notify_waiters();
    }

    /// Every connection ends; what was lent waits again.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        for queue in state.queues.values_mut() {
            queue.connections.clear();
            queue.take_back(|_| true);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Hands everything out again that is lent and not acked, as after a rebalance that the consumer does not notice.
    pub(super) fn hand_out_again(&self) {
        let mut state = self.state();
        for queue in state.queues.values_mut() {
            queue.take_back(|_| true);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Somebody else publishes.
    pub(super) fn push(&self, message: Incoming) {
        let mut state = self.state();
        self.append(&mut state, message);
        drop(state);
        self.changed.notify_waiters();
    }

    fn append(&self, state: &mut State, mut message: Incoming) {
        let number = state.log.len() as u64 + 1;
        message.place = self.nature.places.then(|| format!("broker/{number}").into());
        message.time = message.time.or_else(|| Some(SystemTime::now()));
        state.log.push(message.clone());
        for (_, queue) in state.queues.iter_mut().filter(|(subscription, _)| subscription.event == message.event) {
            queue.last = queue.last.max(number);
            queue.put(number, message.clone());
        }
    }

    pub(super) fn letters(&self) -> Vec<DeadLetter> {
        self.state().letters.clone()
    }

    pub(super) fn extended(&self) -> usize {
        self.state().extended
    }

    /// How many wait for a subscription, and how many are lent.
    pub(super) fn queued(&self, subscription: &Subscription) -> (usize, usize) {
        self.state().queues.get(subscription).map_or((0, 0), |queue| (queue.ready.len(), queue.lent.len()))
    }

    fn fits(&self, state: &State, messages: &[Outgoing]) -> Result<(), Error> {
        let (what, bound) = ("the fake broker".to_owned(), format!("{} bytes", self.nature.room));
        for (subscription, queue) in &state.queues {
            let of_event = messages.iter().filter(|message| message.envelope.event == subscription.event);
            let bytes: usize = of_event.map(|message| message.envelope.data.len()).sum();
            if bytes > self.nature.room {
                return Err(Error::TooLarge { what, bound });
            } else if bytes > 0 && queue.bytes + bytes > self.nature.room {
                return Err(Error::Full { what, bound });
            }
        }
        Ok(())
    }
}

fn incoming(outgoing: &Outgoing) -> Incoming {
    let attributes = wire::attributes(outgoing).map(|(name, value)| (name.into(), value.into())).collect();
    Incoming {
        event: Arc::clone(&outgoing.envelope.event),
        attributes,
        content_type: Some("application/json".into()),
        body: outgoing.envelope.data.clone(),
        ..Incoming::default()
    }
}

/// The way to it.
pub(super) struct FakeLink(pub(super) Arc<FakeBroker>);

#[async_trait]
impl Link for FakeLink {
    fn adapter(&self) -> &'static str {
        "fake"
    }

    fn traits(&self) -> Traits {
        Traits { history: true, max_body: None }
    }

    async fn ready(&self) -> Result<(), Error> {
        if self.0.state().faults.away { Err(away()) } else { Ok(()) }
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Intake>, Error> {
        tokio::task::yield_now().await;
        let mut state = self.0.state();
        if state.faults.away {
            return Err(away());
        }
        state.last_connection += 1;
        let connection = state.last_connection;
        state.queues.entry(subscription.clone()).or_default().connections.push(connection);
        let tokens = Mutex::new((0, HashMap::new()));
        Ok(Box::new(FakeIntake { broker: Arc::clone(&self.0), subscription: subscription.clone(), connection, tokens }))
    }

    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error> {
        self.ready().await?;
        let gone = self.0.state().queues.remove(subscription);
        Ok(gone.map_or(0, |queue| (queue.ready.len() + queue.lent.len()) as u64))
    }

    async fn publish(&self, messages: &[Outgoing]) -> Result<(), Error> {
        tokio::task::yield_now().await;
        let mut state = self.0.state();
        if state.faults.away {
            return Err(away());
        }
        self.0.fits(&state, messages)?;
        for message in messages {
            for _ in 0..if state.faults.copies { 2 } else { 1 } {
                self.0.append(&mut state, incoming(message));
            }
        }
        let lost = state.faults.lost_confirmations > 0;
        state.faults.lost_confirmations = state.faults.lost_confirmations.saturating_sub(1);
        drop(state);
        self.0.changed.notify_waiters();
        if lost { Err(away()) } else { Ok(()) }
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        let mut state = self.0.state();
        if state.faults.away || state.faults.refused_letters > 0 {
            state.faults.refused_letters = state.faults.refused_letters.saturating_sub(1);
            return Err(away());
        }
        state.letters.push(letter.clone());
        Ok(())
    }

    async fn backlog(&self, subscription: &Subscription) -> Result<Backlog, Error> {
        self.ready().await?;
        let state = self.0.state();
        let Some(queue) = state.queues.get(subscription) else { return Ok(Backlog::default()) };
        let all = queue.ready.values().chain(queue.lent.values().map(|lent| &lent.message));
        Ok(Backlog {
            waiting: queue.ready.len() as u64,
            in_flight: queue.lent.len() as u64,
            oldest: all.filter_map(|message| message.time).min(),
        })
    }

    async fn feed(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Feed>, Error> {
        let state = self.0.state();
        let caught_up_at = state.log.len();
        let earlier = |message: &&Incoming| since.is_none_or(|since| message.time < Some(since));
        let next = state.log.iter().take_while(earlier).count();
        drop(state);
        let event = event.map(Into::into);
        Ok(Box::new(FakeFeed { broker: Arc::clone(&self.0), event, next, caught_up_at }))
    }

    async fn verify(&self) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    async fn broadcast(&self, _message: Bytes) -> Result<(), Error> {
        Err(Error::Unsupported { adapter: self.adapter(), what: "broadcast" })
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, Error> {
        Err(Error::Unsupported { adapter: self.adapter(), what: "broadcast" })
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct FakeIntake {
    broker: Arc<FakeBroker>,
    subscription: Subscription,
    connection: u64,
    /// The last token, and the numbers of the tokens.
    tokens: Mutex<(u64, HashMap<u64, u64>)>,
}

impl FakeIntake {
    fn tokens(&self) -> MutexGuard<'_, (u64, HashMap<u64, u64>)> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, or when to look again; nothing when only a change can help.
    fn take(&self, limit: usize) -> Result<Result<Vec<Arrival>, Option<Instant>>, Error> {
        let mut state = self.broker.state();
        let away = state.faults.away;
        let Some(queue) = state.queues.get_mut(&self.subscription) else { return Err(self::away()) };
        if away || !queue.connections.contains(&self.connection) {
            return Err(self::away());
        }
        let now = Instant::now();
        queue.take_back(|lent| lent.until.is_some_and(|until| until <= now));
        let mut arrivals = Vec::new();
        let mut tokens = self.tokens();
        while arrivals.len() < limit
            && let Some((number, message)) = queue.ready.pop_first()
        {
            queue.bytes -= message.body.len();
            let until = self.broker.nature.lease.map(|lease| now + lease);
            queue.lent.insert(number, Lent { message: message.clone(), connection: self.connection, until });
            tokens.0 += 1;
            let token = tokens.0;
            tokens.1.insert(token, number);
            arrivals.push(Arrival { token, message });
        }
        if arrivals.is_empty() {
            return Ok(Err(queue.lent.values().filter_map(|lent| lent.until).min()));
        }
        Ok(Ok(arrivals))
    }

    /// The numbers of these, unless the connection has ended.
    fn with_queue<T>(&self, tokens: &[u64], act: impl FnOnce(&mut Queue, Vec<u64>, &Nature) -> T) -> Result<T, Error> {
        let mut state = self.broker.state();
        if state.faults.away {
            return Err(away());
        }
        let Some(queue) = state.queues.get_mut(&self.subscription) else { return Err(away()) };
        if !queue.connections.contains(&self.connection) {
            return Err(away());
        }
        let known = self.tokens();
        let numbers = tokens.iter().filter_map(|token| known.1.get(token).copied()).collect();
        Ok(act(queue, numbers, &self.broker.nature))
    }
}

#[async_trait]
impl Intake for FakeIntake {
    async fn next(&self, limit: usize) -> Result<Vec<Arrival>, Error> {
        loop {
            let changed = self.broker.changed.notified();
            let until = match self.take(limit)? {
                Ok(arrivals) => return Ok(arrivals),
                Err(until) => until,
            };
            match until {
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
                None => changed.await,
            }
        }
    }

    async fn ack(&self, tokens: &[u64]) -> Result<(), Error> {
        let lost = {
            let mut state = self.broker.state();
            let lost = state.faults.lost_acks > 0;
            state.faults.lost_acks = state.faults.lost_acks.saturating_sub(1);
            lost
        };
        if lost {
            self.broker.cut();
            return Err(away());
        }
        self.with_queue(tokens, |queue, numbers, _| {
            for number in numbers {
                queue.lent.remove(&number);
            }
        })
    }

    async fn put_back(&self, tokens: &[u64]) -> Result<(), Error> {
        self.with_queue(tokens, |queue, numbers, _| {
            for number in numbers {
                if let Some(lent) = queue.lent.remove(&number) {
                    queue.put(number, lent.message);
                }
            }
        })?;
        self.broker.changed.notify_waiters();
        Ok(())
    }

    fn lease(&self) -> Option<Duration> {
        self.broker.nature.lease
    }

    async fn extend(&self, tokens: &[u64]) -> Result<(), Error> {
        let now = Instant::now();
        self.with_queue(tokens, |queue, numbers, nature| {
            for number in numbers {
                if let Some(lent) = queue.lent.get_mut(&number) {
                    lent.until = nature.lease.map(|lease| now + lease);
                }
            }
        })?;
        self.broker.state().extended += tokens.len();
        Ok(())
    }

    async fn close(&self) -> Result<(), Error> {
        let connection = self.connection;
        self.with_queue(&[], |queue, _, _| {
            queue.connections.retain(|other| *other != connection);
            queue.take_back(|lent| lent.connection == connection);
        })?;
        self.broker.changed.notify_waiters();
        Ok(())
    }
}

struct FakeFeed {
    broker: Arc<FakeBroker>,
    event: Option<Arc<str>>,
    next: usize,
    caught_up_at: usize,
}

impl FakeFeed {
    fn skip(&mut self) -> Option<Incoming> {
        let state = self.broker.state();
        loop {
            let message = state.log.get(self.next)?;
            if self.event.as_ref().is_none_or(|event| *event == message.event) {
                return Some(message.clone());
            }
            self.next += 1;
        }
    }
}

#[async_trait]
impl Feed for FakeFeed {
    async fn next(&mut self) -> Result<Incoming, Error> {
        loop {
            let broker = Arc::clone(&self.broker);
            let changed = broker.changed.notified();
            if let Some(message) = self.skip() {
                self.next += 1;
                return Ok(message);
            }
            changed.await;
        }
    }

    fn caught_up(&self) -> bool {
        let state = self.broker.state();
        let rest = state.log.get(self.next..self.caught_up_at).unwrap_or_default();
        !rest.iter().any(|message| self.event.as_ref().is_none_or(|event| *event == message.event))
    }
}
