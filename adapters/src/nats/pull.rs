//! How do messages come from the server? A task asks for as many as there is room for, hears what is sent, and notices when nothing is.
//!
//! The client's own stream of messages asks for more whenever it is read, and what it has fetched ahead is lent without anybody renewing that. Here what was
//! asked for and what has come are bounded together, and what waits is kept ours.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::connection::{Connection, Status};
use super::desk::{Arrived, Desk};
use super::headers::{self, Mark};
use super::topology::Topology;
use crate::broker::{Error, Subscription};

/// How long a question to the server stands.
const STANDING: Duration = Duration::from_secs(30);

/// Most messages that are looked at in one go.
const BATCH: usize = 256;

/// How long what is still on its way may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// What was lent is renewed so often within its time.
const RENEWALS: u32 = 3;

const PROGRESS: &[u8] = b"+WPI";

/// Pulls for one intake.
pub(super) struct Puller {
    connection: Connection,
    desk: Arc<Desk>,
    closing: Arc<Notify>,
    event: Arc<str>,
    status: watch::Receiver<Status>,
    inbox: Subscriber,
    /// Where the server sends messages.
    reply: Subject,
    /// Where it is asked.
    questions: Subject,
    settings: Settings,
    /// How many messages the server still owes us.
    asked: usize,
    /// When it was last heard.
    heard: Instant,
    /// Since when the connection is gone.
    lost: Option<Instant>,
    /// How many bytes are asked for; more after a message that was larger.
    bytes: usize,
}

struct Settings {
    fetch: usize,
    fetch_bytes: usize,
    heartbeat: Duration,
    lease: Duration,
}

/// How it goes on after the server has said something that is no message.
enum Turn {
    On,
    Over(Error),
}

impl Puller {
    pub(super) async fn new(
        topology: &Topology,
        subscription: &Subscription,
        desk: Arc<Desk>,
        closing: Arc<Notify>,
    ) -> Result<Self, Error> {
        let options = &topology.options;
        let connection = topology.connection.clone();
        let mut status = connection.status();
        status.mark_unchanged();
        let reply: Subject = connection.client.new_inbox().into();
        let consumer = super::names::Names::consumer(subscription);
        let questions = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", topology.names.stream).into();
        let subscribed = connection.client.subscribe(reply.clone()).await;
        let inbox = subscribed.map_err(|error| super::connection::failed("nothing can be received", error))?;
        // A message larger than what is asked for would never come.
        let least = 2 * connection.client.max_payload();
        Ok(Self {
            desk,
            closing,
            event: Arc::clone(&subscription.event),
            status,
            inbox,
            reply,
            questions,
            settings: Settings {
                fetch: options.fetch.max(2),
                fetch_bytes: options.fetch_bytes,
                heartbeat: options.heartbeat,
                lease: options.ack_wait,
            },
            asked: 0,
            heard: Instant::now(),
            lost: None,
            bytes: options.fetch_bytes.max(least),
            connection,
        })
    }

    /// Pulls until it cannot, or is to end.
    pub(super) async fn run(mut self) {
        let closing = Arc::clone(&self.closing).notified_owned();
        let error = select! {
            error = self.pull() => Some(error),
            () = closing => None,
        };
        match error {
            Some(error) => self.desk.end(error),
            None => self.hear_the_rest().await,
        }
    }

    async fn pull(&mut self) -> Error {
        let mut renewal = interval(self.settings.lease / RENEWALS);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.desk.has_ended() {
            if let Err(error) = self.ask().await {
                return error;
            }
            let owed = self.asked > 0;
            let silent = self.heard + 2 * self.settings.heartbeat;
            let turn = select! {
                message = self.inbox.next() => self.take(message),
                () = self.desk.taken.notified() => Turn::On,
                changed = self.status.changed() => match changed {
                    Ok(()) => self.connection_changed().await,
                    Err(_closed) => Turn::Over(self.connection.away()),
                },
                _ = renewal.tick() => self.renew().await,
                () = sleep_until(silent), if owed => Turn::Over(self.silent()),
            };
            if let Turn::Over(error) = turn {
                return error;
            }
        }
        Error::Unavailable("the subscription was taken over by another intake".to_owned())
    }

    /// Asks for as many as there is room for, in large portions.
    async fn ask(&mut self) -> Result<(), Error> {
        let (waiting, bytes) = self.desk.waiting();
        let ahead = waiting + self.asked;
        if ahead > self.settings.fetch / 2 || bytes >= self.settings.fetch_bytes || self.lost.is_some() {
            return Ok(());
        }
        let count = self.settings.fetch - ahead;
        let question = json!({
            "batch": count,
            "max_bytes": self.bytes,
            "expires": nanoseconds(STANDING.max(2 * self.settings.heartbeat)),
            "idle_heartbeat": nanoseconds(self.settings.heartbeat),
        });
        let payload = question.to_string().into();
        let sending = self.connection.client.publish_with_reply(self.questions.clone(), self.reply.clone(), payload);
        sending.await.map_err(|error| super::connection::failed("no messages can be asked for", error))?;
        if self.asked == 0 {
            self.heard = Instant::now();
        }
        self.asked += count;
        Ok(())
    }

    /// Takes what the server has sent, and what else is there already.
    fn take(&mut self, first: Option<Message>) -> Turn {
        let mut batch = Vec::new();
        let mut next = first;
        let turn = loop {
            let Some(message) = next else { break Turn::Over(self.connection.away()) };
            match self.sort(message) {
                Ok(arrived) => batch.extend(arrived),
                Err(error) => break Turn::Over(error),
            }
            if batch.len() == BATCH {
                break Turn::On;
            }
            match self.inbox.next().now_or_never() {
                Some(message) => next = message,
                None => break Turn::On,
            }
        };
        if !batch.is_empty() {
            self.desk.put(batch);
        }
        turn
    }

    /// A message, or nothing where the server only speaks of itself.
    fn sort(&mut self, mut message: Message) -> Result<Option<Arrived>, Error> {
        self.heard = Instant::now();
        if let Some(status) = message.status {
            return self.hear(status, &message).map(|()| None);
        }
        let reply = message.reply.take();
        let Some((reply, mark)) = reply.and_then(|reply| Mark::read(&reply).map(|mark| (reply, mark))) else {
            // Only the server knows this inbox, and all that it sends has a mark.
            tracing::warn!(adapter = "nats", event = %self.event, "a message came that the server does not wait to hear of; it is left out");
            return Ok(None);
        };
        self.asked = self.asked.saturating_sub(1);
        let message = headers::incoming(Arc::clone(&self.event), message, Some(&mark));
        Ok(Some(Arrived { message, reply }))
    }

    fn hear(&mut self, status: StatusCode, message: &Message) -> Result<(), Error> {
        let text = message.description.as_deref().unwrap_or_default();
        let ended = || Err(Error::Unavailable(format!("the server has ended the pull: {status} {text}")));
        match status {
            StatusCode::IDLE_HEARTBEAT => Ok(()),
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => {
                self.settle(message);
                Ok(())
            }
            StatusCode::REQUEST_TERMINATED if text.eq_ignore_ascii_case("Message Size Exceeds MaxBytes") => {
                self.settle(message);
                if self.desk.waiting().0 == 0 {
                    self.bytes = self.bytes.saturating_mul(2).min(1 << 30);
                }
                Ok(())
            }
            StatusCode::REQUEST_TERMINATED if text.eq_ignore_ascii_case("Batch Completed") => {
                self.settle(message);
                Ok(())
            }
            _ => ended(),
        }
    }

    /// A question is over; the server says how many messages it has not sent.
    fn settle(&mut self, message: &Message) {
        let header = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        let unsent: Option<usize> = header.and_then(|unsent| unsent.as_str().parse().ok());
        self.asked = self.asked.saturating_sub(unsent.unwrap_or(usize::MAX));
    }

    /// What was asked for is forgotten with the connection. What has come stays ours unless it was gone for too long.
    async fn connection_changed(&mut self) -> Turn {
        let up = self.status.borrow_and_update().up;
        self.asked = 0;
        if !up {
            self.lost.get_or_insert_with(Instant::now);
            return Turn::On;
        }
        match self.lost.take() {
            Some(since) if since.elapsed() >= self.settings.lease => {
                Turn::Over(Error::Unavailable("the connection was gone for longer than messages are lent".to_owned()))
            }
            _ => self.renew().await,
        }
    }

    /// Keeps what nobody has taken yet ours.
    async fn renew(&mut self) -> Turn {
        if self.lost.is_some() {
            return Turn::On;
        }
        for reply in self.desk.waiting_replies() {
            if let Err(error) = self.connection.client.publish(reply, PROGRESS.into()).await {
                return Turn::Over(super::connection::failed("messages cannot be kept", error));
            }
        }
        Turn::On
    }

    fn silent(&self) -> Error {
        let silence = 2 * self.settings.heartbeat;
        Error::Unavailable(format!("the server has sent neither a message nor a heartbeat for {silence:?}"))
    }

    /// What is on its way already is given back with the rest.
    async fn hear_the_rest(mut self) {
        self.desk.end(Error::Unavailable("the intake is closed".to_owned()));
        if self.inbox.drain().await.is_err() {
            return;
        }
        let rest = async {
            while let Some(message) = self.inbox.next().await {
                if let Ok(Some(arrived)) = self.sort(message) {
                    self.desk.put(vec![arrived]);
                }
            }
        };
        // What comes later comes again to whoever asks.
        let _in_time: Result<(), _> = timeout(LAST, rest).await;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
