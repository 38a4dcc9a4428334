//! What must a broker be able to do? Take envelopes in, hand deliveries out, and be told what became of each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::envelope::Envelope;

/// One (event, handler) pair: its own progress, its own redeliveries, its own dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The event's name.
    pub event: Arc<str>,
    /// The handler's name.
    pub handler: Arc<str>,
}

impl fmt::Display for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}--{}", self.event, self.handler)
    }
}

/// An envelope to publish, now or later.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What to publish.
    pub envelope: Envelope,
    /// How long it stays invisible.
    pub delay: Duration,
}

/// A message that was given up, with the reason.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The message.
    pub envelope: Arc<Envelope>,
    /// Whose message it was.
    pub subscription: Subscription,
    /// How often it was tried.
    pub attempts: u32,
    /// The last error.
    pub error: String,
}

/// One message handed to a subscription. It stays the broker's until one of `ack`, `nack` and `dead_letter` was called on
/// its [`Consumer`].
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub envelope: Arc<Envelope>,
    /// How often it has been handed out, this time included.
    pub attempt: u32,
    /// The broker's own mark of this delivery.
    pub tag: u64,
}

/// A broker: brings each published event to every subscription of it.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Makes the subscription exist and consumes from it. Called at start and at every reload, before anything that the new
    /// version publishes. A subscription outlives its consumers: what an earlier one left unfinished is handed out again or finished by it.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error>;

    /// The schema no longer declares the subscription: nothing new enters it, so it holds no publisher up. What it has stays until
    /// it is subscribed to again. An unknown subscription is no error.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    async fn pause(&self, subscription: &Subscription) -> Result<(), Error>;

    /// Publishes all or nothing and returns once all are durable, as far as this broker can. Waits while a queue is full, so the caller
    /// bounds it by a deadline; giving up by dropping the future publishes nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when they can never fit, others when the broker fails.
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error>;

    /// Like [`Broker::publish`], but answers [`Error::Full`] instead of waiting. This is what consumers use: one that
    /// waited for room in a queue that only it can empty would wait for ever.
    ///
    /// # Errors
    /// As `publish`, and [`Error::Full`].
    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error>;

    /// Sizes of all subscriptions' queues, for people who look.
    fn depths(&self) -> Vec<Depth>;
}

/// How much a subscription holds.
#[derive(Debug, Clone)]
pub struct Depth {
    /// Whose.
    pub subscription: Subscription,
    /// Waiting to be handed out, delayed ones included.
    pub waiting: usize,
    /// Handed out and not yet finished.
    pub in_flight: usize,
    /// Given up.
    pub dead: usize,
}

/// One subscription's end of the broker. Deliveries may be finished in any order and from any task.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Waits for messages and returns at least one and at most `limit`. Dropping the future loses none.
    ///
    /// # Errors
    /// [`Error::Closed`] when there will be no more.
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error>;

    /// The message was handled.
    ///
    /// # Errors
    /// When the broker cannot take it; the message is then handed out again.
    async fn ack(&self, delivery: &Delivery) -> Result<(), Error>;

    /// The message goes back and is handed out again after `delay`.
    ///
    /// # Errors
    /// When the broker cannot take it; the message is then handed out again at the broker's own time.
    async fn nack(&self, delivery: &Delivery, delay: Duration) -> Result<(), Error>;

    /// The message is given up: kept with its reason, then acked.
    ///
    /// # Errors
    /// When it could not be kept; the message then stays in its source.
    async fn dead_letter(&self, delivery: &Delivery, attempts: u32, error: &str) -> Result<(), Error>;
}

/// Why a broker did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A queue has no room now.
    #[error("the queue of {subscription} is full ({capacity} messages); try again later")]
    Full {
        /// Whose queue.
        subscription: Subscription,
        /// Its bound.
        capacity: usize,
    },
    /// More at once than a queue can ever hold.
    #[error("{count} messages at once for {subscription}, whose queue holds {capacity}; raise buffer_size")]
    TooLarge {
        /// Whose queue.
        subscription: Subscription,
        /// How many.
        count: usize,
        /// Its bound.
        capacity: usize,
    },
    /// The subscription has ended.
    #[error("the subscription {0} has ended")]
    Closed(Subscription),
}
