use std::path::Path;
use std::time::SystemTime;

use rohas_adapters::broker::{Consumer, Subscription};
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
    Arc::new(Outbox::open(Arc::clone(store), [("other".to_owned(), broker)].into_iter()).await.unwrap())
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
    assert_eq!((waiting[0].broker.as_str(), waiting[0].length), ("other", 3));
    store.close().await.unwrap();
    drop((before, store, other));

    let (store, other) = (open(&own), open(&others));
    let after = outbox(&store, &other).await;
    after.publish("other", &[publication(4)]).await.unwrap().unwrap();
    assert_eq!(after.status().await.unwrap()[0].length, 4, "it waits behind those of the daemon before");
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    after.relay(&tracker, &stop);
    let consumer = subscribe(&other).await;
    assert_eq!(take(&consumer, 4).await, b"1234");
    while !after.status().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // Once nothing waits, the way is direct again.
    while after.lanes["other"].behind.load(Ordering::Acquire) {
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
    assert_eq!(outbox.relay_some("other", &outbox.lanes["other"]).await.unwrap(), 2);
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
