//! What must a broker on the network be able to do, so that [`Remote`](super::Remote) makes an adapter of it?
//!
//! A link only moves messages. What they have been through, who handles them once, what waits for long and what is given up are the
//! business of `Remote`, once for all of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::wire::{Incoming, Outgoing};
use crate::broker::{DeadLetter, Error, Subscription};

/// The way to a broker.
#[async_trait]
pub trait Link: Send + Sync + 'static {
    /// The adapter's type, as `rohas.toml` names it.
    fn adapter(&self) -> &'static str;

    /// What this broker does by itself.
    fn traits(&self) -> Traits;

    /// Waits until the broker can be worked with. Called at start, and to see whether it is there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason: not reached, or it refuses us.
    async fn ready(&self) -> Result<(), Error>;

    /// Makes what the subscription needs at the broker where that is missing, and begins to consume. What is there is left as it is. Called again after an
    /// intake has failed; what the earlier one had not finished comes again. A subscription that the broker does not know begins with what is published from now on.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Intake>, Error>;

    /// Removes the subscription from the broker, with all it holds there. Returns how many messages that was, as far as the broker tells. One
    /// that is not there is no error.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error>;

    /// Publishes and returns once the broker has confirmed all of them. It makes what an event needs where that is missing. When this fails some of them
    /// may be there: they are published again under the same ids.
    ///
    /// # Errors
    /// [`Error::Full`] when the broker has no room now, [`Error::TooLarge`] for a message that it never takes, [`Error::Unavailable`].
    async fn publish(&self, messages: &[Outgoing]) -> Result<(), Error>;

    /// Puts a copy of a dead letter where people who work with the broker look for it, and returns once the broker has confirmed that.
    ///
    /// # Errors
    /// As `publish`.
    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error>;

    /// What waits for a subscription at the broker, or has come to an intake here that has not handed it out. One that is not there has nothing.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn backlog(&self, subscription: &Subscription) -> Result<Backlog, Error>;

    /// What is published from now on, or since a time, of one event or of all that this link has published or subscribed to. Takes part in no subscription.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the broker has no way to look.
    async fn feed(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Feed>, Error>;

    /// Looks at what the broker has made of our streams, queues and topics, without changing anything.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn verify(&self) -> Result<Vec<Finding>, Error>;

    /// Says something to every daemon of the project that listens, this one included. Kept for nobody.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the broker has no such way.
    async fn broadcast(&self, message: Bytes) -> Result<(), Error>;

    /// What is said by [`Link::broadcast`] from now on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the broker has no such way.
    async fn listen(&self) -> Result<Box<dyn Listener>, Error>;

    /// Ends the connection after what was begun.
    ///
    /// # Errors
    /// When the broker did not take something that was still on its way.
    async fn close(&self) -> Result<(), Error>;
}

/// What a broker does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// It can look back: [`Link::feed`] takes a `since`.
    pub history: bool,
    /// The largest body that it takes, in bytes, where that is known before it is asked.
    pub max_body: Option<usize>,
}

/// The end of a subscription at the broker. All of it may be called at the same time.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Waits for messages and returns at least one and at most `limit`, in the order of the broker. Dropping the future loses none.
    ///
    /// # Errors
    /// When nothing comes any more through this intake: the connection is lost, the broker has ended it, or it has been silent for too long. Another one is then
    /// subscribed; what was handed out and not acked comes again through that.
    async fn next(&self, limit: usize) -> Result<Vec<Arrival>, Error>;

    /// The broker may forget these. It may be told together with later ones; what was acked may come again after a lost connection.
    ///
    /// # Errors
    /// When the intake cannot be used any more.
    async fn ack(&self, tokens: &[u64]) -> Result<(), Error>;

    /// These go back at once and may be handed out to any daemon.
    ///
    /// # Errors
    /// As `ack`.
    async fn put_back(&self, tokens: &[u64]) -> Result<(), Error>;

    /// How long a message is ours without [`Intake::extend`]; `None` when it is for as long as the intake lives.
    fn lease(&self) -> Option<Duration>;

    /// Renews the leases of these.
    ///
    /// # Errors
    /// As `ack`.
    async fn extend(&self, tokens: &[u64]) -> Result<(), Error>;

    /// Tells the broker what was acked and gives back what was handed out and not finished. Called once, at the end.
    ///
    /// # Errors
    /// When the broker could not be told; it hands these messages out again.
    async fn close(&self) -> Result<(), Error>;
}

/// A message that has come.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The intake's own mark of it, growing in the order of arrival.
    pub token: u64,
    /// The message as the broker has it.
    pub message: Incoming,
}

/// What waits for a subscription at the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Not handed out to anybody.
    pub waiting: u64,
    /// Handed out to some daemon and not finished, where the broker tells.
    pub in_flight: u64,
    /// When the oldest of them was published, where the broker tells.
    pub oldest: Option<SystemTime>,
}

/// Messages as the broker has them, for people who look.
#[async_trait]
pub trait Feed: Send {
    /// The next one; waits for it.
    ///
    /// # Errors
    /// When the connection is lost.
    async fn next(&mut self) -> Result<Incoming, Error>;

    /// Whether everything that was there when the feed was asked for has been told.
    fn caught_up(&self) -> bool;
}

/// The ear of a daemon.
#[async_trait]
pub trait Listener: Send {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// When the connection is lost: something may have been missed.
    async fn next(&mut self) -> Result<Bytes, Error>;
}

/// Something at the broker that weakens a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: a stream, a queue, a topic, by its name at the broker.
    pub at: Arc<str>,
    /// What was found, and what was expected.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}
