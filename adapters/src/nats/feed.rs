//! What do those see who look on, and what do daemons say to each other?

use std::sync::Arc;
use std::time::SystemTime;

use async_nats::Subscriber;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::connection::{Connection, Status, failed};
use super::headers::{self, Mark};
use super::topology::Topology;
use crate::broker::Error;
use crate::remote::wire::Incoming;
use crate::remote::{Feed, Listener};

/// Messages in the order of the stream. It goes on after a lost connection where it was.
pub(super) struct NatsFeed {
    topology: Arc<Topology>,
    messages: Ordered,
    caught_up: bool,
}

impl NatsFeed {
    pub(super) async fn open(
        topology: Arc<Topology>,
        event: Option<&str>,
        since: Option<SystemTime>,
    ) -> Result<Self, Error> {
        topology.need_events().await?;
        let config = OrderedConfig {
            filter_subject: event.map_or_else(|| topology.names.all.clone(), |event| topology.names.subject(event)),
            deliver_policy: match since {
                Some(since) => DeliverPolicy::ByStartTime { start_time: since.into() },
                None => DeliverPolicy::New,
            },
            ..OrderedConfig::default()
        };
        let stream = topology.handle().await?;
        let made = stream.create_consumer(config).await;
        let consumer = made.map_err(|error| failed("the stream cannot be read", error))?;
        let caught_up = consumer.cached_info().num_pending == 0;
        let messages = consumer.messages().await.map_err(|error| failed("the stream cannot be read", error))?;
        Ok(Self { topology, messages, caught_up })
    }
}

#[async_trait]
impl Feed for NatsFeed {
    async fn next(&mut self) -> Result<Incoming, Error> {
        let Some(next) = self.messages.next().await else {
            return Err(Error::Unavailable("the stream is read no more".to_owned()));
        };
        let message = next.map_err(|error| failed("the stream cannot be read", error))?.message;
        let mark = message.reply.as_ref().and_then(|reply| Mark::read(reply));
        self.caught_up |= mark.as_ref().is_some_and(|mark| mark.pending == 0);
        let event = self.topology.names.event(&message.subject);
        Ok(headers::incoming(event, message, mark.as_ref()))
    }

    fn caught_up(&self) -> bool {
        self.caught_up
    }
}

/// The ear of this daemon. It ends with the connection, because something may have been missed.
pub(super) struct NatsListener {
    connection: Connection,
    status: watch::Receiver<Status>,
    messages: Subscriber,
}

impl NatsListener {
    /// Returns when the server knows of it.
    pub(super) async fn open(topology: &Topology) -> Result<Self, Error> {
        let connection = topology.connection.clone();
        connection.check()?;
        let mut status = connection.status();
        status.mark_unchanged();
        let subscribed = connection.client.subscribe(topology.names.broadcast.clone()).await;
        let messages = subscribed.map_err(|error| failed("nothing can be received", error))?;
        // Any answer comes after the server has read what was sent before.
        connection.context.query_account().await.map_err(|error| failed("the server does not answer", error))?;
        Ok(Self { connection, status, messages })
    }
}

#[async_trait]
impl Listener for NatsListener {
    async fn next(&mut self) -> Result<Bytes, Error> {
        tokio::select! {
            biased;
            _changed = self.status.changed() => Err(self.connection.away()),
            message = self.messages.next() => match message {
                Some(message) => Ok(message.payload),
                None => Err(self.connection.away()),
            },
        }
    }
}
