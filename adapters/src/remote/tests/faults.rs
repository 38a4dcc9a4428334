//! What happens when the broker is away, forgets what it was told, or has something that nobody can read?

use super::*;
use crate::broker::DeadLetterFilter;
use crate::remote::wire::Incoming;

async fn letters(remote: &Remote) -> Vec<crate::broker::DeadLetter> {
    remote.dead_letters(&DeadLetterFilter::default(), 10).await.unwrap()
}

#[tokio::test]
async fn a_broker_that_is_away_at_the_start_is_subscribed_to_when_it_comes() {
    let site = Site::new(Nature::default());
    site.broker.suffer(|faults| faults.away = true);
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    let refused = remote.publish(vec![publication(1)]).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(remote.ready().await.is_err());
    assert_eq!(remote.declared().await.unwrap(), [subscription()]);
    site.broker.suffer(|faults| faults.away = false);
    eventually("the broker to be ready", async || remote.ready().await.is_ok()).await;
    remote.publish(vec![publication(2)]).await.unwrap();
    assert_eq!(numbers(&take(&consumer, 1).await), [2]);
}

#[tokio::test]
async fn a_connection_that_is_lost_comes_again_with_what_was_not_finished() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish((0..6).map(publication).collect()).await.unwrap();
    let held = take(&consumer, 4).await;
    consumer.nack(&held[1], after(1), Duration::ZERO).await.unwrap();
    consumer.nack(&held[2], after(2), Duration::from_secs(30)).await.unwrap();
    site.broker.cut();
    let again = take(&consumer, 4).await;
    assert_eq!(numbers(&again), [1, 2, 4, 5]);
    assert_eq!([again[0].history, again[1].history, again[2].history], [after(1), after(2), after(0)]);
    consumer.ack(&again).await.unwrap();
    consumer.ack(&[held[0].clone(), held[3].clone()]).await.unwrap();
    assert!(is_silent(&consumer).await, "what stayed with its consumer came again");
    eventually("an empty queue", async || site.broker.queued(&subscription()) == (0, 0)).await;
}

#[tokio::test]
async fn an_ack_that_does_not_arrive_makes_nobody_run_again() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish((0..3).map(publication).collect()).await.unwrap();
    let held = take(&consumer, 3).await;
    site.broker.suffer(|faults| faults.lost_acks = 1);
    consumer.ack(&held).await.unwrap();
    assert!(is_silent(&consumer).await);
    eventually("an empty queue", async || site.broker.queued(&subscription()) == (0, 0)).await;
}

#[tokio::test]
async fn without_a_window_a_message_is_known_again_by_its_place() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    let plain = Publication { dedupe: Duration::ZERO, ..publication(1) };
    remote.publish(vec![plain.clone(), plain]).await.unwrap();
    let both = take(&consumer, 2).await;
    site.broker.suffer(|faults| faults.lost_acks = 1);
    consumer.ack(&both[..1]).await.unwrap();
    assert!(is_silent(&consumer).await, "the one is handled, and the other is held");
    consumer.ack(&both[1..]).await.unwrap();
    eventually("an empty queue", async || site.broker.queued(&subscription()) == (0, 0)).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_holds_up_nothing() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish(vec![publication(1)]).await.unwrap();
    site.broker.suffer(|faults| faults.refused_letters = 1);
    site.broker.push(Incoming { event: "E".into(), body: Bytes::from_static(b"{no JSON"), ..Incoming::default() });
    remote.publish(vec![publication(2)]).await.unwrap();
    let both = take(&consumer, 2).await;
    assert_eq!(numbers(&both), [1, 2]);
    consumer.ack(&both).await.unwrap();
    eventually("a dead letter", async || letters(&remote).await.len() == 1).await;
    let letter = letters(&remote).await.remove(0);
    assert_eq!((&*letter.obituary.last.code, &letter.envelope.data[..]), ("unreadable", &br#""{no JSON""#[..]));
    assert_eq!(site.broker.letters()[0].id, letter.id);
    eventually("an empty queue", async || site.broker.queued(&subscription()) == (0, 0)).await;
}

#[tokio::test]
async fn a_letter_that_the_broker_does_not_take_leaves_its_message_where_it_is() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish(vec![publication(1)]).await.unwrap();
    let held = take(&consumer, 1).await.remove(0);
    site.broker.suffer(|faults| faults.refused_letters = 1);
    assert!(consumer.dead_letter(&held, &obituary()).await.is_err());
    assert_eq!((letters(&remote).await.len(), site.broker.queued(&subscription())), (0, (0, 1)));
    consumer.dead_letter(&held, &obituary()).await.unwrap();
    assert_eq!(site.broker.letters(), letters(&remote).await);
    assert_eq!(site.broker.queued(&subscription()), (0, 0));
    site.broker.hand_out_again();
    assert!(is_silent(&consumer).await);
}

#[tokio::test]
async fn leases_are_renewed_for_as_long_as_a_message_is_ours() {
    const LEASE: Duration = Duration::from_millis(90);
    let site = Site::new(Nature { lease: Some(LEASE), ..Nature::default() });
    let other = Site::beside(&site);
    let (remote, beside) = (site.open().await.unwrap(), other.open().await.unwrap());
    let consumer = subscribe(&remote).await;
    remote.publish((0..3).map(publication).collect()).await.unwrap();
    let held = take(&consumer, 3).await;
    consumer.nack(&held[0], after(1), Duration::from_secs(30)).await.unwrap();
    consumer.nack(&held[1], after(1), Duration::ZERO).await.unwrap();
    let elsewhere = subscribe(&beside).await;
    eventually("leases to be renewed", async || site.broker.extended() >= 12).await;
    assert!(is_silent(&elsewhere).await, "another replica got what is ours");
    remote.close().await.unwrap();
    let rest = take(&elsewhere, 3).await;
    assert_eq!(numbers(&rest), [0, 1, 2]);
}

#[tokio::test]
async fn a_long_wait_is_the_companions() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish(vec![publication(1)]).await.unwrap();
    let held = take(&consumer, 1).await.remove(0);
    consumer.nack(&held, after(2), Duration::from_secs(61)).await.unwrap();
    assert_eq!(site.broker.queued(&subscription()), (0, 0));
    site.broker.push(Incoming::default());
    let waits = status(&remote).await;
    assert_eq!((waits.waiting, waits.delayed, waits.in_flight), (0, 1, 0));
    remote.close().await.unwrap();
    let remote = site.open().await.unwrap();
    subscribe(&remote).await;
    assert_eq!(status(&remote).await.delayed, 1);
}

#[tokio::test]
async fn a_pause_gives_what_nobody_runs_to_other_replicas() {
    let site = Site::new(Nature::default());
    let other = Site::beside(&site);
    let (remote, beside) = (site.open().await.unwrap(), other.open().await.unwrap());
    let consumer = subscribe(&remote).await;
    remote.publish((0..3).map(publication).collect()).await.unwrap();
    let held = take(&consumer, 2).await;
    remote.set_paused(&subscription(), true).await.unwrap();
    let elsewhere = subscribe(&beside).await;
    assert_eq!(numbers(&take(&elsewhere, 1).await), [2]);
    assert!(is_silent(&elsewhere).await, "what runs is given to another");
    consumer.ack(&held[..1]).await.unwrap();
    consumer.release(&[held[1].tag]).await.unwrap();
    assert_eq!(numbers(&take(&elsewhere, 1).await), [1]);
    remote.set_paused(&subscription(), false).await.unwrap();
    remote.publish(vec![publication(4)]).await.unwrap();
    assert_eq!(take(&consumer, 1).await.len(), 1);
}

#[tokio::test]
async fn no_more_is_taken_than_the_window_holds() {
    let site = Site::new(Nature::default());
    let remote = site.open_with(Options { window: 3, ..Options::default() }).await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish((0..5).map(publication).collect()).await.unwrap();
    let held = take(&consumer, 3).await;
    assert!(is_silent(&consumer).await);
    assert_eq!(site.broker.queued(&subscription()), (2, 3));
    let (more, acked) = tokio::join!(consumer.next(9), consumer.ack(&held[..1]));
    acked.unwrap();
    assert_eq!(numbers(&more.unwrap()), [3]);
    let site = Site::new(Nature::default());
    let remote = site.open_with(Options { window_bytes: 1, ..Options::default() }).await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish((0..2).map(publication).collect()).await.unwrap();
    consumer.ack(&take(&consumer, 1).await).await.unwrap();
    take(&consumer, 1).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_written_acks_nothing() {
    let site = Site::new(Nature::default());
    let remote = site.open().await.unwrap();
    let consumer = subscribe(&remote).await;
    remote.publish((0..2).map(publication).collect()).await.unwrap();
    let held = take(&consumer, 2).await;
    remote.companion.close().await.unwrap();
    assert!(consumer.ack(&held).await.is_err());
    assert!(consumer.dead_letter(&held[0], &obituary()).await.is_err());
    assert!(consumer.nack(&held[1], after(1), Duration::from_mins(5)).await.is_err());
    assert_eq!(site.broker.queued(&subscription()), (0, 2));
}
