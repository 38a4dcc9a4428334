//! How does a subscription take its messages and say what became of them?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Request, Subject};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::connection::{Connection, failed};
use super::desk::{Desk, Leftovers};
use super::pull::Puller;
use super::topology::Topology;
use crate::broker::{Error, Subscription};
use crate::remote::{Arrival, Intake};

const ACK: Bytes = Bytes::from_static(b"+ACK");
const NAK: Bytes = Bytes::from_static(b"-NAK");

/// A moment later, in nanoseconds: at the end of an intake the server may not have noticed yet that nobody hears it any more, and would lend the
/// messages to nobody for as long as it lends them.
const NAK_LATER: Bytes = Bytes::from_static(b"-NAK {\"delay\": 100000000}");
const PROGRESS: Bytes = Bytes::from_static(b"+WPI");

/// One end of a durable consumer.
pub(super) struct NatsIntake {
    desk: Arc<Desk>,
    topology: Arc<Topology>,
    subscription: Subscription,
    closing: Arc<Notify>,
    /// The task that pulls, until it is closed; it ends with this at the latest. Guarded for the one who closes.
    pulling: Mutex<JoinSet<()>>,
}

impl NatsIntake {
    pub(super) async fn open(
        topology: &Arc<Topology>,
        subscription: &Subscription,
        desk: &Arc<Desk>,
    ) -> Result<Self, Error> {
        let closing = Arc::new(Notify::new());
        let puller = Puller::new(topology, subscription, Arc::clone(desk), Arc::clone(&closing)).await?;
        let mut pulling = JoinSet::new();
        pulling.spawn(puller.run());
        Ok(Self {
            desk: Arc::clone(desk),
            topology: Arc::clone(topology),
            subscription: subscription.clone(),
            closing,
            pulling: Mutex::new(pulling),
        })
    }

    async fn tell(&self, replies: Vec<Subject>, what: &Bytes) -> Result<(), Error> {
        tell(&self.topology.connection, replies, what).await
    }
}

/// Tells the server about messages, without waiting for it.
async fn tell(connection: &Connection, replies: Vec<Subject>, what: &Bytes) -> Result<(), Error> {
    for reply in replies {
        let sending = connection.client.publish(reply, what.clone());
        sending.await.map_err(|error| failed("the server cannot be told of messages", error))?;
    }
    Ok(())
}

/// Gives back what an intake has left, and waits until the server knows what was acked.
pub(super) async fn give_back(connection: &Connection, leftovers: Leftovers) -> Result<(), Error> {
    connection
        .with(async {
            tell(connection, leftovers.unfinished, &NAK_LATER).await?;
            if let Some(reply) = leftovers.last_acked {
                // Told twice: the server takes these in order, so its answer is that it has all of them.
                let asked = connection.client.send_request(reply, Request::new().payload(ACK)).await;
                asked.map_err(|error| failed("the server did not confirm what was acked", error))?;
            }
            connection.client.flush().await.map_err(|error| failed("the server cannot be told of messages", error))
        })
        .await
}

#[async_trait]
impl Intake for NatsIntake {
    async fn next(&self, limit: usize) -> Result<Vec<Arrival>, Error> {
        loop {
            let arrived = self.desk.arrived.notified();
            if let Some(taken) = self.desk.take(limit) {
                return taken;
            }
            arrived.await;
        }
    }

    async fn ack(&self, tokens: &[u64]) -> Result<(), Error> {
        self.tell(self.desk.finish(tokens, true)?, &ACK).await
    }

    async fn put_back(&self, tokens: &[u64]) -> Result<(), Error> {
        self.tell(self.desk.finish(tokens, false)?, &NAK).await
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.topology.options.ack_wait)
    }

    async fn extend(&self, tokens: &[u64]) -> Result<(), Error> {
        self.tell(self.desk.replies(tokens)?, &PROGRESS).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.closing.notify_one();
        let mut pulling = std::mem::take(&mut *self.pulling.lock().unwrap_or_else(PoisonError::into_inner));
        while pulling.join_next().await.is_some() {}
        self.desk.end(Error::Unavailable("the intake is closed".to_owned()));
        let connection = &self.topology.connection;
        // The server looks at who still waits when it is asked about a consumer. If it noticed only with the first message that goes back, that one
        // would come again behind the others.
        connection.with(self.topology.consumer_info(&self.subscription)).await?;
        give_back(connection, self.desk.leave()).await
    }
}
