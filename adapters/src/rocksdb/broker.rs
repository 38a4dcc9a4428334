//! What is the embedded event store? A log per event and a place in it per subscription, written by one thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use uuid::Uuid;

use super::codec::to_nanos;
use super::command::{Command, Overview};
use super::consumer::RocksDbConsumer;
use super::database::{Database, RETURNED};
use super::error::{Fault, OpenError};
use super::rows::{ReturnedHead, decode_message, returned_key};
use super::shared::Shared;
use super::tail::LogTail;
use super::topic::Found;
use super::writer::{Thread, Writer};
use super::{Options, dead, publish};
use crate::broker::{
    Broker, Capabilities, Consumer, DeadLetter, DeadLetterFilter, Error, Publication, Status, Subscription, Tail,
};

/// So many dead letters are handed out again by one commit, which holds them in memory.
const MAX_MOVED: usize = 16;

/// The `rocksdb` adapter: durable events on one machine. One process at a time can have a store open; dropping this closes it.
#[derive(Debug)]
pub struct RocksDb {
    pub(super) shared: Arc<Shared>,
    /// The writer, until it is stopped.
    writer: Mutex<Option<Thread>>,
    lost: Option<Lost>,
}

/// What was confirmed with [`Durability::Disk`](super::Durability::Disk) and is not there any more, because files were damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Everything up to this time is there.
    pub after: SystemTime,
    /// The last confirmation of what is lost.
    pub until: SystemTime,
}

impl RocksDb {
    /// Opens the store, or makes it, and blocks meanwhile: up to some seconds when there is much to look through.
    ///
    /// # Errors
    /// When another process has it open, when it is damaged or of a newer format, or when its directory cannot be used.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let database = Database::open(&options.path)?;
        let shared = Arc::new(Shared::new(options, database));
        let (writer, lost) = Writer::start(Arc::clone(&shared))?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)), lost })
    }

    /// What was found to be lost when this was opened. It is reported in the log too, and once.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// Lets the writer do what waits and end.
    fn stop(&self) -> Option<Thread> {
        self.shared.inbox.close();
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        let Some(writer) = self.stop() else { return };
        if let Ok(Err(error)) = writer.join() {
            tracing::error!(path = %self.shared.slot.path().display(), %error, "the event store was not closed cleanly");
        }
    }
}

#[async_trait]
impl Broker for RocksDb {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, dedupe: true, history: true }
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Arc<dyn Consumer>, Error> {
        let subscription = subscription.clone();
        let sub = self.shared.ask(|reply| Command::Subscribe { subscription, reply }).await?;
        Ok(Arc::new(RocksDbConsumer { shared: Arc::clone(&self.shared), sub }))
    }

    async fn retire(&self, subscription: &Subscription) -> Result<(), Error> {
        let subscription = subscription.clone();
        self.shared.ask(|reply| Command::Retire { subscription, reply }).await
    }

    async fn set_paused(&self, subscription: &Subscription, paused: bool) -> Result<(), Error> {
        let subscription = subscription.clone();
        self.shared.ask(|reply| Command::Pause { subscription, paused, reply }).await
    }

    async fn prune(&self, subscription: &Subscription) -> Result<u64, Error> {
        let subscription = subscription.clone();
        self.shared.ask(|reply| Command::Prune { subscription, reply }).await
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        publish::wait(&self.shared, publications).await
    }

    async fn try_publish(&self, publications: Vec<Publication>) -> Result<(), Error> {
        publish::try_now(&self.shared, publications).await
    }

    async fn status(&self) -> Result<Vec<Status>, Error> {
        let overviews = self.shared.ask(|reply| Command::Status { reply }).await?;
        let read = move |database: &Database| {
            overviews.into_iter().map(|overview| with_oldest(database, overview)).collect::<Result<_, _>>()
        };
        self.shared.read(read).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let filter = filter.clone();
        self.shared.read(move |database| dead::list(database, &filter, limit)).await
    }

    async fn redrive(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let mut moved = Vec::with_capacity(ids.len());
        for some in ids.chunks(MAX_MOVED) {
            let ids = some.to_vec();
            moved.extend(self.shared.ask(|reply| Command::Redrive { ids, reply }).await?);
        }
        Ok(moved)
    }

    async fn purge(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let ids = ids.to_vec();
        self.shared.ask(|reply| Command::Purge { ids, reply }).await
    }

    async fn replay(&self, subscription: &Subscription, from: SystemTime) -> Result<u64, Error> {
        let (subscription, from) = (subscription.clone(), to_nanos(from));
        self.shared.ask(|reply| Command::Replay { subscription, from, reply }).await
    }

    async fn tail(&self, event: Option<&str>, since: Option<SystemTime>) -> Result<Box<dyn Tail>, Error> {
        let positions = match since.map(to_nanos) {
            Some(time) => self.shared.ask(|reply| Command::Since { time, reply }).await?,
            None => self
                .shared
                .topics()
                .into_iter()
                .map(|topic| (topic.end(), topic))
                .map(|(end, topic)| (topic, end))
                .collect(),
        };
        Ok(Box::new(LogTail::new(Arc::clone(&self.shared), event, positions)))
    }

    async fn close(&self) -> Result<(), Error> {
        let Some(writer) = self.stop() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || writer.join()).await;
        match joined {
            Ok(Ok(result)) => result,
            _ => Err(Error::Unavailable("the writer of the event store has panicked".to_owned())),
        }
    }
}

/// Looks up when the oldest unfinished message was published. What cannot be read is left out.
fn with_oldest(database: &Database, overview: Overview) -> Result<Status, Fault> {
    let mut times = Vec::new();
    if let Some((topic, position)) = overview.oldest
        && let Found::Page(page) = topic.read(database, position)?
    {
        times.extend(page.get(position).map(|envelope| envelope.time));
    }
    if let Some((number, due)) = overview.returned {
        let row = database.get(RETURNED, &returned_key(number, due))?;
        let row = row.and_then(|value| decode_message::<ReturnedHead>(&value));
        times.extend(row.map(|(_, envelope)| envelope.time));
    }
    Ok(Status { oldest: times.into_iter().min(), ..overview.status })
}
