//! Does the store keep its promises? Published, handed out, finished, and opened again.

mod bounds;
mod companion;
mod delivery;
mod failures;
mod people;
mod simulation;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Durability, Options, RocksDb};
use crate::broker::{Broker, Consumer, Delivery, Failure, History, Obituary, Publication, Status, Subscription};
use crate::envelope::{Envelope, TraceContext};

const PATIENCE: Duration = Duration::from_secs(60);

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Syncing is left out where the test is not about it.
fn options(path: &Path) -> Options {
    Options { durability: Durability::Process, ..Options::new(path) }
}

fn open(path: &Path) -> RocksDb {
    RocksDb::open(options(path)).unwrap()
}

fn publication(event: &str, data: &str) -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: event.into(),
        key: None,
        time: SystemTime::now(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::ZERO }
}

async fn publish(store: &RocksDb, event: &str, data: &[&str]) {
    store.publish(data.iter().map(|data| publication(event, data)).collect()).await.unwrap();
}

fn subscription(event: &str, handler: &str) -> Subscription {
    Subscription { event: event.into(), handler: handler.into() }
}

async fn subscribe(store: &RocksDb, event: &str, handler: &str) -> Arc<dyn Consumer> {
    store.subscribe(&subscription(event, handler)).await.unwrap()
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
    tokio::time::timeout(Duration::from_millis(50), consumer.next(1)).await.is_err()
}

fn data(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8(delivery.envelope.data.to_vec()).unwrap()).collect()
}

async fn status(store: &RocksDb, event: &str, handler: &str) -> Status {
    let wanted = subscription(event, handler);
    store.status().await.unwrap().into_iter().find(|status| status.subscription == wanted).unwrap()
}

fn failure(message: &str) -> Failure {
    Failure { at: SystemTime::now(), code: "failed".to_owned(), message: message.to_owned(), traceback: None }
}

fn obituary() -> Obituary {
    let history = History { attempts: 3, deaths: 1, ..History::default() };
    Obituary { history, first: failure("first"), last: failure("last") }
}
