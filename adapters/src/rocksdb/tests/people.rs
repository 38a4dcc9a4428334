//! Does the store do what people ask of it: dead letters, replay, pause, retire, prune, tail, outbox?

use super::*;
use crate::broker::{DeadLetterFilter, Error, Seen};

#[tokio::test]
async fn a_dead_letter_is_kept_and_its_redrive_goes_to_its_own_handler_only() {
    let directory = directory();
    let store = open(directory.path());
    let (one, other) = (subscribe(&store, "E", "one").await, subscribe(&store, "E", "other").await);
    publish(&store, "E", &["1", "2"]).await;
    let deliveries = take(&one, 2).await;
    one.dead_letter(&deliveries[0], &obituary()).await.unwrap();
    one.dead_letter(&deliveries[1], &obituary()).await.unwrap();
    let copies = take(&other, 2).await;
    other.ack(&copies).await.unwrap();
    drop(store);

    let store = open(directory.path());
    let (one, other) = (subscribe(&store, "E", "one").await, subscribe(&store, "E", "other").await);
    assert_eq!(status(&store, "E", "one").await.dead, 2);
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    let texts: Vec<_> = letters.iter().map(|letter| letter.envelope.data.clone()).collect();
    assert_eq!(texts, ["2", "1"], "newest first");
    assert_eq!(
        (letters[0].subscription.clone(), &letters[0].obituary.last.message[..]),
        (subscription("E", "one"), "last")
    );

    let ids = [letters[1].id, letters[1].id, Uuid::now_v7()];
    assert_eq!(store.redrive(&ids).await.unwrap(), [letters[1].id]);
    let again = take(&one, 1).await;
    assert_eq!((data(&again), again[0].history), (vec!["1".to_owned()], History::default()));
    assert!(is_silent(&other).await);
    assert_eq!(store.purge(&[letters[0].id, letters[1].id]).await.unwrap(), [letters[0].id]);
    assert!(store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap().is_empty());
    let status = status(&store, "E", "one").await;
    assert_eq!((status.dead, status.in_flight), (0, 1));
}

#[tokio::test]
async fn dead_letters_are_filtered_and_paged() {
    let directory = directory();
    let store = open(directory.path());
    for (event, handler) in [("A", "a"), ("A", "b"), ("B", "a")] {
        let consumer = subscribe(&store, event, handler).await;
        publish(&store, event, &["1"]).await;
        let delivery = take(&consumer, 1).await.remove(0);
        consumer.dead_letter(&delivery, &obituary()).await.unwrap();
    }
    let count = async |filter: DeadLetterFilter| store.dead_letters(&filter, 10).await.unwrap().len();
    assert_eq!(count(DeadLetterFilter { event: Some("A".into()), ..Default::default() }).await, 2);
    assert_eq!(count(DeadLetterFilter { handler: Some("a".into()), ..Default::default() }).await, 2);
    let first = store.dead_letters(&DeadLetterFilter::default(), 1).await.unwrap().remove(0);
    assert_eq!(count(DeadLetterFilter { before: Some(first.id), ..Default::default() }).await, 2);
}

#[tokio::test]
async fn a_replay_hands_out_again_what_was_published_since() {
    let directory = directory();
    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["old"]).await;
    let from = SystemTime::now();
    publish(&store, "E", &["1", "2"]).await;
    publish(&store, "E", &["3"]).await;
    let deliveries = take(&consumer, 4).await;
    consumer.ack(&deliveries[..3]).await.unwrap();
    assert_eq!(store.replay(&subscription("E", "a"), from).await.unwrap(), 2, "one is still in flight");
    assert_eq!(data(&take(&consumer, 2).await), ["1", "2"]);
    drop(store);

    let store = open(directory.path());
    let late = subscribe(&store, "E", "late").await;
    assert_eq!(store.replay(&subscription("E", "late"), SystemTime::UNIX_EPOCH).await.unwrap(), 4);
    assert_eq!(data(&take(&late, 4).await), ["old", "1", "2", "3"]);
    let consumer = subscribe(&store, "E", "a").await;
    assert_eq!(data(&take(&consumer, 3).await), ["1", "2", "3"], "a restart keeps the replay");
    let unknown = store.replay(&subscription("E", "nobody"), from).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn a_paused_subscription_hands_out_nothing_until_it_is_resumed_over_a_restart() {
    let directory = directory();
    let store = open(directory.path());
    subscribe(&store, "E", "a").await;
    store.set_paused(&subscription("E", "a"), true).await.unwrap();
    publish(&store, "E", &["1"]).await;
    drop(store);

    let store = open(directory.path());
    let consumer = subscribe(&store, "E", "a").await;
    assert!(is_silent(&consumer).await);
    let paused = status(&store, "E", "a").await;
    assert_eq!((paused.paused, paused.waiting), (true, 1));
    let name = subscription("E", "a");
    let (deliveries, resumed) = tokio::join!(take(&consumer, 1), store.set_paused(&name, false));
    resumed.unwrap();
    assert_eq!(data(&deliveries), ["1"]);
    let unknown = store.set_paused(&subscription("E", "b"), true).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn nothing_new_enters_a_retired_subscription_and_what_it_has_stays() {
    let directory = directory();
    let store = open(directory.path());
    let name = subscription("E", "a");
    subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1"]).await;
    store.retire(&name).await.unwrap();
    store.retire(&subscription("E", "unknown")).await.unwrap();
    publish(&store, "E", &["2"]).await;
    drop(store);

    let store = open(directory.path());
    assert!(!status(&store, "E", "a").await.declared);
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["3"]).await;
    assert_eq!(data(&take(&consumer, 2).await), ["1", "3"]);
    assert!(matches!(store.prune(&name).await, Err(Error::Declared(_))));
}

#[tokio::test]
async fn a_pruned_subscription_is_gone_with_all_it_held_but_its_dead_letters() {
    let directory = directory();
    let store = open(directory.path());
    let name = subscription("E", "a");
    let consumer = subscribe(&store, "E", "a").await;
    publish(&store, "E", &["1", "2", "3", "4"]).await;
    let deliveries = take(&consumer, 3).await;
    consumer.nack(&deliveries[0], History::default(), Duration::from_secs(3600)).await.unwrap();
    consumer.dead_letter(&deliveries[1], &obituary()).await.unwrap();
    store.retire(&name).await.unwrap();
    assert_eq!(store.prune(&name).await.unwrap(), 3);
    assert!(matches!(store.prune(&name).await, Err(Error::Unknown(_))));
    assert!(matches!(consumer.next(1).await, Err(Error::Closed(_))));
    drop(store);

    let store = open(directory.path());
    assert!(store.status().await.unwrap().is_empty());
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(store.redrive(&[letters[0].id]).await.unwrap().is_empty(), "its subscription is gone");
    let consumer = subscribe(&store, "E", "a").await;
    assert!(is_silent(&consumer).await);
}

async fn seen(tail: &mut Box<dyn crate::broker::Tail>) -> String {
    match tokio::time::timeout(PATIENCE, tail.next()).await.unwrap().unwrap() {
        Seen::Message(envelope) => String::from_utf8(envelope.data.to_vec()).unwrap(),
        Seen::Missed(count) => format!("{count} missed"),
    }
}

#[tokio::test]
async fn whoever_looks_sees_what_is_published_from_now_on_or_since_a_time() {
    let directory = directory();
    let store = open(directory.path());
    publish(&store, "A", &["old"]).await;
    let since = SystemTime::now();
    publish(&store, "A", &["1"]).await;
    let mut all = store.tail(None, None).await.unwrap();
    let mut one = store.tail(Some("B"), None).await.unwrap();
    let mut past = store.tail(Some("A"), Some(since)).await.unwrap();
    publish(&store, "A", &["2"]).await;
    publish(&store, "B", &["3"]).await;
    assert_eq!((seen(&mut all).await, seen(&mut all).await), ("2".to_owned(), "3".to_owned()));
    assert_eq!(seen(&mut one).await, "3");
    assert_eq!((seen(&mut past).await, seen(&mut past).await), ("1".to_owned(), "2".to_owned()));
    let (last, ()) = tokio::join!(seen(&mut one), publish(&store, "B", &["4"]));
    assert_eq!(last, "4");
    store.close().await.unwrap();
    assert!(one.next().await.is_none());
}

#[tokio::test]
async fn the_outbox_keeps_publications_in_order_until_they_are_removed() {
    let directory = directory();
    let store = open(directory.path());
    let due = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    let entry = |broker: &str, data: &str| (broker.to_owned(), Publication { due, ..publication("E", data) });
    store.outbox_push(vec![entry("nats", "1"), entry("kafka", "2"), entry("nats", "3")]).await.unwrap();
    drop(store);

    let store = open(directory.path());
    store.outbox_push(vec![entry("nats", "4")]).await.unwrap();
    let waiting = store.outbox_read("nats", 2, usize::MAX).await.unwrap();
    let texts: Vec<_> = waiting.iter().map(|(_, entry)| (entry.envelope.data.clone(), entry.due)).collect();
    assert_eq!(texts, [("1".into(), due), ("3".into(), due)]);
    let lengths = async || -> Vec<(String, u64)> {
        store.outbox_status().await.unwrap().into_iter().map(|backlog| (backlog.broker, backlog.length)).collect()
    };
    assert_eq!(lengths().await, [("kafka".to_owned(), 1), ("nats".to_owned(), 3)]);
    let before = store.outbox_status().await.unwrap()[1].oldest;
    store.outbox_remove("nats", waiting[1].0).await.unwrap();
    assert!(store.outbox_status().await.unwrap()[1].oldest > before, "the age is that of what is left");
    let left = store.outbox_read("nats", 10, usize::MAX).await.unwrap();
    assert_eq!(left.iter().map(|(_, entry)| entry.envelope.data.clone()).collect::<Vec<_>>(), ["4"]);
    store.outbox_remove("nats", left[0].0).await.unwrap();
    assert_eq!(lengths().await, [("kafka".to_owned(), 1)]);
}

#[tokio::test]
async fn what_is_read_from_the_outbox_is_bounded_in_bytes() {
    let directory = directory();
    let store = open(directory.path());
    let entry = |length: usize| ("nats".to_owned(), publication("E", &"x".repeat(length)));
    store.outbox_push(vec![entry(5000), entry(10), entry(10), entry(5000)]).await.unwrap();
    let lengths = async |bytes| -> Vec<usize> {
        let read = store.outbox_read("nats", 10, bytes).await.unwrap();
        read.iter().map(|(_, entry)| entry.envelope.data.len()).collect()
    };
    assert_eq!(lengths(1).await, [5000], "one goes always");
    assert_eq!(lengths(6000).await, [5000, 10, 10]);
    assert_eq!(lengths(usize::MAX).await, [5000, 10, 10, 5000]);
}

#[tokio::test]
async fn what_is_put_into_the_outbox_while_other_things_leave_it_is_counted() {
    let directory = directory();
    let store = open(directory.path());
    let entry = || vec![("nats".to_owned(), publication("E", "1"))];
    store.outbox_push(entry()).await.unwrap();
    for _ in 0..200 {
        let number = store.outbox_read("nats", 1, usize::MAX).await.unwrap()[0].0;
        // Both mostly meet in one commit.
        let (pushed, removed) = tokio::join!(store.outbox_push(entry()), store.outbox_remove("nats", number));
        pushed.and(removed).unwrap();
        let waiting = store.outbox_status().await.unwrap();
        assert_eq!(waiting.iter().map(|backlog| backlog.length).collect::<Vec<_>>(), [1]);
    }
}

#[tokio::test]
async fn what_its_broker_never_takes_is_a_dead_letter_until_it_is_redriven() {
    let directory = directory();
    let store = open(directory.path());
    let due = Some(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 100));
    let dedupe = Duration::from_mins(77);
    let entry = |data: &str| ("nats".to_owned(), Publication { due, dedupe, ..publication("E", data) });
    store.outbox_push(vec![entry("1"), entry("2")]).await.unwrap();
    let texts = async |store: &RocksDb| -> Vec<String> {
        let read = store.outbox_read("nats", 10, usize::MAX).await.unwrap();
        read.iter().map(|(_, entry)| String::from_utf8(entry.envelope.data.to_vec()).unwrap()).collect()
    };
    let number = store.outbox_read("nats", 1, usize::MAX).await.unwrap()[0].0;
    let failure =
        Failure { at: SystemTime::now(), code: "too_large".to_owned(), message: "no".to_owned(), traceback: None };
    store.outbox_dead("nats", number, failure.clone()).await.unwrap();
    store.outbox_dead("nats", number, failure.clone()).await.unwrap();
    assert_eq!(texts(&store).await, ["2"]);
    drop(store);

    let store = open(directory.path());
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].subscription, &letters[0].obituary.last), (&subscription("E", "outbox:nats"), &failure));
    let arrival = store.outbox_arrival();
    assert_eq!(store.redrive(&[letters[0].id]).await.unwrap(), [letters[0].id]);
    tokio::time::timeout(PATIENCE, arrival).await.unwrap();
    assert_eq!(texts(&store).await, ["2", "1"]);
    let (_, again) = store.outbox_read("nats", 2, usize::MAX).await.unwrap().remove(1);
    assert_eq!((again.due, again.dedupe), (due, dedupe), "it waits as long as it was to wait");
    assert!(store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap().is_empty());
    assert_eq!(store.outbox_status().await.unwrap()[0].length, 2);
}
