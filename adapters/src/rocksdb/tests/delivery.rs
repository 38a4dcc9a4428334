//! Does every subscription get every message, in order, until it is finished, over restarts too?

use std::ops::ControlFlow;

use super::super::database::MARKS;
use super::*;

#[tokio::test]
async fn every_subscription_gets_its_own_copy_in_order() {
    let directory = directory();
    let store = open(directory.path());
    let one = subscribe(&store, "E", "one").await;
    let other = subscribe(&store, "E", "other").await;
    publish(&store, "E", &["1", "2", "3"]).await;
    assert_eq!(data(&take(&one, 3).await), ["1", "2", "3"]);
    assert_eq!(data(&take(&other, 3).await), ["1", "2", "3"]);
}

#[tokio::test]
async fn what_is_unfinished_comes_again_after_a_restart_in_order() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3", "4", "5"]).await;
    let deliveries = take(&consumer, 4).await;
    consumer.ack(&deliveries[1..3]).await.unwrap();
    store.close().await.unwrap();
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let again = take(&consumer, 3).await;
    assert_eq!(data(&again), ["1", "4", "5"]);
    assert_eq!(again[0].envelope, deliveries[0].envelope);
    consumer.ack(&again).await.unwrap();
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert!(is_silent(&consumer).await, "what was finished never comes again");
}

#[tokio::test]
async fn what_is_finished_leaves_no_mark_behind() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3", "4"]).await;
    let mut taken = take(&consumer, 4).await;
    consumer.nack(&taken.remove(3), History::default(), Duration::from_millis(1)).await.unwrap();
    taken.extend(take(&consumer, 1).await);
    let history = History { attempts: 1, not_before: Some(SystemTime::now()), ..History::default() };
    taken.iter().for_each(|delivery| consumer.note(delivery, history));
    // What is asked for later is done later.
    store.status().await.unwrap();
    assert_eq!(marks(&store), 4);
    consumer.ack(&taken[..1]).await.unwrap();
    consumer.dead_letter(&taken[1], &obituary()).await.unwrap();
    consumer.nack(&taken[2], History::default(), Duration::ZERO).await.unwrap();
    consumer.ack(&taken[3..]).await.unwrap();
    assert_eq!(marks(&store), 0);
    consumer.note(&taken[0], history);
    let again = take(&consumer, 1).await;
    consumer.note(&again[0], history);
    store.retire(&subscription("E", "a")).await.unwrap();
    assert_eq!(marks(&store), 1);
    store.prune(&subscription("E", "a")).await.unwrap();
    assert_eq!(marks(&store), 0);
}

/// How many rows say what a message has been through.
fn marks(store: &RocksDb) -> usize {
    let mut count = 0;
    let counted = store.shared.slot.with(|database| {
        database.scan(MARKS, (&[], None), |_, _| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        })
    });
    counted.unwrap();
    count
}

#[tokio::test]
async fn many_messages_pass_through_memory_and_disk() {
    let directory = directory();
    let store = RocksDb::open(Options { cache_bytes: 1 << 16, ..options(directory.path()) }).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    let numbers: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    for chunk in numbers.chunks(700) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        publish(&store, "E", &chunk).await;
    }
    let deliveries = take(&consumer, numbers.len()).await;
    assert_eq!(data(&deliveries), numbers);
    consumer.ack(&deliveries).await.unwrap();
    let status = status(&store, "E", "a").await;
    assert_eq!((status.waiting, status.in_flight, status.oldest), (0, 0, None));
}

#[tokio::test]
async fn two_consumers_never_get_the_same_message() {
    let directory = directory();
    let store = open(directory.path());
    let one = subscribe(&store, "E", "a").await;
    let other = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2"]).await;
    let mut both = data(&take(&one, 1).await);
    both.extend(data(&take(&other, 1).await));
    assert_eq!(both, ["1", "2"]);
    assert!(is_silent(&one).await && is_silent(&other).await);
}

#[tokio::test]
async fn a_consumer_that_waits_gets_what_comes_and_one_that_gave_up_loses_nothing() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert!(is_silent(&consumer).await);
    let waiting = Arc::clone(&consumer);
    let (deliveries, ()) = tokio::join!(take(&waiting, 1), publish(&store, "E", &["1"]));
    assert_eq!(data(&deliveries), ["1"]);
}

#[tokio::test]
async fn a_message_that_goes_back_comes_before_later_ones_with_its_history() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3"]).await;
    let deliveries = take(&consumer, 2).await;
    let history = History { attempts: 2, deaths: 1, ..History::default() };
    consumer.nack(&deliveries[1], history, Duration::ZERO).await.unwrap();
    consumer.nack(&deliveries[0], History::default(), Duration::ZERO).await.unwrap();
    let again = take(&consumer, 3).await;
    assert_eq!(data(&again), ["1", "2", "3"]);
    assert_eq!((again[0].history, again[1].history), (History::default(), history));
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert_eq!(take(&consumer, 2).await[1].history, history, "a restart keeps it");
}

#[tokio::test]
async fn a_message_that_is_put_back_with_a_delay_comes_when_it_is_due_and_holds_nobody_up() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2"]).await;
    let deliveries = take(&consumer, 2).await;
    let history = History { attempts: 1, deaths: 0, ..History::default() };
    let start = SystemTime::now();
    consumer.nack(&deliveries[0], history, Duration::from_millis(200)).await.unwrap();
    consumer.ack(&deliveries[1..]).await.unwrap();
    let delayed = status(&store, "E", "a").await;
    assert_eq!((delayed.delayed, delayed.waiting, delayed.in_flight), (1, 0, 0));
    assert!(delayed.oldest.is_some());
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    let again = take(&consumer, 1).await;
    assert!(start.elapsed().unwrap() >= Duration::from_millis(200));
    assert_eq!((data(&again), again[0].history), (vec!["1".to_owned()], history));
    consumer.nack(&again[0], History { attempts: 2, deaths: 0, ..History::default() }, Duration::ZERO).await.unwrap();
    let again = take(&consumer, 1).await;
    assert_eq!(again[0].history.attempts, 2);
    consumer.ack(&again).await.unwrap();
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert!(is_silent(&consumer).await);
}

#[tokio::test]
async fn a_publication_with_a_due_time_is_invisible_until_then_over_a_restart() {
    let directory = directory();
    let store = open(directory.path());
    subscribe(&store, "E", "a").await;
    let due = SystemTime::now() + Duration::from_millis(300);
    let late = Publication { due: Some(due), ..publication("E", "late") };
    let past = Publication { due: Some(SystemTime::UNIX_EPOCH), ..publication("E", "past") };
    store.publish(vec![late, past]).await.unwrap();
    assert_eq!(status(&store, "E", "a").await.delayed, 1);
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert_eq!(data(&take(&consumer, 1).await), ["past"]);
    assert_eq!(data(&take(&consumer, 1).await), ["late"]);
    assert!(SystemTime::now() >= due);
    assert_eq!(status(&store, "E", "a").await.delayed, 0);
}

#[tokio::test]
async fn a_copy_is_dropped_within_the_window_over_a_restart() {
    let directory = directory();
    let store = open(directory.path());
    subscribe(&store, "E", "a").await;
    let first = Publication { dedupe: Duration::from_secs(3600), ..publication("E", "1") };
    let later = Publication {
        due: Some(SystemTime::now() + Duration::from_secs(3600)),
        dedupe: Duration::from_secs(3600),
        ..publication("E", "later")
    };
    store.publish(vec![first.clone(), later.clone(), first.clone()]).await.unwrap();
    store.publish(vec![first.clone()]).await.unwrap();
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    store.publish(vec![first.clone(), later, publication("E", "2")]).await.unwrap();
    assert_eq!(data(&take(&consumer, 2).await), ["1", "2"]);
    assert_eq!(status(&store, "E", "a").await.delayed, 1);
    store.publish(vec![Publication { dedupe: Duration::ZERO, ..first }]).await.unwrap();
    assert_eq!(data(&take(&consumer, 1).await), ["1"], "without a window copies are welcome");
}

#[tokio::test]
async fn a_new_subscription_begins_with_what_is_published_from_then_on() {
    let directory = directory();
    let store = open(directory.path());
    publish(&store, "E", &["old"]).await;
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["new"]).await;
    assert_eq!(data(&take(&consumer, 1).await), ["new"]);
}

#[tokio::test]
async fn each_event_has_its_own_order_and_all_are_published_or_none() {
    let directory = directory();
    let store = open(directory.path());
    let (one, other) = (subscribe(&store, "A", "a").await, subscribe(&store, "B", "b").await);
    let all = vec![publication("A", "1"), publication("B", "2"), publication("A", "3")];
    store.publish(all).await.unwrap();
    assert_eq!(data(&take(&one, 2).await), ["1", "3"]);
    assert_eq!(data(&take(&other, 1).await), ["2"]);
}

#[tokio::test]
async fn a_publisher_that_gives_up_early_publishes_nothing() {
    let directory = directory();
    let store = RocksDb::open(Options { max_bytes: 4_000, ..options(directory.path()) }).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &[&"x".repeat(3_000)]).await;
    let waiting = store.publish(vec![publication("E", &"y".repeat(2_000))]);
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
    let deliveries = take(&consumer, 1).await;
    consumer.ack(&deliveries).await.unwrap();
    publish(&store, "E", &["z"]).await;
    assert_eq!(data(&take(&consumer, 1).await), ["z"]);
}

#[tokio::test]
async fn finishing_twice_changes_nothing() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2"]).await;
    let deliveries = take(&consumer, 2).await;
    consumer.ack(&deliveries[..1]).await.unwrap();
    consumer.ack(&deliveries[..1]).await.unwrap();
    consumer.nack(&deliveries[0], History::default(), Duration::ZERO).await.unwrap();
    consumer.nack(&deliveries[0], History::default(), Duration::from_millis(1)).await.unwrap();
    consumer.dead_letter(&deliveries[0], &obituary()).await.unwrap();
    assert!(is_silent(&consumer).await);
    let status = status(&store, "E", "a").await;
    assert_eq!((status.in_flight, status.dead, status.delayed, status.waiting), (1, 0, 0, 0));
}

#[tokio::test]
async fn what_is_recalled_comes_from_memory_and_disk() {
    let directory = directory();
    let store = RocksDb::open(Options { cache_bytes: 1 << 12, ..options(directory.path()) }).unwrap();
    let consumer = subscribe(&store, "E", "a").await;
    let numbers: Vec<String> = (0..900).map(|number| number.to_string()).collect();
    for chunk in numbers.chunks(9) {
        publish(&store, "E", &chunk.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let deliveries = take(&consumer, numbers.len()).await;
    let wanted: Vec<&Delivery> = deliveries.iter().step_by(7).rev().collect();
    let tags: Vec<u64> = wanted.iter().map(|delivery| delivery.tag).collect();
    let again = consumer.recall(&tags).await.unwrap();
    let ids = |delivery: &Delivery| (delivery.tag, delivery.envelope.id);
    assert_eq!(again.iter().map(ids).collect::<Vec<_>>(), wanted.into_iter().map(ids).collect::<Vec<_>>());
}
