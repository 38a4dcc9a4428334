//! What must a broker be able to do? Take envelopes in, hand deliveries out, and be told what became of each.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::envelope::Envelope;

/// One (event, handler) pair: its own progress, its own redeliveries, its own dead letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// When it becomes visible; at once when this is `None` or past.
    pub due: Option<SystemTime>,
    /// How long another publication of the same id is taken for a copy and dropped; zero for never.
    pub dedupe: Duration,
}

/// What a broker can do beyond handing messages out until they are acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What was published survives the end of the process.
    pub durable: bool,
    /// An id published again within the dedupe window is dropped, so what a subscription has handled never comes again under the same id.
    pub dedupe: bool,
    /// [`Broker::replay`] and `since` of [`Broker::tail`]: what was handled is kept for a while.
    pub history: bool,
}

/// One message handed to a subscription. It stays the broker's until it was acked, put back or given up on its [`Consumer`].
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub envelope: Arc<Envelope>,
    /// What earlier attempts at it have left.
    pub history: History,
    /// The broker's own mark of this delivery.
    pub tag: u64,
}

/// What a message has been through at one subscription. Kept by the broker across deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Attempts that count.
    pub attempts: u32,
    /// Workers that the daemon saw die while they ran it, among other calls or not.
    pub deaths: u32,
    /// Those of them that ran nothing else.
    pub deaths_alone: u32,
    /// Workers that the daemon ended for the sake of other calls while they ran it.
    pub endings: u32,
    /// When it may be tried again, if it waits for that. The broker only keeps this: it hands the message out at its place, and whoever gets it waits, so that
    /// those behind it in its lane wait too.
    #[serde(skip)]
    pub not_before: Option<SystemTime>,
}

/// One failed attempt, as the dead letters keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it ended.
    pub at: SystemTime,
    /// Stable code, as in error bodies.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// Traceback in the language's own form.
    pub traceback: Option<String>,
}

/// Why a message is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obituary {
    /// How it was tried.
    pub history: History,
    /// The first attempt that failed, of those that this process saw.
    pub first: Failure,
    /// The last one.
    pub last: Failure,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its own id, a UUIDv7 of when it was given up: the same event may be dead at several handlers.
    pub id: Uuid,
    /// The message.
    pub envelope: Arc<Envelope>,
    /// Whose message it was.
    pub subscription: Subscription,
    /// Why.
    pub obituary: Obituary,
}

/// Which dead letters. All conditions must hold; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterFilter {
    /// Of this event.
    pub event: Option<String>,
    /// Of this handler.
    pub handler: Option<String>,
    /// Given up before this one, for the next page.
    pub before: Option<Uuid>,
}

/// How far a subscription has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whose.
    pub subscription: Subscription,
    /// Whether the schema declares it now; what it holds waits otherwise, and nothing new enters it.
    pub declared: bool,
    /// Whether somebody paused it; what is published waits meanwhile.
    pub paused: bool,
    /// Published and not yet handed out, those not yet due left out.
    pub waiting: u64,
    /// Not yet due.
    pub delayed: u64,
    /// Handed out and not yet finished.
    pub in_flight: u64,
    /// Given up and still kept.
    pub dead: u64,
    /// When the oldest unfinished message was published.
    pub oldest: Option<SystemTime>,
}

/// A broker: brings each published event to every subscription of it.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Whether it can be worked with now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason.
    async fn ready(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Makes the subscription exist and consumes from it. Called at start and at every reload, before anything that the new
    /// version publishes. A subscription outlives its consumers: what an earlier one left unfinished is handed out again or finished by it.
    /// A new one begins with what is published from now on.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error>;

    /// The schema no longer declares the subscription: nothing new enters it, so it holds no publisher up. What it has stays until
    /// it is subscribed to again or pruned. An unknown subscription is no error.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    async fn retire(&self, subscription: &Subscription) -> Result<(), Error>;

    /// Stops (`true`) or resumes handing out, until changed again, over restarts where the broker is durable. Consumers see it by
    /// [`Consumer::pauses`] before this returns.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a subscription that does not exist, others when the broker fails.
    async fn set_paused(&self, subscription: &Subscription, paused: bool) -> Result<(), Error>;

    /// Removes a subscription that the schema no longer declares, with all it holds; its dead letters stay. Returns how many
    /// unfinished messages went with it.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Declared`], others when the broker fails.
    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error>;

    /// Publishes all or nothing and returns once all are durable, as far as this broker can. Waits while there is no room, so the caller
    /// bounds it by a deadline; giving up by dropping the future before it wrote publishes nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when they can never fit, others when the broker fails.
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error>;

    /// Like [`Broker::publish`], but answers [`Error::Full`] instead of waiting. This is what consumers use: one that
    /// waited for room that only it can make would wait for ever. Some room is kept for it, so that a handler which emits one event for
    /// each that it consumes can always go on.
    ///
    /// # Errors
    /// As `publish`, and [`Error::Full`].
    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error>;

    /// The subscriptions that the schema declared when this broker was last told. Does not need a network.
    ///
    /// # Errors
    /// When what is kept of them cannot be read.
    async fn declared(&self) -> Result<Vec<Subscription>, Error> {
        let all = self.status().await?.into_iter();
        Ok(all.filter(|status| status.declared).map(|status| status.subscription).collect())
    }

    /// All subscriptions, in the order of their names.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn status(&self) -> Result<Vec<Status>, Error>;

    /// Dead letters, newest first, at most `limit`, and less than 8 MiB of them before the last one: fewer than `limit` may be a part, an empty answer is the end.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Hands dead letters out again in the order in which they were given up, each to its own handler only, with a new history. Each one moves as a whole: whoever is interrupted has lost and doubled
    /// none. Returns those that moved; one that is not there (any more), or whose subscription the schema
    /// does not declare, is left out: it could be pruned with it.
    ///
    /// # Errors
    /// When the broker fails.
    async fn redrive(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error>;

    /// Deletes dead letters for good. Returns those that were there.
    ///
    /// # Errors
    /// When the broker fails.
    async fn purge(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error>;

    /// Hands everything that was published since `from` and is still kept to this subscription once more. Returns how many messages that is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without [`Capabilities::history`], [`Error::Unknown`], others when the broker fails.
    async fn replay(&self, subscription: &Subscription, from: SystemTime) -> Result<u64, Error>;

    /// What is published from now on, or since a time that has passed, of one event or of all; what is published with a delay when it is due. For people who look: it slows nobody down, and
    /// one who reads too slowly misses messages and is told how many.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for `since` without [`Capabilities::history`], others when the broker fails.
    async fn tail(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Tail>, Error>;

    /// Writes what is still to be written. Called once, when nobody consumes or publishes any more.
    ///
    /// # Errors
    /// When something could not be written.
    async fn close(&self) -> Result<(), Error>;
}

/// One subscription's end of the broker. Deliveries may be finished in any order and from any task.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Waits for messages and returns at least one and at most `limit`: first those that were put back, in the order of their publication, then
    /// new ones. Dropping the future loses none.
    ///
    /// # Errors
    /// When the broker fails; asking again is right. [`Error::Closed`] when there will be no more.
    async fn next(&self, limit: usize) -> Result<Vec<Delivery>, Error>;

    /// Whether the subscription is paused, and every change of that: what was handed out before is the consumer's, which is to run
    /// none of it and to [`Consumer::release`] it. Ends when the subscription does.
    fn pauses(&self) -> watch::Receiver<bool>;

    /// Messages that were handed out and did not run go back, by the tags of their deliveries. They are handed out again as they were, at the places
    /// that they had. Nothing is written for that.
    ///
    /// # Errors
    /// When the broker cannot take them; they then stay with the consumer, which tells again.
    async fn release(&self, tags: &[u64]) -> Result<(), Error>;

    /// Messages that were handed out and are not finished are read once more, by the tags of their deliveries: those that wait long for others are not
    /// kept in memory meanwhile. They come in the order of the tags. One that cannot be read any more is finished, and left out.
    ///
    /// # Errors
    /// When the broker fails; asking again is right.
    async fn recall(&self, tags: &[u64]) -> Result<Vec<Delivery>, Error>;

    /// The messages were handled. Returns when that survives the end of this process, where the broker is durable.
    ///
    /// # Errors
    /// When the broker cannot take it; they then stay with the consumer, are handed out to nobody else, and it tells again.
    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), Error>;

    /// The message goes back with its history and is handed out again after `delay`; without one at the place of its publication, so before later messages.
    ///
    /// # Errors
    /// When the broker cannot take it; the message then stays with the consumer, which tells again or runs it itself.
    async fn nack(&self, delivery: &Delivery, history: History, delay: Duration) -> Result<(), Error>;

    /// Has the broker know what a message that stays with the consumer has been through, so that whoever gets it after the end of this process goes on from there.
    /// Nobody waits for it: it is written soon and together with others, and a broker that cannot write it goes on without. Brokers that do not outlive the
    /// process need not do anything.
    fn note(&self, delivery: &Delivery, history: History) {
        let _: (&Delivery, History) = (delivery, history);
    }

    /// The message is given up: kept with its reason, then acked; both or none.
    ///
    /// # Errors
    /// When it could not be kept; the message then stays in its source.
    async fn dead_letter(&self, delivery: &Delivery, obituary: &Obituary) -> Result<(), Error>;

    /// How long a delivery stays ours without [`Consumer::extend`]; `None` when it is ours until it is finished.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Renews the leases of deliveries that run or wait for another attempt.
    ///
    /// # Errors
    /// When the broker cannot take it; the messages may then be handed out to others.
    async fn extend(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        let _: &[Delivery] = deliveries;
        Ok(())
    }
}

/// Messages as they are published.
#[async_trait]
pub trait Tail: Send {
    /// The next message, or how many were missed. `None` when the broker is closed.
    async fn next(&mut self) -> Option<Seen>;
}

/// What somebody who looks sees.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A message.
    Message(Arc<Envelope>),
    /// So many were missed.
    Missed(u64),
}

/// Why a broker did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no room now.
    #[error("{what} is full ({bound}); try again later")]
    Full {
        /// What: a subscription's queue, or the store.
        what: String,
        /// Its bound, with its unit and the setting that changes it.
        bound: String,
    },
    /// More at once than there can ever be room for.
    #[error("{what} can never hold this: {bound}")]
    TooLarge {
        /// What: a subscription's queue, or the store.
        what: String,
        /// Its bound, with its unit and the setting that changes it.
        bound: String,
    },
    /// The broker cannot be reached or cannot work now; it may later.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// There is no such subscription.
    #[error("there is no subscription {0}")]
    Unknown(Subscription),
    /// Only a subscription that the schema no longer declares can be pruned.
    #[error("the schema declares the subscription {0}")]
    Declared(Subscription),
    /// This broker cannot do that.
    #[error("the adapter {adapter} cannot {what}")]
    Unsupported {
        /// The adapter's type.
        adapter: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// The subscription has ended.
    #[error("the subscription {0} has ended")]
    Closed(Subscription),
}
