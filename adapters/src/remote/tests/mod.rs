//! Does an adapter on a network keep the contract of brokers, whatever its broker does?

mod conformance;
mod fake;
mod faults;
mod simulation;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use self::fake::{FakeBroker, FakeLink, Nature};
use super::{Options, Remote};
use crate::broker::{Broker, Consumer, Delivery, Error, Failure, History, Obituary, Publication, Status, Subscription};
use crate::envelope::{Envelope, TraceContext};
use crate::rocksdb::{self, Durability, RocksDb};

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and the directory of a replica.
struct Site {
    broker: Arc<FakeBroker>,
    directory: TempDir,
}

impl Site {
    fn new(nature: Nature) -> Self {
        Self { broker: FakeBroker::new(nature), directory: tempfile::tempdir().unwrap() }
    }

    /// Another replica at the same broker.
    fn beside(other: &Self) -> Self {
        Self { broker: Arc::clone(&other.broker), directory: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Result<Remote, Error> {
        self.open_with(Options::default()).await
    }

    async fn open_with(&self, settings: Options) -> Result<Remote, Error> {
        let options = rocksdb::Options {
            durability: Durability::Process,
            ..rocksdb::Options::new(self.directory.path().join("events"))
        };
        let companion = RocksDb::open(options).map_err(|error| Error::Unavailable(error.to_string()))?;
        let link = Arc::new(FakeLink(Arc::clone(&self.broker)));
        Remote::new(link, Arc::new(companion), settings).await
    }
}

fn subscription() -> Subscription {
    Subscription { event: "E".into(), handler: "h".into() }
}

async fn subscribe(remote: &Remote) -> Arc<dyn Consumer> {
    remote.subscribe(&subscription()).await.unwrap()
}

fn publication(number: u32) -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: "E".into(),
        key: None,
        time: SystemTime::now(),
        data: Bytes::from(number.to_string()),
        trace: TraceContext { trace_id: [1; 16], parent: [2; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::from_mins(10) }
}

fn number_of(envelope: &Envelope) -> u32 {
    std::str::from_utf8(&envelope.data).unwrap().parse().unwrap()
}

fn numbers(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(|delivery| number_of(&delivery.envelope)).collect()
}

/// The next `count` messages, however many calls it takes.
async fn take(consumer: &Arc<dyn Consumer>, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let more = tokio::time::timeout(PATIENCE, consumer.next(count - deliveries.len())).await;
        deliveries.extend(more.unwrap().unwrap());
    }
    deliveries
}

async fn is_silent(consumer: &Arc<dyn Consumer>) -> bool {
    tokio::time::timeout(Duration::from_millis(60), consumer.next(1)).await.is_err()
}

/// Waits until something is so.
async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(std::time::Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn status(remote: &Remote) -> Status {
    remote.status().await.unwrap().into_iter().find(|status| status.subscription == subscription()).unwrap()
}

fn after(attempts: u32) -> History {
    History { attempts, ..History::default() }
}

fn obituary() -> Obituary {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let failure = Failure { at, code: "failed".to_owned(), message: "no".to_owned(), traceback: None };
    Obituary { history: after(3), first: failure.clone(), last: failure }
}
