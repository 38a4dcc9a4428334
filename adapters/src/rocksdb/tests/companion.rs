//! Does the store keep what an adapter on a network asks it to?

use super::*;
use crate::broker::{DeadLetterFilter, Error};
use crate::rocksdb::{Companion, HandOver, Identity};

async fn accompany(store: &RocksDb) -> Companion {
    store.accompany(&subscription("E", "a")).await.unwrap()
}

fn identity(id: u128, window: Duration, place: u64) -> Identity {
    Identity { id: Uuid::from_u128(id), window, place }
}

/// Which of these were handled.
fn handled<const N: usize>(companion: &Companion, identities: [Identity; N]) -> [bool; N] {
    let found = companion.look_up(identities.iter().map(|identity| (identity.id, Some(identity))));
    std::array::from_fn(|place| found[place].is_none())
}

/// What is noted of a message that was not handled.
fn noted(companion: &Companion, id: u128) -> History {
    companion.look_up(std::iter::once((Uuid::from_u128(id), None)))[0].unwrap()
}

fn after(attempts: u32) -> History {
    History { attempts, ..History::default() }
}

fn envelope(data: &str) -> Envelope {
    publication("E", data).envelope
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_was_handled_is_known_after_a_restart_and_only_to_its_subscription() {
    let directory = directory();
    let store = open(directory.path());
    let companion = accompany(&store).await;
    let (first, brief, placed) =
        (identity(1, MINUTE, 0), identity(2, Duration::ZERO, 0), identity(3, Duration::ZERO, 7));
    companion.handled(vec![first, brief, placed]).await.unwrap();
    companion.handled(Vec::new()).await.unwrap();
    let moved = identity(3, Duration::ZERO, 8);
    for _ in 0..2 {
        assert_eq!(handled(&companion, [first, brief, placed, moved]), [true, false, true, false]);
        let other = store.accompany(&subscription("E", "b")).await.unwrap();
        assert_eq!(handled(&other, [first]), [false]);
    }
    drop((companion, store));
    let store = open(directory.path());
    let companion = accompany(&store).await;
    assert_eq!(handled(&companion, [first, brief, placed, moved]), [true, false, true, false]);
    companion.handled(vec![identity(4, MINUTE, 0)]).await.unwrap();
    drop((companion, store));
    let companion = accompany(&open(directory.path())).await;
    assert_eq!(
        handled(&companion, [first, identity(4, MINUTE, 0)]),
        [true, true],
        "a later row took the place of an earlier"
    );
}

#[tokio::test]
async fn what_was_noted_is_known_after_a_restart_until_it_is_forgotten() {
    let directory = directory();
    let store = open(directory.path());
    let companion = accompany(&store).await;
    let not_before = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789));
    let waits = History { not_before, ..after(2) };
    for (id, history) in [(1, after(1)), (1, waits), (2, after(1)), (3, after(1)), (3, History::default())] {
        companion.note(Uuid::from_u128(id), history);
    }
    companion.forget([2, 9].into_iter().map(Uuid::from_u128));
    assert_eq!([noted(&companion, 1), noted(&companion, 2), noted(&companion, 3)], [waits, after(0), after(0)]);
    drop((companion, store));
    let store = open(directory.path());
    let companion = accompany(&store).await;
    assert_eq!([noted(&companion, 1), noted(&companion, 2), noted(&companion, 3)], [waits, after(0), after(0)]);
    companion.forget(std::iter::once(Uuid::from_u128(1)));
    drop((companion, store));
    assert_eq!(noted(&accompany(&open(directory.path())).await, 1), after(0));
}

#[tokio::test]
async fn what_is_handed_over_goes_to_its_subscription_only_when_it_is_due() {
    let directory = directory();
    let store = open(directory.path());
    let (companion, other) = (accompany(&store).await, subscribe(&store, "E", "b").await);
    let (first, second, late) = (envelope("1"), envelope("2"), envelope("3"));
    let due = Some(SystemTime::now() + Duration::from_millis(150));
    let message = |envelope, due| HandOver { envelope, history: after(4), due };
    let known = identity(5, MINUTE, 0);
    companion.hand_over(&[message(&late, due), message(&first, None)], vec![known]).await.unwrap();
    companion.hand_over(&[message(&second, None)], Vec::new()).await.unwrap();
    assert_eq!(handled(&companion, [known]), [true]);
    let waits = status(&store, "E", "a").await;
    assert_eq!((waits.waiting, waits.delayed), (2, 1));
    drop((companion, store));
    let store = open(directory.path());
    let companion = accompany(&store).await;
    let all = take(&companion.consumer(), 3).await;
    assert_eq!((data(&all), all[2].history), (vec!["1".to_owned(), "2".to_owned(), "3".to_owned()], after(4)));
    assert!(Some(SystemTime::now()) >= due);
    companion.consumer().ack(&all).await.unwrap();
    drop(other);
    assert!(is_silent(&subscribe(&store, "E", "b").await).await);
}

#[tokio::test]
async fn what_there_is_no_room_for_is_not_taken_over() {
    let directory = directory();
    let store = RocksDb::open(Options { max_bytes: 4_000, ..options(directory.path()) }).unwrap();
    let companion = accompany(&store).await;
    let large = envelope(&"x".repeat(3_000));
    let message = || HandOver { envelope: &large, history: after(0), due: None };
    companion.hand_over(&[message()], Vec::new()).await.unwrap();
    let known = identity(5, MINUTE, 0);
    let refused = companion.hand_over(&[message()], vec![known]).await;
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    assert_eq!(handled(&companion, [known]), [false]);
    let refused = companion.hand_over(&[message(), message()], Vec::new()).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!(take(&companion.consumer(), 1).await.len(), 1);
}

#[tokio::test]
async fn a_letter_is_kept_once_however_often_it_is_told() {
    let directory = directory();
    let store = open(directory.path());
    let companion = accompany(&store).await;
    let (id, dead, known) = (Uuid::now_v7(), envelope("1"), identity(5, MINUTE, 0));
    for _ in 0..2 {
        companion.bury(id, &dead, obituary(), Some(known)).await.unwrap();
    }
    let letters = store.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].id, &*letters[0].envelope), (1, id, &dead));
    assert_eq!((status(&store, "E", "a").await.dead, handled(&companion, [known])), (1, [true]));
    assert_eq!(store.redrive(&[id]).await.unwrap(), [id]);
    let again = take(&companion.consumer(), 1).await;
    assert_eq!(data(&again), ["1"]);
    let other = Uuid::now_v7();
    companion.give_up(other, &again[0], &obituary()).await.unwrap();
    assert_eq!(store.purge(&[other]).await.unwrap(), [other]);
}

#[tokio::test]
async fn a_write_that_fails_is_an_error_and_nothing_is_known_of_it() {
    let directory = directory();
    let store = open(directory.path());
    let companion = accompany(&store).await;
    let (known, dead) = (identity(5, MINUTE, 0), envelope("1"));
    let message = || HandOver { envelope: &dead, history: after(0), due: None };
    // What the writer does after its first commit would meet the failure before the command does.
    status(&store, "E", "a").await;
    for attempt in 0..3 {
        store.shared.slot.set_down("as told".to_owned());
        let outcome = match attempt {
            0 => companion.handled(vec![known]).await,
            1 => companion.hand_over(&[message()], vec![known]).await,
            _ => companion.bury(Uuid::now_v7(), &dead, obituary(), Some(known)).await,
        };
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
        assert_eq!(handled(&companion, [known]), [false]);
        let end = std::time::Instant::now() + PATIENCE;
        while store.publish(Vec::new()).await.is_err() {
            assert!(std::time::Instant::now() < end, "it did not recover");
            tokio::task::yield_now().await;
        }
    }
    let now = status(&store, "E", "a").await;
    assert_eq!((now.waiting, now.dead), (0, 0));
    companion.note(Uuid::from_u128(1), after(3));
    companion.handled(vec![known]).await.unwrap();
    store.shared.slot.set_down("as told".to_owned());
    assert!(companion.handled(vec![identity(6, MINUTE, 0)]).await.is_err());
    assert_eq!((handled(&companion, [known]), noted(&companion, 1)), ([true], after(3)), "it forgot with the failure");
}

#[tokio::test]
async fn nothing_of_a_pruned_subscription_is_known_to_the_next_one() {
    let directory = directory();
    let store = open(directory.path());
    let companion = accompany(&store).await;
    let known = identity(5, MINUTE, 0);
    companion.handled(vec![known]).await.unwrap();
    companion.note(Uuid::from_u128(6), after(1));
    store.retire(&subscription("E", "a")).await.unwrap();
    store.prune(&subscription("E", "a")).await.unwrap();
    companion.handled(vec![known]).await.unwrap();
    drop((companion, store));
    let companion = accompany(&open(directory.path())).await;
    assert_eq!((handled(&companion, [known]), noted(&companion, 6)), ([false], after(0)));
}
