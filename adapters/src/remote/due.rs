//! How are publications made later that a broker cannot hold back? The companion keeps them, and they are relayed when they are due.
//!
//! They lie in topics of their own there, one per event and dedupe window, whose names no event can have.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::link::Link;
use super::wire::Outgoing;
use crate::broker::{Broker, Consumer, Delivery, Error, Failure, History, Obituary, Publication, Status, Subscription};
use crate::envelope::Envelope;
use crate::rocksdb::RocksDb;

const PREFIX: &str = "due:";
const RELAY: &str = "relay";
/// So many are relayed together.
const AT_ONCE: usize = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is relayed later.
pub(super) struct Due {
    link: Arc<dyn Link>,
    companion: Arc<RocksDb>,
    /// A task per topic. Guards them; held to add one.
    relays: Mutex<Relays>,
}

#[derive(Default)]
struct Relays {
    topics: HashSet<String>,
    tasks: JoinSet<()>,
}

/// The topic of an event's publications with this window.
fn topic(event: &str, dedupe: Duration) -> String {
    format!("{PREFIX}{}:{event}", dedupe.as_millis())
}

/// The event of a topic and its window; `None` for what is an event itself.
fn split(topic: &str) -> Option<(&str, Duration)> {
    let (window, event) = topic.strip_prefix(PREFIX)?.split_once(':')?;
    Some((event, Duration::from_millis(window.parse().ok()?)))
}

/// The event whose publications lie in this topic.
pub(super) fn event_of(topic: &str) -> Option<&str> {
    split(topic).map(|(event, _)| event)
}

impl Due {
    pub(super) fn new(link: Arc<dyn Link>, companion: Arc<RocksDb>) -> Self {
        Self { link, companion, relays: Mutex::default() }
    }

    /// Relays what was kept before.
    pub(super) async fn start(&self) -> Result<(), Error> {
        for Status { subscription, .. } in self.companion.status().await? {
            if split(&subscription.event).is_some() {
                self.relay(&subscription.event).await?;
            }
        }
        Ok(())
    }

    /// Keeps publications until they are due.
    ///
    /// # Errors
    /// As for publishing to the companion.
    pub(super) async fn keep(&self, publications: Vec<Publication>, wait: bool) -> Result<(), Error> {
        let mut renamed = Vec::with_capacity(publications.len());
        for publication in publications {
            let topic = topic(&publication.envelope.event, publication.dedupe);
            self.relay(&topic).await?;
            let envelope = Envelope { event: topic.into(), ..publication.envelope };
            renamed.push(Publication { envelope, ..publication });
        }
        if wait { self.companion.publish(renamed).await } else { self.companion.try_publish(renamed).await }
    }

    /// Ends relaying. What is under way may be relayed again, under the same ids.
    pub(super) fn stop(&self) {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner).tasks.abort_all();
    }

    /// Relays this topic from now on. Before anything is published there, or it would not be kept.
    async fn relay(&self, topic: &str) -> Result<(), Error> {
        if self.is_relayed(topic) {
            return Ok(());
        }
        let Some((event, dedupe)) = split(topic) else { return Ok(()) };
        let subscription = Subscription { event: topic.into(), handler: RELAY.into() };
        let consumer = self.companion.subscribe(&subscription).await?;
        let relay = Relay { link: Arc::clone(&self.link), consumer, event: event.into(), dedupe };
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if relays.topics.insert(topic.to_owned()) {
            relays.tasks.spawn(relay.run());
        }
        Ok(())
    }

    fn is_relayed(&self, topic: &str) -> bool {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner).topics.contains(topic)
    }
}

/// One topic on its way to the broker.
struct Relay {
    link: Arc<dyn Link>,
    consumer: Arc<dyn Consumer>,
    event: Arc<str>,
    dedupe: Duration,
}

impl Relay {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.consumer.next(AT_ONCE).await {
                Ok(deliveries) => {
                    self.pass_on(deliveries).await;
                    pause = FIRST_PAUSE;
                }
                Err(Error::Closed(_)) => return,
                Err(error) => {
                    tracing::warn!(event = &*self.event, %error, "what is due cannot be read; it is tried until it can");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Publishes these in their order until the broker has them. One that it never takes becomes a dead letter.
    async fn pass_on(&self, deliveries: Vec<Delivery>) {
        let messages: Vec<Outgoing> = deliveries.iter().map(|delivery| self.outgoing(delivery)).collect();
        let Err(refused) = self.until(|| self.link.publish(&messages)).await else {
            return self.ack(&deliveries).await;
        };
        if let [delivery] = &deliveries[..] {
            return self.give_up(delivery, &refused).await;
        }
        for (message, delivery) in messages.iter().zip(&deliveries) {
            match self.until(|| self.link.publish(std::slice::from_ref(message))).await {
                Ok(()) => self.ack(std::slice::from_ref(delivery)).await,
                Err(refused) => self.give_up(delivery, &refused).await,
            }
        }
    }

    fn outgoing(&self, delivery: &Delivery) -> Outgoing {
        let envelope = Envelope { event: Arc::clone(&self.event), ..Envelope::clone(&delivery.envelope) };
        Outgoing { envelope, dedupe: self.dedupe }
    }

    async fn ack(&self, deliveries: &[Delivery]) {
        // They are never refused for good.
        drop(self.until(|| self.consumer.ack(deliveries)).await);
    }

    async fn give_up(&self, delivery: &Delivery, error: &Error) {
        tracing::error!(event = &*self.event, id = %delivery.envelope.id, %error, "the broker never takes a message that is due; it is a dead letter now");
        let failure = Failure {
            at: SystemTime::now(),
            code: "too_large".to_owned(),
            message: error.to_string(),
            traceback: None,
        };
        let obituary = Obituary { history: History::default(), first: failure.clone(), last: failure };
        drop(self.until(|| self.consumer.dead_letter(delivery, &obituary)).await);
    }

    /// Tries until it works, or never will.
    async fn until<F: Future<Output = Result<(), Error>>>(&self, attempt: impl Fn() -> F) -> Result<(), Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt().await {
                Ok(()) => return Ok(()),
                Err(error @ (Error::TooLarge { .. } | Error::Closed(_))) => return Err(error),
                Err(error) if pause == FIRST_PAUSE => {
                    tracing::warn!(event = &*self.event, %error, "what is due cannot be relayed; it is tried until it can");
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_tells_its_event_and_window() {
        let named = topic("OrderPlaced", Duration::from_mins(10));
        assert_eq!(split(&named), Some(("OrderPlaced", Duration::from_mins(10))));
        assert_eq!((split("OrderPlaced"), event_of(&topic("E", Duration::ZERO))), (None, Some("E")));
    }
}
