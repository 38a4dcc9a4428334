use std::path::Path;
use std::time::SystemTime;

use rohas_adapters::broker::{Consumer, DeadLetterFilter, Subscription};
use rohas_adapters::memory::{self, Memory};
use rohas_adapters::rocksdb::Options;
use rohas_adapters::{Envelope, TraceContext};
use uuid::Uuid;

use super::*;

fn open(path: &Path) -> Arc<RocksDb> {
    Arc::new(RocksDb::open(Options::new(path)).unwrap())
}

fn publication(number: u8) -> Publication {
    let envelope = Envelope {
        id: Uuid::now_v7(),
        source: "test".into(),
        event: "E".into(),
        key: None,
        time: SystemTime::now(),
        data: vec![b'0' + number].into(),
        trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
        causation: None,
        version: 1,
        hops: 0,
    };
    Publication { envelope, due: None, dedupe: Duration::from_secs(60) }
}

async fn outbox(store: &Arc<RocksDb>, other: &Arc<RocksDb>) -> Arc<Outbox> {
    let broker: Arc<dyn Broker> = Arc::<RocksDb>::clone(other);
    let own = (Some(String::new()), Arc::clone(store));
    Arc::new(Outbox::open(own, [("other".to_owned(), broker)].into_iter()).await.unwrap())
}

async fn subscribe(broker: &RocksDb) -> Arc<dyn Consumer> {
    broker.subscribe(&Subscription { event: "E".into(), handler: "h".into() }).await.unwrap()
}

async fn take(consumer: &Arc<dyn Consumer>, count: usize) -> Vec<u8> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let deliveries = consumer.next(count - seen.len()).await.unwrap();
        consumer.ack(&deliveries).await.unwrap();
        seen.extend(deliveries.iter().map(|delivery| delivery.envelope.data[0]));
    }
    seen
}

#[tokio::test]
async fn what_a_broker_cannot_take_is_relayed_in_order_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let (own, others) = (directory.path().join("own"), directory.path().join("other"));
    let other = open(&others);
    drop(subscribe(&other).await);
    other.close().await.unwrap();
    let store = open(&own);
    let before = outbox(&store, &other).await;
    for number in 1..=3 {
        before.publish("other", &[publication(number)]).await.unwrap().unwrap();
    }
    let waiting = before.status().await.unwrap();
    assert_eq!((waiting[0].waiting.broker.as_str(), waiting[0].waiting.length), ("other", 3));
    store.close().await.unwrap();
    drop((before, store, other));

    let (store, other) = (open(&own), open(&others));
    let after = outbox(&store, &other).await;
    after.publish("other", &[publication(4)]).await.unwrap().unwrap();
    assert_eq!(after.status().await.unwrap()[0].waiting.length, 4, "it waits behind those of the daemon before");
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    after.relay(&tracker, &stop);
    let consumer = subscribe(&other).await;
    assert_eq!(take(&consumer, 4).await, b"1234");
    while !after.status().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // Once nothing waits, the way is direct again.
    while !after.lanes["other"].way.is_open() {
        tokio::task::yield_now().await;
    }
    after.publish("other", &[publication(5)]).await.unwrap().unwrap();
    assert!(after.status().await.unwrap().is_empty());
    assert_eq!(take(&consumer, 1).await, b"5");
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn what_was_relayed_but_not_yet_removed_is_not_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (open(&directory.path().join("own")), open(&directory.path().join("other")));
    let consumer = subscribe(&other).await;
    let twice = publication(1);
    other.publish(vec![twice.clone()]).await.unwrap();
    store.outbox_push(vec![("other".to_owned(), twice)]).await.unwrap();
    store.outbox_push(vec![("other".to_owned(), publication(2))]).await.unwrap();
    let outbox = outbox(&store, &other).await;
    assert_eq!(outbox.relay_some("other", &outbox.lanes["other"], &mut 500).await.unwrap(), 2);
    assert_eq!(take(&consumer, 2).await, b"12");
    assert!(outbox.status().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_broker_without_an_outbox_is_left_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (open(&directory.path().join("own")), open(&directory.path().join("other")));
    let outbox = outbox(&store, &other).await;
    assert!(outbox.publish("", &[publication(1)]).await.is_none());
}

#[tokio::test]
async fn what_is_kept_by_somebody_who_has_gone_meanwhile_is_relayed() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (open(&directory.path().join("own")), open(&directory.path().join("other")));
    let consumer = subscribe(&other).await;
    let outbox = outbox(&store, &other).await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    outbox.relay(&tracker, &stop);
    for number in 1..=3 {
        // As a request does that is over before it is answered: it tells the relay nothing.
        store.outbox_push(vec![("other".to_owned(), publication(number))]).await.unwrap();
        assert_eq!(take(&consumer, 1).await, [b'0' + number]);
    }
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[test]
fn a_way_that_was_closed_since_somebody_looked_stays_closed() {
    let way = Way::default();
    assert!(way.is_open() && way.open(way.closing()), "it is open already");
    way.close();
    let looked = way.closing();
    way.close();
    assert!(!way.open(looked) && !way.is_open());
    assert!(way.open(way.closing()) && way.is_open());
    way.close();
    assert!(!way.open(looked), "no number comes twice");
}

/// A broker whose queue holds three events of a few bytes.
async fn small() -> (Arc<Memory>, Arc<dyn Consumer>) {
    let memory = Arc::new(Memory::new(memory::Options { buffer_size: 3, max_bytes: 2000 }));
    let consumer = memory.subscribe(&Subscription { event: "E".into(), handler: "h".into() }).await.unwrap();
    (memory, consumer)
}

#[tokio::test]
async fn more_than_a_broker_takes_at_once_goes_in_parts_and_what_it_never_takes_is_a_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("own"));
    let (memory, consumer) = small().await;
    let broker: Arc<dyn Broker> = Arc::<Memory>::clone(&memory);
    let mut entries: Vec<_> = (0..9).map(|number| ("other".to_owned(), publication(number))).collect();
    entries[4].1.envelope.data = vec![b'4'; 5000].into();
    store.outbox_push(entries).await.unwrap();
    let own = (Some(String::new()), Arc::clone(&store));
    let outbox = Outbox::open(own, [("other".to_owned(), broker)].into_iter()).await.unwrap();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    Arc::new(outbox).relay(&tracker, &stop);
    assert_eq!(take(&consumer, 8).await, b"01235678");
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((&*letters[0].subscription.event, &*letters[0].subscription.handler), ("E", "outbox:other"));
    assert_eq!(letters[0].envelope.data[0], b'4');
    let message = &letters[0].obituary.last.message;
    assert!(message.starts_with("[adapters.other] cannot take it"), "{message}");
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn what_waits_for_a_broker_that_is_not_there_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (open(&directory.path().join("own")), open(&directory.path().join("other")));
    let entries = ["gone", "other"].map(|broker| (broker.to_owned(), publication(1)));
    store.outbox_push(entries.into()).await.unwrap();
    let waiting = outbox(&store, &other).await.status().await.unwrap();
    let seen: Vec<_> = waiting.iter().map(|backlog| (backlog.waiting.broker.as_str(), backlog.configured)).collect();
    assert_eq!(seen, [("gone", false), ("other", true)]);
}
