//! Where are a subscription's messages between its broker and its handler, and what is its broker being told?
//!
//! A message keeps its slot and its lane until its broker has answered what became of it, so handlers run again at most for
//! what was in flight.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rohas_adapters::broker::{Consumer, Delivery, Error, Failure, Subscription};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::trigger::broker::attempt::{Ended, Fault};
use crate::trigger::broker::lanes::{Lanes, Recall};
use crate::trigger::broker::leases::Leases;
use crate::trigger::broker::message::Message;
use crate::trigger::broker::retry::{self, Verdict};
use crate::version::DeliveryRules;

/// Longer waits of messages without a key are the broker's business: they need no lane.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// Pauses after which a broker that failed is asked again.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One subscription's messages on their way from the broker and back.
pub(super) struct Pump {
    subscription: Subscription,
    consumer: Arc<dyn Consumer>,
    stop: CancellationToken,
    lanes: Lanes<Message, Instant>,
    leases: Leases,
    pub(super) fetching: Option<BoxFuture<'static, Result<Vec<Delivery>, Error>>>,
    /// When the broker is asked again after it failed to hand out messages, and the pause before that.
    fetch_outage: Option<(Instant, Duration)>,
    /// Messages of which only the tags were kept. Dropping it changes nothing.
    pub(super) recalling: Option<BoxFuture<'static, Recalled>>,
    /// As `fetch_outage`, for these.
    recall_outage: Option<(Instant, Duration)>,
    /// As it was when messages were last asked for.
    buffer_size: usize,
    /// Handled, and not yet given to the broker to ack.
    handled: Vec<Delivery>,
    /// All that was handled since the broker was last told.
    pub(super) acking: Option<BoxFuture<'static, Vec<Delivery>>>,
    /// What goes back as it came, because nothing is to run now. Nothing is fetched meanwhile, so that none overtakes it.
    pub(super) releasing: Option<BoxFuture<'static, Vec<u64>>>,
    /// What goes back or is given up.
    pub(super) settling: FuturesUnordered<BoxFuture<'static, Settled>>,
    pub(super) extending: Option<BoxFuture<'static, ()>>,
    /// Suspects of all subscriptions run one at a time, or they would take all workers.
    suspects: Arc<Semaphore>,
    /// The turn of this subscription's suspects is waited for.
    pub(super) quarantining: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    /// Their turn has come: the next slot is theirs.
    permit: Option<OwnedSemaphorePermit>,
    /// Nothing begins any more.
    draining: bool,
    /// How many messages could not be put back since, and the last reason. Said in one line when no other is on its way.
    stranded: Option<(usize, Error)>,
}

/// A message that its broker was to take, and whether it did.
pub(super) struct Settled {
    message: Message,
    /// Unless it did, after how long the message is to run again, or its end to be told again.
    again: Duration,
    result: Result<(), Error>,
}

/// What was asked for, and what came.
pub(super) type Recalled = (Recall, Result<Vec<Delivery>, Error>);

/// The end of an operation that may be under way.
pub(super) async fn resolved<T>(operation: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(running) = operation else { return std::future::pending().await };
    let output = running.await;
    *operation = None;
    output
}

impl Pump {
    pub(super) fn new(
        subscription: Subscription,
        consumer: Arc<dyn Consumer>,
        suspects: Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            subscription,
            leases: Leases::new(consumer.lease()),
            consumer,
            // The subscription may end by itself, and what cannot be acked then waits for nobody.
            stop: stop.child_token(),
            lanes: Lanes::new(),
            fetching: None,
            fetch_outage: None,
            recalling: None,
            recall_outage: None,
            buffer_size: 0,
            handled: Vec::new(),
            acking: None,
            releasing: None,
            settling: FuturesUnordered::new(),
            extending: None,
            suspects,
            quarantining: None,
            permit: None,
            draining: false,
            stranded: None,
        }
    }

    /// The next message to run. Those that only wait to become dead letters are given to the broker, those that came with a wait
    /// end it first, and suspects wait for their turn without a slot.
    pub(super) fn next(&mut self, concurrency: usize) -> Option<Message> {
        if let Some(suspect) = self.next_suspect(concurrency) {
            return Some(suspect);
        }
        loop {
            let mut message = self.lanes.next(Instant::now(), concurrency)?;
            if message.obituary.is_some() {
                self.bury(message);
            } else if let Some(left) = message.left_to_wait() {
                self.lanes.wait(Instant::now() + left, message);
            } else if message.trial.is_suspect() {
                self.set_aside(message);
            } else {
                return Some(message);
            }
        }
    }

    fn next_suspect(&mut self, concurrency: usize) -> Option<Message> {
        let permit = self.permit.take()?;
        let Some(mut suspect) = self.lanes.next_aside(concurrency) else {
            // All slots are taken. Not to hold the permit meanwhile would be to wait for both at once, for ever if need be.
            self.permit = Some(permit);
            return None;
        };
        suspect.quarantine = Some(permit);
        self.ask_for_quarantine();
        Some(suspect)
    }

    fn set_aside(&mut self, suspect: Message) {
        self.lanes.set_aside(suspect);
        self.ask_for_quarantine();
    }

    /// Stands in line for the next suspect.
    fn ask_for_quarantine(&mut self) {
        if self.lanes.has_aside() && self.permit.is_none() && self.quarantining.is_none() {
            // The semaphore is never closed.
            self.quarantining = Some(Arc::clone(&self.suspects).acquire_owned().map(Result::ok).boxed());
        }
    }

    /// Others may have their turn: nothing is to begin here.
    fn leave_quarantine(&mut self) {
        self.quarantining = None;
        self.permit = None;
    }

    /// The turn of the next suspect has come.
    pub(super) fn quarantine(&mut self, permit: Option<OwnedSemaphorePermit>) {
        self.permit = permit;
    }

    /// Asks for more messages if there is room for them. At most `buffer_size` run, could run or wait for another attempt, and as many are
    /// held behind them.
    pub(super) fn fetch(&mut self, concurrency: usize, buffer_size: usize) {
        self.buffer_size = buffer_size;
        let room = self.lanes.room(concurrency, buffer_size);
        if room > 0 && !is_ahead(self.fetch_outage) && self.fetching.is_none() && self.releasing.is_none() {
            let consumer = Arc::clone(&self.consumer);
            self.fetching = Some(async move { consumer.next(room).await }.boxed());
        }
    }

    /// Asks for messages of which only the tags were kept, if it is their turn.
    pub(super) fn recall(&mut self, buffer_size: usize) {
        if is_ahead(self.recall_outage) || self.recalling.is_some() {
            return;
        }
        let Some(recall) = self.lanes.recall(buffer_size) else { return };
        let consumer = Arc::clone(&self.consumer);
        let recalling = async move {
            let found = consumer.recall(&recall.tags).await;
            (recall, found)
        };
        self.recalling = Some(recalling.boxed());
    }

    pub(super) fn recalled(&mut self, recall: Recall, found: Vec<Delivery>) {
        self.recall_outage = None;
        self.lanes.recalled(recall, found.into_iter().map(Message::new).collect());
    }

    pub(super) fn recall_failed(&mut self, error: &Error) {
        let pause = self.recall_outage.map_or(FIRST_PAUSE, |(_, pause)| longer(pause));
        tracing::warn!(subscription = %self.subscription, %error, "messages that wait for others of their key cannot be read; it is tried until they can");
        self.recall_outage = Some((Instant::now() + pause, pause));
    }

    /// Nothing begins until [`Pump::resume`]. What has not run goes back; what waits for another attempt waits on, and what
    /// runs ends.
    pub(super) fn pause(&mut self) {
        // Dropping it loses none.
        self.fetching = None;
        self.recalling = None;
        self.leave_quarantine();
        // Those that go back already were all: nothing is fetched before they have.
        if self.releasing.is_none() {
            let tags = self.lanes.take_new(Message::is_new);
            self.release_unrun(tags);
        }
    }

    fn release_unrun(&mut self, tags: Vec<u64>) {
        if tags.is_empty() {
            return;
        }
        let releasing =
            release_until_taken(Arc::clone(&self.consumer), tags, self.subscription.clone(), self.stop.clone());
        self.releasing = Some(releasing.boxed());
    }

    pub(super) fn resume(&mut self) {
        self.ask_for_quarantine();
    }

    pub(super) fn released(&mut self, tags: &[u64]) {
        tags.iter().for_each(|tag| self.leases.release(*tag));
    }

    pub(super) fn fetched(&mut self, deliveries: Vec<Delivery>) {
        if self.fetch_outage.take().is_some() {
            tracing::info!(subscription = %self.subscription, "the broker hands out messages again");
        }
        self.leases.take(&deliveries);
        for delivery in deliveries {
            self.lanes.push(Message::new(delivery), self.buffer_size);
        }
    }

    pub(super) fn fetch_failed(&mut self, error: &Error) {
        let pause = if let Some((_, pause)) = self.fetch_outage {
            longer(pause)
        } else {
            let subscription = &self.subscription;
            tracing::error!(%subscription, %error, "the broker hands out no messages; it is asked until it does");
            FIRST_PAUSE
        };
        self.fetch_outage = Some((Instant::now() + pause, pause));
    }

    /// When the loop must look again because of the time alone.
    pub(super) fn wake_at(&self, concurrency: Option<usize>) -> Option<Instant> {
        // What is due while all slots are taken waits for a slot.
        let free = concurrency.is_some_and(|concurrency| self.lanes.running() < concurrency);
        let due = if free { self.lanes.next_due() } else { None };
        let fetch = self.fetch_outage.map(|(until, _)| until).filter(|until| *until > Instant::now());
        let recall = self.recall_outage.map(|(until, _)| until).filter(|until| *until > Instant::now());
        let lease = if self.extending.is_none() { self.leases.due() } else { None };
        [due, fetch, recall, lease].into_iter().flatten().min()
    }

    pub(super) fn extend_leases(&mut self) {
        if self.extending.is_some() {
            return;
        }
        let Some(deliveries) = self.leases.renew(Instant::now()) else { return };
        let (consumer, subscription) = (Arc::clone(&self.consumer), self.subscription.clone());
        let extending = async move {
            if let Err(error) = consumer.extend(&deliveries).await {
                tracing::warn!(%subscription, %error, "leases could not be extended; messages may be handed out twice");
            }
        };
        self.extending = Some(extending.boxed());
    }

    /// Takes a message after an attempt.
    pub(super) fn ended(&mut self, ended: Ended, rules: Option<&DeliveryRules>) {
        let Ended { mut message, outcome } = ended;
        message.quarantine = None;
        message.trial.history.not_before = None;
        let Err(fault) = outcome else {
            self.handled.push(message.delivery);
            return;
        };
        // Nothing declares it any more: the rules of another day decide.
        let Some(rules) = rules else { return self.put_back(message) };
        let (subscription, attempt) = (&self.subscription, message.trial.runs() + 1);
        let known = message.trial.history;
        let verdict = retry::judge(&fault, rules, &mut message.trial, fastrand::f64());
        let again = matches!(verdict, Verdict::Again(_));
        if fault.is_of_a_run() {
            tracing::warn!(%subscription, attempt, error = %fault, again, "a handler failed");
        }
        match verdict {
            Verdict::Again(delay) => {
                message.note(failure(&fault, fault.to_string()));
                // What nobody counts, such as a queue that is full, may be over when another process tries.
                if message.trial.history != known {
                    message.trial.history.not_before = SystemTime::now().checked_add(delay);
                }
                self.run_again(message, delay);
            }
            Verdict::GiveUp => {
                let (id, attempts) = (message.delivery.envelope.id, message.trial.runs());
                let error = message.trial.describe(&fault);
                tracing::error!(%subscription, %id, attempts, error, "a message was given up");
                message.give_up(failure(&fault, error));
                self.bury(message);
            }
            Verdict::Return => self.put_back(message),
        }
    }

    fn run_again(&mut self, message: Message, delay: Duration) {
        if delay > LONG_WAIT && message.delivery.envelope.key.is_none() {
            self.nack(message, delay);
        } else if self.draining {
            self.put_back(message);
        } else {
            // Should this process be killed, the next one goes on from here.
            self.consumer.note(&message.delivery, message.trial.history);
            self.lanes.wait(Instant::now() + delay, message);
        }
    }

    /// Gives a message back as it is, with what is left of its wait.
    pub(super) fn put_back(&mut self, message: Message) {
        self.nack(message, Duration::ZERO);
    }

    fn nack(&mut self, mut message: Message, delay: Duration) {
        message.quarantine = None;
        let consumer = Arc::clone(&self.consumer);
        let nacking = async move {
            let result = consumer.nack(&message.delivery, message.trial.history, delay).await;
            let again = if delay.is_zero() { message.next_pause() } else { delay };
            Settled { message, again, result }
        };
        self.settling.push(nacking.boxed());
    }

    /// Has the broker keep a message that is given up among the dead letters.
    fn bury(&mut self, mut message: Message) {
        let consumer = Arc::clone(&self.consumer);
        let burying = async move {
            let result = match &message.obituary {
                Some(obituary) => consumer.dead_letter(&message.delivery, obituary).await,
                None => Ok(()),
            };
            let again = message.next_pause();
            Settled { message, again, result }
        };
        self.settling.push(burying.boxed());
    }

    pub(super) fn settled(&mut self, settled: Settled) {
        if self.draining {
            return self.settled_last(settled);
        }
        let Settled { message, again, result } = settled;
        let Err(error) = result else { return self.release(&message.delivery) };
        let (subscription, id) = (&self.subscription, message.delivery.envelope.id);
        let dead = message.obituary.is_some();
        tracing::error!(%subscription, %id, %error, dead, "the broker could not take a message; it is held until it can");
        self.lanes.wait(Instant::now() + again, message);
    }

    fn settled_last(&mut self, settled: Settled) {
        self.release(&settled.message.delivery);
        if let Err(error) = settled.result {
            let count = self.stranded.take().map_or(0, |(count, _)| count);
            self.stranded = Some((count + 1, error));
        }
        if self.settling.is_empty()
            && let Some((count, error)) = self.stranded.take()
        {
            let subscription = &self.subscription;
            tracing::warn!(%subscription, count, %error, "messages could not be put back; they come again after a restart");
        }
    }

    /// Tells the broker of all that was handled since it was last told, unless that is still under way.
    pub(super) fn ack(&mut self) {
        if self.acking.is_some() || self.handled.is_empty() {
            return;
        }
        let deliveries = std::mem::take(&mut self.handled);
        let (consumer, subscription) = (Arc::clone(&self.consumer), self.subscription.clone());
        self.acking = Some(ack_until_taken(consumer, deliveries, subscription, self.stop.clone()).boxed());
    }

    /// The broker has taken these, or will not before the end.
    pub(super) fn acked(&mut self, deliveries: &[Delivery]) {
        deliveries.iter().for_each(|delivery| self.release(delivery));
    }

    /// Nothing begins any more: what waits goes back, what could not be given up yet is given up.
    pub(super) fn return_all(&mut self) {
        self.draining = true;
        self.stop.cancel();
        self.fetching = None;
        self.recalling = None;
        self.leave_quarantine();
        // While earlier ones go back none is fetched, so none is parked.
        let parked = self.lanes.take_parked();
        self.release_unrun(parked);
        for message in self.lanes.clear() {
            if message.obituary.is_some() { self.bury(message) } else { self.put_back(message) }
        }
    }

    /// Whether the broker has not been told of everything yet.
    pub(super) fn is_finishing(&self) -> bool {
        !self.handled.is_empty() || self.acking.is_some() || self.releasing.is_some() || !self.settling.is_empty()
    }

    /// The message is the broker's again.
    fn release(&mut self, delivery: &Delivery) {
        self.leases.release(delivery.tag);
        if !self.draining {
            self.lanes.finish(delivery);
        }
    }
}

/// Acks until the broker takes it: what was handled must not run again, nor later messages of its keys before it is known to be
/// handled. Once `stop` is cancelled it is tried one last time.
async fn ack_until_taken(
    consumer: Arc<dyn Consumer>,
    deliveries: Vec<Delivery>,
    subscription: Subscription,
    stop: CancellationToken,
) -> Vec<Delivery> {
    let (count, mut pause) = (deliveries.len(), FIRST_PAUSE);
    loop {
        let last = stop.is_cancelled();
        let Err(error) = consumer.ack(&deliveries).await else { return deliveries };
        if last {
            tracing::error!(%subscription, count, %error, "messages that were handled could not be acked; they come again after a restart");
            return deliveries;
        }
        tracing::warn!(%subscription, count, %error, "messages could not be acked; they are acked again until they are");
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
        pause = longer(pause);
    }
}

/// Gives messages back that did not run, until the broker takes them. Once `stop` is cancelled it is tried one last time.
async fn release_until_taken(
    consumer: Arc<dyn Consumer>,
    tags: Vec<u64>,
    subscription: Subscription,
    stop: CancellationToken,
) -> Vec<u64> {
    let (count, mut pause) = (tags.len(), FIRST_PAUSE);
    loop {
        let last = stop.is_cancelled();
        let Err(error) = consumer.release(&tags).await else { return tags };
        if last {
            tracing::warn!(%subscription, count, %error, "messages could not be put back; they come again after a restart");
            return tags;
        }
        tracing::warn!(%subscription, count, %error, "messages could not be put back; it is tried until they are");
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
        pause = longer(pause);
    }
}

/// Whether the broker that failed is not to be asked again yet.
fn is_ahead(outage: Option<(Instant, Duration)>) -> bool {
    outage.is_some_and(|(until, _)| until > Instant::now())
}

pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

fn failure(fault: &Fault, message: String) -> Failure {
    Failure {
        at: SystemTime::now(),
        code: fault.code().to_owned(),
        message,
        traceback: fault.traceback().map(str::to_owned),
    }
}
