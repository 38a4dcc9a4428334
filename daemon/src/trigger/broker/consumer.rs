//! How does one subscription work off its messages, and how do reload and drain reach it?

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use rohas_adapters::broker::{Consumer, Delivery, Failure, History, Obituary, Subscription};
use rohas_handlers_host::Input;
use rohas_handlers_host::invocation::EventInput;
use rohas_telemetry::Kind;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::brokers::Brokers;
use crate::dispatch::{self, Room, Work};
use crate::recorder::Recorder;
use crate::trigger::broker::inbox::Inbox;
use crate::trigger::broker::lanes::Lanes;
use crate::trigger::broker::retry::{self, Verdict};
use crate::version::{EventRoute, HandlerRef, Version};

/// Messages that a subscription holds at once, as a multiple of its concurrency: enough that lanes that wait don't starve
/// the others.
const WINDOW: usize = 8;

/// The name of a broker and a subscription there.
type Place = (String, Subscription);

/// The consumers of a daemon, one per (event, handler) of the present version.
#[derive(Default)]
pub(crate) struct Subscriptions {
    /// An event that moves to another broker is consumed at both, so that what the old one still holds is handled.
    running: HashMap<Place, CancellationToken>,
}

/// What a version subscribes to for the first time: its brokers keep messages for it, and nobody takes them yet.
pub(crate) struct Opened(Vec<(Place, Arc<dyn Consumer>)>);

impl Subscriptions {
    /// Makes what is new in a version exist at its brokers. [`Subscriptions::follow`] is the second half.
    ///
    /// # Errors
    /// When a broker refuses. Nothing has changed then: what had been made is retired again.
    pub(crate) async fn open(
        &self,
        brokers: &Brokers,
        version: &Version,
    ) -> Result<Opened, rohas_adapters::broker::Error> {
        let mut opened = Opened(Vec::new());
        for subscription in wanted(version) {
            let place = (brokers.name_in(&version.schema, &subscription.event).to_owned(), subscription);
            if self.running.contains_key(&place) {
                continue;
            }
            match brokers.subscribe(&place.0, &place.1).await {
                Ok(consumer) => opened.0.push((place, consumer)),
                Err(error) => {
                    for (place, _) in opened.0 {
                        retire(brokers, &place).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(opened)
    }

    /// Starts consumers of what was opened for a version, which is current by now, and stops those of what is gone from it. The
    /// others go on: they take each message with the version that is current then.
    pub(crate) async fn follow(&mut self, app: &Arc<App>, version: &Version, opened: Opened) {
        for (place, consumer) in opened.0 {
            let stop = app.intake.child_token();
            let worker = Worker { app: Arc::clone(app), subscription: place.1.clone(), consumer, stop: stop.clone() };
            app.tracker.spawn(worker.run());
            self.running.insert(place, stop);
        }
        let wanted: HashSet<Subscription> = wanted(version).collect();
        let gone: Vec<_> = self.running.extract_if(|(_, subscription), _| !wanted.contains(subscription)).collect();
        for (place, stop) in gone {
            stop.cancel();
            retire(&app.brokers, &place).await;
        }
    }
}

fn wanted(version: &Version) -> impl Iterator<Item = Subscription> {
    version.events.values().flat_map(|event| event.handlers.iter().map(|handler| subscription(event, handler)))
}

/// A subscription that cannot be retired fills up without being consumed, which is for people to know; nothing else depends on it.
async fn retire(brokers: &Brokers, (broker, subscription): &Place) {
    if let Err(error) = brokers.retire(broker, subscription).await {
        tracing::warn!(%subscription, %error, "a subscription that nothing declares could not be retired");
    }
}

fn subscription(event: &EventRoute, handler: &HandlerRef) -> Subscription {
    Subscription { event: Arc::clone(&event.name), handler: Arc::clone(&handler.name) }
}

struct Worker {
    app: Arc<App>,
    subscription: Subscription,
    consumer: Arc<dyn Consumer>,
    stop: CancellationToken,
}

/// A message between its arrival and its end.
struct Message {
    delivery: Delivery,
    history: History,
    /// The first of its attempts that failed here.
    first: Option<Failure>,
}

/// How an attempt ended.
struct Attempt {
    message: Message,
    verdict: Result<(), (Verdict, Failure)>,
}

/// What the consumer's loop wakes for.
enum Step {
    Fetched(Vec<Delivery>),
    Ended(Attempt),
    Due(Message),
    Stop,
}

impl Worker {
    async fn run(self) {
        let mut lanes = Lanes::default();
        let mut inbox = Inbox::default();
        let mut attempts: JoinSet<Attempt> = JoinSet::new();
        let mut pauses: JoinSet<Message> = JoinSet::new();
        let concurrency = || self.route(&self.app.current()).map_or(1, |(event, _)| event.delivery.concurrency);
        loop {
            let concurrency = concurrency();
            while let Some((_, message)) = lanes.next(concurrency) {
                attempts.spawn(Arc::clone(&self.app).attempt(self.subscription.clone(), message));
            }
            let room = (concurrency * WINDOW).saturating_sub(lanes.held());
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => Step::Stop,
                Some(ended) = attempts.join_next() => match ended {
                    Ok(attempt) => Step::Ended(attempt),
                    Err(error) => { tracing::error!(%error, subscription = %self.subscription, "an attempt was lost"); continue; }
                },
                Some(Ok(message)) = pauses.join_next() => Step::Due(message),
                fetched = self.consumer.next(room.max(1)), if room > 0 => match fetched {
                    Ok(deliveries) => Step::Fetched(deliveries),
                    Err(error) => { tracing::error!(%error, "a subscription has ended"); Step::Stop }
                },
            };
            match step {
                Step::Fetched(deliveries) => self.admit(deliveries, &mut lanes, &mut inbox).await,
                Step::Ended(attempt) => self.ended(attempt, &mut lanes, &mut inbox, &mut pauses).await,
                Step::Due(message) => lanes.resume(key_of(&message), message),
                Step::Stop => break,
            }
        }
        self.drain(lanes, attempts, pauses).await;
    }

    fn route(&self, version: &Arc<Version>) -> Option<(Arc<EventRoute>, HandlerRef)> {
        let event = version.events.get(&self.subscription.event)?;
        let handler = event.handlers.iter().find(|handler| handler.name == self.subscription.handler)?;
        Some((Arc::clone(event), handler.clone()))
    }

    fn dedupe(&self) -> Duration {
        self.route(&self.app.current()).map_or(Duration::ZERO, |(event, _)| event.delivery.dedupe)
    }

    async fn admit(&self, deliveries: Vec<Delivery>, lanes: &mut Lanes<Message>, inbox: &mut Inbox) {
        let dedupe = self.dedupe();
        for delivery in deliveries {
            if inbox.contains(&delivery.envelope.id, dedupe) {
                tracing::debug!(subscription = %self.subscription, id = %delivery.envelope.id, "a copy was dropped");
                self.ack(&delivery).await;
                continue;
            }
            let history = delivery.history;
            lanes.push(delivery.envelope.key.clone(), Message { delivery, history, first: None });
        }
    }

    async fn ended(
        &self,
        attempt: Attempt,
        lanes: &mut Lanes<Message>,
        inbox: &mut Inbox,
        pauses: &mut JoinSet<Message>,
    ) {
        let Attempt { mut message, verdict } = attempt;
        let key = key_of(&message);
        match verdict {
            Ok(()) => {
                inbox.insert(message.delivery.envelope.id, self.dedupe());
                self.ack(&message.delivery).await;
                lanes.finish(key);
            }
            Err((Verdict::Again(delay), failure)) => {
                message.first.get_or_insert(failure);
                lanes.pause();
                let stop = self.stop.clone();
                pauses.spawn(async move {
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = stop.cancelled() => {}
                    }
                    message
                });
            }
            Err((Verdict::GiveUp, failure)) => {
                self.give_up(&message, failure).await;
                lanes.finish(key);
            }
            Err((Verdict::Return, _)) => {
                self.put_back(&message).await;
                lanes.finish(key);
            }
        }
    }

    async fn give_up(&self, message: &Message, last: Failure) {
        let attempts = retry::runs(&message.history);
        let subscription = &self.subscription;
        tracing::error!(%subscription, id = %message.delivery.envelope.id, attempts, error = last.message, "a message was given up");
        let first = message.first.clone().unwrap_or_else(|| last.clone());
        let obituary = Obituary { history: message.history, first, last };
        if let Err(error) = self.consumer.dead_letter(&message.delivery, &obituary).await {
            tracing::error!(%subscription, %error, "a dead letter could not be kept; the message stays in its source");
            self.put_back(message).await;
        }
    }

    async fn ack(&self, delivery: &Delivery) {
        if let Err(error) = self.consumer.ack(std::slice::from_ref(delivery)).await {
            tracing::warn!(subscription = %self.subscription, %error, "a message could not be acked; it will come again");
        }
    }

    async fn put_back(&self, message: &Message) {
        if let Err(error) = self.consumer.nack(&message.delivery, message.history, Duration::ZERO).await {
            tracing::warn!(subscription = %self.subscription, %error, "a message could not be put back");
        }
    }

    /// Returns what waits to its source and finishes what runs. The daemon bounds how long that may take.
    async fn drain(&self, mut lanes: Lanes<Message>, mut attempts: JoinSet<Attempt>, mut pauses: JoinSet<Message>) {
        for message in lanes.clear() {
            self.put_back(&message).await;
        }
        while let Some(paused) = pauses.join_next().await {
            if let Ok(message) = paused {
                self.put_back(&message).await;
            }
        }
        while let Some(ended) = attempts.join_next().await {
            let Ok(Attempt { message, verdict }) = ended else { continue };
            match verdict {
                Ok(()) => self.ack(&message.delivery).await,
                Err((Verdict::GiveUp, failure)) => self.give_up(&message, failure).await,
                Err(_) => self.put_back(&message).await,
            }
        }
    }
}

fn failure(code: &str, message: String, traceback: Option<&str>) -> Failure {
    Failure { at: SystemTime::now(), code: code.to_owned(), message, traceback: traceback.map(str::to_owned) }
}

fn key_of(message: &Message) -> Option<Arc<str>> {
    message.delivery.envelope.key.clone()
}

impl App {
    /// Runs one attempt on the version that is current now. Whatever happens in it, the message comes back.
    async fn attempt(self: Arc<Self>, subscription: Subscription, mut message: Message) -> Attempt {
        let attempt = AssertUnwindSafe(self.try_attempt(&subscription, &mut message)).catch_unwind().await;
        let panicked = || failure("internal", "internal error: it panicked".to_owned(), None);
        let verdict = attempt.unwrap_or_else(|_panic| Err((Verdict::GiveUp, panicked())));
        Attempt { message, verdict }
    }

    async fn try_attempt(&self, subscription: &Subscription, message: &mut Message) -> Result<(), (Verdict, Failure)> {
        // One that kills every worker would take those that run beside it along, again and again. One such at a time, or they
        // would take all workers. The semaphore is never closed.
        let alone = retry::is_suspect(&message.history);
        let _one_at_a_time = if alone { self.quarantine.acquire().await.ok() } else { None };
        let version = self.current();
        let gone = |what: &str| (Verdict::Return, failure("gone", format!("the {what} is no longer declared"), None));
        let event = version.events.get(&subscription.event).cloned().ok_or_else(|| gone("event"))?;
        let handler = event.handlers.iter().find(|handler| handler.name == subscription.handler);
        let handler = handler.cloned().ok_or_else(|| gone("handler"))?;
        let envelope = &message.delivery.envelope;
        let mut recorder = Recorder::begin(Kind::Delivery, &event.name, envelope.trace);
        let attempt = retry::runs(&message.history) + 1;
        recorder.attempt(attempt, envelope.id);
        let work = Work {
            version: &version,
            handler: &handler,
            triggers: &event.triggers,
            cause: envelope.id,
            hops: envelope.hops,
            attempt,
            alone,
            timeout: event.delivery.timeout,
            input: Input::Event(EventInput {
                id: envelope.id.to_string(),
                time: envelope.time,
                key: envelope.key.clone(),
                event: Arc::clone(&envelope.event),
            }),
            body: envelope.data.clone(),
            room: Room::Try,
        };
        let outcome = dispatch::run(work, &self.brokers, &mut recorder).await;
        let verdict = outcome.map(|_completed| ()).map_err(|error| {
            error.record(&mut recorder);
            let verdict = retry::judge(&error, &event.delivery, &mut message.history, fastrand::f64());
            let again = matches!(verdict, Verdict::Again(_));
            tracing::warn!(%subscription, attempt, %error, again, "a handler failed");
            let text = retry::describe(&message.history, &error);
            (verdict, failure(error.code(), text, error.traceback()))
        });
        recorder.finish(&self.telemetry);
        verdict
    }
}
