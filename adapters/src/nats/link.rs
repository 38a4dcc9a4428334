//! How does an adapter for NATS do what [`Link`] asks for?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_nats::jetstream::consumer;
use async_trait::async_trait;
use bytes::Bytes;

use super::connection::{ConnectError, Connection, failed};
use super::desk::Desk;
use super::feed::{NatsFeed, NatsListener};
use super::intake::{self, NatsIntake};
use super::names::Names;
use super::options::Options;
use super::topology::Topology;
use crate::broker::{DeadLetter, Error, Subscription};
use crate::remote::wire::Outgoing;
use crate::remote::{Backlog, Feed, Finding, Intake, Link, Listener, Traits};

/// The way to NATS JetStream.
pub struct Nats {
    topology: Arc<Topology>,
    /// What came last through an intake of each subscription. The next one gives back what the one before has left. Held for a look-up.
    desks: Mutex<HashMap<Subscription, Arc<Desk>>>,
}

impl Nats {
    /// Begins to connect, and goes on until it works.
    ///
    /// # Errors
    /// For settings that can never work.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let connection = Connection::open(&options).await?;
        Ok(Self { topology: Arc::new(Topology::new(connection, options)), desks: Mutex::default() })
    }

    fn connection(&self) -> &Connection {
        &self.topology.connection
    }

    fn desks(&self) -> MutexGuard<'_, HashMap<Subscription, Arc<Desk>>> {
        // A map is whole after each call.
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, subscription: &Subscription) -> Result<NatsIntake, Error> {
        self.topology.need_consumer(subscription).await?;
        let desk = Arc::new(Desk::default());
        let before = self.desks().insert(subscription.clone(), Arc::clone(&desk));
        if let Some(before) = before {
            before.end(Error::Unavailable("the subscription was taken over by another intake".to_owned()));
            // Without this it would come again only when it has been lent for too long.
            intake::give_back(self.connection(), before.leave()).await?;
        }
        NatsIntake::open(&self.topology, subscription, &desk).await
    }

    /// When the first unfinished message was published, if it is still there.
    async fn oldest(&self, subscription: &Subscription, info: &consumer::Info) -> Option<SystemTime> {
        let stream = self.topology.handle().await.ok()?;
        let first = stream.raw_message_builder().sequence(info.ack_floor.stream_sequence + 1);
        let subject = self.topology.names.subject(&subscription.event);
        Some(first.next_by_subject(subject).send().await.ok()?.time.into())
    }
}

#[async_trait]
impl Link for Nats {
    fn adapter(&self) -> &'static str {
        "nats"
    }

    fn traits(&self) -> Traits {
        let known = self.connection().check().is_ok();
        Traits { history: true, max_body: known.then(|| self.connection().client.max_payload()) }
    }

    async fn ready(&self) -> Result<(), Error> {
        self.connection().wait().await?;
        let asking = async {
            let account = self.connection().context.query_account().await;
            account
                .map(drop)
                .map_err(|error| failed("JetStream does not answer; is it enabled for this account?", error))
        };
        self.connection().with(asking).await
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Intake>, Error> {
        let intake = self.connection().with(self.open(subscription)).await?;
        Ok(Box::new(intake))
    }

    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error> {
        self.connection().check()?;
        let Some(info) = self.topology.consumer_info(subscription).await? else { return Ok(0) };
        let stream = self.topology.handle().await?;
        let removing = stream.delete_consumer(&Names::consumer(subscription)).await;
        removing.map_err(|error| failed(&format!("the consumer of {subscription} cannot be removed"), error))?;
        self.desks().remove(subscription);
        Ok(info.num_pending + info.num_ack_pending as u64)
    }

    async fn publish(&self, messages: &[Outgoing]) -> Result<(), Error> {
        self.connection().with(self.topology.publish(messages)).await
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.connection().with(self.topology.bury(letter)).await
    }

    async fn backlog(&self, subscription: &Subscription) -> Result<Backlog, Error> {
        self.connection().check()?;
        let Some(info) = self.topology.consumer_info(subscription).await? else { return Ok(Backlog::default()) };
        let here = self.desks().get(subscription).map_or(0, |desk| desk.waiting().0) as u64;
        let lent = info.num_ack_pending as u64;
        let here = here.min(lent);
        let oldest = if info.num_pending + lent > 0 { self.oldest(subscription, &info).await } else { None };
        Ok(Backlog { waiting: info.num_pending + here, in_flight: lent - here, oldest })
    }

    async fn feed(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Feed>, Error> {
        let opening = NatsFeed::open(Arc::clone(&self.topology), event, since);
        Ok(Box::new(self.connection().with(opening).await?))
    }

    async fn verify(&self) -> Result<Vec<Finding>, Error> {
        self.connection().with(self.topology.verify()).await
    }

    async fn broadcast(&self, message: Bytes) -> Result<(), Error> {
        let saying = async {
            let client = &self.connection().client;
            let sent = client.publish(self.topology.names.broadcast.clone(), message).await;
            sent.map_err(|error| failed("nothing can be said to other daemons", error))?;
            client.flush().await.map_err(|error| failed("nothing can be said to other daemons", error))
        };
        self.connection().with(saying).await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, Error> {
        Ok(Box::new(NatsListener::open(&self.topology).await?))
    }

    async fn close(&self) -> Result<(), Error> {
        // Without a connection nothing is on its way.
        if self.connection().check().is_err() {
            return Ok(());
        }
        let client = &self.connection().client;
        client.flush().await.map_err(|error| failed("the last messages were not sent", error))?;
        client.drain().await.map_err(|error| failed("the connection cannot be ended", error))
    }
}
