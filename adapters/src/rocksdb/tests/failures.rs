//! What happens when files are damaged, the owner is another, or nothing can be written?

use std::error::Error as _;
use std::fs;
use std::ops::ControlFlow;

use rocksdb::WriteBatch;

use super::*;
use crate::broker::{DeadLetterFilter, Error};
use crate::rocksdb::OpenError;
use crate::rocksdb::codec::to_nanos;
use crate::rocksdb::database::{DEAD, DUE, Database, LOG, META, PROGRESS, RETURNED};
use crate::rocksdb::rows::{CLOCK_KEY, encode, log_key};

/// Changes the closed store as a damage would.
fn alter(path: &Path, change: impl FnOnce(&Database, &mut WriteBatch)) {
    let database = Database::open(path).unwrap();
    let mut batch = WriteBatch::default();
    change(&database, &mut batch);
    database.write(batch).unwrap();
}

#[tokio::test]
async fn a_second_owner_is_told_who_holds_it() {
    let directory = directory();
    let _store = open(directory.path());
    let error = RocksDb::open(options(directory.path())).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&directory.path().display().to_string()));
}

#[tokio::test]
async fn a_newer_format_is_refused_with_a_remedy() {
    let directory = directory();
    drop(open(directory.path()));
    alter(directory.path(), |database, batch| database.put(batch, META, b"format", &99_u32.to_le_bytes()));
    let error = RocksDb::open(options(directory.path())).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 99, known: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_row_is_named_with_the_path_and_a_remedy() {
    let directory = directory();
    let store = open(directory.path());
    subscribe(&store, "E", "a").await;
    drop(store);
    alter(directory.path(), |database, batch| database.put(batch, PROGRESS, &1_u32.to_be_bytes(), b"nonsense"));
    let error = RocksDb::open(options(directory.path())).unwrap_err().to_string();
    for part in ["the progress of a subscription", &directory.path().display().to_string(), "move the directory away"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_table_is_reported_and_never_taken_for_data() {
    let directory = directory();
    let store = open(directory.path());
    subscribe(&store, "E", "a").await;
    drop(store);
    // Opening writes what was in the log of the database to a table.
    drop(open(directory.path()));
    let mut tables = 0;
    for file in fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "sst") {
            let bytes = vec![0xa5; fs::read(&file).unwrap().len()];
            fs::write(&file, bytes).unwrap();
            tables += 1;
        }
    }
    assert!(tables > 0);
    let error = RocksDb::open(options(directory.path())).unwrap_err();
    assert!(error.to_string().contains("move the directory away"), "{error}");
    assert!(matches!(error, OpenError::Open { .. } | OpenError::Damaged { .. }), "{:?}", error.source());
}

#[tokio::test]
async fn a_block_that_cannot_be_read_is_passed_over_and_the_rest_is_handed_out() {
    let directory = directory();
    let store = open(directory.path());
    subscribe(&store, "E", "a").await;
    for text in ["1", "2", "3"] {
        publish(&store, "E", &[text]).await;
    }
    drop(store);
    alter(directory.path(), |database, batch| {
        let key = log_key(1, 1);
        let mut value = database.get(LOG, &key).unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        database.put(batch, LOG, &key, &value);
    });
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let deliveries = take(&consumer, 2).await;
    assert_eq!(data(&deliveries), ["1", "3"]);
    consumer.ack(&deliveries).await.unwrap();
    let status = status(&store, "E", "a").await;
    assert_eq!((status.waiting, status.in_flight, status.oldest), (0, 0, None));
}

#[tokio::test]
async fn a_waiting_message_that_cannot_be_read_is_passed_over_and_the_rest_is_handed_out() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let due = Some(SystemTime::now() + Duration::from_millis(100));
    for text in ["1", "2"] {
        store.publish(vec![Publication { due, ..publication("E", text) }]).await.unwrap();
    }
    publish(&store, "E", &["3", "4"]).await;
    for delivery in take(&consumer, 2).await {
        consumer.nack(&delivery, History::default(), Duration::from_millis(100)).await.unwrap();
    }
    drop(store);
    alter(directory.path(), |database, batch| {
        for family in [DUE, RETURNED] {
            let everything = (&[][..], None);
            let damage = |key: &[u8], _: &[u8]| {
                database.put(batch, family, key, b"nonsense");
                Ok(ControlFlow::Break(()))
            };
            database.scan(family, everything, damage).unwrap();
        }
    });
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let mut texts = data(&take(&consumer, 2).await);
    texts.sort_unstable();
    assert_eq!(texts, ["2", "4"]);
    assert!(is_silent(&consumer).await);
}

#[tokio::test]
async fn a_block_that_is_damaged_after_it_was_handed_out_costs_only_what_is_read_again() {
    let directory = directory();
    let store = RocksDb::open(Options { cache_bytes: 0, ..options(directory.path()) }).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3"]).await;
    publish(&store, "E", &["4"]).await;
    let held = take(&consumer, 4).await;
    let damage = |database: &Database| {
        let mut batch = WriteBatch::default();
        database.scan(LOG, (&[], None), |key, _| {
            database.put(&mut batch, LOG, key, b"nonsense");
            Ok(ControlFlow::Break(()))
        })?;
        Ok(database.write(batch)?)
    };
    store.shared.slot.with(damage).unwrap();
    assert!(consumer.recall(&[held[1].tag]).await.unwrap().is_empty());
    for delivery in [&held[0], &held[2]] {
        consumer.dead_letter(delivery, &obituary()).await.unwrap();
    }
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    let mut texts: Vec<_> = letters.iter().map(|letter| letter.envelope.data.clone()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["1", "3"]);
}

#[tokio::test]
async fn the_lost_end_of_a_damaged_log_is_reported_with_its_times() {
    let directory = directory();
    let disk = Options { durability: Durability::Disk, ..options(directory.path()) };
    let store = RocksDb::open(disk.clone()).unwrap();
    subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1"]).await;
    let between = SystemTime::now();
    publish(&store, "E", &["2"]).await;
    store.close().await.unwrap();
    assert_eq!(store.lost(), None);
    drop(store);
    let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut logs: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).filter(is_log).collect();
    logs.sort();
    let mut bytes = fs::read(logs.last().unwrap()).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 0xff;
    fs::write(logs.last().unwrap(), bytes).unwrap();

    let store = RocksDb::open(disk.clone()).unwrap();
    let lost = store.lost().unwrap();
    assert!(lost.after < between && between < lost.until, "{lost:?}");
    let consumer = subscribe(&store, "E", "a").await;
    assert_eq!(data(&take(&consumer, 1).await), ["1"]);
    drop(store);
    assert_eq!(RocksDb::open(disk).unwrap().lost(), None, "it is reported once");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let waiting = Arc::clone(&consumer);
    let (next, closed) = tokio::join!(waiting.next(1), store.close());
    closed.unwrap();
    assert!(matches!(next, Err(Error::Closed(_))));
    assert!(matches!(store.publish(vec![publication("E", "1")]).await, Err(Error::Unavailable(_))));
    store.close().await.unwrap();
    drop(open(directory.path()));
}

#[tokio::test]
async fn what_is_confirmed_on_the_disk_is_there_again() {
    let directory = directory();
    let disk = Options { durability: Durability::Disk, ..options(directory.path()) };
    let store = RocksDb::open(disk.clone()).unwrap();
    subscribe(&store, "E", "a").await;
    futures_of(&store, 200).await;
    drop(store);
    let store = RocksDb::open(disk).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    assert_eq!(take(&consumer, 200).await.len(), 200);
}

/// Publishes so many at once, each by itself.
async fn futures_of(store: &RocksDb, count: usize) {
    let mut waiting: Vec<_> =
        (0..count).map(|number| store.publish(vec![publication("E", &number.to_string())])).collect();
    let all = std::future::poll_fn(|context| {
        waiting.retain_mut(|publish| match publish.as_mut().poll(context) {
            std::task::Poll::Ready(result) => {
                result.unwrap();
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

/// Lets the next write fail; the store then opens its database again.
fn fail_next_write(store: &RocksDb) {
    store.shared.slot.set_down("as told".to_owned());
}

/// Publishes until that works again.
async fn publish_at_last(store: &RocksDb, text: &str) {
    let end = std::time::Instant::now() + PATIENCE;
    while store.publish(vec![publication("E", text)]).await.is_err() {
        assert!(std::time::Instant::now() < end, "it did not recover");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_acked_or_put_back_stays_with_its_consumer() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3"]).await;
    let first = take(&consumer, 1).await.remove(0);
    consumer.nack(&first, History::default(), Duration::from_millis(1)).await.unwrap();
    // In the order of their ends: one that had been put back and one of the log are acked, one goes back later, one at once.
    let mut held = take(&consumer, 3).await;
    publish(&store, "E", &["4"]).await;
    held.extend(take(&consumer, 1).await);
    held.sort_by_key(|delivery| delivery.envelope.data.clone());
    fail_next_write(&store);
    assert!(matches!(consumer.ack(&held[..2]).await, Err(Error::Unavailable(_))));
    publish_at_last(&store, "5").await;
    fail_next_write(&store);
    let later = consumer.nack(&held[2], History::default(), Duration::from_millis(1)).await;
    assert!(matches!(later, Err(Error::Unavailable(_))));
    publish_at_last(&store, "6").await;
    fail_next_write(&store);
    let at_once = consumer.nack(&held[3], History::default(), Duration::ZERO).await;
    assert!(matches!(at_once, Err(Error::Unavailable(_))));
    publish_at_last(&store, "7").await;

    let new = take(&consumer, 3).await;
    assert_eq!(data(&new), ["5", "6", "7"]);
    assert!(is_silent(&consumer).await);
    assert_eq!(status(&store, "E", "a").await.in_flight, 7);
    consumer.ack(&new).await.unwrap();
    consumer.ack(&held[..3]).await.unwrap();
    consumer.nack(&held[3], History::default(), Duration::ZERO).await.unwrap();
    assert_eq!(data(&take(&consumer, 1).await), ["4"]);
    assert!(is_silent(&consumer).await);
}

#[tokio::test]
async fn a_clock_that_was_ahead_makes_nothing_due_early_or_late() {
    let directory = directory();
    drop(open(directory.path()));
    let hour = Duration::from_secs(3600);
    let ahead = to_nanos(SystemTime::now() + hour * 2);
    alter(directory.path(), |database, batch| database.put(batch, META, CLOCK_KEY, &encode(&ahead)));

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let due = Some(SystemTime::now() + hour);
    store.publish(vec![Publication { due, ..publication("E", "later") }]).await.unwrap();
    publish(&store, "E", &["1", "2"]).await;
    let held = take(&consumer, 2).await;
    assert_eq!(data(&held), ["1", "2"]);
    consumer.nack(&held[0], History::default(), hour).await.unwrap();
    consumer.dead_letter(&held[1], &obituary()).await.unwrap();
    let waits = status(&store, "E", "a").await;
    assert_eq!((waits.waiting, waits.delayed), (0, 2));
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(store.redrive(&[letters[0].id]).await.unwrap().len(), 1);
    assert_eq!(data(&take(&consumer, 1).await), ["2"]);
    assert!(is_silent(&consumer).await);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_read_holds_up_no_other() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3"]).await;
    for delivery in take(&consumer, 3).await {
        consumer.dead_letter(&delivery, &obituary()).await.unwrap();
    }
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    let ids: Vec<Uuid> = letters.iter().rev().map(|letter| letter.id).collect();
    drop((consumer, store));
    alter(directory.path(), |database, batch| database.put(batch, DEAD, ids[1].as_bytes(), b"nonsense"));

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert_eq!(store.redrive(&ids).await.unwrap(), [ids[0], ids[2]]);
    assert_eq!(data(&take(&consumer, 2).await), ["1", "3"]);
}

#[tokio::test]
async fn a_number_that_was_given_is_never_given_again() {
    let directory = directory();
    let store = open(directory.path());
    let old = subscribe(&store, "E", "old").await;
    publish(&store, "E", &["1", "2"]).await;
    let held = take(&old, 2).await;
    store.retire(&subscription("E", "old")).await.unwrap();
    store.prune(&subscription("E", "old")).await.unwrap();
    fail_next_write(&store);
    publish_at_last(&store, "3").await;
    let new = subscribe(&store, "E", "new").await;
    store.replay(&subscription("E", "new"), SystemTime::UNIX_EPOCH).await.unwrap();
    old.ack(&held).await.unwrap();
    assert_eq!(data(&take(&new, 3).await), ["1", "2", "3"]);
}
