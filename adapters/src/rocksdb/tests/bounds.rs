//! Does the store stay within its bounds without losing what is not handled?

use super::*;
use crate::broker::{DeadLetterFilter, Error};
use crate::rocksdb::command::Command;
use crate::rocksdb::due;

fn small(path: &Path) -> Options {
    Options { max_bytes: 100_000, dedupe: Duration::ZERO, ..options(path) }
}

#[tokio::test]
async fn a_full_store_makes_publishers_wait_until_messages_are_handled() {
    let directory = directory();
    let store = RocksDb::open(small(directory.path())).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    let text = "x".repeat(9_500);
    for _ in 0..10 {
        publish(&store, "E", &[&text]).await;
    }
    let waiting = store.publish(vec![publication("E", &text)]);
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    store.try_publish(vec![publication("E", &text)]).await.unwrap();
    assert!(matches!(store.try_publish(vec![publication("E", &text)]).await, Err(Error::Full { .. })));
    let deliveries = take(&consumer, 4).await;
    consumer.ack(&deliveries).await.unwrap();
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    let huge = "x".repeat(100_001);
    assert!(matches!(store.publish(vec![publication("E", &huge)]).await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn handled_messages_make_room_and_unhandled_ones_stay() {
    let directory = directory();
    let store = RocksDb::open(small(directory.path())).unwrap();
    let slow = subscribe(&store, "Slow", "a").await;
    publish(&store, "Slow", &["kept"]).await;
    let consumer = subscribe(&store, "E", "a").await;
    for _ in 0..100 {
        publish(&store, "E", &[&"x".repeat(5_000)]).await;
        let deliveries = take(&consumer, 1).await;
        consumer.ack(&deliveries).await.unwrap();
    }
    let kept = store.replay(&subscription("E", "a"), SystemTime::UNIX_EPOCH).await.unwrap();
    assert!((5..=25).contains(&kept), "{kept} of 100 messages are kept");
    drop(store);

    let store = RocksDb::open(small(directory.path())).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    let again = take(&consumer, usize::try_from(kept).unwrap()).await;
    consumer.ack(&again).await.unwrap();
    drop(slow);
    let slow = subscribe(&store, "Slow", "a").await;
    assert_eq!(data(&take(&slow, 1).await), ["kept"]);
}

#[tokio::test]
async fn positions_go_on_after_everything_was_removed() {
    let directory = directory();
    let short = Options { retention: Duration::from_millis(1), ..small(directory.path()) };
    let store = RocksDb::open(short.clone()).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2"]).await;
    let deliveries = take(&consumer, 2).await;
    consumer.ack(&deliveries).await.unwrap();
    let name = subscription("E", "late");
    let late = subscribe(&store, "E", "late").await;
    let gone = async {
        loop {
            let count = store.replay(&name, SystemTime::UNIX_EPOCH).await.unwrap();
            if count == 0 {
                break;
            }
            let again = take(&late, usize::try_from(count).unwrap()).await;
            late.ack(&again).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    drop(store);

    let store = RocksDb::open(short).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["3"]).await;
    assert_eq!(data(&take(&consumer, 1).await), ["3"]);
}

#[tokio::test]
async fn delayed_messages_and_dead_letters_count_and_free_their_room() {
    let directory = directory();
    let store = RocksDb::open(small(directory.path())).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    let text = "x".repeat(50_000);
    let due = Some(SystemTime::now() + Duration::from_secs(3600));
    store.publish(vec![Publication { due, ..publication("E", &text) }]).await.unwrap();
    publish(&store, "E", &[&"x".repeat(40_000)]).await;
    let delivery = take(&consumer, 1).await.remove(0);
    consumer.dead_letter(&delivery, &obituary()).await.unwrap();
    drop(store);

    let store = RocksDb::open(small(directory.path())).unwrap();
    let full = store.try_publish(vec![publication("E", &text)]).await;
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    let letters = store.dead_letters(&Default::default(), 1).await.unwrap();
    store.purge(&[letters[0].id]).await.unwrap();
    store.try_publish(vec![publication("E", &text)]).await.unwrap();
}

/// More than half of what is read at once.
fn large() -> String {
    "x".repeat(600_000)
}

#[tokio::test]
async fn what_is_due_enters_in_parts_of_bounded_size() {
    let directory = directory();
    let store = open(directory.path());
    let due = SystemTime::now() + Duration::from_secs(3600);
    let late = || Publication { due: Some(due), ..publication("E", &large()) };
    store.publish((0..5).map(|_| late()).collect()).await.unwrap();
    let mut parts = Vec::new();
    let mut next = Some((0, 0));
    while let Some(first) = next {
        let mut rows = Vec::new();
        next = store.shared.slot.with(|database| due::read(database, first, u64::MAX, &mut rows)).unwrap();
        parts.push(rows.len());
    }
    assert_eq!(parts, [2, 2, 1]);
}

#[tokio::test]
async fn what_was_put_back_comes_in_parts_of_bounded_size() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    for _ in 0..5 {
        publish(&store, "E", &[&large()]).await;
    }
    for delivery in take(&consumer, 5).await {
        consumer.nack(&delivery, History::default(), Duration::from_nanos(1)).await.unwrap();
    }
    let mut parts = Vec::new();
    for _ in 0..3 {
        parts.push(tokio::time::timeout(PATIENCE, consumer.next(100)).await.unwrap().unwrap().len());
    }
    assert_eq!(parts, [2, 2, 1]);
}

#[tokio::test]
async fn dead_letters_are_listed_in_parts_of_bounded_size() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    for _ in 0..20 {
        publish(&store, "E", &[&large()]).await;
        let delivery = take(&consumer, 1).await.remove(0);
        consumer.dead_letter(&delivery, &obituary()).await.unwrap();
    }
    let first = store.dead_letters(&DeadLetterFilter::default(), 100).await.unwrap();
    assert_eq!(first.len(), 14, "8 MiB and the one that passes them");
    let before = first.last().map(|letter| letter.id);
    let rest = store.dead_letters(&DeadLetterFilter { before, ..Default::default() }, 100).await.unwrap();
    assert_eq!(rest.len(), 6);
}

#[tokio::test]
async fn what_is_published_while_a_gap_is_passed_over_is_handed_out() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["unreadable"]).await;
    let end = store.shared.topics()[0].end();
    publish(&store, "E", &["published meanwhile"]).await;
    let sub = store.shared.ask(|reply| Command::Subscribe { subscription: subscription("E", "a"), reply }).await;
    let sub = sub.unwrap();
    let lost = store.shared.ask(|reply| Command::Skip { sub, from: 0, to: None, end, reply }).await;
    assert_eq!(lost.unwrap(), 1);
    assert_eq!(data(&take(&consumer, 1).await), ["published meanwhile"]);
}

#[tokio::test]
async fn a_message_of_64_mib_goes_every_way_there_is() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let huge: String = ('a'..='z').cycle().take(64 << 20).collect();
    publish(&store, "E", &[&huge, "small"]).await;
    drop((consumer, store));

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let both = take(&consumer, 2).await;
    assert!(both[0].envelope.data == huge && both[1].envelope.data == "small");
    consumer.nack(&both[0], History::default(), Duration::from_nanos(1)).await.unwrap();
    let again = take(&consumer, 1).await.remove(0);
    consumer.dead_letter(&again, &obituary()).await.unwrap();
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    store.redrive(&[letters[0].id]).await.unwrap();
    let last = take(&consumer, 1).await;
    assert!(last[0].envelope.data == huge);
    consumer.ack(&last).await.unwrap();
    consumer.ack(&both[1..]).await.unwrap();
    let status = status(&store, "E", "a").await;
    assert_eq!((status.waiting, status.in_flight, status.dead), (0, 0, 0));
}
